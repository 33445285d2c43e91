-- The conversation of a scope, in the order of sequence. Its unique key serves
-- the lists and the foreign key as well; there are no further indexes.
CREATE TABLE @schema@.caliber_turn OF @schema@.caliber_turn_row (
    turn_id DEFAULT @schema@.caliber_new_id(),
    scope_id NOT NULL,
    sequence NOT NULL,
    role NOT NULL,
    content NOT NULL,
    token_count NOT NULL,
    created_at NOT NULL DEFAULT now(),
    CONSTRAINT caliber_turn_pkey PRIMARY KEY (turn_id),
    CONSTRAINT caliber_turn_scope_id_sequence_key UNIQUE (scope_id, sequence),
    CONSTRAINT caliber_turn_sequence_check CHECK (sequence >= 0),
    CONSTRAINT caliber_turn_role_check CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    CONSTRAINT caliber_turn_token_count_check CHECK (token_count >= 0),
    CONSTRAINT caliber_turn_scope_id_fkey FOREIGN KEY (scope_id) REFERENCES @schema@.caliber_scope (scope_id)
);

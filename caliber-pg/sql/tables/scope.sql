-- Context windows. A parent is a scope of the same trajectory, which is why the
-- pair (trajectory_id, scope_id) is a key. tokens_used changes often and carries
-- no index: the fillfactor leaves room for HOT updates.
CREATE TABLE @schema@.caliber_scope OF @schema@.caliber_scope_row (
    scope_id DEFAULT @schema@.caliber_new_id(),
    trajectory_id NOT NULL,
    name NOT NULL,
    is_active NOT NULL DEFAULT true,
    created_at NOT NULL DEFAULT now(),
    token_budget NOT NULL,
    tokens_used NOT NULL DEFAULT 0,
    CONSTRAINT caliber_scope_pkey PRIMARY KEY (scope_id),
    CONSTRAINT caliber_scope_trajectory_id_scope_id_key UNIQUE (trajectory_id, scope_id),
    CONSTRAINT caliber_scope_token_budget_check CHECK (token_budget > 0),
    CONSTRAINT caliber_scope_tokens_used_check CHECK (tokens_used >= 0),
    CONSTRAINT caliber_scope_trajectory_id_fkey FOREIGN KEY (trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id),
    CONSTRAINT caliber_scope_trajectory_id_parent_scope_id_fkey FOREIGN KEY (trajectory_id, parent_scope_id) REFERENCES @schema@.caliber_scope (trajectory_id, scope_id)
) WITH (fillfactor = 70);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_scope (trajectory_id, scope_id) WHERE is_active;

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_scope (parent_scope_id) WHERE parent_scope_id IS NOT NULL;

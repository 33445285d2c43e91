-- Locks of agents on resources. The two unique indexes keep two leases of one
-- holder, and two exclusive rows of one resource, apart whoever writes them.
CREATE TABLE @schema@.caliber_lock OF @schema@.caliber_lock_row (
    lock_id DEFAULT @schema@.caliber_new_id(),
    resource_type NOT NULL,
    resource_id NOT NULL,
    holder_agent_id NOT NULL,
    acquired_at NOT NULL DEFAULT clock_timestamp(),
    expires_at NOT NULL,
    mode NOT NULL,
    level NOT NULL,
    CONSTRAINT caliber_lock_pkey PRIMARY KEY (lock_id),
    CONSTRAINT caliber_lock_mode_check CHECK (mode IN ('exclusive', 'shared')),
    CONSTRAINT caliber_lock_level_check CHECK (level IN ('lease', 'session', 'transaction')),
    CONSTRAINT caliber_lock_holder_agent_id_fkey FOREIGN KEY (holder_agent_id) REFERENCES @schema@.caliber_agent (agent_id)
);

-- What may exist only once.
CREATE UNIQUE INDEX caliber_lock_lease_idx ON @schema@.caliber_lock (resource_type, resource_id, holder_agent_id) WHERE level = 'lease';
CREATE UNIQUE INDEX caliber_lock_exclusive_idx ON @schema@.caliber_lock (resource_type, resource_id) WHERE mode = 'exclusive';

-- What the lists use; the second is also the child side of the foreign key.
CREATE INDEX ON @schema@.caliber_lock (resource_type, resource_id, lock_id);
CREATE INDEX ON @schema@.caliber_lock (holder_agent_id, lock_id);

-- Tasks and their sub-tasks. root_trajectory_id names the top of the tree and is
-- NULL at the top itself.
CREATE TABLE @schema@.caliber_trajectory OF @schema@.caliber_trajectory_row (
    trajectory_id DEFAULT @schema@.caliber_new_id(),
    name NOT NULL,
    status NOT NULL DEFAULT 'active',
    created_at NOT NULL DEFAULT now(),
    updated_at NOT NULL DEFAULT now(),
    CONSTRAINT caliber_trajectory_pkey PRIMARY KEY (trajectory_id),
    CONSTRAINT caliber_trajectory_status_check CHECK (status IN ('active', 'completed', 'failed', 'suspended')),
    CONSTRAINT caliber_trajectory_parent_check CHECK (parent_trajectory_id <> trajectory_id),
    CONSTRAINT caliber_trajectory_parent_trajectory_id_fkey FOREIGN KEY (parent_trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id),
    CONSTRAINT caliber_trajectory_root_trajectory_id_fkey FOREIGN KEY (root_trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id)
);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_trajectory (status, trajectory_id);
CREATE INDEX ON @schema@.caliber_trajectory (parent_trajectory_id, trajectory_id) WHERE parent_trajectory_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_trajectory (agent_id, trajectory_id) WHERE agent_id IS NOT NULL;

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_trajectory (root_trajectory_id) WHERE root_trajectory_id IS NOT NULL;

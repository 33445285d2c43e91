-- Conflicts between two items of any kind. Their ids are not checked.
CREATE TABLE @schema@.caliber_conflict OF @schema@.caliber_conflict_row (
    conflict_id DEFAULT @schema@.caliber_new_id(),
    conflict_type NOT NULL,
    item_a_type NOT NULL,
    item_a_id NOT NULL,
    item_b_type NOT NULL,
    item_b_id NOT NULL,
    status NOT NULL DEFAULT 'detected',
    detected_at NOT NULL DEFAULT now(),
    CONSTRAINT caliber_conflict_pkey PRIMARY KEY (conflict_id),
    CONSTRAINT caliber_conflict_conflict_type_check CHECK (conflict_type IN (
        'concurrent_write', 'contradicting_fact', 'incompatible_decision',
        'resource_contention', 'goal_conflict')),
    CONSTRAINT caliber_conflict_status_check CHECK (status IN ('detected', 'resolving', 'resolved', 'escalated')),
    CONSTRAINT caliber_conflict_agent_a_id_fkey FOREIGN KEY (agent_a_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_conflict_agent_b_id_fkey FOREIGN KEY (agent_b_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_conflict_trajectory_id_fkey FOREIGN KEY (trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id)
);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_conflict (status, conflict_id) WHERE status <> 'resolved';
CREATE INDEX ON @schema@.caliber_conflict (item_a_id, conflict_id);
CREATE INDEX ON @schema@.caliber_conflict (item_b_id, conflict_id);

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_conflict (agent_a_id) WHERE agent_a_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_conflict (agent_b_id) WHERE agent_b_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_conflict (trajectory_id) WHERE trajectory_id IS NOT NULL;

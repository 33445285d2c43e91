-- Messages between agents. No target at all means a broadcast. Unacknowledged
-- messages have indexes of their own: reading them does not depend on history.
CREATE TABLE @schema@.caliber_message OF @schema@.caliber_message_row (
    message_id DEFAULT @schema@.caliber_new_id(),
    from_agent_id NOT NULL,
    message_type NOT NULL,
    payload NOT NULL,
    artifact_ids NOT NULL DEFAULT '{}',
    created_at NOT NULL DEFAULT now(),
    priority NOT NULL DEFAULT 'normal',
    CONSTRAINT caliber_message_pkey PRIMARY KEY (message_id),
    CONSTRAINT caliber_message_message_type_check CHECK (message_type IN (
        'task_delegation', 'task_result', 'context_request', 'context_share',
        'coordination_signal', 'handoff', 'interrupt', 'heartbeat')),
    CONSTRAINT caliber_message_priority_check CHECK (priority IN ('low', 'normal', 'high', 'critical')),
    CONSTRAINT caliber_message_target_check CHECK (to_agent_id IS NULL OR to_agent_type IS NULL),
    CONSTRAINT caliber_message_scope_check CHECK (scope_id IS NULL OR trajectory_id IS NOT NULL),
    CONSTRAINT caliber_message_from_agent_id_fkey FOREIGN KEY (from_agent_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_message_to_agent_id_fkey FOREIGN KEY (to_agent_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_message_trajectory_id_fkey FOREIGN KEY (trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id),
    CONSTRAINT caliber_message_trajectory_id_scope_id_fkey FOREIGN KEY (trajectory_id, scope_id) REFERENCES @schema@.caliber_scope (trajectory_id, scope_id)
);

-- What the lists use: unacknowledged, all, and broadcasts.
CREATE INDEX ON @schema@.caliber_message (to_agent_id, priority, message_id) WHERE to_agent_id IS NOT NULL AND acknowledged_at IS NULL;
CREATE INDEX ON @schema@.caliber_message (to_agent_type, priority, message_id) WHERE to_agent_type IS NOT NULL AND acknowledged_at IS NULL;
CREATE INDEX ON @schema@.caliber_message (to_agent_id, message_id) WHERE to_agent_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_message (to_agent_type, message_id) WHERE to_agent_type IS NOT NULL;
CREATE INDEX ON @schema@.caliber_message (priority, message_id) WHERE to_agent_id IS NULL AND to_agent_type IS NULL;

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_message (from_agent_id);
CREATE INDEX ON @schema@.caliber_message (trajectory_id) WHERE trajectory_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_message (scope_id) WHERE scope_id IS NOT NULL;

-- Handoffs of a scope. Addressed to an agent or to any agent of a type ('*': of
-- any type); once it is accepted there is an agent.
CREATE TABLE @schema@.caliber_handoff OF @schema@.caliber_handoff_row (
    handoff_id DEFAULT @schema@.caliber_new_id(),
    from_agent_id NOT NULL,
    trajectory_id NOT NULL,
    scope_id NOT NULL,
    context_snapshot_id NOT NULL,
    handoff_notes NOT NULL DEFAULT '',
    next_steps NOT NULL DEFAULT '{}',
    blockers NOT NULL DEFAULT '{}',
    open_questions NOT NULL DEFAULT '{}',
    status NOT NULL DEFAULT 'initiated',
    initiated_at NOT NULL DEFAULT now(),
    reason NOT NULL,
    CONSTRAINT caliber_handoff_pkey PRIMARY KEY (handoff_id),
    CONSTRAINT caliber_handoff_status_check CHECK (status IN ('initiated', 'accepted', 'completed', 'rejected')),
    CONSTRAINT caliber_handoff_reason_check CHECK (reason IN (
        'capability_mismatch', 'load_balancing', 'specialization', 'escalation',
        'timeout', 'failure', 'scheduled')),
    CONSTRAINT caliber_handoff_target_check CHECK (
        CASE WHEN status IN ('initiated', 'rejected')
            THEN (to_agent_id IS NULL) <> (to_agent_type IS NULL)
            ELSE to_agent_id IS NOT NULL
        END),
    CONSTRAINT caliber_handoff_from_agent_id_fkey FOREIGN KEY (from_agent_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_handoff_to_agent_id_fkey FOREIGN KEY (to_agent_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_handoff_trajectory_id_scope_id_fkey FOREIGN KEY (trajectory_id, scope_id) REFERENCES @schema@.caliber_scope (trajectory_id, scope_id)
);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_handoff (to_agent_id, status, handoff_id) WHERE to_agent_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_handoff (to_agent_type, handoff_id) WHERE status = 'initiated';
CREATE INDEX ON @schema@.caliber_handoff (trajectory_id, handoff_id);

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_handoff (from_agent_id);
CREATE INDEX ON @schema@.caliber_handoff (scope_id);

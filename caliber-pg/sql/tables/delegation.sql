-- Work asked of an agent or of any agent of a type ('*': of any type). Once it
-- is accepted there is an agent; the type that was asked stays on record.
CREATE TABLE @schema@.caliber_delegation OF @schema@.caliber_delegation_row (
    delegation_id DEFAULT @schema@.caliber_new_id(),
    delegator_agent_id NOT NULL,
    task_description NOT NULL,
    parent_trajectory_id NOT NULL,
    shared_artifacts NOT NULL DEFAULT '{}',
    shared_notes NOT NULL DEFAULT '{}',
    constraints NOT NULL DEFAULT '{}',
    status NOT NULL DEFAULT 'pending',
    created_at NOT NULL DEFAULT now(),
    CONSTRAINT caliber_delegation_pkey PRIMARY KEY (delegation_id),
    CONSTRAINT caliber_delegation_status_check CHECK (status IN ('pending', 'accepted', 'rejected', 'in_progress', 'completed', 'failed')),
    CONSTRAINT caliber_delegation_delegatee_check CHECK (
        CASE WHEN status IN ('pending', 'rejected')
            THEN (delegatee_agent_id IS NULL) <> (delegatee_agent_type IS NULL)
            ELSE delegatee_agent_id IS NOT NULL
        END),
    CONSTRAINT caliber_delegation_delegator_agent_id_fkey FOREIGN KEY (delegator_agent_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_delegation_delegatee_agent_id_fkey FOREIGN KEY (delegatee_agent_id) REFERENCES @schema@.caliber_agent (agent_id),
    CONSTRAINT caliber_delegation_parent_trajectory_id_fkey FOREIGN KEY (parent_trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id),
    CONSTRAINT caliber_delegation_child_trajectory_id_fkey FOREIGN KEY (child_trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id)
);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_delegation (delegatee_agent_type, delegation_id) WHERE status = 'pending';
CREATE INDEX ON @schema@.caliber_delegation (delegatee_agent_id, status, delegation_id) WHERE delegatee_agent_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_delegation (delegator_agent_id, delegation_id);

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_delegation (parent_trajectory_id);
CREATE INDEX ON @schema@.caliber_delegation (child_trajectory_id) WHERE child_trajectory_id IS NOT NULL;

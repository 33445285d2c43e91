-- Agents. Nothing that a heartbeat or a change of status touches carries an
-- index, and half of each page is left free: these updates are HOT.
CREATE TABLE @schema@.caliber_agent OF @schema@.caliber_agent_row (
    agent_id DEFAULT @schema@.caliber_new_id(),
    agent_type NOT NULL,
    capabilities NOT NULL DEFAULT '{}',
    memory_access NOT NULL DEFAULT '{}',
    status NOT NULL DEFAULT 'idle',
    can_delegate_to NOT NULL DEFAULT '{}',
    created_at NOT NULL DEFAULT now(),
    last_heartbeat NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT caliber_agent_pkey PRIMARY KEY (agent_id),
    CONSTRAINT caliber_agent_status_check CHECK (status IN ('idle', 'active', 'blocked', 'failed')),
    CONSTRAINT caliber_agent_scope_check CHECK (current_scope_id IS NULL OR current_trajectory_id IS NOT NULL),
    CONSTRAINT caliber_agent_current_trajectory_id_fkey FOREIGN KEY (current_trajectory_id) REFERENCES @schema@.caliber_trajectory (trajectory_id),
    CONSTRAINT caliber_agent_current_trajectory_id_current_scope_id_fkey FOREIGN KEY (current_trajectory_id, current_scope_id) REFERENCES @schema@.caliber_scope (trajectory_id, scope_id),
    CONSTRAINT caliber_agent_reports_to_fkey FOREIGN KEY (reports_to) REFERENCES @schema@.caliber_agent (agent_id)
) WITH (fillfactor = 50);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_agent (agent_type, agent_id);

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_agent (current_trajectory_id) WHERE current_trajectory_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_agent (current_scope_id) WHERE current_scope_id IS NOT NULL;
CREATE INDEX ON @schema@.caliber_agent (reports_to) WHERE reports_to IS NOT NULL;

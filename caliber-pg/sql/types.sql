-- The row types of the eleven entities.
--
-- Each table is a typed table OF the type of its name (see sql/tables/), and the
-- functions return these types, so that a table's rows can be returned as they are.
-- Columns stand in attribute order; later versions only add nullable attributes
-- at the end. COLLATE "C" marks enumerated columns and type names: their indexes
-- must not depend on the collations of the operating system.

-- A task, or a part of a task: a node in a tree of trajectories.
CREATE TYPE caliber_trajectory_row AS (
    trajectory_id uuid,
    name text,
    description text,
    status text COLLATE "C",
    parent_trajectory_id uuid,
    root_trajectory_id uuid,
    agent_id uuid,
    created_at timestamptz,
    updated_at timestamptz,
    completed_at timestamptz,
    outcome jsonb,
    metadata jsonb
);

-- A context window inside a trajectory.
CREATE TYPE caliber_scope_row AS (
    scope_id uuid,
    trajectory_id uuid,
    parent_scope_id uuid,
    name text,
    purpose text,
    is_active boolean,
    created_at timestamptz,
    closed_at timestamptz,
    checkpoint jsonb,
    token_budget integer,
    tokens_used integer,
    metadata jsonb
);

-- Typed output of a scope, which outlives the scope.
CREATE TYPE caliber_artifact_row AS (
    artifact_id uuid,
    trajectory_id uuid,
    scope_id uuid,
    artifact_type text COLLATE "C",
    name text,
    content text,
    content_hash bytea,
    embedding vector,
    provenance jsonb,
    ttl text,
    created_at timestamptz,
    updated_at timestamptz,
    superseded_by uuid,
    metadata jsonb
);

-- Knowledge that is shared by trajectories.
CREATE TYPE caliber_note_row AS (
    note_id uuid,
    note_type text COLLATE "C",
    title text,
    content text,
    content_hash bytea,
    embedding vector,
    source_trajectory_ids uuid[],
    source_artifact_ids uuid[],
    ttl text,
    created_at timestamptz,
    updated_at timestamptz,
    accessed_at timestamptz,
    access_count integer,
    superseded_by uuid,
    metadata jsonb,
    abstraction_level text COLLATE "C",
    source_note_ids uuid[]
);

-- One turn of a scope's conversation; append only.
CREATE TYPE caliber_turn_row AS (
    turn_id uuid,
    scope_id uuid,
    sequence integer,
    role text COLLATE "C",
    content text,
    token_count integer,
    created_at timestamptz,
    tool_calls jsonb,
    tool_results jsonb,
    metadata jsonb
);

-- An agent: who it is, what it is doing, when it was last heard of.
CREATE TYPE caliber_agent_row AS (
    agent_id uuid,
    agent_type text COLLATE "C",
    capabilities text[],
    memory_access jsonb,
    status text COLLATE "C",
    current_trajectory_id uuid,
    current_scope_id uuid,
    can_delegate_to text[],
    reports_to uuid,
    created_at timestamptz,
    last_heartbeat timestamptz
);

-- A lock of an agent on a resource: a lease, or bound to a session or a transaction.
CREATE TYPE caliber_lock_row AS (
    lock_id uuid,
    resource_type text COLLATE "C",
    resource_id uuid,
    holder_agent_id uuid,
    acquired_at timestamptz,
    expires_at timestamptz,
    mode text COLLATE "C",
    level text COLLATE "C",
    backend_pid integer
);

-- A message to an agent, to any one agent of a type, or to everybody.
CREATE TYPE caliber_message_row AS (
    message_id uuid,
    from_agent_id uuid,
    to_agent_id uuid,
    to_agent_type text COLLATE "C",
    message_type text COLLATE "C",
    payload text,
    trajectory_id uuid,
    scope_id uuid,
    artifact_ids uuid[],
    created_at timestamptz,
    delivered_at timestamptz,
    acknowledged_at timestamptz,
    priority text COLLATE "C",
    expires_at timestamptz,
    received_by uuid
);

-- Work that one agent asks another, or any agent of a type, to do.
CREATE TYPE caliber_delegation_row AS (
    delegation_id uuid,
    delegator_agent_id uuid,
    delegatee_agent_id uuid,
    delegatee_agent_type text COLLATE "C",
    task_description text,
    parent_trajectory_id uuid,
    child_trajectory_id uuid,
    shared_artifacts uuid[],
    shared_notes uuid[],
    additional_context text,
    constraints jsonb,
    deadline timestamptz,
    status text COLLATE "C",
    result jsonb,
    created_at timestamptz,
    accepted_at timestamptz,
    completed_at timestamptz
);

-- The passing on of a scope from one agent to another.
CREATE TYPE caliber_handoff_row AS (
    handoff_id uuid,
    from_agent_id uuid,
    to_agent_id uuid,
    to_agent_type text COLLATE "C",
    trajectory_id uuid,
    scope_id uuid,
    context_snapshot_id uuid,
    handoff_notes text,
    next_steps text[],
    blockers text[],
    open_questions text[],
    status text COLLATE "C",
    initiated_at timestamptz,
    accepted_at timestamptz,
    completed_at timestamptz,
    reason text COLLATE "C"
);

-- Two items that contradict or obstruct each other, and how that was resolved.
CREATE TYPE caliber_conflict_row AS (
    conflict_id uuid,
    conflict_type text COLLATE "C",
    item_a_type text COLLATE "C",
    item_a_id uuid,
    item_b_type text COLLATE "C",
    item_b_id uuid,
    agent_a_id uuid,
    agent_b_id uuid,
    trajectory_id uuid,
    status text COLLATE "C",
    resolution jsonb,
    detected_at timestamptz,
    resolved_at timestamptz
);

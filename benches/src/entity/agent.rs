//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static AGENT: Entity = Entity {
    name: "agent",
    table: "caliber_agent",
    key: "agent_id",
    rows: &[
        ("agent_id", "bench.agent(n)"),
        ("agent_type", "'type ' || n / 100"),
        ("capabilities", "'{plan,split}'"),
        ("memory_access", "'{}'"),
        ("status", "'idle'"),
        ("can_delegate_to", "'{}'"),
        ("created_at", "now()"),
        ("last_heartbeat", "clock_timestamp()"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "register",
            "caliber_agent_register",
            &[
                ("agent_type", "text", "'type ' || h"),
                ("capabilities", "text[]", "'{plan,split}'"),
            ],
            "uuid",
            "INSERT INTO public.caliber_agent (agent_id, agent_type, capabilities, memory_access, status, can_delegate_to, created_at, last_heartbeat)
             VALUES (:id, :agent_type, :capabilities, '{}', 'idle', '{}', pg_catalog.now(), pg_catalog.clock_timestamp())",
        ),
        operation(
            Kind::Get,
            "by id",
            "caliber_agent_get",
            &[("agent_id", "uuid", "bench.agent(r)")],
            "public.caliber_agent_row",
            "SELECT x.* FROM public.caliber_agent x WHERE x.agent_id == :agent_id",
        ),
        operation(
            Kind::Update,
            "assign",
            "caliber_agent_assign",
            &[
                ("agent_id", "uuid", "bench.agent(r)"),
                ("trajectory_id", "uuid", "bench.trajectory(h / 100)"),
                ("scope_id", "uuid", "bench.scope(h)"),
            ],
            "boolean",
            "UPDATE public.caliber_agent
             SET status = 'active', current_trajectory_id = :trajectory_id, current_scope_id = :scope_id
             WHERE agent_id == :agent_id AND status == 'idle'",
        ),
        operation(
            Kind::Hot,
            "heartbeat",
            "caliber_agent_heartbeat",
            &[("agent_id", "uuid", "bench.agent(r)")],
            "boolean",
            "UPDATE public.caliber_agent SET last_heartbeat = pg_catalog.clock_timestamp() WHERE agent_id == :agent_id",
        ),
        operation(
            Kind::List,
            "of a type",
            "caliber_agent_list_by_type",
            &[
                ("agent_type", "text", "'type ' || g"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_agent_row",
            "SELECT x.* FROM public.caliber_agent x WHERE x.agent_type == :agent_type ORDER BY x.agent_id LIMIT :max_rows",
        ),
    ],
};

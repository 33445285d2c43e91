//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static HANDOFF: Entity = Entity {
    name: "handoff",
    table: "caliber_handoff",
    key: "handoff_id",
    rows: &[
        ("handoff_id", "bench.handoff(n)"),
        // By 100 to an agent, never from itself. Of each 5000, which are to 50 agents of one type,
        // the first 20 are for that type instead; the first 5 of all are for any.
        ("from_agent_id", "bench.agent(n % 250 * 2 + 1)"),
        ("to_agent_id", "CASE WHEN n % 5000 >= 20 THEN bench.agent(n / 100 * 2 + 2) END"),
        (
            "to_agent_type",
            "CASE WHEN n < 5 THEN '*' WHEN n % 5000 < 20 THEN 'type ' || n / 5000 END",
        ),
        ("trajectory_id", "bench.trajectory(n / 100)"),
        ("scope_id", "bench.scope(n)"),
        ("context_snapshot_id", "bench.artifact(n)"),
        ("handoff_notes", "repeat('where it stands ', 5)"),
        ("next_steps", "'{}'"),
        ("blockers", "'{}'"),
        ("open_questions", "'{}'"),
        ("status", "'initiated'"),
        ("initiated_at", "now()"),
        ("reason", "'scheduled'"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "to an agent",
            "caliber_handoff_create",
            &[
                ("from_agent_id", "uuid", "bench.agent(h)"),
                ("to_agent_id", "uuid", "bench.agent(h + 1)"),
                ("to_agent_type", "text", "NULL"),
                ("trajectory_id", "uuid", "bench.trajectory(h / 100)"),
                ("scope_id", "uuid", "bench.scope(h)"),
                ("context_snapshot_id", "uuid", "bench.artifact(h)"),
                ("reason", "text", "'scheduled'"),
                ("handoff_notes", "text", "repeat('where it stands ', 5)"),
            ],
            "uuid",
            "INSERT INTO public.caliber_handoff (handoff_id, from_agent_id, to_agent_id, to_agent_type, trajectory_id, scope_id,
                 context_snapshot_id, handoff_notes, next_steps, blockers, open_questions, status, initiated_at, reason)
             VALUES (:id, :from_agent_id, :to_agent_id, :to_agent_type, :trajectory_id, :scope_id, :context_snapshot_id,
                 :handoff_notes, '{}', '{}', '{}', 'initiated', pg_catalog.now(), :reason)",
        )
        .foreign_keys(3),
        operation(
            Kind::Get,
            "by id",
            "caliber_handoff_get",
            &[("handoff_id", "uuid", "bench.handoff(r)")],
            "public.caliber_handoff_row",
            "SELECT x.* FROM public.caliber_handoff x WHERE x.handoff_id == :handoff_id",
        ),
        operation(
            Kind::Update,
            "reject",
            "caliber_handoff_reject",
            &[("handoff_id", "uuid", "bench.handoff(r)")],
            "boolean",
            "UPDATE public.caliber_handoff SET status = 'rejected' WHERE handoff_id == :handoff_id AND status == 'initiated'",
        ),
        operation(
            Kind::List,
            "of a task",
            "caliber_handoff_list_by_trajectory",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_handoff_row",
            "SELECT x.* FROM public.caliber_handoff x WHERE x.trajectory_id == :trajectory_id ORDER BY x.handoff_id LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "initiated for an agent",
            "caliber_handoff_list_for_agent",
            &[
                ("agent_id", "uuid", "bench.agent(g * 2 + 2)"),
                ("status", "text", "'initiated'"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_handoff_row",
            // No row twice: what is initiated for a type is addressed to no agent.
            "SELECT u.* FROM (
                 SELECT x.* FROM public.caliber_handoff x WHERE x.to_agent_id == :agent_id AND x.status == :status
                 UNION ALL
                 SELECT x.* FROM public.caliber_handoff x WHERE x.status == 'initiated' AND :status == 'initiated'
                     AND x.to_agent_type == ANY (ARRAY[(SELECT a.agent_type FROM public.caliber_agent a WHERE a.agent_id == :agent_id), '*'])
                     AND x.from_agent_id OPERATOR(pg_catalog.<>) :agent_id
             ) u ORDER BY u.handoff_id LIMIT :max_rows",
        ),
    ],
};

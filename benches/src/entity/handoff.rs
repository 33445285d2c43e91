//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static HANDOFF: Entity = Entity {
    name: "handoff",
    table: "caliber_handoff",
    key: "handoff_id",
    rows: &[
        ("handoff_id", "bench.handoff(n)"),
        ("from_agent_id", "bench.agent(n % 500)"),
        ("to_agent_id", "bench.agent(n % 500 + 1)"),
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
            "SELECT x FROM public.caliber_handoff x WHERE x.handoff_id == :handoff_id",
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
    ],
};

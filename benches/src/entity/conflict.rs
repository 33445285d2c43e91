//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static CONFLICT: Entity = Entity {
    name: "conflict",
    table: "caliber_conflict",
    key: "conflict_id",
    rows: &[
        ("conflict_id", "bench.conflict(n)"),
        ("conflict_type", "'contradicting_fact'"),
        ("item_a_type", "'artifact'"),
        ("item_a_id", "bench.artifact(n / 100)"),
        ("item_b_type", "'note'"),
        ("item_b_id", "bench.note(n)"),
        ("agent_a_id", "bench.agent(n % 500)"),
        ("agent_b_id", "bench.agent(n % 500 + 1)"),
        ("trajectory_id", "bench.trajectory(n / 100)"),
        ("status", "'detected'"),
        ("detected_at", "now()"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "of two agents",
            "caliber_conflict_create",
            &[
                ("conflict_type", "text", "'contradicting_fact'"),
                ("item_a_type", "text", "'artifact'"),
                ("item_a_id", "uuid", "bench.artifact(h)"),
                ("item_b_type", "text", "'note'"),
                ("item_b_id", "uuid", "bench.note(h)"),
                ("agent_a_id", "uuid", "bench.agent(h)"),
                ("agent_b_id", "uuid", "bench.agent(h + 1)"),
                ("trajectory_id", "uuid", "bench.trajectory(h)"),
            ],
            "uuid",
            "INSERT INTO public.caliber_conflict (conflict_id, conflict_type, item_a_type, item_a_id, item_b_type, item_b_id,
                 agent_a_id, agent_b_id, trajectory_id, status, detected_at)
             VALUES (:id, :conflict_type, :item_a_type, :item_a_id, :item_b_type, :item_b_id, :agent_a_id, :agent_b_id,
                 :trajectory_id, 'detected', pg_catalog.now())",
        )
        .foreign_keys(3),
        operation(
            Kind::Get,
            "by id",
            "caliber_conflict_get",
            &[("conflict_id", "uuid", "bench.conflict(r)")],
            "public.caliber_conflict_row",
            "SELECT x.* FROM public.caliber_conflict x WHERE x.conflict_id == :conflict_id",
        ),
        operation(
            Kind::Update,
            "start",
            "caliber_conflict_start",
            &[("conflict_id", "uuid", "bench.conflict(r)")],
            "boolean",
            "UPDATE public.caliber_conflict SET status = 'resolving' WHERE conflict_id == :conflict_id AND status == 'detected'",
        ),
        operation(
            Kind::List,
            "of an item",
            "caliber_conflict_list_by_item",
            &[
                ("item_id", "uuid", "bench.artifact(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_conflict_row",
            // Both indexes, neither row twice.
            "SELECT u.* FROM (
                 (SELECT x.* FROM public.caliber_conflict x WHERE x.item_a_id == :item_id ORDER BY x.conflict_id LIMIT :max_rows)
                 UNION ALL
                 (SELECT x.* FROM public.caliber_conflict x WHERE x.item_b_id == :item_id
                     AND x.item_a_id OPERATOR(pg_catalog.<>) :item_id ORDER BY x.conflict_id LIMIT :max_rows)
             ) u ORDER BY u.conflict_id LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "pending",
            "caliber_conflict_list_pending",
            &[
                ("max_rows", "integer", "100"),
                // In the first half, so that 100 come after it.
                ("after", "uuid", "bench.conflict(r / 2)"),
            ],
            "public.caliber_conflict_row",
            "SELECT x.* FROM public.caliber_conflict x WHERE x.status OPERATOR(pg_catalog.<>) 'resolved'
             AND x.conflict_id OPERATOR(pg_catalog.>) :after ORDER BY x.conflict_id LIMIT :max_rows",
        ),
    ],
};

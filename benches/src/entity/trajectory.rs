//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static TRAJECTORY: Entity = Entity {
    name: "trajectory",
    table: "caliber_trajectory",
    key: "trajectory_id",
    rows: &[
        ("trajectory_id", "bench.trajectory(n)"),
        ("name", "'task ' || n"),
        ("description", "repeat('what is to be done ', 5)"),
        ("status", "'active'"),
        // The first 100 are roots; the others are by 100 under one parent.
        ("parent_trajectory_id", "CASE WHEN n >= 100 THEN bench.trajectory(n / 100) END"),
        (
            "root_trajectory_id",
            "CASE WHEN n < 100 THEN NULL WHEN n < 10000 THEN bench.trajectory(n / 100)
                WHEN n < 1000000 THEN bench.trajectory(n / 10000) ELSE bench.trajectory(n / 1000000) END",
        ),
        ("agent_id", "bench.agent(n / 100)"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
        ("metadata", "'{\"customer\": \"ACME\"}'"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "a task without a parent",
            "caliber_trajectory_create",
            &[
                ("name", "text", "'task ' || n"),
                ("description", "text", "repeat('what is to be done ', 5)"),
                ("agent_id", "uuid", "bench.agent(h)"),
            ],
            "uuid",
            "INSERT INTO public.caliber_trajectory (trajectory_id, name, description, status, agent_id, created_at, updated_at)
             VALUES (:id, :name, :description, 'active', :agent_id, pg_catalog.now(), pg_catalog.now())",
        ),
        operation(
            Kind::Get,
            "by id",
            "caliber_trajectory_get",
            &[("trajectory_id", "uuid", "bench.trajectory(r)")],
            "public.caliber_trajectory_row",
            "SELECT x.* FROM public.caliber_trajectory x WHERE x.trajectory_id == :trajectory_id",
        ),
        operation(
            Kind::GetNear,
            "by id, 500 rows in turn",
            "caliber_trajectory_get",
            &[("trajectory_id", "uuid", "bench.trajectory(h)")],
            "public.caliber_trajectory_row",
            "SELECT x.* FROM public.caliber_trajectory x WHERE x.trajectory_id == :trajectory_id",
        ),
        operation(
            Kind::Update,
            "agent_id",
            "caliber_trajectory_update",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(r)"),
                ("updates", "jsonb", "jsonb_build_object('agent_id', bench.agent(h))"),
            ],
            "boolean",
            "UPDATE public.caliber_trajectory
             SET agent_id = (:updates OPERATOR(pg_catalog.->>) 'agent_id')::pg_catalog.uuid, updated_at = pg_catalog.now()
             WHERE trajectory_id == :trajectory_id",
        ),
        operation(
            Kind::Hot,
            "name",
            "caliber_trajectory_update",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(r)"),
                ("updates", "jsonb", "jsonb_build_object('name', 'task ' || n)"),
            ],
            "boolean",
            "UPDATE public.caliber_trajectory
             SET name = :updates OPERATOR(pg_catalog.->>) 'name', updated_at = pg_catalog.now()
             WHERE trajectory_id == :trajectory_id",
        ),
        operation(
            Kind::List,
            "of an agent",
            "caliber_trajectory_list_by_agent",
            &[
                ("agent_id", "uuid", "bench.agent(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_trajectory_row",
            "SELECT x.* FROM public.caliber_trajectory x WHERE x.agent_id == :agent_id ORDER BY x.trajectory_id LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "by status",
            "caliber_trajectory_list_by_status",
            &[
                ("status", "text", "'active'"),
                ("max_rows", "integer", "100"),
                // In the first half, so that 100 come after it.
                ("after", "uuid", "bench.trajectory(r / 2)"),
            ],
            "public.caliber_trajectory_row",
            "SELECT x.* FROM public.caliber_trajectory x WHERE x.status == :status
             AND x.trajectory_id OPERATOR(pg_catalog.>) :after ORDER BY x.trajectory_id LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "of children",
            "caliber_trajectory_list_children",
            &[
                // The first has none.
                ("trajectory_id", "uuid", "bench.trajectory(greatest(g, 1))"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_trajectory_row",
            "SELECT x.* FROM public.caliber_trajectory x WHERE x.parent_trajectory_id == :trajectory_id
             ORDER BY x.trajectory_id LIMIT :max_rows",
        ),
    ],
};

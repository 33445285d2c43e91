//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static DELEGATION: Entity = Entity {
    name: "delegation",
    table: "caliber_delegation",
    key: "delegation_id",
    rows: &[
        ("delegation_id", "bench.delegation(n)"),
        ("delegator_agent_id", "bench.agent(n / 100 * 2 + 1)"),
        // Even rows are by 100 to an agent, never to the one that made them. Odd rows are for a
        // type: most for one that no agent has, so that what is open to an agent stays the same
        // however many rows there are.
        ("delegatee_agent_id", "CASE WHEN n % 2 = 0 THEN bench.agent(n / 200 * 2 + 2) END"),
        (
            "delegatee_agent_type",
            "CASE WHEN n % 2 = 0 THEN NULL WHEN n < 10 THEN '*' WHEN n % 10000 < 30 THEN 'type ' || n / 10000
                ELSE 'role ' || n / 400 END",
        ),
        ("task_description", "repeat('what to do ', 10)"),
        ("parent_trajectory_id", "bench.trajectory(n / 100)"),
        ("shared_artifacts", "'{}'"),
        ("shared_notes", "'{}'"),
        ("constraints", "'{}'"),
        ("status", "'pending'"),
        ("created_at", "now()"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "to an agent",
            "caliber_delegation_create",
            &[
                ("delegator_agent_id", "uuid", "bench.agent(h)"),
                ("delegatee_agent_id", "uuid", "bench.agent(h + 1)"),
                ("delegatee_agent_type", "text", "NULL"),
                ("task_description", "text", "repeat('what to do ', 10)"),
                ("parent_trajectory_id", "uuid", "bench.trajectory(h)"),
            ],
            "uuid",
            "INSERT INTO public.caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_id, delegatee_agent_type,
                 task_description, parent_trajectory_id, shared_artifacts, shared_notes, constraints, status, created_at)
             VALUES (:id, :delegator_agent_id, :delegatee_agent_id, :delegatee_agent_type, :task_description, :parent_trajectory_id,
                 '{}', '{}', '{}', 'pending', pg_catalog.now())",
        )
        .foreign_keys(3),
        operation(
            Kind::Get,
            "by id",
            "caliber_delegation_get",
            &[("delegation_id", "uuid", "bench.delegation(r)")],
            "public.caliber_delegation_row",
            "SELECT x.* FROM public.caliber_delegation x WHERE x.delegation_id == :delegation_id",
        ),
        operation(
            Kind::Update,
            "reject",
            "caliber_delegation_reject",
            &[("delegation_id", "uuid", "bench.delegation(r)")],
            "boolean",
            "UPDATE public.caliber_delegation SET status = 'rejected', result = NULL
             WHERE delegation_id == :delegation_id AND status == 'pending'",
        ),
        operation(
            Kind::List,
            "of a delegator",
            "caliber_delegation_list_by_delegator",
            &[
                ("agent_id", "uuid", "bench.agent(g * 2 + 1)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_delegation_row",
            "SELECT x.* FROM public.caliber_delegation x WHERE x.delegator_agent_id == :agent_id ORDER BY x.delegation_id LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "for an agent",
            "caliber_delegation_list_for_agent",
            &[
                ("agent_id", "uuid", "bench.agent(g / 2 * 2 + 2)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_delegation_row",
            // No row twice: what is pending for a type is addressed to no agent.
            "SELECT u.* FROM (
                 SELECT x.* FROM public.caliber_delegation x WHERE x.delegatee_agent_id == :agent_id
                     AND x.status == ANY ('{pending,accepted,in_progress}')
                 UNION ALL
                 SELECT x.* FROM public.caliber_delegation x WHERE x.status == 'pending'
                     AND x.delegatee_agent_type == ANY (ARRAY[(SELECT a.agent_type FROM public.caliber_agent a WHERE a.agent_id == :agent_id), '*'])
                     AND x.delegator_agent_id OPERATOR(pg_catalog.<>) :agent_id
             ) u ORDER BY u.delegation_id LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "pending for a type",
            "caliber_delegation_list_pending",
            &[
                ("agent_type", "text", "'role ' || g / 4"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_delegation_row",
            // Each branch in the order of its index.
            "SELECT u.* FROM (
                 (SELECT x.* FROM public.caliber_delegation x WHERE x.status == 'pending'
                     AND x.delegatee_agent_type == :agent_type ORDER BY x.delegation_id LIMIT :max_rows)
                 UNION ALL
                 (SELECT x.* FROM public.caliber_delegation x WHERE x.status == 'pending'
                     AND x.delegatee_agent_type == '*' AND :agent_type OPERATOR(pg_catalog.<>) '*'
                     ORDER BY x.delegation_id LIMIT :max_rows)
             ) u ORDER BY u.delegation_id LIMIT :max_rows",
        ),
    ],
};

//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static DELEGATION: Entity = Entity {
    name: "delegation",
    table: "caliber_delegation",
    key: "delegation_id",
    rows: &[
        ("delegation_id", "bench.delegation(n)"),
        ("delegator_agent_id", "bench.agent(n / 100)"),
        ("delegatee_agent_id", "bench.agent(n % 500 + 1)"),
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
            "SELECT x FROM public.caliber_delegation x WHERE x.delegation_id == :delegation_id",
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
                ("agent_id", "uuid", "bench.agent(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_delegation_row",
            "SELECT x.* FROM public.caliber_delegation x WHERE x.delegator_agent_id == :agent_id ORDER BY x.delegation_id LIMIT :max_rows",
        ),
    ],
};

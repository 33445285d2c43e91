//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static SCOPE: Entity = Entity {
    name: "scope",
    table: "caliber_scope",
    key: "scope_id",
    rows: &[
        ("scope_id", "bench.scope(n)"),
        ("trajectory_id", "bench.trajectory(n / 100)"),
        ("name", "'scope ' || n"),
        ("purpose", "'to find out'"),
        ("is_active", "true"),
        ("created_at", "now()"),
        ("token_budget", "8000"),
        ("tokens_used", "0"),
        ("metadata", "'{\"step\": 1}'"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "in a task",
            "caliber_scope_create",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(h)"),
                ("name", "text", "'scope ' || n"),
                ("purpose", "text", "'to find out'"),
                ("token_budget", "integer", "4000"),
            ],
            "uuid",
            "INSERT INTO public.caliber_scope (scope_id, trajectory_id, name, purpose, is_active, created_at, token_budget, tokens_used)
             VALUES (:id, :trajectory_id, :name, :purpose, true, pg_catalog.now(), :token_budget, 0)",
        )
        .foreign_keys(1),
        operation(
            Kind::Get,
            "by id",
            "caliber_scope_get",
            &[("scope_id", "uuid", "bench.scope(r)")],
            "public.caliber_scope_row",
            "SELECT x.* FROM public.caliber_scope x WHERE x.scope_id == :scope_id",
        ),
        operation(
            Kind::Update,
            "close",
            "caliber_scope_close",
            &[("scope_id", "uuid", "bench.scope(r)")],
            "boolean",
            "UPDATE public.caliber_scope SET is_active = false, closed_at = pg_catalog.now()
             WHERE scope_id == :scope_id AND is_active",
        ),
        operation(
            Kind::Hot,
            "update_tokens",
            "caliber_scope_update_tokens",
            &[
                ("scope_id", "uuid", "bench.scope(r)"),
                ("tokens_used", "integer", "n"),
            ],
            "boolean",
            "UPDATE public.caliber_scope SET tokens_used = :tokens_used WHERE scope_id == :scope_id AND is_active",
        ),
        operation(
            Kind::List,
            "of a task",
            "caliber_scope_list_by_trajectory",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_scope_row",
            "SELECT x.* FROM public.caliber_scope x WHERE x.trajectory_id == :trajectory_id ORDER BY x.scope_id LIMIT :max_rows",
        ),
    ],
};

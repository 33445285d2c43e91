//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static TURN: Entity = Entity {
    name: "turn",
    table: "caliber_turn",
    key: "turn_id",
    rows: &[
        ("turn_id", "bench.turn(n)"),
        ("scope_id", "bench.scope(n / 100)"),
        ("sequence", "n % 100"),
        ("role", "'user'"),
        ("content", "repeat('what was said ', 10)"),
        ("token_count", "30"),
        ("created_at", "now()"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "with a sequence",
            "caliber_turn_create",
            &[
                ("scope_id", "uuid", "bench.scope(h)"),
                ("sequence", "integer", "1000 + n"),
                ("role", "text", "'user'"),
                ("content", "text", "repeat('what was said ', 10)"),
                ("token_count", "integer", "30"),
            ],
            "uuid",
            // Nothing is written into a closed scope.
            "INSERT INTO public.caliber_turn (turn_id, scope_id, sequence, role, content, token_count, created_at)
             SELECT :id, s.scope_id, :sequence, :role, :content, :token_count, pg_catalog.now()
             FROM public.caliber_scope s WHERE s.scope_id == :scope_id AND s.is_active",
        )
        .foreign_keys(1),
        operation(
            Kind::Many,
            "100 with sequences",
            "caliber_turn_create_many",
            &[
                ("scope_id", "uuid", "bench.scope(h)"),
                (
                    "turns",
                    "jsonb",
                    "(SELECT jsonb_agg(jsonb_build_object('sequence', 1000 + n * 100 + i, 'role', 'user',
                        'content', repeat('what was said ', 10), 'token_count', 30)) FROM generate_series(0, 99) i)",
                ),
            ],
            "uuid",
            "INSERT INTO public.caliber_turn (turn_id, scope_id, sequence, role, content, token_count, created_at)
             SELECT public.caliber_new_id(), s.scope_id, e.sequence, e.role, e.content, COALESCE(e.token_count, 0), pg_catalog.now()
             FROM public.caliber_scope s, ROWS FROM (pg_catalog.jsonb_to_recordset(:turns)
                 AS (sequence pg_catalog.int4, role pg_catalog.text, content pg_catalog.text, token_count pg_catalog.int4)) WITH ORDINALITY e
             WHERE s.scope_id == :scope_id AND s.is_active ORDER BY e.ordinality
             RETURNING turn_id",
        )
        .foreign_keys(1),
        operation(
            Kind::Get,
            "by id",
            "caliber_turn_get",
            &[("turn_id", "uuid", "bench.turn(r)")],
            "public.caliber_turn_row",
            "SELECT x.* FROM public.caliber_turn x WHERE x.turn_id == :turn_id",
        ),
        operation(
            Kind::List,
            "of a scope",
            "caliber_turn_get_by_scope",
            &[
                ("scope_id", "uuid", "bench.scope(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_turn_row",
            "SELECT x.* FROM public.caliber_turn x WHERE x.scope_id == :scope_id ORDER BY x.sequence LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "last of a scope",
            "caliber_turn_get_recent",
            &[
                ("scope_id", "uuid", "bench.scope(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_turn_row",
            "SELECT l.* FROM (
                 SELECT x.* FROM public.caliber_turn x WHERE x.scope_id == :scope_id ORDER BY x.sequence DESC LIMIT :max_rows
             ) l ORDER BY l.sequence",
        ),
    ],
};

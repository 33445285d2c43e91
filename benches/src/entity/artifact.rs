//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static ARTIFACT: Entity = Entity {
    name: "artifact",
    table: "caliber_artifact",
    key: "artifact_id",
    rows: &[
        ("artifact_id", "bench.artifact(n)"),
        ("trajectory_id", "bench.trajectory(n / 10000)"),
        ("scope_id", "bench.scope(n / 100)"),
        ("artifact_type", "'fact'"),
        ("name", "'fact ' || n"),
        ("content", "repeat('what was found ', 10)"),
        ("content_hash", "sha256(convert_to(repeat('what was found ', 10), 'UTF8'))"),
        ("provenance", "'{\"source_turn\": 1, \"extraction_method\": \"explicit\", \"confidence\": null}'"),
        ("ttl", "'persistent'"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "without an embedding",
            "caliber_artifact_create",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(h / 100)"),
                ("scope_id", "uuid", "bench.scope(h)"),
                ("artifact_type", "text", "'fact'"),
                ("name", "text", "'fact ' || n"),
                ("content", "text", "repeat('what was found ', 10)"),
                ("source_turn", "integer", "1"),
            ],
            "uuid",
            "INSERT INTO public.caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash,
                 provenance, ttl, created_at, updated_at)
             VALUES (:id, :trajectory_id, :scope_id, :artifact_type, :name, :content,
                 pg_catalog.sha256(pg_catalog.convert_to(:content, 'UTF8')),
                 pg_catalog.jsonb_build_object('source_turn', :source_turn, 'extraction_method', 'explicit', 'confidence', NULL),
                 'persistent', pg_catalog.now(), pg_catalog.now())",
        )
        .foreign_keys(1),
        operation(
            Kind::Many,
            "100 without embeddings",
            "caliber_artifact_create_many",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(h / 100)"),
                ("scope_id", "uuid", "bench.scope(h)"),
                (
                    "artifacts",
                    "jsonb",
                    "(SELECT jsonb_agg(jsonb_build_object('artifact_type', 'fact', 'name', 'fact ' || i,
                        'content', repeat('what was found ', 10), 'source_turn', 1)) FROM generate_series(0, 99) i)",
                ),
            ],
            "uuid",
            "INSERT INTO public.caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash,
                 provenance, ttl, created_at, updated_at)
             SELECT public.caliber_new_id(), :trajectory_id, :scope_id, e.artifact_type, e.name, e.content,
                 pg_catalog.sha256(pg_catalog.convert_to(e.content, 'UTF8')),
                 pg_catalog.jsonb_build_object('source_turn', COALESCE(e.source_turn, 0), 'extraction_method', 'explicit', 'confidence', NULL),
                 'persistent', pg_catalog.now(), pg_catalog.now()
             FROM ROWS FROM (pg_catalog.jsonb_to_recordset(:artifacts)
                 AS (artifact_type pg_catalog.text, name pg_catalog.text, content pg_catalog.text, source_turn pg_catalog.int4)) WITH ORDINALITY e
             ORDER BY e.ordinality
             RETURNING artifact_id",
        )
        .foreign_keys(1),
        operation(
            Kind::Get,
            "by id",
            "caliber_artifact_get",
            &[("artifact_id", "uuid", "bench.artifact(r)")],
            "public.caliber_artifact_row",
            "SELECT x.* FROM public.caliber_artifact x WHERE x.artifact_id == :artifact_id",
        ),
        operation(
            Kind::Update,
            "superseded_by",
            "caliber_artifact_update",
            &[
                ("artifact_id", "uuid", "bench.artifact(r)"),
                ("updates", "jsonb", "jsonb_build_object('superseded_by', bench.artifact(h))"),
            ],
            "boolean",
            "UPDATE public.caliber_artifact
             SET superseded_by = (:updates OPERATOR(pg_catalog.->>) 'superseded_by')::pg_catalog.uuid, updated_at = pg_catalog.now()
             WHERE artifact_id == :artifact_id",
        ),
        operation(
            Kind::Hot,
            "metadata",
            "caliber_artifact_update",
            &[
                ("artifact_id", "uuid", "bench.artifact(r)"),
                ("updates", "jsonb", "jsonb_build_object('metadata', jsonb_build_object('seen', n))"),
            ],
            "boolean",
            "UPDATE public.caliber_artifact
             SET metadata = :updates OPERATOR(pg_catalog.->) 'metadata', updated_at = pg_catalog.now()
             WHERE artifact_id == :artifact_id",
        ),
        operation(
            Kind::List,
            "of a scope",
            "caliber_artifact_query_by_scope",
            &[
                ("scope_id", "uuid", "bench.scope(g)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_artifact_row",
            concat!(
                "SELECT x.* FROM public.caliber_artifact x WHERE x.scope_id == :scope_id AND ",
                live!(),
                " ORDER BY x.artifact_id LIMIT :max_rows"
            ),
        ),
        operation(
            Kind::List,
            "of a type in a task",
            "caliber_artifact_query_by_type",
            &[
                ("trajectory_id", "uuid", "bench.trajectory(r / 10000)"),
                ("artifact_type", "text", "'fact'"),
                ("max_rows", "integer", "100"),
                // In the first half of the task's artifacts, so that 100 come after it.
                ("after", "uuid", "bench.artifact(r / 10000 * 10000 + r % 10000 / 2)"),
            ],
            "public.caliber_artifact_row",
            concat!(
                "SELECT x.* FROM public.caliber_artifact x WHERE x.trajectory_id == :trajectory_id
                 AND x.artifact_type == :artifact_type AND x.artifact_id OPERATOR(pg_catalog.>) :after AND ",
                live!(),
                " ORDER BY x.artifact_id LIMIT :max_rows"
            ),
        ),
    ],
};

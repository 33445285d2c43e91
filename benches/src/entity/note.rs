//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

pub(super) static NOTE: Entity = Entity {
    name: "note",
    table: "caliber_note",
    key: "note_id",
    rows: &[
        ("note_id", "bench.note(n)"),
        ("note_type", "(ARRAY['fact', 'gotcha', 'insight', 'strategy'])[1 + n % 4]"),
        ("title", "'note ' || n"),
        ("content", "repeat('what was learnt ', 10)"),
        ("content_hash", "sha256(convert_to(repeat('what was learnt ', 10), 'UTF8'))"),
        ("source_trajectory_ids", "ARRAY[bench.trajectory(n / 100)]"),
        ("source_artifact_ids", "'{}'"),
        ("ttl", "'persistent'"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
        ("accessed_at", "now()"),
        ("access_count", "0"),
        ("abstraction_level", "'raw'"),
        ("source_note_ids", "'{}'"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "with one source, without an embedding",
            "caliber_note_create",
            &[
                ("note_type", "text", "'fact'"),
                ("title", "text", "'note ' || n"),
                ("content", "text", "repeat('what was learnt ', 10)"),
                ("source_trajectory_ids", "uuid[]", "ARRAY[bench.trajectory(h)]"),
            ],
            "uuid",
            "INSERT INTO public.caliber_note (note_id, note_type, title, content, content_hash, source_trajectory_ids,
                 source_artifact_ids, ttl, created_at, updated_at, accessed_at, access_count, abstraction_level, source_note_ids)
             VALUES (:id, :note_type, :title, :content, pg_catalog.sha256(pg_catalog.convert_to(:content, 'UTF8')),
                 :source_trajectory_ids, '{}', 'persistent', pg_catalog.now(), pg_catalog.now(), pg_catalog.now(), 0, 'raw', '{}')",
        ),
        operation(
            Kind::Get,
            "by id",
            "caliber_note_get",
            &[("note_id", "uuid", "bench.note(r)")],
            "public.caliber_note_row",
            "SELECT x.* FROM public.caliber_note x WHERE x.note_id == :note_id",
        ),
        operation(
            Kind::Update,
            "superseded_by",
            "caliber_note_update",
            &[
                ("note_id", "uuid", "bench.note(r)"),
                ("updates", "jsonb", "jsonb_build_object('superseded_by', bench.note(h))"),
            ],
            "boolean",
            "UPDATE public.caliber_note
             SET superseded_by = (:updates OPERATOR(pg_catalog.->>) 'superseded_by')::pg_catalog.uuid, updated_at = pg_catalog.now()
             WHERE note_id == :note_id",
        ),
        operation(
            Kind::Hot,
            "touch",
            "caliber_note_touch",
            &[("note_id", "uuid", "bench.note(r)")],
            "boolean",
            "UPDATE public.caliber_note
             SET access_count = access_count OPERATOR(pg_catalog.+) 1, accessed_at = pg_catalog.now()
             WHERE note_id == :note_id",
        ),
        operation(
            Kind::List,
            "of a type",
            "caliber_note_list_by_type",
            &[
                ("note_type", "text", "(ARRAY['fact', 'gotcha', 'insight', 'strategy'])[1 + n % 4]"),
                ("max_rows", "integer", "100"),
                // In the first half, so that 100 of the type come after it.
                ("after", "uuid", "bench.note(r / 2)"),
            ],
            "public.caliber_note_row",
            concat!(
                "SELECT x.* FROM public.caliber_note x WHERE x.note_type == :note_type
                 AND x.note_id OPERATOR(pg_catalog.>) :after AND ",
                live!(),
                " ORDER BY x.note_id LIMIT :max_rows"
            ),
        ),
    ],
};

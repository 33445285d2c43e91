//! Operations on embeddings, in a database where every artifact and note has one, with HNSW
//! indexes. What these cost would hide what everything else costs, so they are measured apart.

use super::artifact::ARTIFACT;
use super::note::NOTE;
use super::{operation, Entity, Kind, Operation};

/// [`DIMENSIONS`], as a statement says it: a partial index wants the constant.
macro_rules! dimensions {
    () => {
        128
    };
}

/// Dimensions of all embeddings.
pub const DIMENSIONS: u32 = dimensions!();

/// Statements, each to be run by itself, that give every artifact and note an embedding of
/// [`DIMENSIONS`], and make the HNSW indexes if they are not there: the embeddings are in 200
/// clusters, the same in each run. Arguments of [`operations`] want the function that they make.
#[must_use]
pub fn fill_embeddings() -> &'static [&'static str] {
    &FILL
}

/// The number of a row, from its id (see [`crate::world::prepare`]).
macro_rules! number {
    ($id:literal) => {
        concat!(
            "('x' || pg_catalog.right(",
            $id,
            "::text, 12))::bit(48)::bigint"
        )
    };
}

static FILL: [&str; 8] = [
    concat!(
        "CREATE OR REPLACE FUNCTION bench.embedding(n bigint) RETURNS public.vector LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (
             SELECT pg_catalog.array_agg(
                 (pg_catalog.hashint8extended(i, -1 - n % 200) % 1000 + pg_catalog.hashint8extended(i, n) % 300)::real
                 ORDER BY i)::public.vector
             FROM pg_catalog.generate_series(1::bigint, ",
        dimensions!(),
        ") i)"
    ),
    // An index is made faster than it grows.
    "DO $$ DECLARE name regclass; BEGIN
         FOR name IN SELECT x.indexrelid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_am a ON a.oid = c.relam
             WHERE a.amname = 'hnsw' LOOP
             EXECUTE format('DROP INDEX %s', name);
         END LOOP; END $$",
    concat!(
        "UPDATE public.caliber_artifact SET embedding = bench.embedding(",
        number!("artifact_id"),
        ")"
    ),
    concat!(
        "UPDATE public.caliber_note SET embedding = bench.embedding(",
        number!("note_id"),
        ")"
    ),
    "VACUUM (FULL, FREEZE, ANALYZE) public.caliber_artifact, public.caliber_note",
    "SET maintenance_work_mem = '256MB'",
    concat!(
        "SELECT public.caliber_init(embedding_dimensions => ",
        dimensions!(),
        ")"
    ),
    "RESET maintenance_work_mem; CHECKPOINT",
];

/// Every operation on embeddings, with its entity.
#[must_use]
pub fn operations() -> Vec<(&'static Entity, &'static Operation)> {
    let artifacts = ARTIFACTS.iter().map(|operation| (&ARTIFACT, operation));
    let notes = NOTES.iter().map(|operation| (&NOTE, operation));
    artifacts.chain(notes).collect()
}

/// Distance, in the very expressions of the index (caliber-pg/sql/embedding.sql).
macro_rules! distance {
    () => {
        concat!(
            "(x.embedding::public.vector(",
            dimensions!(),
            ")) OPERATOR(public.<=>) (:query::public.vector(",
            dimensions!(),
            "))"
        )
    };
}

/// The nearest of the rows that are neither superseded nor expired.
macro_rules! nearest {
    ($table:literal) => {
        concat!(
            "SELECT x::public.",
            $table,
            "_row, ",
            distance!(),
            " FROM public.",
            $table,
            " x WHERE public.vector_dims(x.embedding) == ",
            dimensions!(),
            " AND x.superseded_by IS NULL AND ",
            live!(),
            " ORDER BY ",
            distance!(),
            " LIMIT :k"
        )
    };
}

/// A place near those of some rows, where none is.
const QUERY: &[super::Argument] = &[
    (
        "query",
        "public.vector",
        "bench.embedding(1000000000 + r::bigint)",
    ),
    ("k", "integer", "10"),
];

static ARTIFACTS: [Operation; 2] = [
    operation(
        Kind::CreateVector,
        "with an embedding",
        "caliber_artifact_create",
        &[
            ("trajectory_id", "uuid", "bench.trajectory(h / 100)"),
            ("scope_id", "uuid", "bench.scope(h)"),
            ("artifact_type", "text", "'fact'"),
            ("name", "text", "'fact ' || n"),
            ("content", "text", "repeat('what was found ', 10)"),
            ("source_turn", "integer", "1"),
            ("extraction_method", "text", "'inferred'"),
            ("confidence", "real", "0.75"),
            ("ttl", "text", "'persistent'"),
            (
                "embedding",
                "public.vector",
                "bench.embedding(2000000000 + n::bigint)",
            ),
        ],
        "uuid",
        "INSERT INTO public.caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash,
             embedding, provenance, ttl, created_at, updated_at)
         VALUES (:id, :trajectory_id, :scope_id, :artifact_type, :name, :content,
             pg_catalog.sha256(pg_catalog.convert_to(:content, 'UTF8')), :embedding,
             pg_catalog.jsonb_build_object('source_turn', :source_turn, 'extraction_method', :extraction_method,
                 'confidence', :confidence), :ttl, pg_catalog.now(), pg_catalog.now())",
    )
    .foreign_keys(1),
    operation(
        Kind::Search,
        "through the index",
        "caliber_artifact_search",
        QUERY,
        "TABLE(item public.caliber_artifact_row, distance double precision)",
        nearest!("caliber_artifact"),
    ),
];

static NOTES: [Operation; 2] = [
    operation(
        Kind::CreateVector,
        "with one source and an embedding",
        "caliber_note_create",
        &[
            ("note_type", "text", "'fact'"),
            ("title", "text", "'note ' || n"),
            ("content", "text", "repeat('what was learnt ', 10)"),
            (
                "source_trajectory_ids",
                "uuid[]",
                "ARRAY[bench.trajectory(h)]",
            ),
            ("source_artifact_ids", "uuid[]", "'{}'"),
            ("ttl", "text", "'persistent'"),
            (
                "embedding",
                "public.vector",
                "bench.embedding(2000000000 + n::bigint)",
            ),
        ],
        "uuid",
        "INSERT INTO public.caliber_note (note_id, note_type, title, content, content_hash, embedding, source_trajectory_ids,
             source_artifact_ids, ttl, created_at, updated_at, accessed_at, access_count, abstraction_level, source_note_ids)
         VALUES (:id, :note_type, :title, :content, pg_catalog.sha256(pg_catalog.convert_to(:content, 'UTF8')), :embedding,
             :source_trajectory_ids, :source_artifact_ids, :ttl, pg_catalog.now(), pg_catalog.now(), pg_catalog.now(),
             0, 'raw', '{}')",
    ),
    operation(
        Kind::Search,
        "through the index",
        "caliber_note_search",
        QUERY,
        "TABLE(item public.caliber_note_row, distance double precision)",
        nearest!("caliber_note"),
    ),
];

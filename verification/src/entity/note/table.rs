//! Columns, indexes and functions of Note.

use crate::entity::{
    btree, column, defaulted, function, gin, hnsw, id_array, made, optional, refers, required, ttl,
    Default, Function, Index, Kind, Param, Shape, Table, PAGE,
};
use crate::value::{Type, Value};

pub(super) const KIND: &[&str] = &[
    "convention",
    "strategy",
    "gotcha",
    "fact",
    "preference",
    "relationship",
    "procedure",
    "meta",
    "insight",
    "correction",
    "summary",
];
pub(super) const LEVEL: &[&str] = &["raw", "summary", "principle"];
pub(super) const UPDATABLE: &[&str] = &[
    "title",
    "content",
    "embedding",
    "superseded_by",
    "ttl",
    "metadata",
];
const ID: Param = required("note_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "note",
    name: "caliber_note",
    key: "note_id",
    columns: &[
        column("note_id", Type::Uuid).not_null(),
        column("note_type", Type::Text).not_null().one_of(KIND),
        column("title", Type::Text).not_null(),
        column("content", Type::Text).not_null(),
        column("content_hash", Type::Bytes).not_null(),
        column("embedding", Type::Vector),
        column("source_trajectory_ids", Type::Uuids).not_null(),
        column("source_artifact_ids", Type::Uuids).not_null(),
        column("ttl", Type::Text).not_null(),
        made("created_at").not_null(),
        made("updated_at").not_null(),
        made("accessed_at").not_null(),
        column("access_count", Type::Int).not_null(),
        column("superseded_by", Type::Uuid),
        column("metadata", Type::Json),
        column("abstraction_level", Type::Text)
            .not_null()
            .one_of(LEVEL),
        column("source_note_ids", Type::Uuids).not_null(),
    ],
    indexes: INDEXES,
    foreign_keys: &[refers(&["superseded_by"], "note", &["note_id"])],
};

const INDEXES: &[Index] = &[
    btree(&["note_id"]).unique(),
    gin(&["source_trajectory_ids"]),
    btree(&["note_type", "note_id"]),
    btree(&["superseded_by"]).only("superseded_by IS NOT NULL"),
    hnsw(3),
];

fn is_a_ttl(value: &Value) -> bool {
    value.text().is_some_and(|text| ttl::is_of_note(&text))
}

fn is_a_count(value: &Value) -> bool {
    matches!(value, Value::Int(k) if (1..=1000).contains(k))
}

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_note_create",
        Kind::Create,
        Shape::Scalar,
        &[
            required("note_type").one_of(KIND),
            required("title").not_empty(),
            required("content"),
            id_array("source_trajectory_ids"),
            id_array("source_artifact_ids"),
            defaulted("ttl", Default::Text("persistent")).takes(is_a_ttl, ttl::REFUSED_BY_NOTE),
            optional("embedding"),
            defaulted("abstraction_level", Default::Text("raw")).one_of(LEVEL),
            id_array("source_note_ids"),
            optional("metadata"),
            optional("id"),
        ],
    ),
    function("caliber_note_get", Kind::Get, Shape::Row, &[ID.or_null()]),
    function(
        "caliber_note_query_by_trajectory",
        Kind::List,
        Shape::Set,
        &[required("trajectory_id"), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_note_update",
        Kind::Update,
        Shape::Scalar,
        &[ID, required("updates")],
    ),
    function("caliber_note_touch", Kind::Verb, Shape::Scalar, &[ID]),
    function(
        "caliber_note_list_by_type",
        Kind::List,
        Shape::Set,
        &[required("note_type").one_of(KIND), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_note_search",
        Kind::List,
        Shape::Set,
        &[
            required("query"),
            defaulted("k", Default::Int(10)).takes(is_a_count, &["0", "-1", "1001"]),
        ],
    ),
    function("caliber_note_delete", Kind::Delete, Shape::Scalar, &[ID]),
];

pub(super) static HELPERS: &[Function] = &[
    function("verification.age_note", Kind::Helper, Shape::Scalar, &[ID]),
    function(
        "verification.put_ttl_note",
        Kind::Helper,
        Shape::Scalar,
        &[ID, required("ttl")],
    ),
];

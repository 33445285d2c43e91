//! Columns, indexes and functions of Artifact.

use crate::entity::{
    btree, column, defaulted, function, hnsw, made, optional, refers, required, ttl, Default,
    Function, Index, Kind, Param, Shape, Table, PAGE,
};
use crate::value::{Type, Value};

pub(super) const KIND: &[&str] = &[
    "error_log",
    "code_patch",
    "design_decision",
    "user_preference",
    "fact",
    "constraint",
    "tool_result",
    "intermediate_output",
    "custom",
    "code",
    "document",
    "data",
    "model",
    "config",
    "log",
    "summary",
    "decision",
    "plan",
];
pub(super) const EXTRACTION: &[&str] = &[
    "explicit",
    "inferred",
    "user_provided",
    "llm_extraction",
    "tool_extraction",
    "memory_recall",
    "external_api",
    "unknown",
];
pub(super) const UPDATABLE: &[&str] = &[
    "name",
    "content",
    "embedding",
    "superseded_by",
    "ttl",
    "metadata",
];
const ID: Param = required("artifact_id");
const TASK: Param = required("trajectory_id");
const SCOPE: Param = required("scope_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "artifact",
    name: "caliber_artifact",
    key: "artifact_id",
    columns: &[
        column("artifact_id", Type::Uuid).not_null(),
        column("trajectory_id", Type::Uuid).not_null(),
        column("scope_id", Type::Uuid).not_null(),
        column("artifact_type", Type::Text).not_null().one_of(KIND),
        column("name", Type::Text).not_null(),
        column("content", Type::Text).not_null(),
        column("content_hash", Type::Bytes).not_null(),
        column("embedding", Type::Vector),
        column("provenance", Type::Json).not_null(),
        column("ttl", Type::Text).not_null(),
        made("created_at").not_null(),
        made("updated_at").not_null(),
        column("superseded_by", Type::Uuid),
        column("metadata", Type::Json),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(
            &["trajectory_id", "scope_id"],
            "scope",
            &["trajectory_id", "scope_id"],
        ),
        refers(&["superseded_by"], "artifact", &["artifact_id"]),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["artifact_id"]).unique(),
    btree(&["trajectory_id", "artifact_type", "artifact_id"]),
    btree(&["scope_id", "artifact_id"]),
    btree(&["superseded_by"]).only("superseded_by IS NOT NULL"),
    hnsw(3),
];

fn is_a_ttl(value: &Value) -> bool {
    value.text().is_some_and(|text| ttl::is_of_artifact(&text))
}

fn is_a_turn(value: &Value) -> bool {
    matches!(value, Value::Int(turn) if *turn >= 0)
}

fn is_a_share(value: &Value) -> bool {
    let share = value.text().and_then(|text| text.parse::<f32>().ok());
    share.is_some_and(|share| (0.0..=1.0).contains(&share))
}

fn is_a_count(value: &Value) -> bool {
    matches!(value, Value::Int(k) if (1..=1000).contains(k))
}

/// The create, whose parameters the elements of `caliber_artifact_create_many` have.
pub(super) static CREATE: Function = function(
    "caliber_artifact_create",
    Kind::Create,
    Shape::Scalar,
    &[
        TASK,
        SCOPE,
        required("artifact_type").one_of(KIND),
        required("name").not_empty(),
        required("content"),
        defaulted("source_turn", Default::Int(0)).takes(is_a_turn, &["-1", "-2147483648"]),
        defaulted("extraction_method", Default::Text("explicit")).one_of(EXTRACTION),
        optional("confidence").takes(
            is_a_share,
            &[
                "'-0.01'::real",
                "'1.01'::real",
                "'NaN'::real",
                "'Infinity'::real",
            ],
        ),
        defaulted("ttl", Default::Text("persistent")).takes(is_a_ttl, ttl::REFUSED),
        optional("embedding"),
        optional("metadata"),
        optional("id"),
    ],
);

pub(super) static FUNCTIONS: &[Function] = &[
    CREATE,
    function(
        "caliber_artifact_create_many",
        Kind::Many,
        Shape::Set,
        &[TASK, SCOPE, required("artifacts")],
    ),
    function(
        "caliber_artifact_get",
        Kind::Get,
        Shape::Row,
        &[ID.or_null()],
    ),
    function(
        "caliber_artifact_query_by_type",
        Kind::List,
        Shape::Set,
        &[
            TASK,
            required("artifact_type").one_of(KIND),
            PAGE[0],
            PAGE[1],
        ],
    ),
    function(
        "caliber_artifact_query_by_scope",
        Kind::List,
        Shape::Set,
        &[SCOPE, PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_artifact_update",
        Kind::Update,
        Shape::Scalar,
        &[ID, required("updates")],
    ),
    function(
        "caliber_artifact_search",
        Kind::List,
        Shape::Set,
        &[
            required("query"),
            defaulted("k", Default::Int(10)).takes(is_a_count, &["0", "-1", "1001"]),
            optional("trajectory_id"),
        ],
    ),
    function(
        "caliber_artifact_delete",
        Kind::Delete,
        Shape::Scalar,
        &[ID],
    ),
];

pub(super) static HELPERS: &[Function] = &[
    function(
        "verification.age_artifact",
        Kind::Helper,
        Shape::Scalar,
        &[ID],
    ),
    function(
        "verification.put_ttl_artifact",
        Kind::Helper,
        Shape::Scalar,
        &[ID, required("ttl")],
    ),
];

/// The types of the create's parameters, as JSON gives them.
pub(super) fn types(name: &str) -> Type {
    match name {
        "id" => Type::Uuid,
        "source_turn" => Type::Int,
        "extraction_method" => Type::Text,
        "confidence" => Type::Real,
        _ => TABLE.column(name).ty,
    }
}

//! Columns, indexes and functions of Turn.

use crate::entity::{
    btree, column, function, made, optional, refers, required, Default, Function, Index, Kind,
    Param, Shape, Table,
};
use crate::value::Type;

pub(super) const ROLE: &[&str] = &["user", "assistant", "system", "tool"];
const ID: Param = required("turn_id");
const SCOPE: Param = required("scope_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "turn",
    name: "caliber_turn",
    key: "turn_id",
    columns: &[
        column("turn_id", Type::Uuid).not_null(),
        column("scope_id", Type::Uuid).not_null(),
        column("sequence", Type::Int).not_null(),
        column("role", Type::Text).not_null().one_of(ROLE),
        column("content", Type::Text).not_null(),
        column("token_count", Type::Int).not_null(),
        made("created_at").not_null(),
        column("tool_calls", Type::Json),
        column("tool_results", Type::Json),
        column("metadata", Type::Json),
    ],
    indexes: INDEXES,
    foreign_keys: &[refers(&["scope_id"], "scope", &["scope_id"])],
};

const INDEXES: &[Index] = &[
    btree(&["turn_id"]).unique(),
    btree(&["scope_id", "sequence"]).unique(),
];

/// The create, whose parameters the elements of `caliber_turn_create_many` have.
pub(super) static CREATE: Function = function(
    "caliber_turn_create",
    Kind::Create,
    Shape::Scalar,
    &[
        SCOPE,
        required("sequence").or_null(),
        required("role").one_of(ROLE),
        required("content"),
        required("token_count").default(Default::Int(0)),
        optional("tool_calls"),
        optional("tool_results"),
        optional("metadata"),
        optional("id"),
    ],
);

pub(super) static FUNCTIONS: &[Function] = &[
    CREATE,
    function(
        "caliber_turn_create_many",
        Kind::Many,
        Shape::Set,
        &[SCOPE, required("turns")],
    ),
    function("caliber_turn_get", Kind::Get, Shape::Row, &[ID.or_null()]),
    function(
        "caliber_turn_get_by_scope",
        Kind::List,
        Shape::Set,
        &[SCOPE, optional("max_rows"), optional("after_sequence")],
    ),
    function(
        "caliber_turn_get_recent",
        Kind::List,
        Shape::Set,
        &[SCOPE, required("max_rows").default(Default::Int(20))],
    ),
    function("caliber_turn_delete", Kind::Delete, Shape::Scalar, &[ID]),
];

/// The types of the create's parameters, as JSON gives them.
pub(super) fn types(name: &str) -> Type {
    match name {
        "id" => Type::Uuid,
        _ => TABLE.column(name).ty,
    }
}

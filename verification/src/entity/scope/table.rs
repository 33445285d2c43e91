//! Columns, indexes and functions of Scope.

use crate::entity::{
    btree, column, function, made, optional, refers, required, Default, Function, Index, Kind,
    Param, Shape, Table, PAGE,
};
use crate::value::Type;

pub(super) const UPDATABLE: &[&str] =
    &["name", "purpose", "checkpoint", "token_budget", "metadata"];
const ID: Param = required("scope_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "scope",
    name: "caliber_scope",
    key: "scope_id",
    columns: &[
        column("scope_id", Type::Uuid).not_null(),
        column("trajectory_id", Type::Uuid).not_null(),
        column("parent_scope_id", Type::Uuid),
        column("name", Type::Text).not_null(),
        column("purpose", Type::Text),
        column("is_active", Type::Bool).not_null(),
        made("created_at").not_null(),
        made("closed_at"),
        column("checkpoint", Type::Json),
        column("token_budget", Type::Int).not_null(),
        column("tokens_used", Type::Int).not_null(),
        column("metadata", Type::Json),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(&["trajectory_id"], "trajectory", &["trajectory_id"]),
        refers(
            &["trajectory_id", "parent_scope_id"],
            "scope",
            &["trajectory_id", "scope_id"],
        ),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["scope_id"]).unique(),
    btree(&["trajectory_id", "scope_id"]).unique(),
    btree(&["trajectory_id", "scope_id"]).only("is_active"),
    btree(&["parent_scope_id"]).only("parent_scope_id IS NOT NULL"),
];

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_scope_create",
        Kind::Create,
        Shape::Scalar,
        &[
            required("trajectory_id"),
            required("name").not_empty(),
            optional("purpose"),
            required("token_budget").default(Default::Int(8000)),
            optional("parent_scope_id"),
            optional("metadata"),
            optional("id"),
        ],
    ),
    function("caliber_scope_get", Kind::Get, Shape::Row, &[ID.or_null()]),
    function(
        "caliber_scope_get_current",
        Kind::List,
        Shape::Row,
        &[required("trajectory_id")],
    ),
    function("caliber_scope_close", Kind::Verb, Shape::Scalar, &[ID]),
    function(
        "caliber_scope_list_by_trajectory",
        Kind::List,
        Shape::Set,
        &[required("trajectory_id"), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_scope_update_tokens",
        Kind::Verb,
        Shape::Scalar,
        &[ID, required("tokens_used")],
    ),
    function(
        "caliber_scope_update",
        Kind::Update,
        Shape::Scalar,
        &[ID, required("updates")],
    ),
    function("caliber_scope_delete", Kind::Delete, Shape::Scalar, &[ID]),
];

//! Columns, indexes and functions of Trajectory.

use crate::entity::life::verb;
use crate::entity::{
    btree, column, function, made, optional, refers, required, Function, Index, Kind, Life, Param,
    Shape, Table, Verb, PAGE,
};
use crate::value::Type;

pub(super) const STATUS: &[&str] = &["active", "completed", "failed", "suspended"];
pub(super) const UPDATABLE: &[&str] = &[
    "name",
    "description",
    "agent_id",
    "parent_trajectory_id",
    "outcome",
    "metadata",
];
const ID: Param = required("trajectory_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "trajectory",
    name: "caliber_trajectory",
    key: "trajectory_id",
    columns: &[
        column("trajectory_id", Type::Uuid).not_null(),
        column("name", Type::Text).not_null(),
        column("description", Type::Text),
        column("status", Type::Text).not_null().one_of(STATUS),
        column("parent_trajectory_id", Type::Uuid),
        column("root_trajectory_id", Type::Uuid),
        column("agent_id", Type::Uuid),
        made("created_at").not_null(),
        made("updated_at").not_null(),
        made("completed_at"),
        column("outcome", Type::Json),
        column("metadata", Type::Json),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(&["parent_trajectory_id"], "trajectory", &["trajectory_id"]),
        refers(&["root_trajectory_id"], "trajectory", &["trajectory_id"]),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["trajectory_id"]).unique(),
    btree(&["status", "trajectory_id"]),
    btree(&["parent_trajectory_id", "trajectory_id"]).only("parent_trajectory_id IS NOT NULL"),
    btree(&["agent_id", "trajectory_id"]).only("agent_id IS NOT NULL"),
    btree(&["root_trajectory_id"]).only("root_trajectory_id IS NOT NULL"),
];

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_trajectory_create",
        Kind::Create,
        Shape::Scalar,
        &[
            required("name").not_empty(),
            optional("description"),
            optional("agent_id"),
            optional("parent_trajectory_id"),
            optional("metadata"),
            optional("id"),
        ],
    ),
    function(
        "caliber_trajectory_get",
        Kind::Get,
        Shape::Row,
        &[ID.or_null()],
    ),
    function(
        "caliber_trajectory_update",
        Kind::Update,
        Shape::Scalar,
        &[ID, required("updates")],
    ),
    function(
        "caliber_trajectory_set_status",
        Kind::Verb,
        Shape::Scalar,
        &[ID, required("status").one_of(STATUS), optional("outcome")],
    ),
    function(
        "caliber_trajectory_list_by_status",
        Kind::List,
        Shape::Set,
        &[required("status").one_of(STATUS), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_trajectory_list_children",
        Kind::List,
        Shape::Set,
        &[ID, PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_trajectory_list_by_agent",
        Kind::List,
        Shape::Set,
        &[required("agent_id"), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_trajectory_delete",
        Kind::Delete,
        Shape::Scalar,
        &[ID],
    ),
];

const fn set_status(
    call: &'static str,
    from: &'static [&'static str],
    to: &'static str,
    already: &'static [&'static str],
) -> Verb {
    verb(call, from, to, already).true_again()
}

/// The life cycle.
pub static LIFE: Life = Life {
    column: "status",
    states: STATUS,
    moves: &[
        ("active", "completed"),
        ("active", "failed"),
        ("active", "suspended"),
        ("suspended", "active"),
        ("suspended", "failed"),
    ],
    verbs: &[
        set_status(
            "caliber_trajectory_set_status('$id', 'active')",
            &["suspended"],
            "active",
            &["active"],
        ),
        set_status(
            "caliber_trajectory_set_status('$id', 'completed')",
            &["active"],
            "completed",
            &["completed"],
        ),
        set_status(
            "caliber_trajectory_set_status('$id', 'failed')",
            &["active", "suspended"],
            "failed",
            &["failed"],
        ),
        set_status(
            "caliber_trajectory_set_status('$id', 'suspended')",
            &["active"],
            "suspended",
            &["suspended"],
        ),
    ],
    row: "INSERT INTO caliber_trajectory (trajectory_id, name, status) VALUES ('$id', 'task', '$state')",
};

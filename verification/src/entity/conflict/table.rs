//! Columns, indexes and functions of Conflict.

use crate::entity::life::{verb, Life};
use crate::entity::{
    btree, column, function, made, optional, refers, required, Function, Index, Kind, Param, Shape,
    Table, PAGE,
};
use crate::value::Type;

pub(super) const KIND: &[&str] = &[
    "concurrent_write",
    "contradicting_fact",
    "incompatible_decision",
    "resource_contention",
    "goal_conflict",
];
pub(super) const STATUS: &[&str] = &["detected", "resolving", "resolved", "escalated"];
pub(super) const STRATEGY: &[&str] = &[
    "last_write_wins",
    "first_write_wins",
    "highest_confidence",
    "merge",
    "escalate",
    "reject_both",
];
const ID: Param = required("conflict_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "conflict",
    name: "caliber_conflict",
    key: "conflict_id",
    columns: &[
        column("conflict_id", Type::Uuid).not_null(),
        column("conflict_type", Type::Text).not_null().one_of(KIND),
        column("item_a_type", Type::Text).not_null(),
        column("item_a_id", Type::Uuid).not_null(),
        column("item_b_type", Type::Text).not_null(),
        column("item_b_id", Type::Uuid).not_null(),
        column("agent_a_id", Type::Uuid),
        column("agent_b_id", Type::Uuid),
        column("trajectory_id", Type::Uuid),
        column("status", Type::Text).not_null().one_of(STATUS),
        column("resolution", Type::Json),
        made("detected_at").not_null(),
        made("resolved_at"),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(&["agent_a_id"], "agent", &["agent_id"]),
        refers(&["agent_b_id"], "agent", &["agent_id"]),
        refers(&["trajectory_id"], "trajectory", &["trajectory_id"]),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["conflict_id"]).unique(),
    btree(&["status", "conflict_id"]).only("status <> 'resolved'"),
    btree(&["item_a_id", "conflict_id"]),
    btree(&["item_b_id", "conflict_id"]),
    btree(&["agent_a_id"]).only("agent_a_id IS NOT NULL"),
    btree(&["agent_b_id"]).only("agent_b_id IS NOT NULL"),
    btree(&["trajectory_id"]).only("trajectory_id IS NOT NULL"),
];

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_conflict_create",
        Kind::Create,
        Shape::Scalar,
        &[
            required("conflict_type").one_of(KIND),
            required("item_a_type").not_empty(),
            required("item_a_id"),
            required("item_b_type").not_empty(),
            required("item_b_id"),
            optional("agent_a_id"),
            optional("agent_b_id"),
            optional("trajectory_id"),
            optional("id"),
        ],
    ),
    function(
        "caliber_conflict_get",
        Kind::Get,
        Shape::Row,
        &[ID.or_null()],
    ),
    function(
        "caliber_conflict_resolve",
        Kind::Verb,
        Shape::Scalar,
        &[
            ID,
            required("strategy").one_of(STRATEGY),
            optional("winner").one_of(&["a", "b"]),
            optional("reason"),
            optional("merged_result_id"),
            optional("resolved_by"),
        ],
    ),
    function(
        "caliber_conflict_list_pending",
        Kind::List,
        Shape::Set,
        &PAGE,
    ),
    function("caliber_conflict_start", Kind::Verb, Shape::Scalar, &[ID]),
    function(
        "caliber_conflict_list_by_item",
        Kind::List,
        Shape::Set,
        &[required("item_id"), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_conflict_delete",
        Kind::Delete,
        Shape::Scalar,
        &[ID],
    ),
];

/// The life cycle.
pub static LIFE: Life = Life {
    column: "status",
    states: STATUS,
    moves: &[
        ("detected", "resolving"),
        ("detected", "resolved"),
        ("detected", "escalated"),
        ("resolving", "resolved"),
        ("resolving", "escalated"),
        ("escalated", "resolved"),
    ],
    verbs: &[
        verb(
            "caliber_conflict_start('$id')",
            &["detected"],
            "resolving",
            &["resolving"],
        ),
        verb(
            "caliber_conflict_resolve('$id', 'merge')",
            &["detected", "resolving", "escalated"],
            "resolved",
            &["resolved"],
        ),
        verb(
            "caliber_conflict_resolve('$id', 'first_write_wins', 'b')",
            &["detected", "resolving", "escalated"],
            "resolved",
            &["resolved"],
        ),
        verb(
            "caliber_conflict_resolve('$id', 'escalate')",
            &["detected", "resolving"],
            "escalated",
            &["escalated"],
        ),
    ],
    row: "INSERT INTO caliber_conflict (conflict_id, conflict_type, item_a_type, item_a_id, item_b_type, item_b_id, status) \
        VALUES ('$id', 'goal_conflict', 'task', '$task', 'task', '$scope', '$state')",
};

//! Columns, indexes and functions of Agent.

use crate::entity::life::{verb, Life, Verb};
use crate::entity::{
    btree, column, defaulted, function, made, optional, refers, required, text_array, wall,
    Default, Function, Index, Kind, Param, Shape, Table, PAGE,
};
use crate::value::{Type, Value};

pub(super) const STATUS: &[&str] = &["idle", "active", "blocked", "failed"];
const ID: Param = required("agent_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "agent",
    name: "caliber_agent",
    key: "agent_id",
    columns: &[
        column("agent_id", Type::Uuid).not_null(),
        column("agent_type", Type::Text).not_null(),
        column("capabilities", Type::Texts).not_null(),
        column("memory_access", Type::Json).not_null(),
        column("status", Type::Text).not_null().one_of(STATUS),
        column("current_trajectory_id", Type::Uuid),
        column("current_scope_id", Type::Uuid),
        column("can_delegate_to", Type::Texts).not_null(),
        column("reports_to", Type::Uuid),
        made("created_at").not_null(),
        wall("last_heartbeat").not_null(),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(&["current_trajectory_id"], "trajectory", &["trajectory_id"]),
        refers(
            &["current_trajectory_id", "current_scope_id"],
            "scope",
            &["trajectory_id", "scope_id"],
        ),
        refers(&["reports_to"], "agent", &["agent_id"]),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["agent_id"]).unique(),
    btree(&["agent_type", "agent_id"]),
    btree(&["current_trajectory_id"]).only("current_trajectory_id IS NOT NULL"),
    btree(&["current_scope_id"]).only("current_scope_id IS NOT NULL"),
    btree(&["reports_to"]).only("reports_to IS NOT NULL"),
];

/// A type that an agent may have: not empty, and not the one that means all.
fn is_a_type(value: &Value) -> bool {
    value.text().is_some_and(|text| text != "*")
}

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_agent_register",
        Kind::Create,
        Shape::Scalar,
        &[
            required("agent_type")
                .not_empty()
                .takes(is_a_type, &["'*'"]),
            text_array("capabilities"),
            defaulted("memory_access", Default::Object),
            text_array("can_delegate_to"),
            optional("reports_to"),
            optional("id"),
        ],
    ),
    function("caliber_agent_get", Kind::Get, Shape::Row, &[ID.or_null()]),
    function("caliber_agent_heartbeat", Kind::Verb, Shape::Scalar, &[ID]),
    function(
        "caliber_agent_set_status",
        Kind::Verb,
        Shape::Scalar,
        &[ID, required("status").one_of(STATUS)],
    ),
    function(
        "caliber_agent_list_by_type",
        Kind::List,
        Shape::Set,
        &[required("agent_type").not_empty(), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_agent_assign",
        Kind::Verb,
        Shape::Scalar,
        &[
            ID,
            required("trajectory_id").or_null(),
            required("scope_id").or_null(),
        ],
    ),
    function("caliber_agent_release", Kind::Verb, Shape::Scalar, &[ID]),
    function(
        "caliber_agent_list_stale",
        Kind::List,
        Shape::Set,
        &[required("stale_after"), PAGE[0], PAGE[1]],
    ),
    function("caliber_agent_delete", Kind::Delete, Shape::Scalar, &[ID]),
];

pub(super) static HELPERS: &[Function] = &[function(
    "verification.age_agent",
    Kind::Helper,
    Shape::Scalar,
    &[ID],
)];

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
        ("idle", "active"),
        ("idle", "failed"),
        ("active", "idle"),
        ("active", "blocked"),
        ("active", "failed"),
        ("blocked", "active"),
        ("blocked", "idle"),
        ("blocked", "failed"),
        ("failed", "idle"),
    ],
    verbs: &[
        set_status(
            "caliber_agent_set_status('$id', 'idle')",
            &["active", "blocked", "failed"],
            "idle",
            &["idle"],
        ),
        set_status(
            "caliber_agent_set_status('$id', 'active')",
            &["idle", "blocked"],
            "active",
            &["active"],
        ),
        set_status(
            "caliber_agent_set_status('$id', 'blocked')",
            &["active"],
            "blocked",
            &["blocked"],
        ),
        set_status(
            "caliber_agent_set_status('$id', 'failed')",
            &["idle", "active", "blocked"],
            "failed",
            &["failed"],
        ),
        // An active one works on something else already.
        verb(
            "caliber_agent_assign('$id', '$task', '$scope')",
            &["idle"],
            "active",
            &[],
        ),
        verb(
            "caliber_agent_release('$id')",
            &["active", "blocked"],
            "idle",
            &["idle"],
        ),
    ],
    row:
        "INSERT INTO caliber_agent (agent_id, agent_type, status) VALUES ('$id', 'coder', '$state')",
};

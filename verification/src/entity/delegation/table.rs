//! Columns, indexes and functions of Delegation.

use crate::entity::{
    btree, column, defaulted, function, id_array, made, optional, refers, required, verb, Default,
    Function, Index, Kind, Life, Param, Shape, Table, PAGE,
};
use crate::value::{Type, Value};

pub(super) const STATUS: &[&str] = &[
    "pending",
    "accepted",
    "rejected",
    "in_progress",
    "completed",
    "failed",
];
const ID: Param = required("delegation_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "delegation",
    name: "caliber_delegation",
    key: "delegation_id",
    columns: &[
        column("delegation_id", Type::Uuid).not_null(),
        column("delegator_agent_id", Type::Uuid).not_null(),
        column("delegatee_agent_id", Type::Uuid),
        column("delegatee_agent_type", Type::Text),
        column("task_description", Type::Text).not_null(),
        column("parent_trajectory_id", Type::Uuid).not_null(),
        column("child_trajectory_id", Type::Uuid),
        column("shared_artifacts", Type::Uuids).not_null(),
        column("shared_notes", Type::Uuids).not_null(),
        column("additional_context", Type::Text),
        column("constraints", Type::Json).not_null(),
        column("deadline", Type::Time),
        column("status", Type::Text).not_null().one_of(STATUS),
        column("result", Type::Json),
        made("created_at").not_null(),
        made("accepted_at"),
        made("completed_at"),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(&["delegator_agent_id"], "agent", &["agent_id"]),
        refers(&["delegatee_agent_id"], "agent", &["agent_id"]),
        refers(&["parent_trajectory_id"], "trajectory", &["trajectory_id"]),
        refers(&["child_trajectory_id"], "trajectory", &["trajectory_id"]),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["delegation_id"]).unique(),
    btree(&["delegatee_agent_type", "delegation_id"]).only("status = 'pending'"),
    btree(&["delegatee_agent_id", "status", "delegation_id"])
        .only("delegatee_agent_id IS NOT NULL"),
    btree(&["delegator_agent_id", "delegation_id"]),
    btree(&["parent_trajectory_id"]),
    btree(&["child_trajectory_id"]).only("child_trajectory_id IS NOT NULL"),
];

fn is_an_object(value: &Value) -> bool {
    value
        .text()
        .is_some_and(|text| text.trim().starts_with('{'))
}

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_delegation_create",
        Kind::Create,
        Shape::Scalar,
        &[
            required("delegator_agent_id"),
            required("delegatee_agent_id").or_null(),
            required("delegatee_agent_type").or_null().not_empty(),
            required("task_description"),
            required("parent_trajectory_id"),
            id_array("shared_artifacts"),
            id_array("shared_notes"),
            optional("additional_context"),
            defaulted("constraints", Default::Object),
            optional("deadline"),
            optional("id"),
        ],
    ),
    function(
        "caliber_delegation_get",
        Kind::Get,
        Shape::Row,
        &[ID.or_null()],
    ),
    function(
        "caliber_delegation_accept",
        Kind::Verb,
        Shape::Scalar,
        &[
            ID,
            required("delegatee_agent_id"),
            optional("child_trajectory_id"),
        ],
    ),
    function(
        "caliber_delegation_complete",
        Kind::Verb,
        Shape::Scalar,
        &[
            ID,
            required("success"),
            optional("summary"),
            optional("result").takes(
                is_an_object,
                &[
                    "'[]'::jsonb",
                    "'null'::jsonb",
                    "'\"x\"'::jsonb",
                    "'3'::jsonb",
                ],
            ),
            optional("agent_id"),
        ],
    ),
    function(
        "caliber_delegation_list_pending",
        Kind::List,
        Shape::Set,
        &[optional("agent_type").not_empty(), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_delegation_list_for_agent",
        Kind::List,
        Shape::Set,
        &[required("agent_id"), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_delegation_list_by_delegator",
        Kind::List,
        Shape::Set,
        &[required("agent_id"), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_delegation_start",
        Kind::Verb,
        Shape::Scalar,
        &[ID, optional("agent_id")],
    ),
    function(
        "caliber_delegation_reject",
        Kind::Verb,
        Shape::Scalar,
        &[ID, optional("reason")],
    ),
    function(
        "caliber_delegation_reclaim",
        Kind::Verb,
        Shape::Scalar,
        &[
            ID,
            required("stale_after"),
            optional("delegatee_agent_id"),
            optional("delegatee_agent_type").not_empty(),
        ],
    ),
    function(
        "caliber_delegation_delete",
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
        ("pending", "accepted"),
        ("pending", "rejected"),
        ("accepted", "in_progress"),
        ("accepted", "completed"),
        ("accepted", "failed"),
        ("in_progress", "completed"),
        ("in_progress", "failed"),
    ],
    verbs: &[
        verb(
            "caliber_delegation_accept('$id', '$coder')",
            &["pending"],
            "accepted",
            &["accepted", "in_progress", "completed", "failed"],
        ),
        verb(
            "caliber_delegation_accept('$id', '$coder', '$task')",
            &["pending"],
            "accepted",
            &["accepted", "in_progress", "completed", "failed"],
        ),
        verb(
            "caliber_delegation_reject('$id', 'no time')",
            &["pending"],
            "rejected",
            &["rejected"],
        ),
        verb(
            "caliber_delegation_start('$id')",
            &["accepted"],
            "in_progress",
            &["in_progress"],
        ),
        verb(
            "caliber_delegation_complete('$id', true)",
            &["accepted", "in_progress"],
            "completed",
            &["completed"],
        ),
        verb(
            "caliber_delegation_complete('$id', false, result => '{}')",
            &["accepted", "in_progress"],
            "failed",
            &["failed"],
        ),
        verb(
            "caliber_delegation_reclaim('$id', interval '-1 day')",
            &["accepted", "in_progress"],
            "pending",
            &["pending", "rejected", "completed", "failed"],
        )
        .beside(),
    ],
    row: "INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_id, delegatee_agent_type, \
        task_description, parent_trajectory_id, status) VALUES ('$id', '$boss', \
        CASE WHEN '$state' NOT IN ('pending', 'rejected') THEN '$coder'::uuid END, 'coder', 'work', '$task', '$state')",
};

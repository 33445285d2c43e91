//! Columns, indexes and functions of Handoff.

use crate::entity::{
    btree, column, defaulted, function, made, optional, refers, required, text_array, verb,
    Default, Function, Index, Kind, Life, Param, Shape, Table, PAGE,
};
use crate::value::Type;

pub(super) const STATUS: &[&str] = &["initiated", "accepted", "completed", "rejected"];
pub(super) const REASON: &[&str] = &[
    "capability_mismatch",
    "load_balancing",
    "specialization",
    "escalation",
    "timeout",
    "failure",
    "scheduled",
];
const ID: Param = required("handoff_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "handoff",
    name: "caliber_handoff",
    key: "handoff_id",
    columns: &[
        column("handoff_id", Type::Uuid).not_null(),
        column("from_agent_id", Type::Uuid).not_null(),
        column("to_agent_id", Type::Uuid),
        column("to_agent_type", Type::Text),
        column("trajectory_id", Type::Uuid).not_null(),
        column("scope_id", Type::Uuid).not_null(),
        column("context_snapshot_id", Type::Uuid).not_null(),
        column("handoff_notes", Type::Text).not_null(),
        column("next_steps", Type::Texts).not_null(),
        column("blockers", Type::Texts).not_null(),
        column("open_questions", Type::Texts).not_null(),
        column("status", Type::Text).not_null().one_of(STATUS),
        made("initiated_at").not_null(),
        made("accepted_at"),
        made("completed_at"),
        column("reason", Type::Text).not_null().one_of(REASON),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(&["from_agent_id"], "agent", &["agent_id"]),
        refers(&["to_agent_id"], "agent", &["agent_id"]),
        refers(
            &["trajectory_id", "scope_id"],
            "scope",
            &["trajectory_id", "scope_id"],
        ),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["handoff_id"]).unique(),
    btree(&["to_agent_id", "status", "handoff_id"]).only("to_agent_id IS NOT NULL"),
    btree(&["to_agent_type", "handoff_id"]).only("status = 'initiated'"),
    btree(&["trajectory_id", "handoff_id"]),
    btree(&["from_agent_id"]),
    btree(&["scope_id"]),
];

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_handoff_create",
        Kind::Create,
        Shape::Scalar,
        &[
            required("from_agent_id"),
            required("to_agent_id").or_null(),
            required("to_agent_type").or_null().not_empty(),
            required("trajectory_id"),
            required("scope_id"),
            required("context_snapshot_id"),
            defaulted("reason", Default::Text("scheduled")).one_of(REASON),
            defaulted("handoff_notes", Default::Text("")),
            text_array("next_steps"),
            text_array("blockers"),
            text_array("open_questions"),
            optional("id"),
        ],
    ),
    function(
        "caliber_handoff_get",
        Kind::Get,
        Shape::Row,
        &[ID.or_null()],
    ),
    function(
        "caliber_handoff_accept",
        Kind::Verb,
        Shape::Scalar,
        &[ID, required("accepting_agent_id")],
    ),
    function(
        "caliber_handoff_complete",
        Kind::Verb,
        Shape::Scalar,
        &[ID, optional("agent_id")],
    ),
    function("caliber_handoff_reject", Kind::Verb, Shape::Scalar, &[ID]),
    function(
        "caliber_handoff_list_for_agent",
        Kind::List,
        Shape::Set,
        &[
            required("agent_id"),
            defaulted("status", Default::Text("initiated")).one_of(STATUS),
            PAGE[0],
            PAGE[1],
        ],
    ),
    function(
        "caliber_handoff_list_by_trajectory",
        Kind::List,
        Shape::Set,
        &[required("trajectory_id"), PAGE[0], PAGE[1]],
    ),
    function("caliber_handoff_delete", Kind::Delete, Shape::Scalar, &[ID]),
];

/// The life cycle.
pub static LIFE: Life = Life {
    column: "status",
    states: STATUS,
    moves: &[
        ("initiated", "accepted"),
        ("initiated", "rejected"),
        ("accepted", "completed"),
    ],
    verbs: &[
        verb(
            "caliber_handoff_accept('$id', '$coder')",
            &["initiated"],
            "accepted",
            &["accepted", "completed"],
        ),
        verb(
            "caliber_handoff_complete('$id')",
            &["accepted"],
            "completed",
            &["completed"],
        ),
        verb(
            "caliber_handoff_reject('$id')",
            &["initiated"],
            "rejected",
            &["rejected"],
        ),
    ],
    row: "INSERT INTO caliber_handoff (handoff_id, from_agent_id, to_agent_id, to_agent_type, trajectory_id, scope_id, \
        context_snapshot_id, reason, status) VALUES ('$id', '$boss', \
        CASE WHEN '$state' NOT IN ('initiated', 'rejected') THEN '$coder'::uuid END, 'coder', '$task', '$scope', '$id', \
        'scheduled', '$state')",
};

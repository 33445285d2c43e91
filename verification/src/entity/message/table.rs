//! Columns, indexes and functions of Message.

use crate::entity::{
    btree, column, defaulted, function, id_array, made, optional, refers, required, wall, Default,
    Function, Index, Kind, Param, Shape, Table,
};
use crate::value::Type;

pub(super) const KIND: &[&str] = &[
    "task_delegation",
    "task_result",
    "context_request",
    "context_share",
    "coordination_signal",
    "handoff",
    "interrupt",
    "heartbeat",
];
/// By rank: the last comes first.
pub(super) const PRIORITY: &[&str] = &["low", "normal", "high", "critical"];
const ID: Param = required("message_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "message",
    name: "caliber_message",
    key: "message_id",
    columns: &[
        column("message_id", Type::Uuid).not_null(),
        column("from_agent_id", Type::Uuid).not_null(),
        column("to_agent_id", Type::Uuid),
        column("to_agent_type", Type::Text),
        column("message_type", Type::Text).not_null().one_of(KIND),
        column("payload", Type::Text).not_null(),
        column("trajectory_id", Type::Uuid),
        column("scope_id", Type::Uuid),
        column("artifact_ids", Type::Uuids).not_null(),
        made("created_at").not_null(),
        wall("delivered_at"),
        made("acknowledged_at"),
        column("priority", Type::Text).not_null().one_of(PRIORITY),
        column("expires_at", Type::Time),
        column("received_by", Type::Uuid),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        refers(&["from_agent_id"], "agent", &["agent_id"]),
        refers(&["to_agent_id"], "agent", &["agent_id"]),
        refers(&["trajectory_id"], "trajectory", &["trajectory_id"]),
        refers(
            &["trajectory_id", "scope_id"],
            "scope",
            &["trajectory_id", "scope_id"],
        ),
    ],
};

const INDEXES: &[Index] = &[
    btree(&["message_id"]).unique(),
    btree(&["to_agent_id", "priority", "message_id"])
        .only("to_agent_id IS NOT NULL AND acknowledged_at IS NULL"),
    btree(&["to_agent_type", "priority", "message_id"])
        .only("to_agent_type IS NOT NULL AND acknowledged_at IS NULL"),
    btree(&["to_agent_id", "message_id"]).only("to_agent_id IS NOT NULL"),
    btree(&["to_agent_type", "message_id"]).only("to_agent_type IS NOT NULL"),
    btree(&["priority", "message_id"]).only("to_agent_id IS NULL AND to_agent_type IS NULL"),
    btree(&["from_agent_id"]),
    btree(&["trajectory_id"]).only("trajectory_id IS NOT NULL"),
    btree(&["scope_id"]).only("scope_id IS NOT NULL"),
];

/// The send, whose parameters the elements of `caliber_message_send_many` have.
pub(super) static SEND: Function = function(
    "caliber_message_send",
    Kind::Create,
    Shape::Scalar,
    &[
        required("from_agent_id"),
        required("to_agent_id").or_null(),
        required("to_agent_type").or_null().not_empty(),
        required("message_type").one_of(KIND),
        required("payload"),
        optional("trajectory_id"),
        optional("scope_id"),
        id_array("artifact_ids"),
        defaulted("priority", Default::Text("normal")).one_of(PRIORITY),
        optional("expires_at"),
        optional("id"),
    ],
);

pub(super) static FUNCTIONS: &[Function] = &[
    SEND,
    function(
        "caliber_message_send_many",
        Kind::Many,
        Shape::Set,
        &[required("messages")],
    ),
    function(
        "caliber_message_get",
        Kind::Get,
        Shape::Row,
        &[ID.or_null()],
    ),
    function(
        "caliber_message_list_for_agent",
        Kind::List,
        Shape::Set,
        &[
            required("agent_id"),
            defaulted("unacknowledged_only", Default::Bool(true)),
            optional("max_rows"),
        ],
    ),
    function(
        "caliber_message_acknowledge",
        Kind::Verb,
        Shape::Scalar,
        &[ID],
    ),
    function(
        "caliber_message_receive",
        Kind::Verb,
        Shape::Set,
        &[
            required("agent_id"),
            defaulted("max_rows", Default::Int(10)),
            optional("redeliver_after"),
        ],
    ),
    function(
        "caliber_message_purge",
        Kind::Verb,
        Shape::Scalar,
        &[
            required("before"),
            defaulted("max_rows", Default::Int(10_000)),
        ],
    ),
    function("caliber_message_delete", Kind::Delete, Shape::Scalar, &[ID]),
];

pub(super) static HELPERS: &[Function] = &[function(
    "verification.age_message",
    Kind::Helper,
    Shape::Scalar,
    &[ID],
)];

/// The types of the send's parameters, as JSON gives them.
pub(super) fn types(name: &str) -> Type {
    match name {
        "id" => Type::Uuid,
        _ => TABLE.column(name).ty,
    }
}

//! Columns, indexes and functions of Lock.

use crate::entity::{
    btree, column, defaulted, function, refers, required, wall, Default, Function, Index, Kind,
    Param, Shape, Table, PAGE,
};
use crate::value::{Type, Value};

pub(super) const MODE: &[&str] = &["exclusive", "shared"];
pub(super) const LEVEL: &[&str] = &["lease", "session", "transaction"];
/// The longest time that may be asked for: 366 days.
pub(super) const LONGEST: i64 = 31_622_400_000;
const ID: Param = required("lock_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "lock",
    name: "caliber_lock",
    key: "lock_id",
    columns: &[
        column("lock_id", Type::Uuid).not_null(),
        column("resource_type", Type::Text).not_null(),
        column("resource_id", Type::Uuid).not_null(),
        column("holder_agent_id", Type::Uuid).not_null(),
        wall("acquired_at").not_null(),
        wall("expires_at").not_null(),
        column("mode", Type::Text).not_null().one_of(MODE),
        column("level", Type::Text).not_null().one_of(LEVEL),
        column("backend_pid", Type::Int),
    ],
    indexes: INDEXES,
    foreign_keys: &[refers(&["holder_agent_id"], "agent", &["agent_id"])],
};

const INDEXES: &[Index] = &[
    btree(&["lock_id"]).unique(),
    btree(&["resource_type", "resource_id", "holder_agent_id"])
        .unique()
        .only("level = 'lease'")
        .holds(|row| row.text(&TABLE, "level") == "lease"),
    btree(&["resource_type", "resource_id"])
        .unique()
        .only("mode = 'exclusive'")
        .holds(|row| row.text(&TABLE, "mode") == "exclusive"),
    btree(&["resource_type", "resource_id", "lock_id"]),
    btree(&["holder_agent_id", "lock_id"]),
];

fn is_a_time(value: &Value) -> bool {
    matches!(value, Value::Int(ms) if (1..=LONGEST).contains(ms))
}

const NO_TIME: &[&str] = &["0", "-1", "31622400001", "9223372036854775807"];

pub(super) static FUNCTIONS: &[Function] = &[
    function(
        "caliber_lock_acquire",
        Kind::Create,
        Shape::Scalar,
        &[
            required("agent_id"),
            required("resource_type").not_empty(),
            required("resource_id"),
            defaulted("timeout_ms", Default::Int(30_000)).takes(is_a_time, NO_TIME),
            defaulted("mode", Default::Text("exclusive")).one_of(MODE),
            defaulted("level", Default::Text("lease")).one_of(LEVEL),
            crate::entity::optional("id"),
        ],
    ),
    // Not Kind::Delete: what a release means depends on who holds the lock.
    function("caliber_lock_release", Kind::Verb, Shape::Scalar, &[ID]),
    function("caliber_lock_get", Kind::Get, Shape::Row, &[ID.or_null()]),
    function(
        "caliber_lock_list_by_resource",
        Kind::List,
        Shape::Set,
        &[
            required("resource_type").not_empty(),
            required("resource_id"),
            PAGE[0],
            PAGE[1],
        ],
    ),
    function(
        "caliber_lock_list_by_agent",
        Kind::List,
        Shape::Set,
        &[required("agent_id"), PAGE[0], PAGE[1]],
    ),
    function(
        "caliber_lock_extend",
        Kind::Verb,
        Shape::Scalar,
        &[ID, required("additional_ms").takes(is_a_time, NO_TIME)],
    ),
    function("caliber_lock_assert", Kind::Verb, Shape::Scalar, &[ID]),
    function("caliber_lock_purge_expired", Kind::Verb, Shape::Scalar, &[]),
];

pub(super) static HELPERS: &[Function] = &[function(
    "verification.expire_lock",
    Kind::Helper,
    Shape::Scalar,
    &[ID],
)];

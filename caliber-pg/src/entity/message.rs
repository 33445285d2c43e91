//! Message: from an agent to another, to any one agent of a type, or to all.

mod inbox;

use super::agent::{self, AGENT};
use super::args::{self, Page};
use super::common;
use super::many::{Batch, Element, Key, New};
use crate::coordination::notify::{Announcements, Target};
use crate::engine::claim::Claim;
use crate::engine::{Entity, Table, Verdict};
use crate::error::{AgentError, CaliberError, CaliberResult, Rule};
use crate::pg::call::Call;
use crate::pg::catalog::ServerText;
use crate::pg::datum::{
    BoolArg, Id, IntArg, IntervalArg, JsonbArg, TextArg, TimestampArg, ToValue, UuidArg,
    UuidArrayArg, Value,
};
use crate::pg::function::Returned;
use crate::pg::ids::Ids;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use crate::pg::test::Test;
use inbox::Inbox;
use pgrx::prelude::*;
use uuid::Uuid;

/// Columns of `caliber_message`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const MESSAGE_ID: usize = 0;
    pub const FROM_AGENT_ID: usize = 1;
    pub const TO_AGENT_ID: usize = 2;
    pub const TO_AGENT_TYPE: usize = 3;
    pub const MESSAGE_TYPE: usize = 4;
    pub const DELIVERED_AT: usize = 10;
    pub const ACKNOWLEDGED_AT: usize = 11;
    pub const PRIORITY: usize = 12;
    pub const EXPIRES_AT: usize = 13;
    pub const RECEIVED_BY: usize = 14;
}
use column::*;

/// The entity.
pub static MESSAGE: Entity = Entity {
    name: "message",
    shape: Shape {
        table: "caliber_message",
        row_type: Message::NAME,
        columns: &[
            Column::new("message_id", ColumnType::Uuid),
            Column::new("from_agent_id", ColumnType::Uuid),
            Column::new("to_agent_id", ColumnType::Uuid),
            Column::new("to_agent_type", ColumnType::Text),
            Column::new("message_type", ColumnType::Text),
            Column::new("payload", ColumnType::Text),
            Column::new("trajectory_id", ColumnType::Uuid),
            Column::new("scope_id", ColumnType::Uuid),
            Column::new("artifact_ids", ColumnType::UuidArray),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("delivered_at", ColumnType::Timestamp),
            Column::new("acknowledged_at", ColumnType::Timestamp),
            Column::new("priority", ColumnType::Text),
            Column::new("expires_at", ColumnType::Timestamp),
            Column::new("received_by", ColumnType::Uuid),
        ],
    },
    key: MESSAGE_ID,
};

/// What a message can be about.
const TYPES: &[&str] = &[
    "task_delegation",
    "task_result",
    "context_request",
    "context_share",
    "coordination_signal",
    "handoff",
    "interrupt",
    "heartbeat",
];

/// How urgent it can be.
const PRIORITIES: &[&str] = &["low", "normal", "high", "critical"];

/// The arguments of send that elements of send_many may give.
const KEYS: &[Key] = &[
    ("from_agent_id", ColumnType::Uuid),
    ("to_agent_id", ColumnType::Uuid),
    ("to_agent_type", ColumnType::Text),
    ("message_type", ColumnType::Text),
    ("payload", ColumnType::Text),
    ("trajectory_id", ColumnType::Uuid),
    ("scope_id", ColumnType::Uuid),
    ("artifact_ids", ColumnType::UuidArray),
    ("priority", ColumnType::Text),
    ("expires_at", ColumnType::Timestamp),
    ("id", ColumnType::Uuid),
];

/// Names the row type.
#[derive(Debug)]
pub struct Message;

impl RowType for Message {
    const NAME: &'static str = "caliber_message_row";
}

/// Sends a message to an agent, to any one agent of a type, or, with neither,
/// to everybody (R7.1); announced with NOTIFY when the transaction commits
/// (R7.5). Returns its id, or NULL if a trigger vetoes the row.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_message_send(
    from_agent_id: UuidArg,
    to_agent_id: UuidArg,
    to_agent_type: TextArg,
    message_type: TextArg,
    payload: TextArg,
    trajectory_id: default!(UuidArg, "NULL"),
    scope_id: default!(UuidArg, "NULL"),
    artifact_ids: default!(UuidArrayArg, "'{}'"),
    priority: default!(TextArg, "'normal'"),
    expires_at: default!(TimestampArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let (id, given) = args::id_or_new(&id);
        let row = row(
            id,
            [
                from_agent_id.value(),
                to_agent_id.value(),
                to_agent_type.value(),
            ],
            [message_type.value(), payload.value()],
            [
                trajectory_id.value(),
                scope_id.value(),
                artifact_ids.value(),
            ],
            [priority.value(), expires_at.value()],
        )?;
        let announcements = Announcements::default();
        let table = Table::open_to_create(&call, &MESSAGE, Rights::insert(), given)?;
        let table = announcements.from(table);
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let sent = table.create(id, &row)?;
        announcements.make();
        Ok(sent.map(Id))
    })
}

/// Sends several messages, all or none, each announced by itself. Returns their
/// ids, in order, with NULL for one that a trigger vetoes. The elements of
/// `messages` are objects whose keys are the arguments of
/// `caliber_message_send`.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_message_send_many(messages: JsonbArg, call: Call) -> Returned<Ids> {
    Returned::always(|| {
        let mut batch = Batch::read("messages", &messages, KEYS, &[], element)?;
        let mut ids = Ids::new(&call)?;
        let announcements = Announcements::default();
        let rights = Rights::insert().and_select_column(MESSAGE_ID);
        let find_duplicates = batch.finds_duplicates();
        let [table] = Table::open_several(&call, [(&MESSAGE, &rights)], find_duplicates)?;
        let table = announcements.from(table);
        batch.look_up(&table)?;
        for made in batch.write(&table)? {
            ids.put(made.id());
        }
        announcements.make();
        Ok(ids)
    })
}

/// A message by id, or NULL (R7.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_message_get(message_id: UuidArg, call: Call) -> Returned<Row<Message>> {
    common::get(&call, &MESSAGE, &message_id)
}

/// An agent's inbox (R7.3): what is addressed to it, to the type that it has
/// now (unless another agent has received it), or to everybody but its sender,
/// and has not expired. The most urgent first, then by id. An unknown agent has
/// none.
#[pg_extern(stable, parallel_safe)]
fn caliber_message_list_for_agent(
    agent_id: UuidArg,
    unacknowledged_only: default!(BoolArg, "true"),
    max_rows: default!(IntArg, "NULL"),
    call: Call,
) -> Returned<Rows<Message>> {
    Returned::always(|| {
        let agent = args::required("agent_id", &agent_id)?;
        let unacknowledged = args::required("unacknowledged_only", &unacknowledged_only)?;
        let page = Page::new(&max_rows, &Value::NULL)?;
        let mut rows = Rows::new(&call)?;
        let select = Rights::select();
        let wanted = [(&MESSAGE, &select), (&AGENT, &select)];
        let [table, agents] = Table::open_several(&call, wanted, false)?;
        let Some(found) = agents.engine().get(&agents, agent)? else {
            return Ok(rows);
        };
        let columns = AGENT.shape.columns.len();
        let agent_type = found.values(&agents.relation, columns)[agent::column::AGENT_TYPE];
        let inbox = Inbox {
            agent,
            agent_type,
            now: clock(),
        };
        let list = inbox.listed(unacknowledged.as_bool() == Some(true));
        table.engine().list(&table, &list.page(page), rows.sink())?;
        Ok(rows)
    })
}

/// Takes at most `max_rows` messages out of an agent's inbox: what is addressed
/// to it or to its type and nobody has received, in the inbox's order. Each
/// message goes to exactly one receiver; what others are taking at this moment
/// is left to them. With `redeliver_after`, also what was delivered longer ago
/// than that and never acknowledged. An unknown agent gets nothing.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_message_receive(
    agent_id: UuidArg,
    max_rows: default!(IntArg, "10"),
    redeliver_after: default!(IntervalArg, "NULL"),
    call: Call,
) -> Returned<Rows<Message>> {
    Returned::always(|| {
        let agent = args::required("agent_id", &agent_id)?;
        args::required("max_rows", &max_rows)?;
        let page = Page::new(&max_rows, &Value::NULL)?;
        let mut rows = Rows::new(&call)?;
        let claim = Rights::claim(vec![DELIVERED_AT, RECEIVED_BY]);
        let wanted = [(&MESSAGE, &claim), (&AGENT, &Rights::select())];
        let [table, agents] = Table::open_several(&call, wanted, false)?;
        let now = clock();
        let redeliver_after = redeliver_after.value();
        let delivered_before = (!redeliver_after.is_null()).then(|| now.minus(redeliver_after));
        let claim = Claim {
            by: &agents,
            key: agent,
            column: agent::column::AGENT_TYPE,
            rows: &|agent_type| {
                let inbox = Inbox {
                    agent,
                    agent_type,
                    now,
                };
                inbox.receivable(delivered_before).page(page)
            },
            changes: vec![(DELIVERED_AT, now), (RECEIVED_BY, agent)],
        };
        table.engine().claim(&table, &claim, rows.sink())?;
        Ok(rows)
    })
}

/// Marks a message as dealt with (R7.4), and as delivered if it was not. False
/// if there is no such message or it was acknowledged already; 55000 for a
/// message to everybody.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_message_acknowledge(message_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("message_id", &message_id)?;
        let rights = Rights::update(MESSAGE_ID, vec![ACKNOWLEDGED_AT, DELIVERED_AT]).and_select();
        let table = Table::open(&call, &MESSAGE, &rights)?;
        table
            .engine()
            .change(&table, Value::uuid(id), &mut |stored| {
                if [TO_AGENT_ID, TO_AGENT_TYPE].map(|c| stored.get(c).is_null()) == [true, true] {
                    return Err(CaliberError::from(AgentError::State {
                        message: format!("message {id} is a broadcast and cannot be acknowledged"),
                        hint: Some("A broadcast is listed until it expires.".into()),
                    }));
                }
                if !stored.get(ACKNOWLEDGED_AT).is_null() {
                    return Ok(Verdict::Answer(false));
                }
                let mut changes = vec![(ACKNOWLEDGED_AT, Value::transaction_start())];
                if stored.get(DELIVERED_AT).is_null() {
                    changes.push((DELIVERED_AT, Value::wall_clock()));
                }
                Ok(Verdict::Write {
                    changes,
                    checked: vec![TO_AGENT_ID, TO_AGENT_TYPE, ACKNOWLEDGED_AT, DELIVERED_AT],
                })
            })
    })
}

/// Deletes at most `max_rows` messages that were acknowledged before a moment,
/// or whose time ends before it, waiting for nobody; returns how many. Reads the
/// whole table.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_message_purge(
    before: TimestampArg,
    max_rows: default!(IntArg, "10000"),
    call: Call,
) -> Returned<i64> {
    Returned::always(|| {
        let before = args::required("before", &before)?;
        args::required("max_rows", &max_rows)?;
        let page = Page::new(&max_rows, &Value::NULL)?;
        let rights = Rights::delete(MESSAGE_ID).and_select();
        let table = Table::open(&call, &MESSAGE, &rights)?;
        let finished = [ACKNOWLEDGED_AT, EXPIRES_AT].map(|c| (c, Test::Before(before)));
        let max_rows = page.max_rows.unwrap_or_default();
        table.engine().purge(&table, &finished, max_rows)
    })
}

/// Deletes a message. False if there is none.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_message_delete(message_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &MESSAGE, &message_id)
}

/// The channel on which messages to an agent, to a type of agents, or to
/// everybody are announced: for LISTEN, quoted.
#[pg_extern(immutable, parallel_safe)]
fn caliber_channel(
    agent_id: default!(UuidArg, "NULL"),
    agent_type: default!(TextArg, "NULL"),
) -> Returned<ServerText> {
    Returned::always(|| {
        let agent_type = agent_type.value();
        args::check_not_empty("agent_type", agent_type)?;
        let target = match (agent_id.value().as_uuid(), agent_type.is_null()) {
            (None, true) => Target::All,
            (None, false) => Target::Type(agent_type),
            (Some(id), true) => Target::Agent(id),
            (Some(_), false) => {
                return Err(CaliberError::argument(
                    Rule::Value,
                    "\"agent_id\" and \"agent_type\" must not both be given",
                    None,
                ))
            }
        };
        Ok(ServerText(target.channel()))
    })
}

/// The moment at which a message must not have expired.
fn clock() -> Value {
    if crate::fault::active("message_transaction_clock") {
        return Value::transaction_start();
    }
    Value::wall_clock()
}

/// An element of send_many.
fn element(message: &Element) -> CaliberResult<New> {
    let (id, given) = args::id_or_new(&message.get("id"));
    let get = |name| message.get(name);
    let row = row(
        id,
        [
            get("from_agent_id"),
            get("to_agent_id"),
            get("to_agent_type"),
        ],
        [get("message_type"), get("payload")],
        [
            get("trajectory_id"),
            get("scope_id"),
            message.get_or("artifact_ids", Value::uuid_array(&[])),
        ],
        [
            message.get_or("priority", Value::text("normal")),
            get("expires_at"),
        ],
    )?;
    Ok(New { id, given, row })
}

/// A new row. Checks the arguments, in their order.
fn row(
    id: Uuid,
    [from, to_agent, to_type]: [Value; 3],
    [message_type, payload]: [Value; 2],
    [trajectory, scope, artifacts]: [Value; 3],
    [priority, expires_at]: [Value; 2],
) -> CaliberResult<Vec<Value>> {
    let from = args::required("from_agent_id", &from)?;
    args::check_not_empty("to_agent_type", to_type)?;
    args::one_of("message", "message_type", &message_type, TYPES)?;
    let payload = args::required("payload", &payload)?;
    let artifacts = args::array("artifact_ids", &artifacts)?;
    args::one_of("message", "priority", &priority, PRIORITIES)?;
    Ok(vec![
        Value::uuid(id),
        from,
        to_agent,
        to_type,
        message_type,
        payload,
        trajectory,
        scope,
        artifacts,
        Value::transaction_start(),
        Value::NULL,
        Value::NULL,
        priority,
        expires_at,
        Value::NULL,
    ])
}

//! Agent: who it is, what it is doing, when it was last heard of.

use super::args::{self, Page};
use super::common;
use super::life::LifeCycle;
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Stored, Table, Verdict};
use crate::error::{AgentError, CaliberError, CaliberResult, Rule};
use crate::pg::call::Call;
use crate::pg::datum::{
    Id, IntArg, IntervalArg, JsonbArg, TextArg, TextArrayArg, ToValue, UuidArg, Value,
};
use crate::pg::function::Returned;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use crate::pg::test::Test;
use pgrx::prelude::*;

/// Columns of `caliber_agent`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const AGENT_ID: usize = 0;
    pub const AGENT_TYPE: usize = 1;
    pub const STATUS: usize = 4;
    pub const CURRENT_TRAJECTORY_ID: usize = 5;
    pub const CURRENT_SCOPE_ID: usize = 6;
    pub const LAST_HEARTBEAT: usize = 10;
}
use column::*;

/// The entity.
pub static AGENT: Entity = Entity {
    name: "agent",
    shape: Shape {
        table: "caliber_agent",
        row_type: Agent::NAME,
        columns: &[
            Column::new("agent_id", ColumnType::Uuid),
            Column::new("agent_type", ColumnType::Text),
            Column::new("capabilities", ColumnType::TextArray),
            Column::new("memory_access", ColumnType::Jsonb),
            Column::new("status", ColumnType::Text),
            Column::new("current_trajectory_id", ColumnType::Uuid),
            Column::new("current_scope_id", ColumnType::Uuid),
            Column::new("can_delegate_to", ColumnType::TextArray),
            Column::new("reports_to", ColumnType::Uuid),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("last_heartbeat", ColumnType::Timestamp),
        ],
    },
    key: AGENT_ID,
};

/// The life of an agent.
pub static LIFE: LifeCycle = LifeCycle {
    entity: "agent",
    states: &["idle", "active", "blocked", "failed"],
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
};

/// Stands for agents of every type where work is addressed to a type.
pub const ANY_TYPE: &str = "*";

/// Names the row type.
#[derive(Debug)]
pub struct Agent;

impl RowType for Agent {
    const NAME: &'static str = "caliber_agent_row";
}

/// Registers an idle agent (R8.1). Returns its id, or NULL if a trigger vetoes
/// the row. The type `*` is not one that an agent can have.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_agent_register(
    agent_type: TextArg,
    capabilities: default!(TextArrayArg, "'{}'"),
    memory_access: default!(JsonbArg, "'{}'"),
    can_delegate_to: default!(TextArrayArg, "'{}'"),
    reports_to: default!(UuidArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let agent_type = args::non_empty("agent_type", &agent_type)?;
        if agent_type.as_text().as_deref() == Some(ANY_TYPE) {
            return Err(CaliberError::argument(
                Rule::Value,
                format!("\"agent_type\" must not be \"{ANY_TYPE}\""),
                Some("It stands for agents of every type.".into()),
            ));
        }
        let capabilities = args::array("capabilities", &capabilities)?;
        let memory_access = args::required("memory_access", &memory_access)?;
        let can_delegate_to = args::array("can_delegate_to", &can_delegate_to)?;
        let (id, given) = args::id_or_new(&id);
        let table = Table::open_to_create(&call, &AGENT, Rights::insert(), given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let row = [
            Value::uuid(id),
            agent_type,
            capabilities,
            memory_access,
            Value::text("idle"),
            Value::NULL,
            Value::NULL,
            can_delegate_to,
            reports_to.value(),
            Value::transaction_start(),
            Value::wall_clock(),
        ];
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// An agent by id, or NULL (R8.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_agent_get(agent_id: UuidArg, call: Call) -> Returned<Row<Agent>> {
    common::get(&call, &AGENT, &agent_id)
}

/// Records that an agent was heard of just now (R8.3). False if there is no
/// such agent.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_agent_heartbeat(agent_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let key = args::required("agent_id", &agent_id)?;
        change(&call, key, vec![LAST_HEARTBEAT], &mut |_| {
            let now = if crate::fault::active("heartbeat_transaction_clock") {
                Value::transaction_start()
            } else {
                Value::wall_clock()
            };
            Ok(Verdict::Write {
                changes: vec![(LAST_HEARTBEAT, now)],
                // Checked, so that it never goes back when two of them meet.
                checked: vec![LAST_HEARTBEAT],
            })
        })
    })
}

/// Moves an agent to another status (R8.4). False if there is no such agent;
/// true if it is in that status already. What is assigned to it stays.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_agent_set_status(agent_id: UuidArg, status: TextArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("agent_id", &agent_id)?;
        let status = args::one_of("agent", "status", &status, LIFE.states)?;
        change(&call, Value::uuid(id), vec![STATUS], &mut |stored| {
            let current = stored.get(STATUS).as_text().unwrap_or_default();
            if !LIFE.leads(id, &current, status)? {
                return Ok(Verdict::Answer(true));
            }
            Ok(Verdict::Write {
                changes: vec![(STATUS, Value::text(status))],
                checked: vec![STATUS],
            })
        })
    })
}

/// Assigns a trajectory and a scope to an idle agent, which becomes active.
/// False if there is no such agent, or it is active with the same two.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_agent_assign(
    agent_id: UuidArg,
    trajectory_id: UuidArg,
    scope_id: UuidArg,
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("agent_id", &agent_id)?;
        let work = [trajectory_id.value(), scope_id.value()];
        change(&call, Value::uuid(id), MOVED.to_vec(), &mut |stored| {
            let current = stored.get(STATUS).as_text().unwrap_or_default();
            match current.as_str() {
                "idle" => Ok(written("active", work)),
                "active" if ids(assigned(stored)) == ids(work) => Ok(Verdict::Answer(false)),
                "active" => Err(state(
                    format!("agent {id} is active with other work"),
                    "It must be released first.",
                )),
                _ => Err(state(
                    format!("agent {id} is {current} and cannot be assigned work"),
                    "It must be idle first.",
                )),
            }
        })
    })
}

/// Takes from an agent what is assigned to it; it becomes idle. False if there
/// is no such agent, or it is idle with nothing assigned.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_agent_release(agent_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("agent_id", &agent_id)?;
        change(&call, Value::uuid(id), MOVED.to_vec(), &mut |stored| {
            let current = stored.get(STATUS).as_text().unwrap_or_default();
            match current.as_str() {
                "idle" if ids(assigned(stored)) == [None, None] => Ok(Verdict::Answer(false)),
                "idle" | "active" | "blocked" => Ok(written("idle", [Value::NULL; 2])),
                _ => Err(state(
                    format!("agent {id} is {current} and cannot be released"),
                    "Its status must be set to idle first.",
                )),
            }
        })
    })
}

/// The agents of a type, by id (R8.5).
#[pg_extern(stable, parallel_safe)]
fn caliber_agent_list_by_type(
    agent_type: TextArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Agent>> {
    Returned::always(|| {
        let agent_type = args::non_empty("agent_type", &agent_type)?;
        common::list_by(&call, &AGENT, AGENT_TYPE, agent_type, &max_rows, &after)
    })
}

/// The agents whose last heartbeat is older than `stale_after`, by id. Reads
/// the whole table.
#[pg_extern(stable, parallel_safe)]
fn caliber_agent_list_stale(
    stale_after: IntervalArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Agent>> {
    Returned::always(|| {
        let stale_after = args::required("stale_after", &stale_after)?;
        let page = Page::new(&max_rows, &after)?;
        let mut rows = Rows::new(&call)?;
        let table = Table::open(&call, &AGENT, &Rights::select())?;
        let oldest = Test::Before(Value::wall_clock_minus(stale_after));
        let list = List::of([Range::default().test(LAST_HEARTBEAT, oldest)]).page(page);
        table.engine().list(&table, &list, rows.sink())?;
        Ok(rows)
    })
}

/// Deletes an agent. False if there is none; 23503 while any row refers to it.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_agent_delete(agent_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &AGENT, &agent_id)
}

/// What assign and release look at and change.
const MOVED: [usize; 3] = [STATUS, CURRENT_TRAJECTORY_ID, CURRENT_SCOPE_ID];

fn written(status: &str, [trajectory, scope]: [Value; 2]) -> Verdict {
    Verdict::Write {
        changes: vec![
            (STATUS, Value::text(status)),
            (CURRENT_TRAJECTORY_ID, trajectory),
            (CURRENT_SCOPE_ID, scope),
        ],
        checked: MOVED.to_vec(),
    }
}

fn assigned(stored: &Stored) -> [Value; 2] {
    [
        stored.get(CURRENT_TRAJECTORY_ID),
        stored.get(CURRENT_SCOPE_ID),
    ]
}

fn ids(values: [Value; 2]) -> [Option<uuid::Uuid>; 2] {
    values.map(|value| value.as_uuid())
}

fn state(message: String, hint: &str) -> CaliberError {
    let hint = Some(hint.to_owned());
    CaliberError::from(AgentError::State { message, hint })
}

/// A verb that changes these columns.
fn change(
    call: &Call,
    key: Value,
    columns: Vec<usize>,
    rule: &mut crate::engine::Rule<'_>,
) -> CaliberResult<bool> {
    let rights = Rights::update(AGENT_ID, columns).and_select();
    let table = Table::open(call, &AGENT, &rights)?;
    table.engine().change(&table, key, rule)
}

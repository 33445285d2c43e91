//! Lock: of an agent on a resource; a lease, or bound to a session or a
//! transaction.

use super::args::{self, Page};
use super::common;
use crate::coordination::lock::{self, Request};
use crate::coordination::row::{mode_named, Level, Life, MODES};
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Stored, Table};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::advisory::tag_key;
use crate::pg::call::Call;
use crate::pg::datum::{BigintArg, Id, IntArg, TextArg, UuidArg, Value};
use crate::pg::encoding::utf8_bytes;
use crate::pg::function::Returned;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use pgrx::prelude::*;
use uuid::Uuid;

/// Columns of `caliber_lock`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const LOCK_ID: usize = 0;
    pub const RESOURCE_TYPE: usize = 1;
    pub const RESOURCE_ID: usize = 2;
    pub const HOLDER_AGENT_ID: usize = 3;
    pub const EXPIRES_AT: usize = 5;
    pub const MODE: usize = 6;
    pub const LEVEL: usize = 7;
}
use column::*;

/// The entity.
pub static LOCK: Entity = Entity {
    name: "lock",
    shape: Shape {
        table: "caliber_lock",
        row_type: Lock::NAME,
        columns: &[
            Column::new("lock_id", ColumnType::Uuid),
            Column::new("resource_type", ColumnType::Text),
            Column::new("resource_id", ColumnType::Uuid),
            Column::new("holder_agent_id", ColumnType::Uuid),
            Column::new("acquired_at", ColumnType::Timestamp),
            Column::new("expires_at", ColumnType::Timestamp),
            Column::new("mode", ColumnType::Text),
            Column::new("level", ColumnType::Text),
            Column::new("backend_pid", ColumnType::Int4),
        ],
    },
    key: LOCK_ID,
};

/// The longest lease, in milliseconds: 366 days.
pub const LONGEST_MS: i64 = 31_622_400_000;

/// Names the row type.
#[derive(Debug)]
pub struct Lock;

impl RowType for Lock {
    const NAME: &'static str = "caliber_lock_row";
}

/// The 64-bit key of a resource: what `pg_advisory_lock(bigint)` would lock.
/// The same for all versions (R6.5).
#[pg_extern(immutable, parallel_safe)]
fn caliber_lock_key(resource_type: TextArg, resource_id: UuidArg) -> Returned<i64> {
    Returned::always(|| {
        let kind = args::non_empty("resource_type", &resource_type)?;
        let id = args::required_id("resource_id", &resource_id)?;
        Ok(resource_key(kind, id) as i64)
    })
}

/// FNV-1a-64 over the UTF-8 bytes of the type, a zero byte, and the id.
pub fn resource_key(kind: Value, id: Uuid) -> u64 {
    let name = utf8_bytes(kind.as_bytes().unwrap_or_default());
    tag_key(name, id.as_bytes())
}

/// Acquires a lock, or finds it busy: NULL (R6.1). Waits for nobody, but for an
/// index or foreign key check against a row that other SQL wrote.
///
/// `timeout_ms` is the length of a lease. Whoever holds the lock already gets
/// its id: a lease is extended, a shared lock becomes exclusive if asked for.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_lock_acquire(
    agent_id: UuidArg,
    resource_type: TextArg,
    resource_id: UuidArg,
    timeout_ms: default!(BigintArg, "30000"),
    mode: default!(TextArg, "'exclusive'"),
    level: default!(TextArg, "'lease'"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let agent = args::required_id("agent_id", &agent_id)?;
        let resource_type = args::non_empty("resource_type", &resource_type)?;
        let resource_id = args::required_id("resource_id", &resource_id)?;
        let timeout_ms = milliseconds("timeout_ms", &timeout_ms)?;
        let mode = args::one_of("lock", "mode", &mode, MODES)?;
        let level = args::one_of("lock", "level", &level, Level::NAMES)?;
        let mut rights = Rights::insert().and_select();
        rights.update = vec![EXPIRES_AT, MODE];
        rights.delete = true;
        let table = Table::open(&call, &LOCK, &rights)?;
        let request = Request {
            agent,
            resource_type,
            resource_id,
            timeout_ms,
            mode: mode_named(mode),
            level: Level::named(level),
            id: args::id_or_new(&id).0,
        };
        Ok(lock::acquire(&table, &request)?.map(Id))
    })
}

/// Releases a lock (R6.2): a lease by anyone, others only by the session that
/// holds them (55000). False if there is no such lock.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_lock_release(lock_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("lock_id", &lock_id)?;
        let table = Table::open(&call, &LOCK, &Rights::delete(LOCK_ID))?;
        lock::release(&table, id)
    })
}

/// A lock by id, or NULL (R6.3), as long as its row is there.
#[pg_extern(stable, parallel_safe)]
fn caliber_lock_get(lock_id: UuidArg, call: Call) -> Returned<Row<Lock>> {
    common::get(&call, &LOCK, &lock_id)
}

/// The locks that are held on a resource, by id (R6.4).
#[pg_extern(stable, parallel_restricted)]
fn caliber_lock_list_by_resource(
    resource_type: TextArg,
    resource_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Lock>> {
    Returned::always(|| {
        let kind = args::non_empty("resource_type", &resource_type)?;
        let resource = args::required("resource_id", &resource_id)?;
        let range = Range::of([(RESOURCE_TYPE, kind), (RESOURCE_ID, resource)]);
        list(&call, range, &max_rows, &after)
    })
}

/// The locks that an agent holds, by id.
#[pg_extern(stable, parallel_restricted)]
fn caliber_lock_list_by_agent(
    agent_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Lock>> {
    Returned::always(|| {
        let agent = args::required("agent_id", &agent_id)?;
        let range = Range::of([(HOLDER_AGENT_ID, agent)]);
        list(&call, range, &max_rows, &after)
    })
}

/// Moves the end of a lease. False if there is no such lock; 55000 if it is
/// over, or no lease.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_lock_extend(lock_id: UuidArg, additional_ms: BigintArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("lock_id", &lock_id)?;
        let additional_ms = milliseconds("additional_ms", &additional_ms)?;
        let rights = Rights::update(LOCK_ID, vec![EXPIRES_AT]).and_select();
        let table = Table::open(&call, &LOCK, &rights)?;
        lock::extend(&table, id, additional_ms)
    })
}

/// True if the lock is held, which it then stays until the transaction ends:
/// a fence around a write. Else 55000.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_lock_assert(lock_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("lock_id", &lock_id)?;
        let table = Table::open(&call, &LOCK, &Rights::select_for_key_share())?;
        lock::assert(&table, id)
    })
}

/// Deletes the rows of locks that nobody holds any more, and says how many.
/// Waits for nobody.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_lock_purge_expired(call: Call) -> Returned<i64> {
    Returned::always(|| {
        let table = Table::open(&call, &LOCK, &Rights::delete(LOCK_ID).and_select())?;
        lock::purge(&table)
    })
}

/// A length of time.
fn milliseconds(name: &str, argument: &BigintArg) -> CaliberResult<i64> {
    let value = args::required(name, argument)?
        .as_int8()
        .unwrap_or_default();
    if (1..=LONGEST_MS).contains(&value) {
        return Ok(value);
    }
    Err(CaliberError::argument(
        Rule::Value,
        format!("\"{name}\" must be between 1 and {LONGEST_MS}"),
        None,
    ))
}

fn list(
    call: &Call,
    range: Range,
    max_rows: &IntArg,
    after: &UuidArg,
) -> CaliberResult<Rows<Lock>> {
    let page = Page::new(max_rows, after)?;
    let mut rows = Rows::new(call)?;
    let table = Table::open(call, &LOCK, &Rights::select())?;
    let now = lock::now();
    let alive = |stored: &Stored| Life::read(stored).goes_on(&table, now);
    let list = List::of([range]).page(page).keep(&alive);
    table.engine().list(&table, &list, rows.sink())?;
    Ok(rows)
}

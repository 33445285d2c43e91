//! The protocol of locks, step by step as the API's section "Lock" numbers it.
//!
//! Whoever acquires a lock on a resource first takes the resource's advisory
//! lock to the end of the transaction, in the lock's own mode. So of two that
//! exclude each other only one looks at the rows at a time, and it looks at
//! them as of now: rows that it does not see are not there. Rows are locked
//! before they are judged dead, since a lease may be extended meanwhile.

use super::row::{mode_name, Level, LockRow};
use super::written::{check_stored, count_acquired, Company};
use super::{hold_key, hold_session, let_go, let_go_at_commit, let_mode_go_at_commit, note_row};
use crate::counters::{self, Counter};
use crate::engine::locks::Strength;
use crate::engine::{Changes, Table, Written};
use crate::entity::lock::column::{EXPIRES_AT, MODE};
use crate::entity::lock::{resource_key, LONGEST_MS};
use crate::error::{AgentError, CaliberError, CaliberResult, Rule};
use crate::pg::advisory::{tag_key, try_lock, unlock, Mode, Tag, Until};
use crate::pg::backend::process_id;
use crate::pg::datum::Value;
use crate::pg::memory;
use crate::pg::transaction;
use uuid::Uuid;

/// `infinity` of timestamptz.
const NEVER: i64 = i64::MAX;

/// The wall clock, in microseconds since 2000-01-01.
pub fn now() -> i64 {
    if crate::fault::active("lock_transaction_clock") {
        return Value::transaction_start().as_int8().unwrap_or_default();
    }
    Value::wall_clock().as_int8().unwrap_or_default()
}

/// What `caliber_lock_acquire` is asked for.
#[derive(Debug)]
pub struct Request {
    /// Who asks.
    pub agent: Uuid,
    /// Type of the resource.
    pub resource_type: Value,
    /// The resource.
    pub resource_id: Uuid,
    /// Length of a lease.
    pub timeout_ms: i64,
    /// Shared or exclusive.
    pub mode: Mode,
    /// What keeps the lock alive.
    pub level: Level,
    /// Key of the row, if one is written.
    pub id: Uuid,
}

impl Request {
    /// The advisory lock of the resource.
    fn key(&self) -> Tag {
        Tag::of_user(self.hash())
    }

    fn hash(&self) -> u64 {
        resource_key(self.resource_type, self.resource_id)
    }

    /// The internal lock of this agent on the resource.
    fn holder_tag(&self) -> Tag {
        let mut subject = self.hash().to_be_bytes().to_vec();
        subject.extend_from_slice(self.agent.as_bytes());
        Tag::internal(tag_key("holder", &subject))
    }

    /// When it ends.
    fn expires_at(&self, now: i64) -> i64 {
        match self.level {
            Level::Lease => now + self.timeout_ms * 1000,
            Level::Session | Level::Transaction => NEVER,
        }
    }

    /// The row that is asked for.
    fn row(&self, now: i64) -> LockRow {
        LockRow {
            id: self.id,
            resource_type: self.resource_type.as_bytes().unwrap_or_default(),
            resource_id: self.resource_id,
            holder: self.agent,
            expires_at: self.expires_at(now),
            mode: self.mode,
            level: self.level,
        }
    }

    /// Would this dead row keep the new one from being written, or exclude it
    /// if it turned out to be alive?
    fn is_blocked_by(&self, row: &LockRow) -> bool {
        let same_lease =
            row.holder == self.agent && row.level == Level::Lease && self.level == Level::Lease;
        same_lease || !row.goes_with(self.mode)
    }
}

/// Acquires a lock; None if it is busy, or a trigger vetoes it.
///
/// # Errors
/// 55000 if the agent holds the resource at another level, or a trigger changes
/// what is written; those of the write.
pub fn acquire(table: &Table, request: &Request) -> CaliberResult<Option<Uuid>> {
    // Step 2. What is taken here is given back at once if nothing comes of it.
    let wanted = [
        (request.key(), request.mode),
        (request.holder_tag(), Mode::Exclusive),
    ];
    for (n, &(tag, mode)) in wanted.iter().enumerate() {
        if n == 1 && crate::fault::active("lock_no_holder_tag") {
            continue;
        }
        if !try_lock(tag, mode, Until::TransactionEnd) {
            give_back(&wanted[..n]);
            return Ok(None);
        }
    }
    crate::wait::at("acquire.locked");
    let acquired = memory::scratch(|| decide(table, request))?;
    if acquired.is_none() {
        give_back(&wanted);
    } else {
        count_acquired();
    }
    Ok(acquired)
}

fn give_back(taken: &[(Tag, Mode)]) {
    counters::add(Counter::PathLockBusy);
    if crate::fault::active("lock_busy_keeps") {
        return;
    }
    for &(tag, mode) in taken.iter().rev() {
        unlock(tag, mode, Until::TransactionEnd);
    }
}

/// Steps 3 to 6: what the rows say.
fn decide(table: &Table, request: &Request) -> CaliberResult<Option<Uuid>> {
    let mut company = Company::new();
    let rows = table
        .locks()
        .of_resource(table, request.resource_type, request.resource_id)?;
    let now = now();
    let mut own = None;
    let mut dead = Vec::new();
    for row in rows {
        if !row.is_alive(table, now)? {
            if request.is_blocked_by(&row) {
                dead.push(row.id);
            }
        } else {
            let is_own = row.is_own(table, request.agent)?;
            if !is_own && !row.goes_with(request.mode) {
                return Ok(None);
            }
            company.tolerate(&row);
            if is_own {
                own = own.or(Some(row));
            }
        }
    }
    crate::wait::at("acquire.decided");
    let take = || {
        let taken = match &own {
            Some(own) => renew(table, request, own, &dead, now)?,
            None if sweep(table, &dead, now)? => write(table, request, now)?,
            None => None,
        };
        if let Some(id) = taken {
            company.check(table, request, id)?;
        }
        Ok(taken)
    };
    // Rows are locked one after the other, and then written. Where that may come to
    // nothing behind the first of them, what was done up to there is undone.
    let rows = dead.len() + usize::from(own.is_some());
    let may_stop_half_way = rows > 1 || rows == 1 && may_be_vetoed(table, request);
    if !may_stop_half_way || crate::fault::active("lock_swept_in_vain") {
        return take();
    }
    transaction::undone_unless(Option::is_some, take)
}

/// Can a write that the rows allow still come to nothing?
fn may_be_vetoed(table: &Table, request: &Request) -> bool {
    let relation = &table.relation;
    relation.has_user_triggers()
        || relation.has_rules()
        || table.has_policies()
        || request.level == Level::Session
}

/// Step 5: the agent holds the resource already.
fn renew(
    table: &Table,
    request: &Request,
    own: &LockRow,
    dead: &[Uuid],
    now: i64,
) -> CaliberResult<Option<Uuid>> {
    let upgrade = own.mode == Mode::Shared && request.mode == Mode::Exclusive;
    let how = if upgrade {
        Strength::Update
    } else {
        Strength::NoKeyUpdate
    };
    match table.locks().try_lock(table, own.id, how)? {
        Some(locked) if locked == *own || is_extended(&locked, own, now) => {}
        _ => return Ok(None),
    }
    // Behind the lock, which the caller's policies may refuse: only who may see the row
    // is told of it.
    if own.level != request.level {
        return Err(CaliberError::from(AgentError::State {
            message: format!(
                "agent {} already holds a {} lock on this resource",
                own.holder,
                own.level.name()
            ),
            hint: Some(format!(
                "Release lock {} before acquiring one of level {}.",
                own.id,
                request.level.name()
            )),
        }));
    }
    if upgrade && !sweep(table, dead, now)? {
        return Ok(None);
    }
    let mut wanted = own.clone();
    let mut changes = Changes::new();
    if own.level == Level::Lease {
        wanted.expires_at = request.expires_at(now);
        changes.push((EXPIRES_AT, Value::timestamp(wanted.expires_at)));
    }
    if upgrade {
        wanted.mode = request.mode;
        changes.push((MODE, Value::text(mode_name(request.mode))));
    }
    if changes.is_empty() {
        return Ok(Some(own.id));
    }
    let session = upgrade && own.level == Level::Session;
    if session && !hold_key(own.id, request.key(), request.mode) {
        return Ok(None);
    }
    if table.locks().renew(table, own.id, &changes)? != Written::Done {
        if session {
            let_go(own.id, 1);
        }
        return Ok(None);
    }
    check_stored(table, &wanted)?;
    if session {
        let_mode_go_at_commit(own.id, own.mode);
    }
    Ok(Some(own.id))
}

/// Is a locked version the same lock, still alive, with another end?
fn is_extended(locked: &LockRow, own: &LockRow, now: i64) -> bool {
    let alike = LockRow {
        expires_at: own.expires_at,
        ..locked.clone()
    };
    alike == *own && (locked.level != Level::Lease || locked.expires_at > now)
}

/// Step 6, its first half: deletes the dead rows that stand in the way. False,
/// and nothing is deleted, if one of them may be alive.
fn sweep(table: &Table, dead: &[Uuid], now: i64) -> CaliberResult<bool> {
    if dead.is_empty() {
        return Ok(true);
    }
    if crate::fault::active("lock_no_recheck") {
        table.locks().sweep(table, dead, &mut |_| Ok(true))?;
        return Ok(true);
    }
    for &id in dead {
        let locked = table.locks().try_lock(table, id, Strength::Update)?;
        let is_dead = match locked {
            Some(row) => !row.is_alive(table, now)?,
            None => false,
        };
        if !is_dead {
            counters::add(Counter::PathLockUnsure);
            return Ok(false);
        }
    }
    Ok(delete_dead(table, dead, now)? == dead.len() as u64)
}

/// Deletes those of `ids` that are still dead once they are locked.
fn delete_dead(table: &Table, ids: &[Uuid], now: i64) -> CaliberResult<u64> {
    let swept = table
        .locks()
        .sweep(table, ids, &mut |row| Ok(!row.is_alive(table, now)?))?;
    for _ in 0..swept {
        counters::add(Counter::PathLockSwept);
    }
    Ok(swept)
}

/// Step 6, its second half: writes the new row.
fn write(table: &Table, request: &Request, now: i64) -> CaliberResult<Option<Uuid>> {
    let session = request.level == Level::Session;
    if session && !hold_session(request.id, request.key(), request.mode) {
        return Ok(None);
    }
    let row = [
        Value::uuid(request.id),
        request.resource_type,
        Value::uuid(request.resource_id),
        Value::uuid(request.agent),
        Value::timestamp(now),
        Value::timestamp(request.expires_at(now)),
        Value::text(mode_name(request.mode)),
        Value::text(request.level.name()),
        Value::int4(process_id()),
    ];
    if table.engine().insert(table, &row)? != Written::Done {
        if session {
            let_go(request.id, 2);
        }
        return Ok(None);
    }
    check_stored(table, &request.row(now))?;
    if request.level == Level::Transaction {
        let relation = &table.relation;
        note_row(
            request.id,
            relation.schema().to_u32(),
            relation.oid().to_u32(),
        );
    }
    Ok(Some(request.id))
}

/// Releases a lock; false if there is none, or a trigger vetoes it.
///
/// # Errors
/// 55000 if another session holds it.
pub fn release(table: &Table, id: Uuid) -> CaliberResult<bool> {
    let key = Value::uuid(id);
    // A row that the caller does not see is left to the DELETE, which finds
    // none: no rule may tell that it is there.
    let is_seen = table.engine().exists(table, key)?;
    if is_seen {
        if let Some(row) = table.locks().as_of_now(table, id)? {
            check_releasable(table, &row)?;
        }
    }
    // Also if there is none: the statement has triggers of its own.
    if table.engine().delete(table, key)? == Written::Done {
        if !is_seen {
            return Err(CaliberError::serialization(
                "a lock of this id was acquired while it was being released",
            ));
        }
        let_go_at_commit(id);
        return Ok(true);
    }
    // Not deleted. Only if it is gone for everybody is what this session may
    // still hold of it given back.
    if table.locks().as_of_now(table, id)?.is_some() {
        return Ok(false);
    }
    Ok(let_go_at_commit(id))
}

fn check_releasable(table: &Table, row: &LockRow) -> CaliberResult<()> {
    if row.level == Level::Lease
        || row.is_own(table, row.holder)?
        || !row.is_alive(table, now())?
        || crate::fault::active("lock_release_any")
    {
        return Ok(());
    }
    Err(CaliberError::from(AgentError::State {
        message: format!("lock {} is held by another session", row.id),
        hint: Some("Only that session can release it; it ends with that session.".into()),
    }))
}

/// Moves the end of a lease; false if there is no such lock, or a trigger
/// vetoes the change.
///
/// # Errors
/// 55000 if it is no lease or has expired, 22023 if it would last too long.
pub fn extend(table: &Table, id: Uuid, additional_ms: i64) -> CaliberResult<bool> {
    let Some(mut row) = table.locks().lock(table, id, Strength::NoKeyUpdate)? else {
        return Ok(false);
    };
    let refuse = |message, hint: &str| {
        CaliberError::from(AgentError::State {
            message,
            hint: Some(hint.into()),
        })
    };
    if row.level != Level::Lease {
        return Err(refuse(
            format!(
                "lock {id} is of level {} and has no end to move",
                row.level.name()
            ),
            "Only leases are extended.",
        ));
    }
    // Read after the wait for the row.
    let now = now();
    if row.expires_at <= now && !crate::fault::active("lock_extend_expired") {
        return Err(refuse(
            format!("lock {id} has expired"),
            "Acquire the lock again.",
        ));
    }
    let latest = now + LONGEST_MS * 1000;
    row.expires_at = match row.expires_at.checked_add(additional_ms * 1000) {
        Some(end) if end <= latest => end,
        _ => {
            return Err(CaliberError::argument(
                Rule::Value,
                format!("lock {id} cannot be extended beyond {LONGEST_MS} ms from now"),
                None,
            ))
        }
    };
    let changes = vec![(EXPIRES_AT, Value::timestamp(row.expires_at))];
    let written = table.engine().update(table, Value::uuid(id), &changes)?;
    if written != Written::Done {
        return Ok(false);
    }
    check_stored(table, &row)?;
    Ok(true)
}

/// True if the lock is held, and then stays so until the transaction ends: its
/// row is locked KEY SHARE, so that nobody can release it, or sweep it away
/// once it has expired.
///
/// # Errors
/// 55000 if it is not held.
pub fn assert(table: &Table, id: Uuid) -> CaliberResult<bool> {
    if let Some(row) = table.locks().lock(table, id, Strength::KeyShare)? {
        if row.is_alive(table, now())? {
            return Ok(true);
        }
    }
    Err(CaliberError::from(AgentError::State {
        message: format!("lock {id} is not held"),
        hint: Some("It has expired, was released, or its session has ended.".into()),
    }))
}

/// Deletes the dead rows that the caller may delete; how many.
pub fn purge(table: &Table) -> CaliberResult<i64> {
    let now = now();
    let ids = table
        .locks()
        .find(table, &mut |row| Ok(!row.is_alive(table, now)?))?;
    Ok(delete_dead(table, &ids, now)? as i64)
}

//! What agents do with each other beyond rows: locks, and the bookkeeping that
//! keeps row and advisory lock from ever disagreeing.

mod ledger;
pub mod lock;
pub mod notify;
pub mod row;
mod written;

use crate::engine::locks;
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::advisory::{self, Mode, Tag, Until};
use crate::pg::transaction::{self, SubTransaction, Watcher};
pub use ledger::WrittenRow;
use ledger::{own_tag, Ledger, Locks};
use std::cell::RefCell;
use uuid::Uuid;

thread_local! {
    static LEDGER: RefCell<Ledger> = const { RefCell::new(Ledger::new()) };
}

/// The server's lock manager.
struct Server;

impl Locks for Server {
    fn held(&self, tag: Tag, mode: Mode) -> bool {
        advisory::held_by_me(tag, mode)
    }

    fn release(&self, tag: Tag, mode: Mode) {
        advisory::unlock(tag, mode, Until::SessionEnd);
    }
}

static WATCHER: Watcher = Watcher {
    before_commit: remove_rows,
    before_prepare: refuse_prepare,
    committed: || at_end(|ledger| ledger.committed(&Server)),
    aborted: || at_end(|ledger| ledger.aborted(&Server)),
    sub_committed: |own, parent| at_end(|ledger| ledger.sub_committed(own, parent)),
    sub_aborted: |own| at_end(|ledger| ledger.sub_aborted(own, &Server)),
};

/// Works on the ledger where nothing may fail. Nobody else is at work on it
/// then: no borrow lives while something runs that could end a transaction.
fn at_end(work: impl FnOnce(&mut Ledger)) {
    // While a process exits, the ledger may be gone already, and the server
    // frees all locks.
    let _ = LEDGER.try_with(|ledger| {
        if let Ok(mut ledger) = ledger.try_borrow_mut() {
            work(&mut ledger);
        }
    });
}

/// Rows of level transaction are gone before anybody else could see them.
fn remove_rows() -> CaliberResult<()> {
    loop {
        let rows = LEDGER.with_borrow_mut(Ledger::take_rows);
        if rows.is_empty() || crate::fault::active("lock_rows_left") {
            return Ok(());
        }
        locks::remove(&rows)?;
    }
}

/// A prepared transaction belongs to no session and its end runs no callback.
fn refuse_prepare() -> CaliberResult<()> {
    if !LEDGER.with_borrow(Ledger::is_touched) {
        return Ok(());
    }
    Err(CaliberError::argument(
        Rule::Unsupported,
        "cannot PREPARE a transaction that has acquired or released a session or transaction lock",
        Some("Only locks of level lease can be acquired or released in it.".into()),
    ))
}

/// Takes the advisory locks of a session lock: `key` in its mode, and the row's
/// own tag. False, and nothing is held, if the own tag is somebody else's.
fn hold_session(lock: Uuid, key: Tag, mode: Mode) -> bool {
    transaction::watch(&WATCHER);
    LEDGER.with_borrow_mut(|ledger| ledger.prepare(lock, 2, &Server));
    let by = SubTransaction::current();
    if !advisory::try_lock(own_tag(lock), Mode::Exclusive, Until::SessionEnd) {
        return false;
    }
    LEDGER.with_borrow_mut(|ledger| ledger.take(lock, own_tag(lock), Mode::Exclusive, by));
    let held = hold_key(lock, key, mode);
    if !held {
        let_go(lock, 1);
    }
    held
}

/// Takes one more advisory lock on `key` for a session lock.
fn hold_key(lock: Uuid, key: Tag, mode: Mode) -> bool {
    transaction::watch(&WATCHER);
    LEDGER.with_borrow_mut(|ledger| ledger.prepare(lock, 1, &Server));
    let by = SubTransaction::current();
    // The transaction holds it in the same mode, so that nobody is in the way.
    if !advisory::try_lock(key, mode, Until::SessionEnd) {
        return false;
    }
    LEDGER.with_borrow_mut(|ledger| ledger.take(lock, key, mode, by));
    true
}

/// Gives back at once the last `count` advisory locks taken for a session lock.
fn let_go(lock: Uuid, count: usize) {
    LEDGER.with_borrow_mut(|ledger| ledger.untake(lock, count, &Server));
}

/// All that this backend holds for a session lock is given back at commit.
/// False if it holds nothing, or has done this already.
fn let_go_at_commit(lock: Uuid) -> bool {
    let held = || advisory::held_by_me(own_tag(lock), Mode::Exclusive);
    if crate::fault::active("lock_released_at_once") && held() {
        advisory::unlock(own_tag(lock), Mode::Exclusive, Until::SessionEnd);
    }
    LEDGER.with_borrow_mut(|l| l.give_back(lock, SubTransaction::current(), &Server))
}

/// After an upgrade: what was held in `mode` is given back at commit.
fn let_mode_go_at_commit(lock: Uuid, mode: Mode) {
    LEDGER.with_borrow_mut(|l| l.give_back_mode(lock, mode, SubTransaction::current(), &Server));
}

/// Notes a row of level transaction.
fn note_row(lock: Uuid, schema: u32, table: u32) {
    transaction::watch(&WATCHER);
    let row = WrittenRow {
        lock,
        schema,
        table,
        by: SubTransaction::current(),
    };
    LEDGER.with_borrow_mut(|ledger| ledger.wrote(row));
}

/// Did this transaction write this row of level transaction by a call of ours?
fn has_written(lock: Uuid) -> bool {
    LEDGER.with_borrow(|ledger| ledger.has_written(lock))
}

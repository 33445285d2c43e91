//! What this backend holds at session level, and what this transaction has
//! done about it: plain bookkeeping, so that it can be tested without a server.
//!
//! Advisory locks of a session know no transactions. So each hold remembers the
//! subtransaction that took it and the one that gave it back: a rollback undoes
//! the taking at once and forgets the giving back; only the commit of the
//! outermost transaction gives back.

use crate::pg::advisory::{tag_key, Mode, Tag};
use crate::pg::transaction::SubTransaction;
use uuid::Uuid;

/// The tag that stands for the session lock `lock` itself: who holds it is
/// alive, whatever became of everything else.
pub fn own_tag(lock: Uuid) -> Tag {
    Tag::internal(tag_key("lock", lock.as_bytes()))
}

/// The advisory locks of this backend, as the server has them.
pub trait Locks {
    /// Is this lock held by this backend in exactly this mode?
    fn held(&self, tag: Tag, mode: Mode) -> bool;
    /// Gives back one hold at session level; must not fail.
    fn release(&self, tag: Tag, mode: Mode);
}

/// One advisory lock that is held once at session level for a lock row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    lock: Uuid,
    tag: Tag,
    mode: Mode,
    /// Taken by this subtransaction; none: by an earlier transaction.
    taken: SubTransaction,
    /// To be given back at commit, says this subtransaction.
    given_back: SubTransaction,
}

impl Hold {
    /// Did this transaction do anything about it?
    fn is_in_transaction(&self) -> bool {
        self.taken.is_some() || self.given_back.is_some()
    }

    /// Is this the row's own tag?
    fn is_own(&self) -> bool {
        self.tag == own_tag(self.lock)
    }

    /// Is it still what was taken? Whatever frees all locks of a session
    /// (`DISCARD ALL`, `pg_advisory_unlock_all()`) frees the own tag with them;
    /// a lock of a user's on the same key may have come since.
    fn stands(&self, locks: &dyn Locks) -> bool {
        locks.held(own_tag(self.lock), Mode::Exclusive) && locks.held(self.tag, self.mode)
    }
}

/// A row of level transaction that this transaction wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenRow {
    /// Its key.
    pub lock: Uuid,
    /// The table's schema.
    pub schema: u32,
    /// The table.
    pub table: u32,
    /// Where in the transaction.
    pub by: SubTransaction,
}

/// Everything that has to be done when a transaction ends.
#[derive(Debug, Default)]
pub struct Ledger {
    holds: Vec<Hold>,
    rows: Vec<WrittenRow>,
    /// Whether this transaction took or gave back anything, or wrote a row.
    touched: bool,
}

impl Ledger {
    /// Nothing is held.
    pub const fn new() -> Self {
        Self {
            holds: Vec::new(),
            rows: Vec::new(),
            touched: false,
        }
    }

    /// Makes room for the next `count` holds, and forgets those that
    /// `DISCARD ALL` freed. Called before the locks are taken, so that noting
    /// them afterwards cannot fail.
    pub fn prepare(&mut self, lock: Uuid, count: usize, locks: &dyn Locks) {
        if self.holds.len() + count > self.holds.capacity()
            || self.holds.iter().any(|h| h.lock == lock)
        {
            self.holds
                .retain(|h| locks.held(own_tag(h.lock), Mode::Exclusive));
            self.holds.reserve(count);
        }
    }

    /// Notes that a lock was taken for a row.
    pub fn take(&mut self, lock: Uuid, tag: Tag, mode: Mode, by: SubTransaction) {
        self.touched = true;
        self.holds.push(Hold {
            lock,
            tag,
            mode,
            taken: by,
            given_back: SubTransaction::NONE,
        });
    }

    /// Gives back at once the last `count` locks taken for a row.
    pub fn untake(&mut self, lock: Uuid, count: usize, locks: &dyn Locks) {
        let mut last = Vec::with_capacity(count);
        while last.len() < count {
            let Some(at) = self.holds.iter().rposition(|h| h.lock == lock) else {
                break;
            };
            last.push(self.holds.remove(at));
        }
        release(&last, locks, |_| true);
    }

    /// Everything held for a row will be given back at commit. False if nothing
    /// is, or all of it will be already.
    pub fn give_back(&mut self, lock: Uuid, by: SubTransaction, locks: &dyn Locks) -> bool {
        self.give_back_if(lock, by, locks, |_| true)
    }

    /// What a row holds beside its own tag in `mode` will be given back at
    /// commit: after a change to another mode.
    pub fn give_back_mode(
        &mut self,
        lock: Uuid,
        mode: Mode,
        by: SubTransaction,
        locks: &dyn Locks,
    ) {
        self.give_back_if(lock, by, locks, |h| !h.is_own() && h.mode == mode);
    }

    fn give_back_if(
        &mut self,
        lock: Uuid,
        by: SubTransaction,
        locks: &dyn Locks,
        which: impl Fn(&Hold) -> bool,
    ) -> bool {
        if !locks.held(own_tag(lock), Mode::Exclusive) {
            return false;
        }
        let mut any = false;
        for hold in &mut self.holds {
            if hold.lock == lock && !hold.given_back.is_some() && which(hold) {
                hold.given_back = by;
                any = true;
            }
        }
        self.touched |= any;
        any
    }

    /// Notes that a row of level transaction was written.
    pub fn wrote(&mut self, row: WrittenRow) {
        self.touched = true;
        self.rows.push(row);
    }

    /// Did this transaction write this row of level transaction?
    pub fn has_written(&self, lock: Uuid) -> bool {
        self.rows.iter().any(|row| row.lock == lock)
    }

    /// The rows of level transaction; they are forgotten here.
    pub fn take_rows(&mut self) -> Vec<WrittenRow> {
        std::mem::take(&mut self.rows)
    }

    /// Must this transaction not be prepared?
    pub fn is_touched(&self) -> bool {
        self.touched && (!self.rows.is_empty() || self.holds.iter().any(Hold::is_in_transaction))
    }

    /// A subtransaction became part of its parent.
    pub fn sub_committed(&mut self, own: SubTransaction, parent: SubTransaction) {
        if !self.touched {
            return;
        }
        let pass_on = |by: &mut SubTransaction| {
            if *by == own {
                *by = parent;
            }
        };
        for hold in &mut self.holds {
            pass_on(&mut hold.taken);
            pass_on(&mut hold.given_back);
        }
        for row in &mut self.rows {
            pass_on(&mut row.by);
        }
    }

    /// A subtransaction was rolled back.
    pub fn sub_aborted(&mut self, own: SubTransaction, locks: &dyn Locks) {
        if !self.touched || crate::fault::active("lock_lost_savepoint") {
            return;
        }
        self.undo(locks, |by| by == own);
    }

    /// The transaction was rolled back.
    pub fn aborted(&mut self, locks: &dyn Locks) {
        if self.touched {
            self.undo(locks, SubTransaction::is_some);
            self.touched = false;
        }
    }

    fn undo(&mut self, locks: &dyn Locks, by: impl Fn(SubTransaction) -> bool) {
        release(&self.holds, locks, |h| by(h.taken));
        self.holds.retain(|h| !by(h.taken));
        for hold in &mut self.holds {
            if by(hold.given_back) {
                hold.given_back = SubTransaction::NONE;
            }
        }
        self.rows.retain(|row| !by(row.by));
    }

    /// The transaction was committed.
    pub fn committed(&mut self, locks: &dyn Locks) {
        if !self.touched {
            return;
        }
        release(&self.holds, locks, |h| h.given_back.is_some());
        self.holds.retain(|h| !h.given_back.is_some());
        for hold in &mut self.holds {
            hold.taken = SubTransaction::NONE;
        }
        self.rows.clear();
        self.touched = false;
    }
}

/// Releases holds, each row's own tag last: it vouches for the others.
/// Allocates nothing.
fn release(holds: &[Hold], locks: &dyn Locks, which: impl Fn(&Hold) -> bool) {
    for own in [false, true] {
        for hold in holds.iter().filter(|h| which(h) && h.is_own() == own) {
            if hold.stands(locks) {
                locks.release(hold.tag, hold.mode);
            }
        }
    }
}

#[cfg(test)]
mod tests;

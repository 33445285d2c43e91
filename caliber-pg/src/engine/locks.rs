//! What the protocol of locks needs of storage beyond [`Engine`](super::Engine):
//! rows as of now at every isolation level, and row locks that wait for nobody.

use super::{Changes, Table, Via, Written};
use crate::coordination::row::LockRow;
use crate::coordination::WrittenRow;
use crate::entity::lock::LOCK;
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::relation::{Relation, WRITE_LOCK};
use uuid::Uuid;

/// How strongly a row is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// Keeps it from being deleted.
    KeyShare,
    /// Keeps it from being changed.
    NoKeyUpdate,
    /// Keeps it from being changed or locked.
    Update,
}

/// A condition on a row of the table.
pub type Wanted<'a> = dyn FnMut(&LockRow) -> CaliberResult<bool> + 'a;

/// Storage of locks. "As of now" is: under GetLatestSnapshot at every isolation
/// level.
pub trait LockRows {
    /// The rows of a resource as of now, with the rights of the table's owner
    /// and without row policies.
    fn of_resource(&self, table: &Table, kind: Value, id: Uuid) -> CaliberResult<Vec<LockRow>>;

    /// The row with this key, in the same way.
    fn as_of_now(&self, table: &Table, id: Uuid) -> CaliberResult<Option<LockRow>>;

    /// Is the row with this key a version that this transaction wrote?
    fn is_of_this_transaction(&self, table: &Table, id: Uuid) -> CaliberResult<bool>;

    /// Locks a row as of now, with the caller's rights and policies and without
    /// waiting, and returns the version that is locked. None if that cannot be
    /// done at once, the row is gone, or a policy hides it.
    ///
    /// # Errors
    /// 40001 at REPEATABLE READ and above, if it is changed at this moment.
    fn try_lock(&self, table: &Table, id: Uuid, how: Strength) -> CaliberResult<Option<LockRow>>;

    /// Locks a row as `SELECT … FOR …` does: what the caller sees, waiting for
    /// whoever is in the way.
    ///
    /// # Errors
    /// 40001 as SQL.
    fn lock(&self, table: &Table, id: Uuid, how: Strength) -> CaliberResult<Option<LockRow>>;

    /// UPDATE of a row that is locked, as of now.
    fn renew(&self, table: &Table, id: Uuid, changes: &Changes) -> CaliberResult<Written>;

    /// Keys of the wanted rows as of now, as the caller sees them.
    fn find(&self, table: &Table, wanted: &mut Wanted<'_>) -> CaliberResult<Vec<Uuid>>;

    /// One DELETE, as of now, of those rows that can be locked without waiting
    /// and are still wanted on the locked version; how many went.
    fn sweep(&self, table: &Table, ids: &[Uuid], wanted: &mut Wanted<'_>) -> CaliberResult<u64>;
}

impl Table {
    /// The engine that serves this call, as storage of locks.
    pub fn locks(&self) -> &'static dyn LockRows {
        match self.via {
            Via::Heap => &super::heap::Heap,
            Via::Sql(planning) => self.sql(planning),
        }
    }
}

/// Deletes rows of level transaction that this transaction wrote, just before
/// it commits. Nothing of a user's runs, since the rights that hold then are neither
/// those the row was written with nor those of who refers to it: no trigger fires, and
/// a key of another table is checked but sets off no action. Rows that are not to be
/// found any more are no loss, since a row of that level is dead as soon as its
/// transaction has ended.
///
/// # Errors
/// 23503 if a table of the user's still refers to such a row.
pub fn remove(rows: &[WrittenRow]) -> CaliberResult<()> {
    for row in rows {
        // The table may have been dropped, altered or replaced meanwhile.
        let Ok(relation) = Relation::open(row.schema.into(), &LOCK.shape, WRITE_LOCK) else {
            continue;
        };
        if relation.oid() != row.table.into() {
            continue;
        }
        let table = Table {
            relation,
            entity: &LOCK,
            via: Via::Heap,
            policies: false,
            find_duplicate: false,
            watch: None,
        };
        super::heap::remove_quietly(&table, Value::uuid(row.lock))?;
    }
    Ok(())
}

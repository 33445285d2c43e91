//! Claiming rows: each goes to exactly one of several sessions, and none waits
//! for another.

use super::list::List;
use super::{Changes, Table};
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::row::RowSink;

/// The first free rows of a list, and what is written into each.
pub struct Claim<'a> {
    /// The table of the row for whose sake rows are claimed.
    pub by: &'a Table,
    /// Its key.
    pub key: Value,
    /// The column of it that decides what is claimed.
    pub column: usize,
    /// What is claimed, in order, given that column's value; without such a
    /// row, nothing is.
    pub rows: &'a dyn Fn(Value) -> List<'a>,
    /// New values.
    pub changes: Changes,
}

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").finish_non_exhaustive()
    }
}

/// Storage that rows can be claimed from.
pub trait Claims {
    /// One statement: `SELECT … FOR NO KEY UPDATE SKIP LOCKED` of the claimed
    /// rows and an UPDATE of them; gives them to `sink` as updated, in the
    /// list's order.
    ///
    /// # Errors
    /// 40001 at REPEATABLE READ and above, for a row that was changed since
    /// the snapshot.
    fn claim(&self, table: &Table, claim: &Claim<'_>, sink: &mut RowSink) -> CaliberResult<()>;
}

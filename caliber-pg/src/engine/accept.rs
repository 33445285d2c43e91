//! A verb whose move may also create a row of another table, in one statement:
//! `WITH u AS (UPDATE … RETURNING 1) INSERT … SELECT … FROM u`.
//!
//! The new row is written only if the move was made, so that a session that
//! comes too late leaves nothing behind.

use super::{Stored, Table, Verdict};
use crate::error::CaliberResult;
use crate::pg::datum::Value;

/// A row that a move creates.
#[derive(Debug)]
pub struct NewRow<'t> {
    /// Its table, opened together with that of the verb.
    pub table: &'t Table,
    /// A value for each known column.
    pub values: Vec<Value>,
}

/// As [`super::Rule`], with the row that comes with the move. What it returns
/// may point into the version that it was given.
pub type Rule<'t, 'a> = dyn FnMut(&Stored) -> CaliberResult<(Verdict, Option<NewRow<'t>>)> + 'a;

/// The combined statement.
pub trait Accept {
    /// A verb: reads the row, decides, and in one statement updates the version
    /// that it decided on and inserts the row that comes with it. False if
    /// there is no such row, or a trigger vetoes the update; a trigger that
    /// vetoes the insert leaves a key that refers to nothing: 23503, as SQL.
    ///
    /// The rule may wait for locks: the statement starts after it.
    fn accept(&self, table: &Table, key: Value, rule: &mut Rule<'_, '_>) -> CaliberResult<bool>;
}

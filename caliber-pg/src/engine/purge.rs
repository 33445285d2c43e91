//! Purging: deleting rows that nobody needs any more, waiting for nobody.

use super::Table;
use crate::error::CaliberResult;
use crate::pg::test::Test;

/// Storage that can be purged.
pub trait Purge {
    /// One DELETE of at most `max_rows` rows, by key, that pass any of the tests
    /// and that nobody else has locked: `DELETE … WHERE key = ANY (ARRAY(SELECT …
    /// LIMIT $n FOR UPDATE SKIP LOCKED))`. The tests are made again on the version
    /// that is locked. Returns how many went. Reads the whole table.
    ///
    /// Needs SELECT and DELETE only: UPDATE, which SQL wants of whoever locks
    /// rows, is not what deleting them takes.
    ///
    /// # Errors
    /// 40001 at REPEATABLE READ and above, for a row that was changed since
    /// the snapshot.
    fn purge(&self, table: &Table, any: &[(usize, Test)], max_rows: i64) -> CaliberResult<i64>;
}

//! No SPI: on the heap engine a call leaves no nested statement but PostgreSQL's
//! own foreign key checks, as pg_stat_statements sees it.

use crate::runner::Test;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}

//! Two sessions on the same rows: who waits, who wins, what is left behind.

use crate::runner::Test;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}

//! Trees of tasks: roots, changes of parent, and two sessions at work on one tree.

use crate::runner::Test;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}

//! The catalog: functions and tables as they were published.

use crate::runner::Test;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}

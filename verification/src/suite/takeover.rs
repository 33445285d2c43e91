//! Takeovers: where the heap engine must not act alone, the sql engine does the
//! whole call, counts it, and the result is the client's.

use crate::runner::Test;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}

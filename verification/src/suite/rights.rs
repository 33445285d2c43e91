//! Rights: who may call what, in which order checks come, and that nothing of
//! a caller's search_path or a definer's rights is captured.

use crate::runner::Test;

/// All of them.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}

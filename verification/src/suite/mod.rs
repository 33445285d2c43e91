//! The standard set: one file per topic. A topic gives tests by a function
//! `tests() -> Vec<Test>`, and is listed in [`all`].

mod canary;
pub mod desk;
mod driver;
mod errors;
pub mod properties;

use crate::runner::Test;

/// Every test that `cargo test` runs on each major.
#[must_use]
pub fn all() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(canary::tests());
    tests.extend(driver::tests());
    tests.extend(errors::tests());
    tests.extend(properties::tests());
    tests
}

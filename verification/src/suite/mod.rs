//! The standard set: one file per topic. A topic gives tests by a function
//! `tests() -> Vec<Test>`, and is listed in [`all`].

mod bad_input;
mod canary;
mod catalog;
mod concurrency;
pub mod desk;
mod driver;
mod errors;
mod init;
mod no_spi;
mod own_writes;
pub mod properties;
mod relation_locks;
mod rights;
mod takeover;
mod trees;
mod truth;

use crate::runner::Test;

/// Every test that `cargo test` runs on each major.
#[must_use]
pub fn all() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(bad_input::tests());
    tests.extend(canary::tests());
    tests.extend(driver::tests());
    tests.extend(errors::tests());
    tests.extend(catalog::tests());
    tests.extend(concurrency::tests());
    tests.extend(init::tests());
    tests.extend(no_spi::tests());
    tests.extend(own_writes::tests());
    tests.extend(takeover::tests());
    tests.extend(trees::tests());
    tests.extend(properties::tests());
    tests.extend(rights::tests());
    tests.extend(truth::tests());
    tests.extend(relation_locks::tests());
    tests
}

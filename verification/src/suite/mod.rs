//! The standard set: one file per topic. A topic gives tests by a function
//! `tests() -> Vec<Test>`, and is listed in [`all`].

mod arguments;
mod bad_input;
mod canary;
mod catalog;
mod check;
mod concurrency;
mod crash;
mod crew;
mod delegations;
pub mod desk;
mod driver;
mod errors;
mod examples;
mod expiry;
mod handoffs;
mod ids;
mod init;
mod interrupts;
mod load;
mod locks;
mod many;
mod memory;
mod messages;
mod no_spi;
mod own_objects;
mod own_writes;
pub mod properties;
mod relation_locks;
mod rights;
mod sampled;
mod search;
mod sessions;
mod space;
mod standby;
mod states;
mod steps;
mod stored;
mod takeover;
mod trees;
mod truth;
mod turns;
mod values;
mod waits;
mod work;

use crate::runner::Test;

/// Every test that `cargo test` runs on each major.
#[must_use]
pub fn all() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(arguments::tests());
    tests.extend(bad_input::tests());
    tests.extend(canary::tests());
    tests.extend(driver::tests());
    tests.extend(errors::tests());
    tests.extend(catalog::tests());
    tests.extend(check::tests());
    tests.extend(concurrency::tests());
    tests.extend(crash::tests());
    tests.extend(delegations::tests());
    tests.extend(examples::tests());
    tests.extend(expiry::tests());
    tests.extend(handoffs::tests());
    tests.extend(ids::tests());
    tests.extend(init::tests());
    tests.extend(interrupts::tests());
    tests.extend(load::tests());
    tests.extend(locks::tests());
    tests.extend(many::tests());
    tests.extend(memory::tests());
    tests.extend(messages::tests());
    tests.extend(no_spi::tests());
    tests.extend(own_objects::tests());
    tests.extend(own_writes::tests());
    tests.extend(standby::tests());
    tests.extend(states::tests());
    tests.extend(sessions::tests());
    tests.extend(space::tests());
    tests.extend(takeover::tests());
    tests.extend(trees::tests());
    tests.extend(properties::tests());
    tests.extend(rights::tests());
    tests.extend(search::tests());
    tests.extend(truth::tests());
    tests.extend(turns::tests());
    tests.extend(values::tests());
    tests.extend(waits::tests());
    tests.extend(relation_locks::tests());
    tests
}

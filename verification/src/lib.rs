//! The harness that judges `caliber_pg` on real PostgreSQL servers.
//!
//! - [`server`] gets a PostgreSQL of a major with the extension: from a
//!   container, a temporary local cluster, or a URL.
//! - [`entity`] describes each entity as plain data with generators, and
//!   [`model`] knows what must come of a call.
//! - [`property`] states the properties once, as generators of [`plan`]s.
//! - [`judge`] carries a plan out by three judges and compares them.
//! - [`failure`] makes what fails reproducible; [`isolation`] drives several
//!   sessions; [`suite`] is everything that `cargo test` runs, by [`runner`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod account;
mod closing;
pub mod config;
pub mod demo;
pub mod entity;
pub mod failure;
pub mod faults;
pub mod isolation;
pub mod judge;
pub mod model;
pub mod plan;
pub mod probes;
pub mod promises;
pub mod property;
pub mod record;
pub mod replay;
pub mod report;
pub mod runner;
pub mod script;
pub mod server;
pub mod session;
pub mod suite;
pub mod value;

//! How fast `caliber_pg` is: against the same work as SQL, and against the least that
//! PostgreSQL can do for it.
//!
//! - [`entity`] describes, for each entity, its rows and operations: how the function is
//!   called, and the equivalent statement.
//! - [`rival`] makes of a statement what it is compared with: SPI with kept plans, SPI planned
//!   at each call, PL/pgSQL.
//! - [`server`] starts a server for a run, and [`world`] fills it with rows.
//! - [`race`] has one operation done by everyone, and [`backend`] measures the cost inside a
//!   backend that way, in alternating runs.
//! - [`socket`] measures over the wire, [`growth`] by number of rows, [`upkeep`] what stays.
//! - [`run`] puts them together, [`report`] and [`page`] write down what was found.
//! - [`bar`] holds the bars, [`stats`] medians and spreads.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backend;
pub mod bar;
pub mod config;
pub mod entity;
pub mod growth;
pub mod machine;
pub mod page;
pub mod race;
pub mod report;
pub mod rival;
pub mod run;
pub mod server;
pub mod socket;
pub mod stats;
pub mod template;
pub mod terminal;
pub mod upkeep;
pub mod wire;
pub mod world;

//! CALIBER-PG: the memory and coordination of AI agents inside PostgreSQL, at
//! the cost of a heap write.
//!
//! Every function behaves as the equivalent SQL statement sent by the client;
//! the `heap` engine gets there without parsing or planning one. See
//! `engine` for the trait, `entity` for the functions, `pg` for the server.

mod cold;
pub mod coordination;
pub mod counters;
pub mod engine;
pub mod entity;
pub mod error;
pub mod fault;
mod info;
pub mod pg;
pub mod settings;
pub mod wait;

::pgrx::pg_module_magic!();

/// Called once when the library is loaded into a process.
#[pgrx::pg_guard]
#[allow(non_snake_case)]
pub extern "C-unwind" fn _PG_init() {
    settings::register();
}

#[cfg(any(test, feature = "pg_test"))]
mod testing;

/// What pgrx's test framework asks of a crate.
#[cfg(test)]
pub mod pg_test {
    /// Called once before the first test.
    pub fn setup(_options: Vec<&str>) {}

    /// Lines for the test server's postgresql.conf.
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["listen_addresses = 'localhost'"]
    }
}

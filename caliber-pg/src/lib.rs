//! caliber-pg
use pgrx::prelude::*;
::pgrx::pg_module_magic!();

/// Version of the library.
#[pg_extern(immutable, parallel_safe)]
fn caliber_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

//! Functions about the library itself.

use crate::counters;
use crate::pg::call::Call;
use crate::pg::datum::Id;
use crate::pg::random;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

/// Version of the library (R12.3): a constant.
#[pg_extern(immutable, parallel_safe)]
fn caliber_version(_call: Call) -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// A new id: uuid version 7, greater than all that this backend made before.
#[pg_extern(volatile, parallel_safe)]
fn caliber_new_id(_call: Call) -> Id {
    Id(random::new_id())
}

/// Counters of this backend: calls by engine, takeovers by reason, rare paths.
#[pg_extern(volatile, parallel_restricted)]
fn caliber_counters(
    _call: Call,
) -> TableIterator<'static, (name!(name, String), name!(value, i64))> {
    TableIterator::new(counters::all().map(|(name, value)| (name.to_owned(), value)))
}

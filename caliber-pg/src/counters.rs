//! Counters of this backend: which engine served, what took over, and which
//! rare paths were taken.

use std::sync::atomic::{AtomicI64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $sql:literal;)*) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $name,)* }
        const NAMES: &[&str] = &[$($sql,)*];
    };
}

counters! {
    /// Calls served by the heap engine.
    CallsHeap = "calls.heap";
    /// Calls served by the sql engine.
    CallsSql = "calls.sql";
    /// Calls served by the sql engine, planned at each call.
    CallsSqlOneshot = "calls.sql_oneshot";
    /// Taken over because row-level security is in force.
    TakeoverRowSecurity = "takeover.row_security";
    /// Taken over because the table has rules.
    TakeoverRule = "takeover.rule";
    /// Taken over because the table has inheritance children.
    TakeoverInheritance = "takeover.inheritance";
    /// Taken over because the table's access method is not heap.
    TakeoverAccessMethod = "takeover.access_method";
    /// Taken over because an existing id is to be returned.
    TakeoverOnDuplicate = "takeover.on_duplicate";
    /// Taken over because a column is generated, or an identity that SQL does
    /// not let a statement set.
    TakeoverGenerated = "takeover.generated";
    /// Taken over because an index is newer than the transaction's snapshots.
    TakeoverNewIndex = "takeover.new_index";
    /// Compiled descriptions rebuilt.
    CompiledRebuild = "compiled.rebuild";
    /// Updates that touched no index.
    PathHotUpdate = "path.hot_update";
    /// Updates that needed index entries.
    PathIndexedUpdate = "path.indexed_update";
    /// Rows that turned out to have a newer version.
    PathUpdateChain = "path.update_chain";
    /// Trees whose root had changed once their lock was there.
    PathTreeRetry = "path.tree_retry";
}

static VALUES: [AtomicI64; NAMES.len()] = [const { AtomicI64::new(0) }; NAMES.len()];

/// Counts one.
pub fn add(counter: Counter) {
    VALUES[counter as usize].fetch_add(1, Ordering::Relaxed);
}

/// All counters with their names, from the start, with 0.
pub fn all() -> impl Iterator<Item = (&'static str, i64)> {
    NAMES
        .iter()
        .zip(&VALUES)
        .map(|(&name, value)| (name, value.load(Ordering::Relaxed)))
}

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
    /// Taken over because the primary key is deferrable.
    TakeoverDeferrableKey = "takeover.deferrable_key";
    /// Taken over because texts of a column that differ can be equal.
    TakeoverCollation = "takeover.collation";
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
    /// Pages of a bitmap that knew no more than the page.
    PathLossyPage = "path.lossy_page";
    /// Rows that were skipped because somebody else had locked them.
    PathLockSkipped = "path.lock_skipped";
    /// Locks that were busy.
    PathLockBusy = "path.lock_busy";
    /// Dead rows of locks that were deleted.
    PathLockSwept = "path.lock_swept";
    /// Rows of locks that could not be locked at once, or were no longer dead.
    PathLockUnsure = "path.lock_unsure";
    /// Rows that a BEFORE trigger vetoed.
    PathVeto = "path.veto";
    /// Rows that were found changed by their own transaction.
    PathSelfModified = "path.self_modified";
    /// Rows whose newest version no longer was what the statement looks for.
    PathNoMatch = "path.no_match";
    /// Rows of a deferrable key that may collide, to be looked at again.
    PathDeferredKey = "path.deferred_key";
    /// Versions that a read in mid-statement left out for our own newer ones.
    PathReplacedVersion = "path.replaced_version";
    /// Rows returned whose long values were fetched from elsewhere.
    PathLongValue = "path.long_value";
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

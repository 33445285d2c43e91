//! Looking for damage: what `caliber_check()` needs of the server.
//!
//! A table is read once, page by page, under the active snapshot. Before that, each of
//! its indexes is read in full and its entries are sorted by the row that they
//! point at ([`pairs`]), so that both come in the same order and are compared as they
//! pass ([`stream`]): memory is bounded by maintenance_work_mem, the rest is on disk.
//! An entry points at the *root* of a row's HOT chain (heap_get_root_tuples,
//! pruneheap.c), which is what an index scan starts from.
//!
//! Why other sessions do not disturb this: a row that the snapshot sees was
//! indexed before its transaction committed, hence before the snapshot was taken;
//! neither the row nor its entries can be removed while the snapshot is held, and
//! the root of a chain does not move. What the snapshot does not see is not judged.
//!
//! Indexes and CHECKs may hold functions of the user's. They run as REINDEX runs them:
//! with the rights of the table's owner, restricted, and with a fixed search_path.

mod bitmap;
mod btree;
mod constraints;
mod fetch;
mod findings;
mod heap;
mod hnsw;
mod image;
mod index;
mod keys;
mod pairs;
mod query;
mod rights;
mod scan;
mod sorter;
mod sought;
mod stream;
mod subject;

pub use findings::{Findings, Place};
pub use heap::examine;
pub use query::{each, each_of_each};
pub use rights::{may_select, policies_in_force};
pub use scan::rows_of_others;
pub use subject::Subject;

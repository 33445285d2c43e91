//! What a search asks of an engine.

use super::list::Range;
use super::{Stored, Table};
use crate::error::{CaliberError, CaliberResult, StorageError};
use crate::pg::datum::Value;
use crate::pg::nearest::{element_type, HALFVEC_DIMENSIONS};
use crate::pg::relation::qualified;
use crate::pg::row::KeptRow;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::vector::Cosine;
use std::ffi::CStr;

/// Makes the row that is being visited, in full.
pub type Keep<'a> = dyn Fn() -> KeptRow + 'a;

/// What is done with a row, which is kept if it may be wanted later; false: no more
/// are wanted. (It could not be read again: a transaction that keeps its snapshot may
/// see two rows of a key, and so may anybody where the key was dropped.)
pub type Visit<'a> = dyn FnMut(&Stored, &Keep<'_>) -> CaliberResult<bool> + 'a;

/// How nearest rows are found.
pub trait Search {
    /// What the reads of one call see while the guard lives: all the same.
    fn snapshot(&self) -> ActiveSnapshot;

    /// Columns of the row with this key, as a read function sees it.
    fn look(
        &self,
        table: &Table,
        key: Value,
        columns: &[usize],
    ) -> CaliberResult<Option<Vec<Value>>>;

    /// Visits the rows of a range in no order, as a read function sees them,
    /// until `visit` has enough.
    ///
    /// # Errors
    /// Those of `visit`.
    fn visit(&self, table: &Table, range: &Range, visit: &mut Visit<'_>) -> CaliberResult<()>;

    /// Visits the rows whose `column` has the query's dimension through its
    /// HNSW index, nearest first, as a read function sees them, until `visit`
    /// has enough or the index is exhausted.
    ///
    /// # Errors
    /// 55000 if there is no such index; those of `visit`.
    fn nearest(
        &self,
        table: &Table,
        column: usize,
        cosine: &Cosine,
        visit: &mut Visit<'_>,
    ) -> CaliberResult<()>;
}

/// pgvector's settings for a scan that goes on until it has enough.
pub(super) const ITERATIVE: [(&CStr, &CStr); 3] = [
    (c"hnsw.iterative_scan", c"strict_order"),
    (c"hnsw.max_scan_tuples", c"2147483647"),
    (c"hnsw.scan_mem_multiplier", c"1000"),
];

/// There is no index for embeddings of this dimension.
pub(super) fn no_index(table: &Table, column: usize, dimensions: i32) -> CaliberError {
    let name = table.entity.shape.columns[column].name;
    let repair = if element_type(dimensions).is_some() {
        format!("Run caliber_init(embedding_dimensions => {dimensions}).")
    } else {
        format!("Embeddings of more than {HALFVEC_DIMENSIONS} dimensions cannot be indexed.")
    };
    CaliberError::from(StorageError::IndexError {
        table: qualified(table.relation.schema(), table.entity.shape.table),
        columns: format!("{name} of {dimensions} dimensions"),
        repair,
    })
}

//! Searches, by the statement that a client would send.

use super::text::Text;
use super::{known, stored, Sql};
use crate::engine::list::Range;
use crate::engine::search::{no_index, Search, Visit, ITERATIVE};
use crate::engine::Table;
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::guc;
use crate::pg::nearest::{element_type, Hnsw};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{self, View};
use crate::pg::vector::Cosine;
use std::ffi::CStr;

/// What makes the planner choose the HNSW index, however small the table. An
/// ivfflat index on the same expression, should it choose that one, looks at
/// all of its lists.
const PLANNER: [(&CStr, &CStr); 4] = [
    (c"enable_seqscan", c"off"),
    (c"enable_sort", c"off"),
    (c"enable_indexscan", c"on"),
    (c"ivfflat.probes", c"32768"),
];

impl Search for Sql {
    fn snapshot(&self) -> ActiveSnapshot {
        ActiveSnapshot::for_read_by_sql()
    }

    fn look(
        &self,
        table: &Table,
        key: Value,
        columns: &[usize],
    ) -> CaliberResult<Option<Vec<Value>>> {
        let _snapshot = ActiveSnapshot::for_read_by_sql();
        let text = Text::get(table, key);
        let row = self.read(table, &text, View::Active).into_iter().next();
        Ok(row.map(|row| stored(table, row).copies(table, columns)))
    }

    fn visit(&self, table: &Table, range: &Range, visit: &mut Visit<'_>) -> CaliberResult<()> {
        let _snapshot = ActiveSnapshot::for_read_by_sql();
        self.each(table, &Text::all(table, range), visit)
    }

    fn nearest(
        &self,
        table: &Table,
        column: usize,
        cosine: &Cosine,
        visit: &mut Visit<'_>,
    ) -> CaliberResult<()> {
        let _snapshot = ActiveSnapshot::for_read_by_sql();
        let dimensions = cosine.dimensions();
        let missing = || no_index(table, column, dimensions);
        let element = element_type(dimensions).ok_or_else(missing)?;
        Hnsw::find(&table.relation, column, cosine).ok_or_else(missing)?;
        let text = Text::nearest(table, column, element, cosine);
        guc::with(&[&ITERATIVE[..], &PLANNER].concat(), || {
            self.each(table, &text, visit)
        })
    }
}

impl Sql {
    fn each(&self, table: &Table, text: &Text<'_>, visit: &mut Visit<'_>) -> CaliberResult<()> {
        spi::until(
            &table.relation,
            &text.sql,
            &text.parameters,
            self.planning,
            &mut |values, keep| visit(&known(table, values), keep),
        )
    }
}

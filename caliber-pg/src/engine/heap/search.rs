//! Searches, by an ordering scan of the index itself.

use super::{by_key, stored, Heap};
use crate::engine::list::Range;
use crate::engine::search::{no_index, Search, Visit, ITERATIVE};
use crate::engine::Table;
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::guc;
use crate::pg::index::Wanted;
use crate::pg::maker::RowMaker;
use crate::pg::nearest::Hnsw;
use crate::pg::row::KeptRow;
use crate::pg::scan::Scan;
use crate::pg::slot::slot_attributes;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::vector::Cosine;

impl Search for Heap {
    fn snapshot(&self) -> ActiveSnapshot {
        ActiveSnapshot::for_read()
    }

    fn look(
        &self,
        table: &Table,
        key: Value,
        columns: &[usize],
    ) -> CaliberResult<Option<Vec<Value>>> {
        let snapshot = ActiveSnapshot::for_read();
        let mut scan = by_key(table, key)?.seeing(&table.relation, table.entity.key, &snapshot);
        Ok(scan.next().map(|slot| {
            // SAFETY: the scan returned a stored row in the slot.
            let row = unsafe { stored(table, slot) };
            row.copies(table, columns)
        }))
    }

    fn visit(&self, table: &Table, range: &Range, visit: &mut Visit<'_>) -> CaliberResult<()> {
        let snapshot = ActiveSnapshot::for_read();
        let wanted = Wanted {
            equals: &range.equals,
            tests: &range.tests,
            order: None,
            through: range.through,
            unique: false,
        };
        let scan = Scan::begin(&table.relation, &wanted, None, false)?;
        each(
            table,
            scan.seeing(&table.relation, table.entity.key, &snapshot),
            visit,
        )
    }

    fn nearest(
        &self,
        table: &Table,
        column: usize,
        cosine: &Cosine,
        visit: &mut Visit<'_>,
    ) -> CaliberResult<()> {
        let snapshot = ActiveSnapshot::for_read();
        let hnsw = Hnsw::find(&table.relation, column, cosine)
            .ok_or_else(|| no_index(table, column, cosine.dimensions()))?;
        let settings = if crate::fault::active("search_stops_early") {
            &[][..]
        } else {
            &ITERATIVE
        };
        guc::with(settings, || {
            let scan = Scan::nearest(&table.relation, hnsw);
            each(
                table,
                scan.seeing(&table.relation, table.entity.key, &snapshot),
                visit,
            )
        })
    }
}

fn each(table: &Table, mut scan: Scan<'_>, visit: &mut Visit<'_>) -> CaliberResult<()> {
    let maker = RowMaker::borrowed(&table.relation, table.relation.descriptor());
    while let Some(slot) = scan.next() {
        let keep = || {
            // SAFETY: the scan returned a stored row in the slot.
            let (values, nulls) = unsafe { slot_attributes(slot) };
            KeptRow::new(maker.datum(values, nulls))
        };
        // SAFETY: as above.
        if !visit(&unsafe { stored(table, slot) }, &keep)? {
            break;
        }
    }
    Ok(())
}

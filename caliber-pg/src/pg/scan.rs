//! Index scans: rows in key order that a snapshot sees.

use super::chain::{fate, Fate};
use super::datum::Value;
use super::index::{Index, Test, Wanted};
use super::relation::Relation;
use super::row::{slot_attributes, OwnSlot};
use super::snapshot::ActiveSnapshot;
use super::{compat, unwinding};
use crate::error::CaliberResult;
use pgrx::pg_sys::{self, Oid};

/// A running scan of a table through one of its indexes, under the active
/// snapshot of the moment it began.
#[derive(Debug)]
pub(crate) struct Scan<'r> {
    desc: pg_sys::IndexScanDesc,
    direction: pg_sys::ScanDirection::Type,
    slot: OwnSlot,
    /// The table, and whether the snapshot combines (see `chain`).
    chains: Option<&'r Relation>,
    /// Attributes (from 0) and what every row must pass there: the index may
    /// hold rows that do not.
    tests: Vec<(usize, Test)>,
    /// Keeps the index open; closed after the scan has ended.
    _index: Index,
}

impl<'r> Scan<'r> {
    /// Begins a scan of the rows that equal `wanted.equals`, of those with an
    /// order column greater than `after`, backward if asked.
    pub(crate) fn begin(
        relation: &'r Relation,
        wanted: &Wanted<'_>,
        after: Option<Value>,
        backward: bool,
    ) -> CaliberResult<Self> {
        let index = Index::choose(relation, wanted)?;
        let slot = OwnSlot::new(relation);
        let mut keys: Vec<pg_sys::ScanKeyData> = Vec::with_capacity(wanted.equals.len() + 1);
        for (i, &(_, value)) in wanted.equals.iter().enumerate() {
            // SAFETY: the index has at least as many key columns.
            keys.push(unsafe { scan_key(&index, i, pg_sys::BTEqualStrategyNumber, value) });
        }
        if let Some(value) = after {
            let i = wanted.equals.len();
            let strategy = if crate::fault::active("after_includes_start") {
                pg_sys::BTGreaterEqualStrategyNumber
            } else {
                pg_sys::BTGreaterStrategyNumber
            };
            // SAFETY: the order column follows the equal ones in the index.
            keys.push(unsafe { scan_key(&index, i, strategy, value) });
        }
        let count = keys.len() as i32;
        // SAFETY: both relations are open and locked; the active snapshot
        // outlives the scan, since guards nest; index_rescan copies the keys.
        let desc = unsafe {
            let desc = compat::index_begin_scan(
                relation.ptr,
                index.ptr,
                pg_sys::GetActiveSnapshot(),
                count,
            );
            pg_sys::index_rescan(desc, keys.as_mut_ptr(), count, std::ptr::null_mut(), 0);
            desc
        };
        Ok(Self {
            desc,
            direction: if backward {
                pg_sys::ScanDirection::BackwardScanDirection
            } else {
                pg_sys::ScanDirection::ForwardScanDirection
            },
            slot,
            chains: None,
            tests: wanted
                .tests
                .iter()
                .map(|&(c, test)| (relation.attribute(c) as usize - 1, test))
                .collect(),
            _index: index,
        })
    }

    /// For a snapshot that combines: our own versions instead of those they
    /// replaced.
    pub(crate) fn seeing(mut self, relation: &'r Relation, snapshot: &ActiveSnapshot) -> Self {
        self.chains = snapshot.combines().then_some(relation);
        self
    }

    /// The next visible row, or None. Dead index entries are skipped by
    /// index_getnext_slot (indexam.c).
    pub(crate) fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        loop {
            pgrx::check_for_interrupts!();
            // SAFETY: the scan is running and the slot is of the table's kind.
            let found =
                unsafe { pg_sys::index_getnext_slot(self.desc, self.direction, self.slot.0) };
            if !found {
                return None;
            }
            if let Some(relation) = self.chains {
                // SAFETY: the scan has just stored a row of the heap table in
                // the slot, and its snapshot is the active one.
                if unsafe { fate(relation, self.slot.0) } == Fate::Skip {
                    continue;
                }
            }
            if self.passes() {
                return Some(self.slot.0);
            }
        }
    }

    /// Does the row in the slot pass every test?
    fn passes(&self) -> bool {
        if self.tests.is_empty() {
            return true;
        }
        // SAFETY: the scan has just stored a row in the slot.
        let (values, nulls) = unsafe { slot_attributes(self.slot.0) };
        self.tests.iter().all(|&(i, test)| match test {
            Test::True => Value::new(values[i], nulls[i]).as_bool() == Some(true),
        })
    }

    /// Ends the scan and keeps the slot, which still pins its row.
    pub(crate) fn into_slot(self) -> OwnSlot {
        let me = std::mem::ManuallyDrop::new(self);
        // SAFETY: each field is moved out or dropped exactly once, since the
        // whole is never dropped.
        unsafe {
            pg_sys::index_endscan(me.desc);
            drop(std::ptr::read(&me._index));
            drop(std::ptr::read(&me.tests));
            std::ptr::read(&me.slot)
        }
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: the scan is running; ending it releases pins and does
            // not raise. The index closes after this, with the fields.
            unsafe { pg_sys::index_endscan(self.desc) };
        }
    }
}

/// A scan key on index column `i` (from 0), with procedure and collation from
/// the index's own operator family and collation.
///
/// # Safety
/// The index is open and has more than `i` key columns.
unsafe fn scan_key(index: &Index, i: usize, strategy: u32, value: Value) -> pg_sys::ScanKeyData {
    // SAFETY: the caller's promise bounds the arrays.
    unsafe {
        let family = *(*index.ptr).rd_opfamily.add(i);
        let kind = *(*index.ptr).rd_opcintype.add(i);
        let collation = *(*index.ptr).rd_indcollation.add(i);
        let operator = pg_sys::get_opfamily_member(family, kind, kind, strategy as i16);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            0,
            (i + 1) as i16,
            strategy as u16,
            Oid::INVALID,
            collation,
            pg_sys::get_opcode(operator),
            value.datum,
        );
        key
    }
}

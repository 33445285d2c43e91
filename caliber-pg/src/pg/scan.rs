//! Index scans: the rows that a snapshot sees, in the order of a B-tree's key,
//! by distance through HNSW, or in no order through a bitmap.

use super::bitmap::Bitmap;
use super::chain::{fate, is_own_work, Fate};
use super::datum::Value;
use super::index::{Index, Wanted};
use super::nearest::Hnsw;
use super::relation::{ColumnType, Relation};
use super::slot::{slot_attribute, OwnSlot};
use super::snapshot::ActiveSnapshot;
use super::test::Test;
use super::{compat, unwinding};
use crate::counters::{self, Counter};
use crate::error::CaliberResult;
use pgrx::pg_sys::{self, Oid};

/// A running scan of a table through one of its indexes, under the active
/// snapshot of the moment it began.
#[derive(Debug)]
pub(crate) struct Scan<'r> {
    source: Source,
    slot: OwnSlot,
    /// The table and its key column, if the snapshot combines (see `chain`).
    chains: Option<(&'r Relation, usize)>,
    /// Attributes, their types, and what every row must pass there: the index may hold
    /// rows that do not.
    tests: Vec<(i16, ColumnType, Test)>,
    /// Keeps the index open; closed after the scan has ended.
    _index: Index,
}

/// Where the rows come from.
#[derive(Debug)]
enum Source {
    Ordered(Ordered),
    Bitmap(Bitmap),
}

/// A scan in the order of the index.
#[derive(Debug)]
struct Ordered {
    desc: pg_sys::IndexScanDesc,
    direction: pg_sys::ScanDirection::Type,
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
        Ok(Self::through(index, relation, wanted, after, backward))
    }

    /// As [`Scan::begin`], through an index that was chosen for `wanted`.
    pub(crate) fn through(
        index: Index,
        relation: &'r Relation,
        wanted: &Wanted<'_>,
        after: Option<Value>,
        backward: bool,
    ) -> Self {
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
        let direction = if backward {
            pg_sys::ScanDirection::BackwardScanDirection
        } else {
            pg_sys::ScanDirection::ForwardScanDirection
        };
        let source = Source::Ordered(Ordered {
            // SAFETY: the keys are those of the index.
            desc: unsafe { begin(relation, &index, &mut keys, &mut [], active_snapshot()) },
            direction,
        });
        Self::of(relation, index, source, wanted.tests)
    }

    /// A scan through a GIN index of the rows whose array column contains all
    /// elements of an array, and that pass the tests: in no order.
    ///
    /// # Errors
    /// 55000 if there is no such index.
    pub(crate) fn containing(
        relation: &'r Relation,
        (column, elements): (usize, Value),
        tests: &[(usize, Test)],
    ) -> CaliberResult<Self> {
        let index = Index::of_elements(relation, column)?;
        // SAFETY: the index has one key column of arrays.
        let source = Source::Bitmap(unsafe {
            let mut keys = [elements_key(&index, elements)];
            Bitmap::begin(relation, &index, &mut keys)
        });
        Ok(Self::of(relation, index, source, tests))
    }

    /// A scan by distance, nearest first, with pgvector's settings of the
    /// moment.
    pub(crate) fn nearest(relation: &'r Relation, hnsw: Hnsw) -> Self {
        let Hnsw { index, key } = hnsw;
        let source = Source::Ordered(Ordered {
            // SAFETY: the key is one of the index.
            desc: unsafe { begin(relation, &index, &mut [], &mut [key], active_snapshot()) },
            direction: pg_sys::ScanDirection::ForwardScanDirection,
        });
        Self::of(relation, index, source, &[])
    }

    fn of(relation: &'r Relation, index: Index, source: Source, tests: &[(usize, Test)]) -> Self {
        crate::wait::at("scan.begun");
        Self {
            source,
            slot: OwnSlot::new(relation),
            chains: None,
            tests: tests
                .iter()
                .map(|&(c, test)| (relation.attribute(c), relation.kind(c), test))
                .collect(),
            _index: index,
        }
    }

    /// The row that `next` found last.
    pub(crate) fn current(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot.0
    }

    /// For a snapshot that combines: our own versions instead of those they
    /// replaced.
    pub(crate) fn seeing(
        mut self,
        relation: &'r Relation,
        key: usize,
        snapshot: &ActiveSnapshot,
    ) -> Self {
        self.chains = snapshot.combines().then_some((relation, key));
        self
    }

    /// The next visible row, or None. Dead index entries are skipped by
    /// index_getnext_slot (indexam.c).
    pub(crate) fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        loop {
            super::check_for_interrupts();
            // SAFETY: the scan is running and the slot is of the table's kind.
            let found = unsafe {
                match &mut self.source {
                    Source::Ordered(o) => {
                        pg_sys::index_getnext_slot(o.desc, o.direction, self.slot.0)
                    }
                    Source::Bitmap(bitmap) => bitmap.next(self.slot.0),
                }
            };
            if !found {
                return None;
            }
            if let Some((relation, key)) = self.chains {
                // SAFETY: the scan has just stored a row of the heap table in
                // the slot, and its snapshot is the active one.
                let replaced = unsafe {
                    match fate(relation, self.slot.0) {
                        Fate::Skip => true,
                        Fate::Ended => wrote_key(relation, key, self.slot.0),
                        Fate::Stands | Fate::Replaced => false,
                    }
                };
                if replaced {
                    counters::add(Counter::PathReplacedVersion);
                    continue;
                }
            }
            let unchecked = matches!(self.source, Source::Bitmap(_))
                && crate::fault::active("bitmap_not_rechecked");
            if unchecked || self.passes() {
                crate::wait::at("scan.found");
                return Some(self.slot.0);
            }
            if crate::fault::active("scan_stops_early") {
                return None;
            }
        }
    }

    /// Does the row in the slot pass every test?
    fn passes(&self) -> bool {
        self.tests.iter().all(|&(attribute, kind, test)| {
            // SAFETY: the scan has just stored a row in the slot.
            test.passes(unsafe { slot_attribute(self.slot.0, attribute) }, kind)
        })
    }

    /// Ends the scan and keeps the slot, which still pins its row.
    pub(crate) fn into_slot(self) -> OwnSlot {
        self.slot
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: the scan is running; ending it releases pins and does
            // not raise. The index closes after this, being a later field of
            // the scan.
            unsafe { pg_sys::index_endscan(self.desc) };
        }
    }
}

/// Has our own transaction written, or deleted, a row with the key of the row in the
/// slot? Then that is the row: the one in the slot was deleted, or got another key, in
/// another transaction since the snapshot was taken.
///
/// # Safety
/// The slot holds a row of the relation.
unsafe fn wrote_key(relation: &Relation, key: usize, slot: *mut pg_sys::TupleTableSlot) -> bool {
    if crate::fault::active("own_row_of_key_missed") {
        return false;
    }
    // SAFETY: the caller's promise.
    let value = unsafe { slot_attribute(slot, relation.attribute(key)) };
    let wanted = Wanted {
        equals: &[(key, value)],
        tests: &[],
        order: None,
        through: None,
        unique: true,
    };
    let Some(index) = Index::find(relation, &wanted) else {
        return false;
    };
    // SAFETY: the key is that of the index, whose scan returns versions of the table's
    // rows: all of them, since ours may be deleted again.
    unsafe {
        let mut keys = [scan_key(&index, 0, pg_sys::BTEqualStrategyNumber, value)];
        let any = std::ptr::addr_of_mut!(pg_sys::SnapshotAnyData);
        let all = Ordered {
            desc: begin(relation, &index, &mut keys, &mut [], any),
            direction: pg_sys::ScanDirection::ForwardScanDirection,
        };
        let version = OwnSlot::new(relation);
        let now = (*active_snapshot()).curcid;
        while pg_sys::index_getnext_slot(all.desc, all.direction, version.0) {
            super::check_for_interrupts();
            if is_own_work(version.0, now) {
                return true;
            }
        }
    }
    false
}

fn active_snapshot() -> pg_sys::Snapshot {
    // SAFETY: whoever scans has pushed one.
    unsafe { pg_sys::GetActiveSnapshot() }
}

/// Starts an index scan under a snapshot.
///
/// # Safety
/// Both relations are open and locked; the keys fit the index; the snapshot outlives
/// the scan, as the active one does, since guards nest.
unsafe fn begin(
    relation: &Relation,
    index: &Index,
    keys: &mut [pg_sys::ScanKeyData],
    orders: &mut [pg_sys::ScanKeyData],
    snapshot: pg_sys::Snapshot,
) -> pg_sys::IndexScanDesc {
    let (n, m) = (keys.len() as i32, orders.len() as i32);
    // SAFETY: the caller's promise; index_rescan copies the keys.
    unsafe {
        let desc = compat::index_begin_ordered_scan(relation.ptr, index.ptr, snapshot, n, m);
        pg_sys::index_rescan(desc, keys.as_mut_ptr(), n, orders.as_mut_ptr(), m);
        desc
    }
}

/// `column @> elements`, for the only column of a GIN index on arrays.
///
/// # Safety
/// The index is open and one of `Index::of_elements`.
unsafe fn elements_key(index: &Index, elements: Value) -> pg_sys::ScanKeyData {
    /// GinContainsStrategy (ginarrayproc.c).
    const CONTAINS: u16 = 2;
    // SAFETY: the caller's promise.
    unsafe {
        let (family, kind) = (*(*index.ptr).rd_opfamily, *(*index.ptr).rd_opcintype);
        let operator = pg_sys::get_opfamily_member(family, kind, kind, CONTAINS as i16);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            0,
            1,
            CONTAINS,
            kind,
            *(*index.ptr).rd_indcollation,
            pg_sys::get_opcode(operator),
            elements.datum,
        );
        key
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
        let mut key = pg_sys::ScanKeyData::default();
        if value.is_null() {
            // IS NULL, as ExecIndexBuildScanKeys (nodeIndexscan.c) makes it: with
            // InvalidStrategy, which is 0.
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as i32,
                (i + 1) as i16,
                0,
                Oid::INVALID,
                Oid::INVALID,
                Oid::INVALID,
                pg_sys::Datum::null(),
            );
            return key;
        }
        let operator = pg_sys::get_opfamily_member(family, kind, kind, strategy as i16);
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

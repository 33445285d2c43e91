//! Reading a B-tree: in full, in its order, and once more for each key by a
//! search from the root.

use super::index::{Examined, Values};
use super::pairs::{self, Pairs, Place};
use super::stream::{met, FOUND};
use crate::pg::{compat, unwinding};
use pgrx::pg_sys::{self, Oid};
use std::cmp::Ordering;

/// A plain index scan under the active snapshot.
pub(super) struct Scan(pg_sys::IndexScanDesc);

impl Scan {
    /// Begins a scan with so many keys.
    pub(super) fn begin(index: &Examined, keys: usize) -> Self {
        // SAFETY: both relations are open and locked; the active snapshot
        // outlives the scan.
        Self(unsafe {
            compat::index_begin_scan(
                index.heap,
                index.rel,
                pg_sys::GetActiveSnapshot(),
                keys as i32,
            )
        })
    }

    /// Starts over with these keys.
    ///
    /// # Safety
    /// They are as many as the scan was begun with, and fit the index.
    pub(super) unsafe fn restart(&mut self, keys: &mut [pg_sys::ScanKeyData]) {
        // SAFETY: the caller's promise; index_rescan copies the keys.
        unsafe {
            let count = keys.len() as i32;
            let none = std::ptr::null_mut();
            pg_sys::index_rescan(self.0, keys.as_mut_ptr(), count, none, 0);
        }
    }

    /// Where the next entry points.
    pub(super) fn next(&mut self) -> Option<Place> {
        pgrx::check_for_interrupts!();
        // SAFETY: the scan was started; the TID stays in it until the next call.
        unsafe {
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let tid = pg_sys::index_getnext_tid(self.0, forward);
            (!tid.is_null()).then(|| pairs::place(tid))
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun in `begin`; releasing pins does not raise.
            unsafe { pg_sys::index_endscan(self.0) };
        }
    }
}

/// Reads an index from end to end, without values (GiST, SP-GiST).
pub(super) fn read_all(index: &Examined, entries: &mut Pairs) {
    let mut scan = Scan::begin(index, 0);
    // SAFETY: no keys, which these access methods take as all rows.
    unsafe { scan.restart(&mut []) };
    while let Some(row) = scan.next() {
        entries.put(row, met(0));
    }
}

/// Reads a B-tree: an entry's values go into `entries` as their image, and a search
/// for each key adds what it finds. Calls `disorder` for each entry that does
/// not belong behind the one before it.
pub(super) fn read(index: &Examined, entries: &mut Pairs, disorder: &mut dyn FnMut(Place)) {
    let mut scan = Scan::begin(index, 0);
    let mut search = Search::prepare(index);
    // What images and comparisons leave behind.
    let scratch = Scratch::new();
    // SAFETY: the scan was begun without keys and is asked for the entries
    // themselves, which a B-tree can always give (btcanreturn, nbtree.c).
    unsafe {
        (*scan.0).xs_want_itup = true;
        scan.restart(&mut []);
    }
    let mut last: Option<(pg_sys::IndexTuple, Values)> = None;
    while let Some(row) = scan.next() {
        // SAFETY: the scan has just stored the entry it is at and its
        // descriptor; the copy is in the context around `scratch`.
        unsafe {
            let mut now = Values::new();
            let (entry, desc) = ((*scan.0).xs_itup, (*scan.0).xs_itupdesc);
            deform(entry, desc, &mut now);
            let (image, order) = scratch.run(|| {
                let order = match &last {
                    Some((_, last)) => index.compare(last, &now),
                    None => Ordering::Less,
                };
                (index.image(&now), order)
            });
            entries.put(row, met(image));
            if order == Ordering::Equal {
                continue;
            }
            if order == Ordering::Greater {
                disorder(row);
            }
            if let Some(search) = &mut search {
                search.run(&now, entries);
            } else {
                entries.put(row, FOUND);
            }
            if let Some((old, _)) = last.take() {
                pg_sys::pfree(old.cast());
            }
            let copy = pg_sys::CopyIndexTuple(entry);
            deform(copy, desc, &mut now);
            last = Some((copy, now));
        }
    }
}

/// # Safety
/// The entry is described by `desc`. The values point into it.
unsafe fn deform(entry: pg_sys::IndexTuple, desc: pg_sys::TupleDesc, values: &mut Values) {
    let (datums, nulls) = (values.datums.as_mut_ptr(), values.nulls.as_mut_ptr());
    // SAFETY: the caller's promise; both arrays have INDEX_MAX_KEYS elements.
    unsafe { pg_sys::index_deform_tuple(entry, desc, datums, nulls) };
}

/// Searches for equal keys.
struct Search {
    scan: Scan,
    keys: Vec<pg_sys::ScanKeyData>,
}

impl Search {
    /// None if the operator class has no equality.
    fn prepare(index: &Examined) -> Option<Self> {
        let mut keys = Vec::new();
        for column in 0..index.key_columns() {
            let (family, input, collation) = index.operators(column);
            let mut key = pg_sys::ScanKeyData::default();
            // SAFETY: look-ups by OID; the key is filled in place.
            unsafe {
                let equal = pg_sys::BTEqualStrategyNumber;
                let operator = pg_sys::get_opfamily_member(family, input, input, equal as i16);
                if operator == Oid::INVALID {
                    return None;
                }
                pg_sys::ScanKeyEntryInitialize(
                    &mut key,
                    0,
                    column as i16 + 1,
                    equal as u16,
                    Oid::INVALID,
                    collation,
                    pg_sys::get_opcode(operator),
                    pg_sys::Datum::null(),
                );
            }
            keys.push(key);
        }
        let scan = Scan::begin(index, keys.len());
        Some(Self { scan, keys })
    }

    /// Adds every entry that a search for these values finds.
    ///
    /// # Safety
    /// They are values of the index's key columns.
    unsafe fn run(&mut self, values: &Values, entries: &mut Pairs) {
        let mut keys = self.keys.clone();
        for (column, key) in keys.iter_mut().enumerate() {
            match values.get(column) {
                Some(value) => key.sk_argument = value,
                None => {
                    // What IS NULL becomes (ExecIndexBuildScanKeys, nodeIndexscan.c).
                    key.sk_flags = (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as i32;
                    key.sk_strategy = 0;
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.scan.restart(&mut keys) };
        while let Some(row) = self.scan.next() {
            entries.put(row, FOUND);
        }
    }
}

/// Memory that is used again and again.
struct Scratch(pg_sys::MemoryContext);

impl Scratch {
    fn new() -> Self {
        // SAFETY: a child of the current context, deleted when this is dropped.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"caliber check".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        })
    }

    /// Runs `work` in it; what it returns must not point into it.
    fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        // SAFETY: nothing that is in the context is used after `work`.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.0);
            let result = work();
            pg_sys::MemoryContextSwitchTo(caller);
            pg_sys::MemoryContextReset(self.0);
            result
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made in `new`, not current here. While an ERROR unwinds it
            // goes with the context around it.
            unsafe { pg_sys::MemoryContextDelete(self.0) };
        }
    }
}

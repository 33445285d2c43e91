//! The floor of reads: an index probe and a heap fetch, and nothing else.

use super::super::compat;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo, Oid};
use std::time::Duration;

/// `caliber_bench_probe(index regclass, ids uuid[]) → bigint`: relation, index, scan and slot are
/// opened once; each id costs index_rescan and index_getnext_slot.
///
/// # Safety
/// A call with these arguments, neither NULL; the index is one of a uuid.
pub(super) unsafe fn probe(fcinfo: FunctionCallInfo) -> Datum {
    // SAFETY: the caller's promise; what is opened is closed again, or left to the resource
    // owner of the transaction that an ERROR ends. A statement that calls a function has an
    // active snapshot.
    unsafe {
        let arguments = (*fcinfo).args.as_slice(2);
        let oid = Oid::from(arguments[0].value.value() as u32);
        let ids = elements(arguments[1].value);

        let index = pg_sys::index_open(oid, pg_sys::AccessShareLock as i32);
        let heap = pg_sys::table_open(
            (*(*index).rd_index).indrelid,
            pg_sys::AccessShareLock as i32,
        );
        let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
        let scan = compat::index_begin_scan(heap, index, pg_sys::GetActiveSnapshot(), 1);
        let (family, kind) = (*(*index).rd_opfamily, *(*index).rd_opcintype);
        let equal = pg_sys::BTEqualStrategyNumber;
        let operator = pg_sys::get_opfamily_member(family, kind, kind, equal as i16);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            0,
            1,
            equal as u16,
            Oid::INVALID,
            *(*index).rd_indcollation,
            pg_sys::get_opcode(operator),
            Datum::null(),
        );
        let mut found: i64 = 0;
        for &id in ids {
            key.sk_argument = id;
            pg_sys::index_rescan(scan, &mut key, 1, std::ptr::null_mut(), 0);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            found += i64::from(pg_sys::index_getnext_slot(scan, forward, slot));
        }
        pg_sys::index_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::table_close(heap, pg_sys::AccessShareLock as i32);
        pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
        Datum::from(found)
    }
}

/// The elements of an array of uuids, which point into it.
///
/// # Safety
/// The datum is such an array; the current memory context outlives the slice's use.
unsafe fn elements<'a>(array: Datum) -> &'a [Datum] {
    let (mut datums, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: a uuid has 16 bytes, by reference, aligned to char.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast();
        pg_sys::deconstruct_array(
            array,
            pg_sys::UUIDOID,
            16,
            false,
            b'c' as std::ffi::c_char,
            &mut datums,
            &mut nulls,
            &mut count,
        );
        std::slice::from_raw_parts(datums, count as usize)
    }
}

/// `caliber_bench_clock() → bigint`: nanoseconds of a clock that never goes back.
///
/// # Safety
/// None is needed; it is called as the others are.
pub(super) unsafe fn clock(_: FunctionCallInfo) -> Datum {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let passed: Duration = START.get_or_init(Instant::now).elapsed();
    Datum::from(i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX))
}

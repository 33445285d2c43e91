//! All differences between PostgreSQL 15, 16, 17 and 18.

pub mod bitmap;
pub mod checks;
pub mod privileges;

use super::relation::Relation;
use super::rights::RangeTable;
use pgrx::pg_sys;

/// Attribute `index` (from 0) of a descriptor.
///
/// # Safety
/// `desc` is valid and `index` is below its natts.
pub unsafe fn attribute(desc: pg_sys::TupleDesc, index: usize) -> pg_sys::Form_pg_attribute {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's promise; attrs is an array of natts elements.
    unsafe {
        (*desc).attrs.as_mut_ptr().add(index)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's promise; 18 keeps the full attributes behind the
    // array of natts compact ones (TupleDescAttr, tupdesc.h).
    unsafe {
        (*desc)
            .compact_attrs
            .as_mut_ptr()
            .add((*desc).natts as usize)
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(index)
    }
}

/// Does a table have generated columns (stored, or virtual in 18)?
///
/// # Safety
/// `constr` is valid.
pub unsafe fn has_generated(constr: *const pg_sys::TupleConstr) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return (*constr).has_generated_stored;
        #[cfg(feature = "pg18")]
        return (*constr).has_generated_stored || (*constr).has_generated_virtual;
    }
}

/// HeapTupleHeaderGetXmin (htup_details.h), which pgrx has twice for 18.
///
/// # Safety
/// `header` is a valid tuple header.
pub unsafe fn tuple_xmin(header: pg_sys::HeapTupleHeader) -> pg_sys::TransactionId {
    // SAFETY: the caller's promise; t_heap is the member of stored tuples.
    unsafe {
        let frozen = pg_sys::HEAP_XMIN_FROZEN as u16;
        if (*header).t_infomask & frozen == frozen {
            pg_sys::FrozenTransactionId
        } else {
            (*header).t_choice.t_heap.t_xmin
        }
    }
}

/// Is this a parallel worker, or a leader while workers run?
///
/// # Safety
/// Inside a backend.
pub unsafe fn in_parallel_mode() -> bool {
    // SAFETY: reads a backend variable.
    unsafe { pg_sys::IsInParallelMode() }
}

/// ExecCheckPermissions (execMain.c), which 15 calls ExecCheckRTPerms.
///
/// # Safety
/// `table` is a range table built by [`range_table`].
pub unsafe fn check_permissions(table: &RangeTable) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecCheckRTPerms(table.entries, true);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecCheckPermissions(table.entries, table.permissions, true);
    }
}

/// Allocates a zeroed node of type `T` with its tag.
///
/// # Safety
/// `T` is a PostgreSQL node struct, whose first field is its tag.
pub unsafe fn make_node<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: palloc0 returns zeroed memory of the size; the tag comes first
    // in every node (nodes.h).
    unsafe {
        let node = pg_sys::palloc0(std::mem::size_of::<T>());
        *node.cast::<pg_sys::NodeTag>() = tag;
        node.cast()
    }
}

/// A range table of one relation, with what 16 moved to RTEPermissionInfo.
///
/// # Safety
/// The relation is open; the sets are NULL or valid.
pub unsafe fn range_table(
    relation: &Relation,
    lock: pg_sys::LOCKMODE,
    required: u32,
    selected: *mut pg_sys::Bitmapset,
    inserted: *mut pg_sys::Bitmapset,
    updated: *mut pg_sys::Bitmapset,
) -> RangeTable {
    // SAFETY: nodes are made zeroed and filled as addRangeTableEntryForRelation
    // (parse_relation.c) fills them.
    unsafe {
        let rte: *mut pg_sys::RangeTblEntry = make_node(pg_sys::NodeTag::T_RangeTblEntry);
        (*rte).rtekind = pg_sys::RTEKind::RTE_RELATION;
        (*rte).relid = relation.oid();
        (*rte).relkind = relation.class().relkind;
        (*rte).rellockmode = lock;
        #[cfg(feature = "pg15")]
        {
            (*rte).requiredPerms = required as pg_sys::AclMode;
            (*rte).selectedCols = selected;
            (*rte).insertedCols = inserted;
            (*rte).updatedCols = updated;
            RangeTable {
                entries: pg_sys::lappend(std::ptr::null_mut(), rte.cast()),
                permissions: std::ptr::null_mut(),
            }
        }
        #[cfg(not(feature = "pg15"))]
        {
            let info: *mut pg_sys::RTEPermissionInfo =
                make_node(pg_sys::NodeTag::T_RTEPermissionInfo);
            (*info).relid = relation.oid();
            (*info).requiredPerms = required as pg_sys::AclMode;
            (*info).selectedCols = selected;
            (*info).insertedCols = inserted;
            (*info).updatedCols = updated;
            (*rte).perminfoindex = 1;
            RangeTable {
                entries: pg_sys::lappend(std::ptr::null_mut(), rte.cast()),
                permissions: pg_sys::lappend(std::ptr::null_mut(), info.cast()),
            }
        }
    }
}

/// Adds the one relation of `other` to a range table.
///
/// # Safety
/// Both were built by [`range_table`] or are empty, and live alike.
pub unsafe fn append_range_table(table: &mut RangeTable, other: RangeTable) {
    // SAFETY: the caller's promise. From 16 an entry names its place in the
    // list of permissions.
    unsafe {
        table.entries = pg_sys::list_concat(table.entries, other.entries);
        #[cfg(not(feature = "pg15"))]
        {
            table.permissions = pg_sys::list_concat(table.permissions, other.permissions);
            let count = (*table.permissions).length;
            let last = (*table.entries)
                .elements
                .add((*table.entries).length as usize - 1);
            let entry = (*last).ptr_value.cast::<pg_sys::RangeTblEntry>();
            (*entry).perminfoindex = count as pg_sys::Index;
        }
    }
}

/// ExecInitRangeTable (execUtils.c).
///
/// # Safety
/// `estate` is new and `table` was built in its context.
pub unsafe fn init_range_table(estate: *mut pg_sys::EState, table: &RangeTable) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInitRangeTable(estate, table.entries);
        #[cfg(any(feature = "pg16", feature = "pg17"))]
        pg_sys::ExecInitRangeTable(estate, table.entries, table.permissions);
        #[cfg(feature = "pg18")]
        pg_sys::ExecInitRangeTable(
            estate,
            table.entries,
            table.permissions,
            pg_sys::bms_add_range(std::ptr::null_mut(), 1, (*table.entries).length),
        );
    }
}

/// EvalPlanQualInit without a plan (execMain.c): BEFORE ROW triggers ask for
/// one, but the row is locked before they run, so nothing is re-evaluated.
///
/// # Safety
/// `estate` is valid and `epq` points at writable memory of its size.
pub unsafe fn init_epq(epq: *mut pg_sys::EPQState, estate: *mut pg_sys::EState) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::EvalPlanQualInit(epq, estate, std::ptr::null_mut(), std::ptr::null_mut(), -1);
        #[cfg(not(feature = "pg15"))]
        pg_sys::EvalPlanQualInit(
            epq,
            estate,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            -1,
            std::ptr::null_mut(),
        );
    }
}

/// Which indexes need new entries after an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewEntries {
    /// The update was HOT.
    None,
    /// Every index.
    All,
    /// Only summarizing ones, such as BRIN (16 and later).
    #[cfg_attr(feature = "pg15", allow(dead_code))]
    Summarizing,
}

/// table_tuple_update (tableam.h) that waits for other transactions.
///
/// # Safety
/// The relation is open and locked for writing, `tid` names a version that the
/// statement has seen, and `slot` holds a materialized tuple.
#[allow(clippy::too_many_arguments)]
pub unsafe fn tuple_update(
    relation: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    snapshot: pg_sys::Snapshot,
    failure: *mut pg_sys::TM_FailureData,
    lock_mode: *mut pg_sys::LockTupleMode::Type,
) -> (pg_sys::TM_Result::Type, NewEntries) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let mut all = false;
            let result = pg_sys::table_tuple_update(
                relation,
                tid,
                slot,
                cid,
                snapshot,
                std::ptr::null_mut(),
                true,
                failure,
                lock_mode,
                &mut all,
            );
            let entries = if all {
                NewEntries::All
            } else {
                NewEntries::None
            };
            (result, entries)
        }
        #[cfg(not(feature = "pg15"))]
        {
            let mut which = pg_sys::TU_UpdateIndexes::TU_None;
            let result = pg_sys::table_tuple_update(
                relation,
                tid,
                slot,
                cid,
                snapshot,
                std::ptr::null_mut(),
                true,
                failure,
                lock_mode,
                &mut which,
            );
            let entries = match which {
                pg_sys::TU_UpdateIndexes::TU_None => NewEntries::None,
                pg_sys::TU_UpdateIndexes::TU_Summarizing => NewEntries::Summarizing,
                _ => NewEntries::All,
            };
            (result, entries)
        }
    }
}

/// ExecInsertIndexTuples (execIndexing.c): the indexes to recheck at commit.
///
/// # Safety
/// `slot` holds the tuple just written, with its TID; the indexes of `info`
/// are open.
pub unsafe fn insert_index_entries(
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    update: bool,
    entries: NewEntries,
) -> *mut pg_sys::List {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let _ = entries;
            pg_sys::ExecInsertIndexTuples(
                info,
                slot,
                estate,
                update,
                false,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        }
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecInsertIndexTuples(
            info,
            slot,
            estate,
            update,
            false,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            entries == NewEntries::Summarizing,
        )
    }
}

/// ExecBRUpdateTriggers (trigger.c): false if a trigger vetoes.
///
/// # Safety
/// The version `tid` is locked by this transaction; `epq` is initialised.
pub unsafe fn before_row_update(
    estate: *mut pg_sys::EState,
    epq: *mut pg_sys::EPQState,
    info: *mut pg_sys::ResultRelInfo,
    tid: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::ExecBRUpdateTriggers(
            estate,
            epq,
            info,
            tid,
            std::ptr::null_mut(),
            slot,
            std::ptr::null_mut(),
        );
        #[cfg(any(feature = "pg16", feature = "pg17"))]
        return pg_sys::ExecBRUpdateTriggers(
            estate,
            epq,
            info,
            tid,
            std::ptr::null_mut(),
            slot,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        #[cfg(feature = "pg18")]
        return pg_sys::ExecBRUpdateTriggers(
            estate,
            epq,
            info,
            tid,
            std::ptr::null_mut(),
            slot,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            false,
        );
    }
}

/// ExecBRDeleteTriggers (trigger.c): false if a trigger vetoes.
///
/// # Safety
/// As for [`before_row_update`].
pub unsafe fn before_row_delete(
    estate: *mut pg_sys::EState,
    epq: *mut pg_sys::EPQState,
    info: *mut pg_sys::ResultRelInfo,
    tid: pg_sys::ItemPointer,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::ExecBRDeleteTriggers(
            estate,
            epq,
            info,
            tid,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        #[cfg(any(feature = "pg16", feature = "pg17"))]
        return pg_sys::ExecBRDeleteTriggers(
            estate,
            epq,
            info,
            tid,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        #[cfg(feature = "pg18")]
        return pg_sys::ExecBRDeleteTriggers(
            estate,
            epq,
            info,
            tid,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            false,
        );
    }
}

/// index_beginscan (indexam.c).
///
/// # Safety
/// Both relations are open and locked; `snapshot` stays registered or active.
pub unsafe fn index_begin_scan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller's promise.
    unsafe { index_begin_ordered_scan(heap, index, snapshot, keys, 0) }
}

/// As [`index_begin_scan`], with keys that order the rows.
///
/// # Safety
/// As [`index_begin_scan`].
pub unsafe fn index_begin_ordered_scan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
    orders: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(heap, index, snapshot, keys, orders);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(heap, index, snapshot, std::ptr::null_mut(), keys, orders);
    }
}

/// LockHeldByMe (lock.c) for exactly this mode.
///
/// # Safety
/// `tag` is valid.
pub unsafe fn lock_held_by_me(tag: *const pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        return pg_sys::LockHeldByMe(tag, mode);
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        return pg_sys::LockHeldByMe(tag, mode, false);
    }
}

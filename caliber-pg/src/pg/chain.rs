//! Update chains, for reads that combine a statement's snapshot with what its
//! own transaction wrote since.
//!
//! Such a snapshot sees a version v1 that another transaction replaced by v2
//! after the snapshot was taken, and also v3, by which our own transaction then
//! replaced v2. Of the two only ours is the row. An index scan would return v1,
//! and v3 as well if it has index entries of its own.
//!
//! Where the other transaction deleted v1, or gave it another key, no chain leads
//! to what ours wrote under that key: it is found by the key ([`is_own_work`]).

use super::relation::Relation;
use super::slot::OwnSlot;
use pgrx::pg_sys;

/// What became of a version that the snapshot sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is the row.
    Stands,
    /// It is the row as far as its chain tells; but another transaction has ended it
    /// since, so that ours may have written, or deleted, a row of the same key.
    Ended,
    /// Our own transaction deleted its successor, or replaced it by a version
    /// that the scan finds through index entries of its own.
    Skip,
    /// Our own version is in the same HOT chain, and now in the slot.
    Replaced,
}

/// The header fields that lead from one version to the next.
struct Link {
    xmin: pg_sys::TransactionId,
    /// The transaction that replaced or deleted the version, if any.
    ended_by: Option<pg_sys::TransactionId>,
    next: pg_sys::ItemPointerData,
    /// Is there a next version, or was it deleted?
    has_next: bool,
    hot_updated: bool,
    heap_only: bool,
    /// All of it.
    header: pg_sys::HeapTupleHeaderData,
}

/// Reads the header of the version in a slot.
///
/// # Safety
/// `slot` is a buffer heap slot that holds a stored, pinned tuple.
unsafe fn link(slot: *mut pg_sys::TupleTableSlot) -> Link {
    // SAFETY: the caller's promise. The header is copied under the buffer's
    // share lock, since others may set its xmax; HeapTupleGetUpdateXid reads
    // the copy.
    unsafe {
        let stored = slot.cast::<pg_sys::BufferHeapTupleTableSlot>();
        let buffer = (*stored).buffer;
        let tuple = (*stored).base.tuple;
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let mut header: pg_sys::HeapTupleHeaderData = std::ptr::read((*tuple).t_data);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);

        let mask = u32::from(header.t_infomask);
        let exclusive = pg_sys::HEAP_XMAX_EXCL_LOCK;
        let multi_or_lock = pg_sys::HEAP_XMAX_IS_MULTI | pg_sys::HEAP_LOCK_MASK;
        // HEAP_XMAX_IS_LOCKED_ONLY (htup_details.h).
        let only_locked =
            mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0 || mask & multi_or_lock == exclusive;
        let ended = mask & pg_sys::HEAP_XMAX_INVALID == 0 && !only_locked;
        let ended_by = ended.then(|| {
            if mask & pg_sys::HEAP_XMAX_IS_MULTI != 0 {
                pg_sys::HeapTupleGetUpdateXid(std::ptr::addr_of_mut!(header))
            } else {
                header.t_choice.t_heap.t_xmax
            }
        });
        let mut here = (*slot).tts_tid;
        let mut next = header.t_ctid;
        let mask2 = u32::from(header.t_infomask2);
        Link {
            xmin: super::compat::tuple_xmin(&mut header),
            ended_by,
            next,
            has_next: !pg_sys::ItemPointerEquals(&mut here, &mut next),
            hot_updated: mask2 & pg_sys::HEAP_HOT_UPDATED != 0,
            heap_only: mask2 & pg_sys::HEAP_ONLY_TUPLE != 0,
            header,
        }
    }
}

/// Is this our own transaction, or a live subtransaction of it?
fn is_ours(xid: pg_sys::TransactionId) -> bool {
    // SAFETY: reads backend state.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(xid) }
}

/// Was the version in a slot written by our own transaction?
///
/// # Safety
/// `slot` is a buffer heap slot that holds a stored, pinned tuple.
pub(crate) unsafe fn is_own_version(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    is_ours(unsafe { link(slot) }.xmin)
}

/// Did our own transaction write the version in a slot, or replace or delete it, by
/// a command before this one?
///
/// # Safety
/// `slot` is a buffer heap slot that holds a stored, pinned tuple.
pub(crate) unsafe fn is_own_work(
    slot: *mut pg_sys::TupleTableSlot,
    command: pg_sys::CommandId,
) -> bool {
    // SAFETY: the caller's promise; both read a copy of the header, of which our own
    // transaction wrote xmin or xmax, as they demand (combocid.c).
    unsafe {
        let version = link(slot);
        let mut header = version.header;
        let header = std::ptr::addr_of_mut!(header);
        is_ours(version.xmin) && pg_sys::HeapTupleHeaderGetCmin(header) < command
            || version.ended_by.is_some_and(is_ours)
                && pg_sys::HeapTupleHeaderGetCmax(header) < command
    }
}

/// Has this transaction committed?
fn has_committed(xid: pg_sys::TransactionId) -> bool {
    // SAFETY: reads shared state and the commit log; the xid is one in use.
    unsafe { !pg_sys::TransactionIdIsInProgress(xid) && pg_sys::TransactionIdDidCommit(xid) }
}

/// Follows the chain from the version in `slot`, which the active snapshot
/// sees, to a version of our own transaction.
///
/// # Safety
/// `slot` is a buffer heap slot of the relation with a stored, pinned tuple.
/// None of the versions can be pruned: each is needed by our snapshot or our
/// transaction.
pub(crate) unsafe fn fate(relation: &Relation, slot: *mut pg_sys::TupleTableSlot) -> Fate {
    // SAFETY: the caller's promise; `later` is a slot of the same kind.
    unsafe {
        let mut version = link(slot);
        // A version that we ended ourselves is not visible; one that another
        // transaction ended is, if that happened after the snapshot.
        match version.ended_by {
            Some(xid) if !is_ours(xid) && has_committed(xid) => {}
            _ => return Fate::Stands,
        }
        let later = OwnSlot::new(relation);
        let mut hot = true;
        while let Some(ended_by) = version.ended_by {
            if !is_ours(ended_by) && !has_committed(ended_by) {
                return Fate::Ended;
            }
            if !version.has_next {
                // Deleted: by us, or by another after the snapshot.
                return if is_ours(ended_by) {
                    Fate::Skip
                } else {
                    Fate::Ended
                };
            }
            hot &= version.hot_updated;
            let mut tid = version.next;
            let any = std::ptr::addr_of_mut!(pg_sys::SnapshotAnyData);
            if !pg_sys::table_tuple_fetch_row_version(relation.ptr, &mut tid, any, later.0) {
                return Fate::Ended;
            }
            let next = link(later.0);
            if next.xmin != ended_by {
                return Fate::Ended;
            }
            hot &= next.heap_only;
            let snapshot = pg_sys::GetActiveSnapshot();
            if is_ours(next.xmin)
                && pg_sys::table_tuple_satisfies_snapshot(relation.ptr, later.0, snapshot)
            {
                if !hot {
                    return Fate::Skip;
                }
                pg_sys::ExecCopySlot(slot, later.0);
                return Fate::Replaced;
            }
            version = next;
        }
        Fate::Ended
    }
}

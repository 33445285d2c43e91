//! Advisory locks: those of users' own keys (`pg_advisory_lock(bigint)`), and
//! internal ones of ours (LOCKTAG_ADVISORY with objsubid 3; users have 1 and 2).

use super::compat;
use pgrx::pg_sys;
use uuid::Uuid;

/// FNV-1a-64 over `name`, one zero byte, and `subject`: the key of an internal
/// lock tag, and of a lock's resource. Frozen for all versions.
///
/// ```
/// # use caliber_pg::pg::advisory::tag_key;
/// assert_eq!(tag_key("", b""), 0xaf63_bd4c_8601_b7df);
/// ```
pub fn tag_key(name: impl AsRef<[u8]>, subject: &[u8]) -> u64 {
    let name = name.as_ref().iter().copied();
    name.chain(std::iter::once(0))
        .chain(subject.iter().copied())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// Key of the lock of the tree whose root is `root`.
pub fn tree_key(root: Uuid) -> u64 {
    tag_key("tree", root.as_bytes())
}

/// What an advisory lock is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    key: u64,
    /// objsubid in `pg_locks`.
    class: u16,
}

impl Tag {
    /// What `pg_advisory_lock(key)` locks.
    pub fn of_user(key: u64) -> Self {
        Self { key, class: 1 }
    }

    /// A tag of ours.
    pub fn internal(key: u64) -> Self {
        Self { key, class: 3 }
    }

    /// Filled as SET_LOCKTAG_ADVISORY (lock.h) fills it.
    fn locktag(self) -> pg_sys::LOCKTAG {
        pg_sys::LOCKTAG {
            // SAFETY: reads a backend variable.
            locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
            locktag_field2: (self.key >> 32) as u32,
            locktag_field3: self.key as u32,
            locktag_field4: self.class,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        }
    }
}

/// How strongly a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Beside others that are shared.
    Shared,
    /// Alone.
    Exclusive,
}

impl Mode {
    fn lockmode(self) -> pg_sys::LOCKMODE {
        (match self {
            Self::Shared => pg_sys::ShareLock,
            Self::Exclusive => pg_sys::ExclusiveLock,
        }) as pg_sys::LOCKMODE
    }
}

/// How long a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the end of the transaction, or the rollback to an earlier savepoint.
    TransactionEnd,
    /// Until it is given back, or the connection ends.
    SessionEnd,
}

/// Takes a lock if nobody else is in the way; never waits. What this backend
/// holds itself is never in the way. Each success counts: it is given back by
/// one [`unlock`].
pub fn try_lock(tag: Tag, mode: Mode, until: Until) -> bool {
    let session = until == Until::SessionEnd;
    // SAFETY: a filled tag; the resource owner or the session's end gives back
    // what nobody else does.
    unsafe {
        pg_sys::LockAcquire(&tag.locktag(), mode.lockmode(), session, true)
            != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }
}

/// Waits until nobody holds the lock exclusively, and does not keep it.
#[cfg(feature = "faults")]
pub fn pass(tag: Tag) {
    let mode = Mode::Shared.lockmode();
    // SAFETY: a filled tag; an ERROR that ends the wait leaves nothing held.
    unsafe { pg_sys::LockAcquire(&tag.locktag(), mode, false, false) };
    unlock(tag, Mode::Shared, Until::TransactionEnd);
}

/// Gives back one [`try_lock`] of the same mode and duration. Allocates
/// nothing; what is not held is a WARNING of the server.
pub fn unlock(tag: Tag, mode: Mode, until: Until) {
    let session = until == Until::SessionEnd;
    // SAFETY: a filled tag. LockRelease (lock.c) only removes entries.
    unsafe { pg_sys::LockRelease(&tag.locktag(), mode.lockmode(), session) };
}

/// Does this backend hold the lock in exactly this mode? Looks into the
/// backend's own table only.
pub fn held_by_me(tag: Tag, mode: Mode) -> bool {
    // SAFETY: a filled tag; a look-up in a backend's hash table.
    unsafe { compat::lock_held_by_me(&tag.locktag(), mode.lockmode()) }
}

/// Does anybody hold the lock exclusively? It is taken shared, without waiting,
/// and given back at once: that sees idle sessions and prepared transactions,
/// and nothing that is left of a dead backend.
pub fn held_by_anybody(tag: Tag) -> bool {
    if held_by_me(tag, Mode::Exclusive) {
        return true;
    }
    if !try_lock(tag, Mode::Shared, Until::TransactionEnd) {
        return true;
    }
    unlock(tag, Mode::Shared, Until::TransactionEnd);
    false
}

/// Takes the internal lock `key` to the end of the transaction, and waits for
/// it. Released by a rollback to an earlier savepoint, as a row lock is.
pub fn lock_for_transaction(key: u64, exclusive: bool) {
    let mode = if exclusive {
        Mode::Exclusive
    } else {
        Mode::Shared
    };
    // SAFETY: a filled tag; the resource owner gives the lock back.
    unsafe { pg_sys::LockAcquire(&Tag::internal(key).locktag(), mode.lockmode(), false, false) };
}

//! Transaction-level advisory locks of our own (LOCKTAG_ADVISORY with
//! objsubid 3; users have 1 and 2).

use pgrx::pg_sys;
use uuid::Uuid;

/// FNV-1a-64 over `name`, one zero byte, and `subject`: the key of an internal
/// lock tag. Frozen for all versions.
///
/// ```
/// # use caliber_pg::pg::advisory::tag_key;
/// assert_eq!(tag_key("", b""), 0xaf63_bd4c_8601_b7df);
/// ```
pub fn tag_key(name: &str, subject: &[u8]) -> u64 {
    name.bytes()
        .chain(std::iter::once(0))
        .chain(subject.iter().copied())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// Key of the lock of the tree whose root is `root`.
pub fn tree_key(root: Uuid) -> u64 {
    tag_key("tree", root.as_bytes())
}

/// Takes the internal lock `key` to the end of the transaction, and waits for
/// it. Released by a rollback to an earlier savepoint, as a row lock is.
pub fn lock_for_transaction(key: u64, exclusive: bool) {
    let mode = if exclusive {
        pg_sys::ExclusiveLock
    } else {
        pg_sys::ShareLock
    };
    // SAFETY: the tag is filled as SET_LOCKTAG_ADVISORY (lock.h) fills it; the
    // resource owner gives the lock back.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: (key >> 32) as u32,
            locktag_field3: key as u32,
            locktag_field4: 3,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        pg_sys::LockAcquire(&tag, mode as pg_sys::LOCKMODE, false, false);
    }
}

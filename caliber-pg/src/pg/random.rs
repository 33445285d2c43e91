//! New ids: uuid version 7, strong randomness, ascending within a backend.

use super::error::{raise_report, Report, SqlState};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use uuid::{Builder, Uuid};

/// Strong random bytes that are not used yet. They are fetched many at a time: a server built
/// without OpenSSL opens a device for each fetch (pg_strong_random.c).
struct Pool {
    bytes: [u8; 256],
    used: usize,
}

thread_local! {
    /// Millisecond and 74-bit tail of the last id made. None until the first:
    /// nothing is seeded before a backend runs, where fork would copy it.
    static LAST: Cell<Option<(u64, u128)>> = const { Cell::new(None) };
    /// Empty until the first id, for the same reason.
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; 256], used: 256 }) };
}

const TAIL_BITS: u32 = 74;

impl Pool {
    /// So many bytes that nobody had yet; None if the server has none.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        const { assert!(N <= 256) }
        if self.bytes.len() - self.used < N {
            self.used = self.bytes.len();
            // SAFETY: fills the bytes given.
            if !unsafe {
                pg_sys::pg_strong_random(self.bytes.as_mut_ptr().cast(), self.bytes.len())
            } {
                return None;
            }
            self.used = 0;
        }
        let taken = self.bytes.get(self.used..)?.first_chunk().copied();
        if !crate::fault::active("random_again") {
            self.used += N;
        }
        taken
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    POOL.with_borrow_mut(Pool::take).unwrap_or_else(|| {
        let mut report = Report::new(SqlState::new("XX000"));
        report.message = "could not generate random values".into();
        raise_report(&report)
    })
}

/// The tail of an id that follows none of its millisecond. Its highest bit is 0, which leaves
/// room for the additions.
fn fresh_tail() -> u128 {
    let mut wide = [0u8; 16];
    wide[6..].copy_from_slice(&random_bytes::<10>());
    u128::from_be_bytes(wide) & ((1 << (TAIL_BITS - 1)) - 1)
}

/// Milliseconds since 1970.
fn unix_millis() -> u64 {
    const EPOCH_MS: i64 = 946_684_800_000; // 2000-01-01
                                           // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    u64::try_from(now / 1000 + EPOCH_MS).unwrap_or(0)
}

/// The next id: greater than every id this backend made before, also within a
/// millisecond and when the clock steps back.
pub fn new_id() -> Uuid {
    let now = unix_millis();
    let next = match LAST.get() {
        Some((last, tail)) if now <= last => {
            let tail = tail + 1 + u128::from(u32::from_be_bytes(random_bytes()));
            if tail >> TAIL_BITS == 0 {
                (last, tail)
            } else {
                (last + 1, fresh_tail())
            }
        }
        _ => (now, fresh_tail()),
    };
    LAST.set(Some(next));
    let (millis, tail) = next;
    let mut random = [0u8; 10];
    // 12 bits in front of the variant, 62 behind it (RFC 9562, 5.7).
    let front = (tail >> 62) as u16;
    let back = (tail as u64) & ((1 << 62) - 1);
    random[..2].copy_from_slice(&front.to_be_bytes());
    random[2..].copy_from_slice(&back.to_be_bytes());
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

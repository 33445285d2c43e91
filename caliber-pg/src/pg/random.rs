//! New ids: uuid version 7, strong randomness, ascending within a backend.

use super::error::{raise_report, Report, SqlState};
use pgrx::pg_sys;
use std::cell::Cell;
use uuid::{Builder, Uuid};

thread_local! {
    /// Millisecond and 74-bit tail of the last id made. None until the first:
    /// nothing is seeded before a backend runs, where fork would copy it.
    static LAST: Cell<Option<(u64, u128)>> = const { Cell::new(None) };
}

const TAIL_BITS: u32 = 74;

fn random_bits(bits: u32) -> u128 {
    let mut bytes = [0u8; 16];
    // SAFETY: fills the 16 bytes given.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        let mut report = Report::new(SqlState::new("XX000"));
        report.message = "could not generate random values".into();
        raise_report(&report);
    }
    u128::from_be_bytes(bytes) & ((1 << bits) - 1)
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
            let tail = tail + 1 + random_bits(32);
            if tail >> TAIL_BITS == 0 {
                (last, tail)
            } else {
                (last + 1, random_bits(TAIL_BITS - 1))
            }
        }
        // The highest bit starts at 0, to leave room for the additions.
        _ => (now, random_bits(TAIL_BITS - 1)),
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

//! The ids of a case: a handful per table, so that duplicates, absent rows and
//! many rows with one key come up by themselves.

use uuid::Uuid;

/// Slots that creates use.
pub const SLOTS: usize = 8;

/// A slot that no create ever uses.
pub const ABSENT: usize = 9;

/// The ids of one case, all derived from its salt.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    salt: u64,
}

impl Ids {
    /// The ids of the case with this salt.
    #[must_use]
    pub fn new(salt: u64) -> Self {
        Self { salt }
    }

    /// The id of a slot. Order of slots and order of ids are unrelated; the
    /// nil and the greatest uuid are among them.
    #[must_use]
    pub fn of(&self, entity: &str, slot: usize) -> Uuid {
        match slot {
            6 if self.salt.is_multiple_of(3) => Uuid::nil(),
            7 if self.salt % 3 == 1 => Uuid::max(),
            _ => {
                let name = entity
                    .bytes()
                    .fold(self.salt, |hash, byte| mix(hash ^ u64::from(byte)));
                let high = mix(name ^ slot as u64);
                let bits = (u128::from(high) << 64) | u128::from(mix(high));
                // Version 7 and the RFC variant, as the extension's own ids have them.
                let versioned = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x7 << 76) | (0x2 << 62);
                Uuid::from_u128(versioned)
            }
        }
    }
}

/// splitmix64: a bijection that scatters neighbours.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_distinct() {
        let ids = Ids::new(5);
        assert_eq!(ids.of("scope", 1), ids.of("scope", 1));
        assert_ne!(ids.of("scope", 1), ids.of("scope", 2));
        assert_ne!(ids.of("scope", 1), ids.of("trajectory", 1));
        assert_eq!(ids.of("scope", 1).get_version_num(), 7);
    }
}

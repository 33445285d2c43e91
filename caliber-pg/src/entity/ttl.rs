//! How long an artifact or a note lives: the text of its column `ttl`.

use super::args::required;
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::datum::{ToValue, Value};

/// What a ttl says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// No end of its own.
    Lasting,
    /// So many microseconds.
    For(i64),
    /// As long as its scope is open.
    Scope,
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
/// The longest `duration:<ms>`.
const MAX_MILLISECONDS: u64 = 1_000_000_000_000_000;

impl Ttl {
    /// Reads a ttl; None if it has none of the forms.
    ///
    /// ```
    /// # use caliber_pg::entity::ttl::Ttl;
    /// assert_eq!(Ttl::read("duration:250"), Some(Ttl::For(250_000)));
    /// assert_eq!(Ttl::read("session"), Some(Ttl::Lasting));
    /// assert_eq!(Ttl::read("duration:0"), None);
    /// ```
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "persistent" | "permanent" | "session" => return Some(Self::Lasting),
            "scope" | "ephemeral" => return Some(Self::Scope),
            "short_term" => return Some(Self::For(HOUR)),
            "medium_term" => return Some(Self::For(24 * HOUR)),
            "long_term" => return Some(Self::For(7 * 24 * HOUR)),
            _ => {}
        }
        let (form, digits) = text.split_once(':')?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        match form {
            "duration" => {
                let ms = digits.parse().ok()?;
                (1..=MAX_MILLISECONDS)
                    .contains(&ms)
                    .then_some(Self::For(ms as i64 * 1000))
            }
            // Recorded, without an effect of its own.
            "max" => digits.bytes().any(|b| b != b'0').then_some(Self::Lasting),
            _ => None,
        }
    }

    /// Has a row of this ttl come to its end at `now`? `closed` says whether
    /// its scope is.
    ///
    /// # Errors
    /// Those of `closed`.
    pub fn has_ended(
        self,
        created_at: Value,
        now: i64,
        closed: impl FnOnce() -> CaliberResult<bool>,
    ) -> CaliberResult<bool> {
        match self {
            _ if crate::fault::active("ended_rows_listed") => Ok(false),
            Self::Lasting => Ok(false),
            Self::For(time) => Ok(created_at
                .as_int8()
                // An infinite moment stays one.
                .is_some_and(|created| created.saturating_add(time) <= now)),
            Self::Scope => closed(),
        }
    }
}

/// The moment that ends are compared with: the wall clock. Read once per call,
/// when its locks are there.
pub fn now() -> i64 {
    let now = if crate::fault::active("ttl_transaction_clock") {
        Value::transaction_start()
    } else {
        Value::wall_clock()
    };
    now.as_int8().unwrap_or_default()
}

/// The ttl of a stored row; one that cannot be read counts as persistent.
pub fn stored(value: Value) -> Ttl {
    // All forms are ASCII, so that what is no UTF-8 is none.
    let ttl = value.with_bytes(|text| std::str::from_utf8(text).ok().and_then(Ttl::read));
    ttl.flatten().unwrap_or(Ttl::Lasting)
}

/// The forms that artifacts may have.
pub const FOR_ARTIFACTS: &[&str] = &[
    "persistent",
    "permanent",
    "session",
    "scope",
    "ephemeral",
    "duration:<ms>",
    "short_term",
    "medium_term",
    "long_term",
    "max:<n>",
];

/// The forms that notes may have: they belong to no scope.
pub const FOR_NOTES: &[&str] = &[
    "persistent",
    "permanent",
    "session",
    "duration:<ms>",
    "short_term",
    "medium_term",
    "long_term",
    "max:<n>",
];

/// A ttl that may not be NULL, of one of the forms.
///
/// # Errors
/// 22004; 22023 listing the forms.
pub fn checked(entity: &str, argument: &impl ToValue, forms: &[&str]) -> CaliberResult<Value> {
    let value = required("ttl", argument)?;
    let text = value.as_text().unwrap_or_default();
    let allowed = match Ttl::read(&text) {
        Some(Ttl::Scope) => forms.contains(&text.as_str()),
        Some(_) => true,
        None => false,
    };
    if allowed {
        return Ok(value);
    }
    Err(CaliberError::argument(
        Rule::Value,
        format!("invalid {entity} ttl: \"{text}\""),
        Some(format!("Allowed values: {}.", forms.join(", "))),
    ))
}

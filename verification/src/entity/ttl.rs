//! How long artifacts and notes are listed: the forms of a ttl, and what they
//! mean. (`session` and `max:<n>` are recorded only.)

use crate::model::moment;
use crate::value::Value;
use proptest::prelude::*;

/// Milliseconds of the forms that name a time.
fn milliseconds(ttl: &str) -> Option<i64> {
    match ttl {
        "short_term" => Some(3_600_000),
        "medium_term" => Some(86_400_000),
        "long_term" => Some(7 * 86_400_000),
        _ => number(ttl.strip_prefix("duration:")?).filter(|ms| *ms <= 1_000_000_000_000_000),
    }
}

/// A whole number from 1.
fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n >= 1)
}

/// The forms that a note may have.
#[must_use]
pub fn is_of_note(text: &str) -> bool {
    matches!(text, "persistent" | "permanent" | "session")
        || milliseconds(text).is_some()
        || text.strip_prefix("max:").and_then(number).is_some()
}

/// The forms that an artifact may have.
#[must_use]
pub fn is_of_artifact(text: &str) -> bool {
    matches!(text, "scope" | "ephemeral") || is_of_note(text)
}

/// Whether a row is listed. A moment that a call made is recent; an aged one
/// lies back for decades, which only the longest durations reach over.
#[must_use]
pub fn is_live(ttl: &str, created_at: &Value, scope_is_closed: bool) -> bool {
    match ttl {
        "scope" | "ephemeral" => !scope_is_closed,
        _ => {
            let aged = *created_at == moment::aged();
            milliseconds(ttl).is_none_or(|ms| !aged || ms > 1_000_000_000_000)
        }
    }
}

/// [`is_live`] in SQL, for the row `x`. What cannot be read counts as persistent.
pub const LIVE: &str = "CASE \
    WHEN x.ttl = 'short_term' THEN x.created_at + interval '1 hour' > clock_timestamp() \
    WHEN x.ttl = 'medium_term' THEN x.created_at + interval '24 hours' > clock_timestamp() \
    WHEN x.ttl = 'long_term' THEN x.created_at + interval '168 hours' > clock_timestamp() \
    WHEN x.ttl ~ '^duration:[0-9]{1,16}$' AND substr(x.ttl, 10)::numeric BETWEEN 1 AND 1000000000000000 \
    THEN x.created_at + substr(x.ttl, 10)::float8 * interval '1 ms' > clock_timestamp() \
    ELSE true END";

/// The same for an artifact, whose scope counts too: one that a policy hides is not
/// seen to be closed.
pub const LIVE_IN_SCOPE: &str = "CASE WHEN x.ttl IN ('scope', 'ephemeral') \
    THEN coalesce((SELECT s.is_active FROM caliber_scope s WHERE s.scope_id = x.scope_id AND s IS DISTINCT FROM NULL), true) ELSE true END";

const OF_NOTE: [&str; 10] = [
    "persistent",
    "permanent",
    "session",
    "short_term",
    "medium_term",
    "long_term",
    "duration:3600000",
    "duration:1000000000000000",
    "max:1",
    "max:2147483648",
];

/// A ttl of a note.
pub fn of_note() -> BoxedStrategy<Value> {
    prop::sample::select(&OF_NOTE[..])
        .prop_map(Value::of)
        .boxed()
}

/// A ttl of an artifact.
pub fn of_artifact() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => prop::sample::select(vec!["scope", "ephemeral"]).prop_map(Value::of),
        5 => of_note(),
    ]
    .boxed()
}

/// A ttl that only SQL can have written.
pub fn unreadable() -> BoxedStrategy<Value> {
    prop::sample::select(vec![
        "",
        "nonsense",
        "duration:",
        "duration:0",
        "duration:abc",
        "duration:99999999999999999999",
        "Scope",
    ])
    .prop_map(Value::of)
    .boxed()
}

/// Expressions that no ttl takes.
pub const REFUSED: &[&str] = &[
    "''",
    "'forever'",
    "'Persistent'",
    "' persistent'",
    "'duration'",
    "'duration:'",
    "'duration:0'",
    "'duration:-1'",
    "'duration:1.5'",
    "'duration:1e3'",
    "'duration:1000000000000001'",
    "'duration:99999999999999999999'",
    "'max:0'",
    "'max:'",
    "'max:-1'",
];

/// Those, and what a note does not take.
pub const REFUSED_BY_NOTE: &[&str] = &[
    "'scope'",
    "'ephemeral'",
    "''",
    "'forever'",
    "'duration:0'",
    "'duration:1000000000000001'",
    "'max:0'",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        for ttl in OF_NOTE {
            assert!(is_of_note(ttl) && is_of_artifact(ttl), "{ttl}");
        }
        for quoted in REFUSED {
            assert!(!is_of_artifact(quoted.trim_matches('\'')), "{quoted}");
        }
        for quoted in REFUSED_BY_NOTE {
            assert!(!is_of_note(quoted.trim_matches('\'')), "{quoted}");
        }
    }

    #[test]
    fn time_passes() {
        let recent = Value::of("<t1>");
        assert!(is_live("short_term", &recent, true));
        assert!(!is_live("short_term", &moment::aged(), false));
        assert!(is_live("duration:1000000000000000", &moment::aged(), false));
        assert!(is_live("nonsense", &moment::aged(), true));
        assert!(!is_live("ephemeral", &recent, true));
    }
}

//! Timestamps differ between judges. Each judge notes the start of each of its
//! transactions under a symbol (`<t3>`); wherever a judge shows that moment,
//! the symbol takes its place. So `created_at` must be the start of exactly
//! the transaction that created the row, in every row and every message.
//!
//! Of the wall clock a judge notes the range of a statement under a symbol
//! (`<w7>`): a `last_heartbeat` must lie within the statement that set it. Ids
//! that a call makes by itself are replaced by the model's.

use crate::model::moment;

/// The moments and the ids a judge knows.
#[derive(Debug, Default)]
pub struct Clock {
    known: Vec<(String, String)>,
    /// Ranges in microseconds, both ends included.
    ranges: Vec<(i64, i64, String)>,
    /// The judge's own id, and the model's for it.
    ids: Vec<(String, String)>,
}

impl Clock {
    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes a moment, as the server writes it.
    pub fn note(&mut self, moment: &str, symbol: &str) {
        if !self.known.iter().any(|(known, _)| known == moment) {
            self.known.push((moment.to_owned(), symbol.to_owned()));
        }
    }

    /// Notes the wall clock before and after a statement.
    pub fn note_range(&mut self, from: &str, to: &str, symbol: &str) {
        if let (Some(from), Some(to)) = (microseconds(from), microseconds(to)) {
            self.ranges.push((from, to, symbol.to_owned()));
        }
    }

    /// Notes a symbol for what was added to a range that is known.
    pub fn note_later(&mut self, symbol: &str) {
        let Some((base, added)) = moment::parts(symbol) else {
            return;
        };
        if self.ranges.iter().any(|(_, _, known)| known == symbol) {
            return;
        }
        let found = self.ranges.iter().find(|(_, _, known)| *known == base);
        if let Some((from, to, _)) = found {
            let added = added * 1000;
            self.ranges
                .push((from + added, to + added, symbol.to_owned()));
        }
    }

    /// Notes an id of the judge, and the model's for it.
    pub fn note_id(&mut self, own: &str, model: &str) {
        self.ids.push((own.to_owned(), model.to_owned()));
    }

    /// The judge's own ids that were noted.
    pub fn own_ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(|(own, _)| own.as_str())
    }

    /// A statement with the judge's own ids in place of the model's.
    #[must_use]
    pub fn to_own_ids(&self, sql: &str) -> String {
        self.ids
            .iter()
            .fold(sql.to_owned(), |sql, (own, model)| sql.replace(model, own))
    }

    /// Replaces known moments and ids.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        self.ids
            .iter()
            .fold(self.apply_moments(text), |text, (own, model)| {
                text.replace(own, model)
            })
    }

    fn symbol(&self, moment: &str) -> Option<&str> {
        if let Some((_, symbol)) = self.known.iter().find(|(known, _)| known == moment) {
            return Some(symbol);
        }
        let at = microseconds(moment)?;
        self.ranges
            .iter()
            .find(|(from, to, _)| (*from..=*to).contains(&at))
            .map(|(_, _, symbol)| symbol.as_str())
    }

    fn apply_moments(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((start, end)) = find_moment(rest) {
            result.push_str(&rest[..start]);
            let moment = &rest[start..end];
            result.push_str(self.symbol(moment).unwrap_or(moment));
            rest = &rest[end..];
        }
        result.push_str(rest);
        result
    }

    /// Replaces known moments, and those that nobody noted by `<now>`: the
    /// start of a single-statement transaction that failed is known to nobody.
    #[must_use]
    pub fn apply_to_error(&self, text: &str) -> String {
        without_moments(&self.apply(text))
    }
}

/// Replaces every moment by `<now>`.
#[must_use]
pub fn without_moments(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end)) = find_moment(rest) {
        result.push_str(&rest[..start]);
        result.push_str("<now>");
        rest = &rest[end..];
    }
    result.push_str(rest);
    result
}

/// A moment as [`find_moment`] finds it, in microseconds since 1970.
fn microseconds(moment: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| moment.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let fraction: String = moment
        .get(19..)?
        .strip_suffix("+00")?
        .trim_start_matches('.')
        .chars()
        .chain("000000".chars())
        .take(6)
        .collect();
    // Days since 1970 of the proleptic Gregorian calendar; the year begins in March.
    let shifted = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000 + fraction.parse::<i64>().ok()?)
}

/// The first `2026-01-31 12:34:56[.789]+00` in a text.
fn find_moment(text: &str) -> Option<(usize, usize)> {
    const PATTERN: &[u8] = b"dddd-dd-dd dd:dd:dd";
    let bytes = text.as_bytes();
    let matches_at = |at: usize| {
        bytes.len() >= at + PATTERN.len()
            && PATTERN.iter().enumerate().all(|(i, wanted)| match wanted {
                b'd' => bytes[at + i].is_ascii_digit(),
                other => bytes[at + i] == *other,
            })
    };
    for found in memchr::memchr_iter(b'-', bytes) {
        let Some(start) = found.checked_sub(4) else {
            continue;
        };
        if !matches_at(start) {
            continue;
        }
        let mut end = start + PATTERN.len();
        if bytes.get(end) == Some(&b'.') {
            end += 1;
            while bytes.get(end).is_some_and(u8::is_ascii_digit) {
                end += 1;
            }
        }
        if text[end..].starts_with("+00") {
            return Some((start, end + 3));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_symbols() {
        let mut clock = Clock::default();
        clock.note("2026-01-31 12:34:56.789+00", "<t1>");
        assert_eq!(
            clock.apply("(a,\"2026-01-31 12:34:56.789+00\",2020-01-01 00:00:00+00)"),
            "(a,\"<t1>\",2020-01-01 00:00:00+00)"
        );
        assert_eq!(
            clock.apply_to_error("x 2020-01-01 00:00:00+00."),
            "x <now>."
        );
        assert_eq!(
            clock.apply("2026-01-31 12:34:56.78"),
            "2026-01-31 12:34:56.78"
        );
        assert_eq!(clock.apply("é-2026-01-31"), "é-2026-01-31");
    }

    #[test]
    fn moments_within_a_statement_become_its_symbol() {
        assert_eq!(microseconds("1970-01-01 00:00:00+00"), Some(0));
        assert_eq!(
            microseconds("2026-02-28 23:59:59.5+00"),
            Some(1_772_323_199_500_000)
        );
        assert_eq!(
            microseconds("2024-03-01 00:00:00+00"),
            Some(1_709_251_200_000_000)
        );
        let mut clock = Clock::default();
        clock.note_range(
            "2026-01-31 12:00:00.1+00",
            "2026-01-31 12:00:00.2+00",
            "<w1>",
        );
        clock.note_later("<w1+3600000>");
        assert_eq!(clock.apply("2026-01-31 12:00:00.15+00"), "<w1>");
        assert_eq!(clock.apply("2026-01-31 13:00:00.2+00"), "<w1+3600000>");
        assert_eq!(
            clock.apply("2026-01-31 12:00:00.200001+00"),
            "2026-01-31 12:00:00.200001+00"
        );
    }

    #[test]
    fn ids_are_exchanged() {
        let mut clock = Clock::default();
        clock.note_id("0190-a", "0190-b");
        assert_eq!(clock.apply("(0190-a,x)"), "(0190-b,x)");
        assert_eq!(clock.to_own_ids("SELECT '0190-b'"), "SELECT '0190-a'");
    }
}

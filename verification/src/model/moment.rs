//! Moments that calls make, as symbols: `<t3>` is the start of the third
//! transaction, `<w7>` the wall clock during the seventh statement, and
//! `<w7+1000>` a second after that.

use crate::entity::Clock;
use crate::value::Value;

/// The moment to which the harness's helpers age a row (src/server/helpers.sql).
pub const AGED: &str = "2001-02-03 04:05:06.789+00";

/// [`AGED`], as a cell.
#[must_use]
pub fn aged() -> Value {
    Value::Time(AGED.to_owned())
}

/// The symbol for the wall clock during a statement.
#[must_use]
pub fn wall(statement: usize) -> String {
    format!("<w{statement}>")
}

/// A wall clock symbol's base and the milliseconds that were added to it.
#[must_use]
pub fn parts(symbol: &str) -> Option<(String, i64)> {
    let inner = symbol.strip_prefix("<w")?.strip_suffix('>')?;
    match inner.split_once('+') {
        None => Some((symbol.to_owned(), 0)),
        Some((base, added)) => Some((format!("<w{base}>"), added.parse().ok()?)),
    }
}

/// A cell that holds a wall clock symbol, so many milliseconds later.
#[must_use]
pub fn later(cell: &Value, milliseconds: i64) -> Value {
    let symbol = cell.text().unwrap_or_default();
    match parts(&symbol) {
        Some((base, added)) => {
            let sum = added + milliseconds;
            Value::Text(format!("{}+{sum}>", base.trim_end_matches('>')))
        }
        None => cell.clone(),
    }
}

/// Something by which moments can be compared: what generators pass lies
/// decades away on either side of what calls make; what calls added to that (an
/// hour and more) lies between.
#[must_use]
pub fn order(cell: &Value) -> String {
    match cell {
        Value::Time(text) => order_of_time(text),
        Value::Text(symbol) => match parts(symbol) {
            Some((_, added)) if added != 0 => "002030-01-01".to_owned(),
            _ => NOW.to_owned(),
        },
        _ => String::new(),
    }
}

/// Years have up to six digits, and run backwards before Christ.
fn order_of_time(text: &str) -> String {
    match text {
        "-infinity" => return "!".to_owned(),
        "infinity" => return "~".to_owned(),
        _ => {}
    }
    let (year, rest) = text.split_once('-').unwrap_or((text, ""));
    let year: u32 = year.parse().unwrap_or_default();
    match rest.strip_suffix(" BC") {
        Some(rest) => format!("-{:06}-{rest}", 1_000_000 - year),
        None => format!("{year:06}-{rest}"),
    }
}

/// Where [`order`] puts what calls make.
const NOW: &str = "002025-01-01";

/// Whether the moment of a cell has passed; NULL never does.
#[must_use]
pub fn is_past(cell: &Value) -> bool {
    !cell.is_null() && order(cell).as_str() <= NOW
}

/// Whether the moment of a cell, which lies behind, is older than an interval:
/// of an hour, a day or a few years, or less than nothing.
#[must_use]
pub fn is_older(cell: &Value, interval: &Value) -> bool {
    let ahead = interval.text().is_some_and(|text| text.starts_with('-'));
    !cell.is_null() && (ahead || matches!(cell, Value::Time(_)))
}

/// A cell as SQL: a timestamp that the call makes is made by the statement too.
pub(super) fn sql_of(clock: Clock, cell: &Value) -> String {
    match (clock, cell) {
        (Clock::Transaction, Value::Text(_)) => "now()".to_owned(),
        (Clock::Wall, Value::Text(symbol)) => match parts(symbol) {
            Some((_, added)) if added != 0 => {
                format!("clock_timestamp() + {added} * interval '1 ms'")
            }
            _ => "clock_timestamp()".to_owned(),
        },
        _ => cell.sql(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_added_to() {
        let made = Value::Text(wall(7));
        let leased = later(&made, 3_600_000);
        assert_eq!(leased, Value::of("<w7+3600000>"));
        assert_eq!(later(&leased, 5), Value::of("<w7+3600005>"));
        assert_eq!(parts("<w7+3600005>"), Some(("<w7>".to_owned(), 3_600_005)));
        assert!(is_past(&made) && !is_past(&leased) && !is_past(&Value::Null));
        assert!(is_past(&Value::Time("2001-01-01 00:00:00+00".to_owned())));
        assert!(!is_past(&Value::Time("infinity".to_owned())));
        let ordered = [
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "4713-01-01 00:00:00+00 BC",
            "0044-03-14 00:00:00+00 BC",
            "0044-03-15 00:00:00+00 BC",
            "0044-03-15 00:00:00+00",
            "2001-02-03 04:05:06.789+00",
            "9999-12-31 00:00:00+00",
            "294276-12-31 23:59:59.999999+00",
            "infinity",
        ];
        let orders = ordered.map(|text| order(&Value::Time(text.to_owned())));
        assert!(orders.is_sorted(), "{orders:?}");
        assert_eq!(
            sql_of(Clock::Wall, &leased),
            "clock_timestamp() + 3600000 * interval '1 ms'"
        );
    }
}

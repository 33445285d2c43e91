//! Plain values: what an argument of a call may be, how it is written as SQL,
//! and how a model compares it with what a server answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One argument, or one stored cell, as plain data that survives a round trip
/// through `plan.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer; written without a cast.
    Int(i64),
    /// Text, any Unicode but NUL.
    Text(String),
    /// `unit` repeated `times` times: huge text that stays small in a plan.
    Repeat {
        /// What is repeated.
        unit: String,
        /// How often.
        times: u32,
    },
    /// A uuid.
    Uuid(Uuid),
    /// The text of a jsonb value, exactly as it is sent.
    Json(String),
}

impl Value {
    /// The SQL expression for this value.
    #[must_use]
    pub fn sql(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) if *value < 0 => format!("({value})"),
            Self::Int(value) => value.to_string(),
            Self::Text(text) => format!("{}::text", quote(text)),
            Self::Repeat { unit, times } => format!("repeat({}, {times})", quote(unit)),
            Self::Uuid(id) => format!("'{id}'::uuid"),
            Self::Json(text) => format!("{}::jsonb", quote(text)),
        }
    }

    /// The text form, `None` for NULL.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(if *value { "t" } else { "f" }.to_owned()),
            Self::Int(value) => Some(value.to_string()),
            Self::Text(text) | Self::Json(text) => Some(text.clone()),
            Self::Repeat { unit, times } => Some(unit.repeat(*times as usize)),
            Self::Uuid(id) => Some(id.to_string()),
        }
    }

    /// True for SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// A string literal under `standard_conforming_strings = on`.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The type of a column or parameter, as far as comparison needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `uuid`
    Uuid,
    /// `text`
    Text,
    /// `boolean`
    Bool,
    /// `integer`
    Int,
    /// `jsonb`
    Json,
    /// `timestamptz`
    Time,
}

impl Type {
    /// Whether two text forms denote the same value of this type. Between
    /// judges text is compared byte for byte; this is for the model, which
    /// does not know how the server spells a jsonb value.
    #[must_use]
    pub fn same(self, left: &str, right: &str) -> bool {
        match self {
            Self::Json => match (canonical_json(left), canonical_json(right)) {
                (Some(left), Some(right)) => left == right,
                _ => false,
            },
            _ => left == right,
        }
    }
}

/// A JSON value with every number brought to one spelling.
fn canonical_json(text: &str) -> Option<serde_json::Value> {
    fn walk(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value as Json;
        match value {
            Json::Number(number) => {
                Json::String(format!("#{}", canonical_number(&number.to_string())))
            }
            Json::String(text) => Json::String(format!("'{text}")),
            Json::Array(items) => Json::Array(items.into_iter().map(walk).collect()),
            Json::Object(map) => Json::Object(map.into_iter().map(|(k, v)| (k, walk(v))).collect()),
            other => other,
        }
    }
    serde_json::from_str(text).ok().map(walk)
}

/// A decimal number as `[-]digits e exponent`, without leading or trailing zeros.
#[must_use]
pub fn canonical_number(text: &str) -> String {
    let (digits, exponent) = decimal(text);
    let negative = digits.starts_with('-');
    let magnitude = digits.trim_start_matches('-').trim_start_matches('0');
    let stripped = magnitude.trim_end_matches('0');
    if stripped.is_empty() {
        return "0".to_owned();
    }
    let exponent = exponent + i64::try_from(magnitude.len() - stripped.len()).unwrap_or(0);
    format!("{}{stripped}e{exponent}", if negative { "-" } else { "" })
}

/// Sign and all digits of a JSON number, and the power of ten they are scaled by.
fn decimal(text: &str) -> (String, i64) {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (
            &text[..at],
            text[at + 1..].trim_start_matches('+').parse().unwrap_or(0),
        ),
        None => (text, 0),
    };
    match mantissa.find('.') {
        Some(at) => {
            let fraction = &mantissa[at + 1..];
            let shift = i64::try_from(fraction.len()).unwrap_or(0);
            (format!("{}{fraction}", &mantissa[..at]), exponent - shift)
        }
        None => (mantissa.to_owned(), exponent),
    }
}

/// How `updates` reads a JSON number for an integer column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A value that fits.
    Fits(i64),
    /// Whole, but outside `integer`.
    TooLarge,
    /// Has a fraction.
    Fraction,
}

/// Reads a JSON number as a PostgreSQL `integer` (`8`, `8.0` and `1e3` are whole).
#[must_use]
pub fn whole_number(text: &str) -> Whole {
    let canonical = canonical_number(text);
    if canonical == "0" {
        return Whole::Fits(0);
    }
    let Some((digits, exponent)) = canonical.split_once('e') else {
        return Whole::Fraction;
    };
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    if exponent < 0 {
        return Whole::Fraction;
    }
    if exponent > 12 {
        return Whole::TooLarge;
    }
    let scaled = format!(
        "{digits}{}",
        "0".repeat(usize::try_from(exponent).unwrap_or(0))
    );
    match scaled.parse::<i64>() {
        Ok(value) if i32::try_from(value).is_ok() => Whole::Fits(value),
        _ => Whole::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        assert!(Type::Json.same("1e3", "1000"));
        assert!(Type::Json.same("1.50", "1.5"));
        assert!(Type::Json.same("-0", "0"));
        assert!(!Type::Json.same("1", "10"));
        assert!(!Type::Json.same("1", "\"1\""));
        assert!(Type::Json.same("{\"a\": 1, \"b\": [2]}", "{\"b\":[2],\"a\":1}"));
    }

    #[test]
    fn whole_numbers_follow_the_update_rule() {
        assert_eq!(whole_number("8"), Whole::Fits(8));
        assert_eq!(whole_number("8.0"), Whole::Fits(8));
        assert_eq!(whole_number("1e3"), Whole::Fits(1000));
        assert_eq!(whole_number("-2147483648"), Whole::Fits(-2_147_483_648));
        assert_eq!(whole_number("2147483648"), Whole::TooLarge);
        assert_eq!(whole_number("1e400"), Whole::TooLarge);
        assert_eq!(whole_number("0.5"), Whole::Fraction);
    }

    #[test]
    fn literals_survive_quotes() {
        assert_eq!(Value::Text("it's".into()).sql(), "'it''s'::text");
        assert_eq!(Value::Int(-1).sql(), "(-1)");
    }
}

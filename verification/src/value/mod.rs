//! Plain values: what an argument of a call may be, how it is written as SQL,
//! and how a model compares it with what a server answers.

mod number;

pub use number::{canonical_number, whole_number, Whole};

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
    /// `uuid[]` of one dimension.
    Uuids(Vec<Uuid>),
    /// `text[]` of one dimension, without NULLs.
    Texts(Vec<String>),
    /// `bytea`, as hexadecimal digits.
    Bytes(String),
    /// `vector`, as its text: `[1,2.5]`.
    Vector(String),
    /// `real`, as its text.
    Real(String),
    /// `timestamptz`, as the server writes it: ISO, UTC.
    Time(String),
    /// `interval`, as its text.
    Interval(String),
    /// An expression whose value the harness does not know: an argument that
    /// `api.md` §1.4 refuses with 22023, whatever the rows are.
    Sql(String),
}

impl Value {
    /// Text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The SQL expression for this value.
    #[must_use]
    pub fn sql(&self) -> String {
        let cast = |ty: &str| {
            let text = self.text().unwrap_or_default();
            format!("{}::{ty}", quote(&text))
        };
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) if *value < 0 => format!("({value})"),
            Self::Int(value) => value.to_string(),
            Self::Text(_) => cast("text"),
            Self::Repeat { unit, times } => format!("repeat({}, {times})", quote(unit)),
            Self::Uuid(_) => cast("uuid"),
            Self::Json(_) => cast("jsonb"),
            Self::Uuids(_) => cast("uuid[]"),
            Self::Texts(_) => cast("text[]"),
            Self::Bytes(_) => cast("bytea"),
            Self::Vector(_) => cast("vector"),
            Self::Real(_) => cast("real"),
            Self::Time(_) => cast("timestamptz"),
            Self::Interval(_) => cast("interval"),
            Self::Sql(text) => format!("({text})"),
        }
    }

    /// The text form, `None` for NULL.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(if *value { "t" } else { "f" }.to_owned()),
            Self::Int(value) => Some(value.to_string()),
            Self::Repeat { unit, times } => Some(unit.repeat(*times as usize)),
            Self::Uuid(id) => Some(id.to_string()),
            Self::Uuids(ids) => Some(array_out(ids.iter().map(Uuid::to_string))),
            Self::Texts(texts) => Some(array_out(texts.iter().cloned())),
            Self::Bytes(digits) => Some(format!("\\x{digits}")),
            Self::Text(text)
            | Self::Json(text)
            | Self::Vector(text)
            | Self::Real(text)
            | Self::Time(text)
            | Self::Interval(text)
            | Self::Sql(text) => Some(text.clone()),
        }
    }

    /// True for SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The JSON for this value, as `updates` and `*_many` take it.
    #[must_use]
    pub fn json(&self) -> String {
        let strings = |items: Vec<String>| serde_json::Value::from(items).to_string();
        match self {
            Self::Json(text) | Self::Real(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::Null => "null".to_owned(),
            Self::Uuids(ids) => strings(ids.iter().map(Uuid::to_string).collect()),
            Self::Texts(texts) => strings(texts.clone()),
            other => serde_json::Value::String(other.text().unwrap_or_default()).to_string(),
        }
    }
}

/// A string literal under `standard_conforming_strings = on`.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An array of one dimension, as `array_out` writes it.
fn array_out(items: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = items
        .map(|item| {
            let special = |c: char| {
                matches!(
                    c,
                    '"' | '\\' | '{' | '}' | ',' | ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c'
                )
            };
            if item.is_empty() || item.eq_ignore_ascii_case("null") || item.contains(special) {
                format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""))
            } else {
                item
            }
        })
        .collect();
    format!("{{{}}}", quoted.join(","))
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
    /// `uuid[]`
    Uuids,
    /// `text[]`
    Texts,
    /// `bytea`
    Bytes,
    /// `vector`
    Vector,
    /// `real`
    Real,
}

impl Type {
    /// Whether two text forms denote the same value of this type. Between
    /// judges text is compared byte for byte; this is for the model, which
    /// does not know how the server spells a jsonb value or a vector.
    #[must_use]
    pub fn same(self, left: &str, right: &str) -> bool {
        match self {
            Self::Json => match (canonical_json(left), canonical_json(right)) {
                (Some(left), Some(right)) => left == right,
                _ => false,
            },
            Self::Vector => match (elements(left), elements(right)) {
                (Some(left), Some(right)) => left == right,
                _ => false,
            },
            _ => left == right,
        }
    }
}

/// The elements of a vector's text, by their bits.
#[must_use]
pub fn elements(text: &str) -> Option<Vec<u32>> {
    text.strip_prefix('[')?
        .strip_suffix(']')?
        .split(',')
        .map(|item| item.trim().parse::<f32>().ok().map(f32::to_bits))
        .collect()
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
        assert!(Type::Vector.same("[1,2.50]", "[1.0, 2.5]"));
        assert!(!Type::Vector.same("[1,2]", "[1,2,3]"));
    }

    #[test]
    fn literals_survive_quotes() {
        assert_eq!(Value::Text("it's".into()).sql(), "'it''s'::text");
        assert_eq!(Value::Int(-1).sql(), "(-1)");
        assert_eq!(Value::Bytes("00ff".into()).sql(), "'\\x00ff'::bytea");
    }

    #[test]
    fn arrays_are_spelled_as_the_server_does() {
        let texts = ["a", "", "NULL", "it's", "b c", "\"\\", "{,}"].map(str::to_owned);
        assert_eq!(
            Value::Texts(texts.to_vec()).text().unwrap(),
            r#"{a,"","NULL",it's,"b c","\"\\","{,}"}"#
        );
        assert_eq!(Value::Uuids(vec![]).text().unwrap(), "{}");
    }
}

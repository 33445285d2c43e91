//! JSON arguments, read by `api.md` §1.6: `updates`, and the elements of `*_many`.

use super::arguments::{Args, Refusal};
use crate::entity::{Function, Table};
use crate::plan::Call;
use crate::value::{quote, whole_number, Type, Value, Whole};
use serde_json::Value as Json;
use uuid::Uuid;

/// The `updates` argument of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updates {
    /// The named columns with their new values.
    pub changes: Vec<(&'static str, Value)>,
}

/// For [`Updates::read`]: these columns do not take the empty text.
pub fn not_empty(columns: &'static [&'static str]) -> impl Fn(&str, &str) -> bool {
    |column, text| !(text.is_empty() && columns.contains(&column))
}

impl Updates {
    /// Reads `updates` for the columns that may be named; `takes` says which
    /// texts a column takes.
    ///
    /// # Errors
    /// The first refusal.
    pub fn read(
        table: &Table,
        allowed: &[&str],
        takes: impl Fn(&str, &str) -> bool,
        updates: &Value,
    ) -> Result<Self, Refusal> {
        let Value::Json(text) = updates else {
            return Err(Refusal::Checked("22004"));
        };
        let Ok(Json::Object(members)) = serde_json::from_str::<Json>(text) else {
            return Err(Refusal::Checked("22023"));
        };
        if members.keys().any(|key| !allowed.contains(&key.as_str())) {
            return Err(Refusal::Checked("22023"));
        }
        let mut changes = Vec::new();
        // Columns in attribute order, whatever order the object has.
        for column in table.columns {
            if let Some(value) = members.get(column.name) {
                let value = from_json(column.ty, value)?;
                if let Value::Text(text) = &value {
                    if !takes(column.name, text) {
                        return Err(Refusal::Checked("22023"));
                    }
                }
                changes.push((column.name, value));
            }
        }
        Ok(Self { changes })
    }

    /// The new value of a column, if it is named.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.changes
            .iter()
            .find(|(name, _)| *name == column)
            .map(|(_, value)| value)
    }
}

/// The elements of a `*_many`: each becomes a call of `create`, with the
/// arguments that are given `outside`. `types` are those of its parameters.
///
/// # Errors
/// The first refusal.
pub fn read_many(
    create: &'static Function,
    outside: &[&str],
    types: impl Fn(&str) -> Type,
    args: &Args<'_>,
    array: &str,
) -> Result<Vec<Call>, Refusal> {
    let wrong = Refusal::Checked("22023");
    let Value::Json(text) = args.value(array) else {
        return Err(Refusal::Checked("22004"));
    };
    let Ok(Json::Array(elements)) = serde_json::from_str::<Json>(&text) else {
        return Err(wrong);
    };
    let mut calls = Vec::new();
    for element in elements {
        let Json::Object(members) = element else {
            return Err(wrong);
        };
        let mut call = Call::new(create.name);
        for name in outside {
            call = call.arg(name, args.value(name));
        }
        for (key, value) in &members {
            let known = create.params.iter().any(|param| param.name == key);
            if !known || outside.contains(&key.as_str()) {
                return Err(wrong);
            }
            call = call.arg(key, from_json(types(key), value)?);
        }
        super::check_arguments(&Args::new(create, &call)).map_err(Refusal::Checked)?;
        calls.push(call);
    }
    Ok(calls)
}

fn from_json(ty: Type, value: &Json) -> Result<Value, Refusal> {
    let wrong = Err(Refusal::Checked("22023"));
    if value.is_null() {
        return Ok(Value::Null);
    }
    match ty {
        Type::Json => Ok(Value::Json(value.to_string())),
        Type::Text => value
            .as_str()
            .map_or(wrong, |text| Ok(Value::Text(text.to_owned()))),
        Type::Uuid => value.as_str().map_or(wrong, uuid),
        Type::Int => match value {
            Json::Number(number) => match whole_number(&number.to_string()) {
                Whole::Fits(number) => Ok(Value::Int(number)),
                Whole::TooLarge => Err(Refusal::Checked("22003")),
                Whole::Fraction => wrong,
            },
            _ => wrong,
        },
        Type::Real => match value {
            Json::Number(number) => Ok(Value::Real(number.to_string())),
            _ => wrong,
        },
        Type::Bool => value.as_bool().map_or(wrong, |flag| Ok(Value::Bool(flag))),
        Type::Vector => vector(value),
        Type::Uuids => {
            let Json::Array(items) = value else {
                return wrong;
            };
            let ids = items.iter().map(|item| match item.as_str().map(uuid) {
                Some(Ok(Value::Uuid(id))) => Ok(id),
                Some(Err(refusal)) => Err(refusal),
                _ => Err(Refusal::Checked("22023")),
            });
            Ok(Value::Uuids(ids.collect::<Result<_, _>>()?))
        }
        Type::Texts => {
            let Json::Array(items) = value else {
                return wrong;
            };
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect();
            texts.map_or(wrong, |texts| Ok(Value::Texts(texts)))
        }
        // Generators write moments as the server does, or nonsense.
        Type::Time => match value.as_str() {
            Some(text)
                if text.starts_with(|c: char| c.is_ascii_digit()) || text.ends_with("infinity") =>
            {
                Ok(Value::Time(text.to_owned()))
            }
            Some(text) => Err(Refusal::Input(
                "22007",
                format!("SELECT {}::timestamptz", quote(text)),
            )),
            None => wrong,
        },
        Type::Bytes => wrong,
    }
}

fn uuid(text: &str) -> Result<Value, Refusal> {
    Uuid::parse_str(text).map(Value::Uuid).map_err(|_| {
        let statement = format!("SELECT {}::uuid", quote(text));
        Refusal::Input("22P02", statement)
    })
}

/// A vector from a string or from an array of numbers.
fn vector(value: &Json) -> Result<Value, Refusal> {
    match value {
        Json::String(text) if crate::value::elements(text).is_some() => {
            Ok(Value::Vector(text.clone()))
        }
        Json::String(text) => Err(Refusal::Input(
            "22P02",
            format!("SELECT {}::vector", quote(text)),
        )),
        Json::Array(items) if items.iter().all(Json::is_number) => {
            let items: Vec<String> = items.iter().map(Json::to_string).collect();
            Ok(Value::Vector(format!("[{}]", items.join(","))))
        }
        _ => Err(Refusal::Checked("22023")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{by_name, Entity};

    fn scope() -> &'static dyn Entity {
        by_name("scope").unwrap()
    }

    fn read(text: &str) -> Result<Updates, Refusal> {
        let allowed = ["name", "purpose", "checkpoint", "token_budget", "metadata"];
        Updates::read(
            scope().table(),
            &allowed,
            not_empty(&["name"]),
            &Value::Json(text.to_owned()),
        )
    }

    #[test]
    fn updates_are_read_by_type() {
        let updates = read(r#"{"token_budget": 8.0, "name": "x", "purpose": null}"#).unwrap();
        assert_eq!(
            updates.changes,
            vec![
                ("name", Value::Text("x".into())),
                ("purpose", Value::Null),
                ("token_budget", Value::Int(8)),
            ]
        );
    }

    #[test]
    fn updates_are_refused() {
        for (text, sqlstate) in [
            ("[]", "22023"),
            ("3", "22023"),
            (r#"{"nope": 1}"#, "22023"),
            (r#"{"name": 1}"#, "22023"),
            (r#"{"name": ""}"#, "22023"),
            (r#"{"token_budget": "8"}"#, "22023"),
            (r#"{"token_budget": 8.5}"#, "22023"),
            (r#"{"token_budget": 3000000000}"#, "22003"),
        ] {
            assert_eq!(read(text), Err(Refusal::Checked(sqlstate)), "{text}");
        }
    }
}

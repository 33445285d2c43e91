//! Step 1 of `api.md` §1.4: what is refused before a table is touched.

use crate::entity::{Column, Default, Function, Table};
use crate::plan::Call;
use crate::value::{quote, whole_number, Type, Value, Whole};
use serde_json::Value as Json;
use uuid::Uuid;

/// Why an argument is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By the extension, with this SQLSTATE.
    Checked(&'static str),
    /// By an input function of PostgreSQL: this statement raises the same ERROR.
    Input(&'static str, String),
}

/// The arguments of a call with defaults filled in.
#[derive(Debug)]
pub struct Args<'a> {
    function: &'a Function,
    call: &'a Call,
}

impl<'a> Args<'a> {
    /// The arguments of `call`, which calls `function`.
    #[must_use]
    pub fn new(function: &'a Function, call: &'a Call) -> Self {
        Self { function, call }
    }

    /// The value of a parameter: as given, or its default.
    #[must_use]
    pub fn value(&self, name: &str) -> Value {
        if let Some(value) = self.call.given(name) {
            return value.clone();
        }
        match self
            .function
            .params
            .iter()
            .find(|param| param.name == name)
            .and_then(|param| param.default)
        {
            Some(Default::Int(value)) => Value::Int(value),
            Some(Default::Null) | None => Value::Null,
        }
    }

    /// A uuid, `None` for NULL.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<Uuid> {
        match self.value(name) {
            Value::Uuid(id) => Some(id),
            _ => None,
        }
    }

    /// A text, empty for NULL.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.value(name).text().unwrap_or_default()
    }

    /// An integer, `None` for NULL.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }
}

/// What every function checks: NULLs, empty names, enumerated text, `max_rows`.
///
/// # Errors
/// The SQLSTATE.
pub fn check_arguments(function: &Function, call: &Call) -> Result<(), &'static str> {
    let args = Args::new(function, call);
    for param in function.params {
        let value = args.value(param.name);
        if value.is_null() {
            if param.not_null {
                return Err("22004");
            }
            continue;
        }
        let text = value.text().unwrap_or_default();
        if param.not_empty && text.is_empty() {
            return Err("22023");
        }
        if !param.one_of.is_empty() && !param.one_of.contains(&text.as_str()) {
            return Err("22023");
        }
        if param.name == "max_rows" && matches!(value, Value::Int(n) if n < 0) {
            return Err("2201W");
        }
    }
    Ok(())
}

/// The `updates` argument of an update, read by `api.md` §1.6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updates {
    /// The named columns with their new values.
    pub changes: Vec<(&'static str, Value)>,
}

impl Updates {
    /// Reads `updates` for the columns that may be named; `not_empty` lists
    /// those whose text may not be empty.
    ///
    /// # Errors
    /// The first refusal.
    pub fn read(
        table: &Table,
        allowed: &[&str],
        not_empty: &[&str],
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
                let value = read_member(column, value)?;
                if not_empty.contains(&column.name) && value == Value::Text(String::new()) {
                    return Err(Refusal::Checked("22023"));
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

fn read_member(column: &Column, value: &Json) -> Result<Value, Refusal> {
    let wrong = Err(Refusal::Checked("22023"));
    if value.is_null() {
        return Ok(Value::Null);
    }
    match column.ty {
        Type::Json => Ok(Value::Json(value.to_string())),
        Type::Text => value
            .as_str()
            .map_or(wrong, |text| Ok(Value::Text(text.to_owned()))),
        Type::Uuid => match value.as_str() {
            None => wrong,
            Some(text) => match Uuid::parse_str(text) {
                Ok(id) => Ok(Value::Uuid(id)),
                Err(_) => Err(Refusal::Input(
                    "22P02",
                    format!("SELECT {}::uuid", quote(text)),
                )),
            },
        },
        Type::Int => match value {
            Json::Number(number) => match whole_number(&number.to_string()) {
                Whole::Fits(number) => Ok(Value::Int(number)),
                Whole::TooLarge => Err(Refusal::Checked("22003")),
                Whole::Fraction => wrong,
            },
            _ => wrong,
        },
        Type::Bool => value.as_bool().map_or(wrong, |flag| Ok(Value::Bool(flag))),
        Type::Time => wrong,
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
            &["name"],
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

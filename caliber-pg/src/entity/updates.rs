//! The `updates` argument: a JSON object of new values by column name.

use super::args::{check_not_empty, required};
use crate::engine::{Changes, Entity};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::datum::{JsonbArg, Value};
use crate::pg::json::{object_members, Json, JsonKind};
use crate::pg::relation::ColumnType;
use crate::pg::vector::vector_type;

/// A column that `updates` may name.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Index of the column.
    pub column: usize,
    /// Whether an empty text is refused.
    pub non_empty: bool,
}

impl Field {
    /// Any value of the column's type.
    pub const fn any(column: usize) -> Self {
        Self {
            column,
            non_empty: false,
        }
    }

    /// A text that is not empty.
    pub const fn non_empty(column: usize) -> Self {
        Self {
            column,
            non_empty: true,
        }
    }
}

/// Reads `updates` for `entity`: the columns that it names, with new values.
///
/// # Errors
/// 22004 for NULL; 22023 if it is no object, names an unknown key or has a
/// value of the wrong type; PostgreSQL's own 22P02, 22003 for malformed ones.
pub fn read(entity: &Entity, updates: &JsonbArg, fields: &[Field]) -> CaliberResult<Changes> {
    let object = required("updates", updates)?;
    let Some(members) = object_members(object) else {
        return Err(CaliberError::argument(
            Rule::Value,
            "\"updates\" must be a JSON object",
            None,
        ));
    };
    members
        .iter()
        .map(|(name, json)| {
            let field = fields
                .iter()
                .find(|f| entity.shape.columns[f.column].name == name)
                .ok_or_else(|| unknown_key(entity, name, fields))?;
            Ok((field.column, value(entity, field, json)?))
        })
        .collect()
}

fn unknown_key(entity: &Entity, name: &str, fields: &[Field]) -> CaliberError {
    let names: Vec<&str> = fields
        .iter()
        .map(|f| entity.shape.columns[f.column].name)
        .collect();
    CaliberError::argument(
        Rule::Value,
        format!("\"{name}\" of {} cannot be updated", entity.name),
        Some(format!("Allowed keys: {}.", names.join(", "))),
    )
}

fn value(entity: &Entity, field: &Field, json: &Json) -> CaliberResult<Value> {
    let column = &entity.shape.columns[field.column];
    if json.kind() == JsonKind::Null {
        return Ok(Value::NULL);
    }
    let value = typed(column.kind, "updates", column.name, json)?;
    if field.non_empty {
        check_not_empty(column.name, value)?;
    }
    Ok(value)
}

/// A JSON value as one of a column's type; `within` and `name` say where it
/// stands.
///
/// # Errors
/// 22023 for the wrong kind of JSON; PostgreSQL's own 22P02, 22003, 22007,
/// 22008 for malformed values.
pub fn typed(kind: ColumnType, within: &str, name: &str, json: &Json) -> CaliberResult<Value> {
    let (value, wanted) = match kind {
        ColumnType::Text => (json.as_text(), "a string"),
        ColumnType::Uuid => (json.as_uuid(), "a string with a uuid"),
        ColumnType::Int4 => (json.as_int4(), "a whole number"),
        ColumnType::Real => (json.as_real(), "a number"),
        ColumnType::Timestamp => (json.as_timestamp(), "a string with a time"),
        ColumnType::UuidArray => (json.as_uuid_array(), "an array of strings with uuids"),
        ColumnType::Vector => (
            json.as_vector(vector_type()),
            "a string or an array of numbers",
        ),
        ColumnType::Jsonb => (Some(json.as_jsonb()), "any value"),
        // No argument that comes as JSON has these types.
        ColumnType::Int8 | ColumnType::Bool | ColumnType::Bytea | ColumnType::TextArray => {
            (None, "absent")
        }
    };
    value.ok_or_else(|| {
        CaliberError::argument(
            Rule::Value,
            format!("\"{name}\" in \"{within}\" must be {wanted}"),
            None,
        )
    })
}

//! Step 1 of every call: arguments, before any table is touched.

use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::datum::{ArrayShape, IntArg, ToValue, UuidArg, Value};
use crate::pg::random::new_id;
use uuid::Uuid;

/// A value that may not be NULL.
///
/// # Errors
/// 22004 naming the argument.
pub fn required(name: &str, argument: &impl ToValue) -> CaliberResult<Value> {
    let value = argument.value();
    if value.is_null() {
        return Err(CaliberError::argument(
            Rule::NotNull,
            format!("argument \"{name}\" must not be null"),
            None,
        ));
    }
    Ok(value)
}

/// A uuid that may not be NULL.
///
/// # Errors
/// 22004 naming the argument.
pub fn required_id(name: &str, argument: &UuidArg) -> CaliberResult<Uuid> {
    let value = required(name, argument)?;
    Ok(value.as_uuid().unwrap_or_default())
}

/// Text that may be neither NULL nor empty.
///
/// # Errors
/// 22004, 22023 naming the argument.
pub fn non_empty(name: &str, argument: &impl ToValue) -> CaliberResult<Value> {
    let value = required(name, argument)?;
    check_not_empty(name, value)?;
    Ok(value)
}

/// Refuses an empty text.
///
/// # Errors
/// 22023 naming the argument.
pub fn check_not_empty(name: &str, value: Value) -> CaliberResult<()> {
    if value.as_bytes().is_some_and(|b| b.is_empty()) {
        return Err(CaliberError::argument(
            Rule::Value,
            format!("\"{name}\" must not be empty"),
            None,
        ));
    }
    Ok(())
}

/// An array that is empty or has one dimension, and no NULLs.
///
/// # Errors
/// 22004, 22023 naming the argument.
pub fn array(name: &str, argument: &impl ToValue) -> CaliberResult<Value> {
    let value = required(name, argument)?;
    let wrong = match value.array_shape() {
        ArrayShape::Plain => return Ok(value),
        ArrayShape::Dimensions => "have more than one dimension",
        ArrayShape::Nulls => "contain nulls",
    };
    Err(CaliberError::argument(
        Rule::Value,
        format!("\"{name}\" must not {wrong}"),
        None,
    ))
}

/// Text that must be one of `allowed`.
///
/// # Errors
/// 22004; 22023 listing the allowed values.
pub fn one_of(
    entity: &str,
    name: &str,
    argument: &impl ToValue,
    allowed: &[&'static str],
) -> CaliberResult<&'static str> {
    let value = required(name, argument)?;
    let given = value.as_text().unwrap_or_default();
    // "invalid conflict type", not "invalid conflict conflict_type".
    let what = name
        .strip_prefix(entity)
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(name);
    allowed
        .iter()
        .find(|&&a| a == given)
        .copied()
        .ok_or_else(|| {
            CaliberError::argument(
                Rule::Value,
                format!("invalid {entity} {what}: \"{given}\""),
                Some(format!("Allowed values: {}.", allowed.join(", "))),
            )
        })
}

/// The limits of a list: at most so many rows, and only keys after this one.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// None is all rows.
    pub max_rows: Option<i64>,
    /// None is from the start.
    pub after: Option<Value>,
}

impl Page {
    /// Reads `max_rows` and `after`.
    ///
    /// # Errors
    /// 2201W for a negative number of rows, as PostgreSQL's LIMIT.
    pub fn new(max_rows: &IntArg, after: &impl ToValue) -> CaliberResult<Self> {
        let max_rows = max_rows.value().as_int4().map(i64::from);
        if max_rows.is_some_and(|n| n < 0) {
            return Err(CaliberError::argument(
                Rule::RowCount,
                "\"max_rows\" must not be negative",
                None,
            ));
        }
        let after = after.value();
        Ok(Self {
            max_rows,
            after: (!after.is_null()).then_some(after),
        })
    }
}

/// The id of a new row: the caller's, or a new one.
pub fn id_or_new(id: &impl ToValue) -> (Uuid, bool) {
    match id.value().as_uuid() {
        Some(id) => (id, true),
        None => (new_id(), false),
    }
}

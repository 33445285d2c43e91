//! Step 1 of `api.md` §1.4: what is refused before a table is touched.

use crate::entity::Function;
use crate::plan::Call;
use crate::value::Value;
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
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// The function that is called.
    pub function: &'static Function,
    call: &'a Call,
}

impl<'a> Args<'a> {
    /// The arguments of `call`, which calls `function`.
    #[must_use]
    pub fn new(function: &'static Function, call: &'a Call) -> Self {
        Self { function, call }
    }

    /// The value of a parameter: as given, or its default.
    #[must_use]
    pub fn value(&self, name: &str) -> Value {
        if let Some(value) = self.call.given(name) {
            return value.clone();
        }
        self.function
            .params
            .iter()
            .find(|param| param.name == name)
            .and_then(|param| param.default)
            .map_or(Value::Null, |default| default.value())
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

    /// The call as an SQL expression.
    #[must_use]
    pub fn sql(&self) -> String {
        self.call.sql()
    }

    /// A boolean, false for NULL.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.value(name) == Value::Bool(true)
    }
}

/// What every function checks: NULLs, empty names, enumerated text, `max_rows`,
/// and what the description says besides.
///
/// # Errors
/// The SQLSTATE.
pub fn check_arguments(args: &Args<'_>) -> Result<(), &'static str> {
    for param in args.function.params {
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
        if matches!(value, Value::Sql(_)) || !param.takes.0(&value) {
            return Err("22023");
        }
    }
    Ok(())
}

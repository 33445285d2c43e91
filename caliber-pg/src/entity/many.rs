//! Many at once: a JSON array whose elements are the arguments of a create
//! function, and the one INSERT that writes them all.

use super::args;
use super::updates::typed;
use crate::engine::{Made, Table};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::fault;
use crate::pg::context::within;
use crate::pg::datum::{JsonbArg, Value};
use crate::pg::json::{array_elements, Json, JsonKind};
use crate::pg::relation::ColumnType;
use uuid::Uuid;

/// An argument that elements may give, and its type.
pub type Key = (&'static str, ColumnType);

/// The arguments that one element gives.
#[derive(Debug)]
pub struct Element(Vec<(&'static str, Value)>);

impl Element {
    /// An argument without a default: NULL if it is missing.
    pub fn get(&self, name: &str) -> Value {
        self.get_or(name, Value::NULL)
    }

    /// An argument, or its default if it is missing. JSON null is NULL.
    pub fn get_or(&self, name: &str, default: Value) -> Value {
        let given = self.0.iter().find(|(key, _)| *key == name);
        match given {
            Some(&(_, value)) => value,
            None if fault::active("element_default_missing") => Value::NULL,
            None => default,
        }
    }
}

/// A new row whose arguments have been checked.
#[derive(Debug)]
pub struct New {
    /// Its key.
    pub id: Uuid,
    /// Did the caller give it?
    pub given: bool,
    /// A value for each known column.
    pub row: Vec<Value>,
}

/// The new rows of one call, in order.
#[derive(Debug)]
pub struct Batch {
    new: Vec<New>,
    /// Which of them need not be written, since they are there.
    found: Vec<bool>,
}

impl Batch {
    /// Reads `array`, the argument of this name: each element gives some of
    /// `keys`; `outside` are those arguments of the create function that are
    /// given for all elements. `new` checks the arguments of an element.
    ///
    /// # Errors
    /// 22004 for NULL; 22023 if it is no array of objects, for an unknown key,
    /// one given outside, or a value of the wrong type; PostgreSQL's own for
    /// malformed values; those of `new`. CONTEXT says which element.
    pub fn read(
        name: &str,
        array: &JsonbArg,
        keys: &[Key],
        outside: &[&str],
        mut new: impl FnMut(&Element) -> CaliberResult<New>,
    ) -> CaliberResult<Self> {
        let array = args::required(name, array)?;
        let elements = array_elements(array)
            .ok_or_else(|| wrong(format!("\"{name}\" must be a JSON array"), None))?;
        let new: Vec<New> = elements
            .iter()
            .enumerate()
            .map(|(n, json)| {
                crate::pg::check_for_interrupts();
                within(&format!("element {n}"), || {
                    new(&element(name, n, json, keys, outside)?)
                })
            })
            .collect::<CaliberResult<_>>()?;
        let found = vec![false; new.len()];
        Ok(Self { new, found })
    }

    /// Has it no elements?
    pub fn is_empty(&self) -> bool {
        self.new.is_empty()
    }

    /// Must existing rows be looked for (`caliber.on_duplicate = return`)? The
    /// table is to be opened so.
    pub fn finds_duplicates(&self) -> bool {
        Table::finds_duplicates(self.new.iter().any(|new| new.given))
    }

    /// Looks for rows that are there already, before any other check.
    ///
    /// # Errors
    /// Those of the read.
    pub fn look_up(&mut self, table: &Table) -> CaliberResult<()> {
        let given = self.new.iter().filter(|new| new.given).map(|new| new.id);
        let existing = table.duplicates(&given.collect::<Vec<_>>())?;
        for (new, found) in self.new.iter().zip(&mut self.found) {
            *found = existing.contains(&new.id);
        }
        Ok(())
    }

    /// The rows to write, each with the number of its element.
    pub fn to_write(&mut self) -> impl Iterator<Item = (usize, &mut New)> {
        self.new
            .iter_mut()
            .zip(&self.found)
            .enumerate()
            .filter_map(|(n, (new, found))| (!found).then_some((n, new)))
    }

    /// Is there a row to write?
    pub fn writes(&self) -> bool {
        self.found.iter().any(|found| !found)
    }

    /// Writes the rows in one statement and says what became of each element.
    ///
    /// # Errors
    /// Those of the write.
    pub fn write(mut self, table: &Table) -> CaliberResult<Vec<Made>> {
        let rows: Vec<Vec<Value>> = self
            .to_write()
            .map(|(_, new)| std::mem::take(&mut new.row))
            .collect();
        let mut written = table.create_many(&rows)?.into_iter();
        let made = self.new.iter().zip(&self.found).map(|(new, found)| {
            if *found {
                Made::Existing(new.id)
            } else {
                written.next().unwrap_or(Made::Vetoed)
            }
        });
        Ok(made.collect())
    }
}

/// The members of element `n`, as values of the types of their keys.
fn element(
    name: &str,
    n: usize,
    json: &Json,
    keys: &[Key],
    outside: &[&str],
) -> CaliberResult<Element> {
    let members = json.members().ok_or_else(|| {
        let message = format!("element {n} of \"{name}\" must be a JSON object");
        wrong(message, None)
    })?;
    let mut given = Vec::with_capacity(members.len());
    for (member, json) in &members {
        let Some(&(key, kind)) = keys.iter().find(|(key, _)| key == member) else {
            if fault::active("element_unknown_key") {
                continue;
            }
            return Err(if outside.contains(&member.as_str()) {
                wrong(
                    format!("\"{member}\" in element {n} of \"{name}\" is given outside already"),
                    None,
                )
            } else {
                let allowed: Vec<&str> = keys.iter().map(|key| key.0).collect();
                wrong(
                    format!("unknown key \"{member}\" in element {n} of \"{name}\""),
                    Some(format!("Allowed keys: {}.", allowed.join(", "))),
                )
            });
        };
        let value = match json.kind() {
            JsonKind::Null => Value::NULL,
            _ => typed(kind, name, key, json)?,
        };
        given.push((key, value));
    }
    Ok(Element(given))
}

fn wrong(message: String, hint: Option<String>) -> CaliberError {
    CaliberError::argument(Rule::Value, message, hint)
}

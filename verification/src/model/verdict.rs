//! Verdicts: what must come of a call, and the statements by which the client
//! does the same (`api.md` §1.5).

use super::world::sql_of;
use super::{check_arguments, Args, Refusal, Row, World};
use crate::entity::{Entity, Function};
use crate::plan::Call;
use crate::session::shorten;
use crate::value::Value;
use std::fmt;
use uuid::Uuid;

/// What the model expects of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// An ERROR with this SQLSTATE.
    Error(&'static str),
    /// One value, `None` for NULL.
    Value(Option<String>),
    /// One row, `None` for NULL.
    Row(Option<Row>),
    /// Rows in this order.
    Rows(Vec<Row>),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |row: &Row| {
            let cells: Vec<String> = row
                .cells()
                .iter()
                .map(|cell| shorten(&cell.text().unwrap_or_default(), 60))
                .collect();
            format!("({})", cells.join(","))
        };
        match self {
            Self::Error(sqlstate) => write!(f, "ERROR {sqlstate}"),
            Self::Value(value) => f.write_str(value.as_deref().unwrap_or("NULL")),
            Self::Row(None) => f.write_str("NULL"),
            Self::Row(Some(one)) => f.write_str(&row(one)),
            Self::Rows(rows) if rows.is_empty() => f.write_str("no rows"),
            Self::Rows(rows) => f.write_str(&rows.iter().map(row).collect::<Vec<_>>().join("\n")),
        }
    }
}

/// How the client's statements answer for the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The id if the last statement inserted a row, else NULL.
    Inserted(Uuid),
    /// Whether the first statement changed a row.
    Moved,
    /// The rows of the last statement.
    Rows,
    /// The row of the last statement, NULL if there is none.
    Row,
    /// This value, if all statements succeed.
    Fixed(Option<String>),
}

/// What the client does in place of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// Nothing: steps 1 and 3 are judged by the model.
    Model,
    /// These statements.
    Statements(Vec<String>, Answer),
}

/// The judgement of a call.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What must come out.
    pub expect: Expect,
    /// What the client sends.
    pub client: Client,
    /// The rows after the call; `None` if nothing changes.
    pub after: Option<World>,
}

/// A refusal by step 1 or 3.
#[must_use]
pub fn refused(refusal: Refusal) -> Verdict {
    match refusal {
        Refusal::Checked(sqlstate) => Verdict {
            expect: Expect::Error(sqlstate),
            client: Client::Model,
            after: None,
        },
        Refusal::Input(sqlstate, statement) => Verdict {
            expect: Expect::Error(sqlstate),
            client: Client::Statements(vec![statement], Answer::Rows),
            after: None,
        },
    }
}

fn boolean(value: bool) -> Expect {
    Expect::Value(Some(if value { "t" } else { "f" }.to_owned()))
}

/// A verdict whose statements must answer `value` and change nothing.
#[must_use]
pub fn present(statements: Vec<String>, value: bool) -> Verdict {
    let expect = boolean(value);
    let answer = match &expect {
        Expect::Value(text) => Answer::Fixed(text.clone()),
        _ => Answer::Moved,
    };
    Verdict {
        expect,
        client: Client::Statements(statements, answer),
        after: None,
    }
}

/// `*_get`.
#[must_use]
pub fn get(entity: &dyn Entity, world: &World, id: Option<Uuid>) -> Verdict {
    let table = entity.table();
    let statement = match id {
        Some(id) => format!(
            "SELECT x FROM {} x WHERE {} = '{id}'",
            table.name, table.key
        ),
        None => format!("SELECT x FROM {} x WHERE {} = NULL", table.name, table.key),
    };
    Verdict {
        expect: Expect::Row(id.and_then(|id| world.row(table, id)).cloned()),
        client: Client::Statements(vec![statement], Answer::Row),
        after: None,
    }
}

/// A list by key, of the rows that `wanted` accepts; `condition` is the same in SQL.
#[must_use]
pub fn list(
    entity: &dyn Entity,
    world: &World,
    function: &Function,
    call: &Call,
    condition: &str,
    wanted: impl Fn(&Row) -> bool,
) -> Verdict {
    if let Err(sqlstate) = check_arguments(function, call) {
        return refused(Refusal::Checked(sqlstate));
    }
    let table = entity.table();
    let args = Args::new(function, call);
    let (max_rows, after) = (args.int("max_rows"), args.id("after"));
    let rows = world
        .rows(table)
        .filter(|(id, row)| after.is_none_or(|after| **id > after) && wanted(row))
        .map(|(_, row)| row.clone())
        .take(max_rows.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0)))
        .collect();
    let mut statement = format!("SELECT x FROM {} x WHERE {condition}", table.name);
    if let Some(after) = after {
        statement += &format!(" AND {} > '{after}'", table.key);
    }
    statement += &format!(" ORDER BY {}", table.key);
    if let Some(n) = max_rows {
        statement += &format!(" LIMIT {n}");
    }
    Verdict {
        expect: Expect::Rows(rows),
        client: Client::Statements(vec![statement], Answer::Rows),
        after: None,
    }
}

/// A create: one INSERT of all columns, or what `on_duplicate = return` makes of it.
#[must_use]
pub fn insert(entity: &dyn Entity, world: &World, row: Row) -> Verdict {
    let table = entity.table();
    let Some(id) = row.id(table, table.key) else {
        // Plans pass every id.
        return refused(Refusal::Checked("22004"));
    };
    let mut statement = row.insert_sql(table);
    let existed = world.row(table, id).is_some();
    if world.on_duplicate_return {
        let look = format!(
            "SELECT {} FROM {} WHERE {} = '{id}'",
            table.key, table.name, table.key
        );
        if existed {
            return Verdict {
                expect: Expect::Value(Some(id.to_string())),
                client: Client::Statements(vec![look], Answer::Rows),
                after: None,
            };
        }
        statement += &format!(" ON CONFLICT ({}) DO NOTHING", table.key);
    }
    let mut after = world.clone();
    let expect = match after.insert(entity, row) {
        Ok(()) => Expect::Value(Some(id.to_string())),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let after = (!matches!(expect, Expect::Error(_))).then_some(after);
    Verdict {
        expect,
        client: Client::Statements(vec![statement], Answer::Inserted(id)),
        after,
    }
}

fn set_list(entity: &dyn Entity, changes: &[(&str, Value)]) -> String {
    let table = entity.table();
    let sets: Vec<String> = changes
        .iter()
        .map(|(column, value)| format!("{column} = {}", sql_of(table.column(column).clock, value)))
        .collect();
    sets.join(", ")
}

/// An update of named columns: false if the row is absent.
#[must_use]
pub fn update(entity: &dyn Entity, world: &World, id: Uuid, changes: &[(&str, Value)]) -> Verdict {
    let table = entity.table();
    let statement = format!(
        "UPDATE {} SET {} WHERE {} = '{id}'",
        table.name,
        set_list(entity, changes),
        table.key
    );
    let mut after = world.clone();
    let expect = match after.update(entity, id, changes) {
        Ok(found) => boolean(found),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let after = (!matches!(expect, Expect::Error(_))).then_some(after);
    Verdict {
        expect,
        client: Client::Statements(vec![statement], Answer::Moved),
        after,
    }
}

/// A verb that found the row where it must be: the UPDATE repeats what was checked.
#[must_use]
pub fn moved(
    entity: &dyn Entity,
    world: &World,
    id: Uuid,
    checked: &[&str],
    changes: &[(&str, Value)],
) -> Verdict {
    let table = entity.table();
    let mut verdict = update(entity, world, id, changes);
    if let (Client::Statements(statements, _), Some(row)) =
        (&mut verdict.client, world.row(table, id))
    {
        if let Some(statement) = statements.first_mut() {
            for column in checked {
                *statement += &format!(
                    " AND {column} IS NOT DISTINCT FROM {}",
                    row.cell(table, column).sql()
                );
            }
        }
    }
    verdict
}

/// A delete.
#[must_use]
pub fn delete(entity: &dyn Entity, world: &World, function: &Function, call: &Call) -> Verdict {
    let table = entity.table();
    if let Err(sqlstate) = check_arguments(function, call) {
        return refused(Refusal::Checked(sqlstate));
    }
    let Some(id) = Args::new(function, call).id(table.key) else {
        return refused(Refusal::Checked("22004"));
    };
    let statement = format!("DELETE FROM {} WHERE {} = '{id}'", table.name, table.key);
    let mut after = world.clone();
    let expect = match after.delete(entity, id) {
        Ok(found) => boolean(found),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let after = (!matches!(expect, Expect::Error(_))).then_some(after);
    Verdict {
        expect,
        client: Client::Statements(vec![statement], Answer::Moved),
        after,
    }
}

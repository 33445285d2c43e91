//! Verdicts: what must come of a call, and the statements by which the client
//! does the same (`api.md` §1.5).

use super::moment::sql_of;
use super::{check_arguments, Args, Refusal, Row, World};
use crate::entity::{Entity, Function, Kind};
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
    /// Rows in this order, each with something beside it that the model does
    /// not compute: a distance.
    Hits(Vec<Row>),
    /// Values in this order.
    Values(Vec<Option<String>>),
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
            Self::Rows(rows) | Self::Hits(rows) if rows.is_empty() => f.write_str("no rows"),
            Self::Rows(rows) | Self::Hits(rows) => {
                f.write_str(&rows.iter().map(row).collect::<Vec<_>>().join("\n"))
            }
            Self::Values(values) => {
                let shown = values
                    .iter()
                    .map(|value| value.as_deref().unwrap_or("NULL"));
                f.write_str(&shown.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// How the client's statements answer for the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The id if the last statement inserted a row, else NULL.
    Inserted(Uuid),
    /// Whether the statement of this number changed a row.
    Moved(usize),
    /// The rows of the last statement.
    Rows,
    /// The row of the last statement, NULL if there is none.
    Row,
    /// How many rows the last statement changed.
    Count,
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

/// An id that a call makes by itself. The model, and the client, use one of
/// their own in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The model's id.
    pub id: Uuid,
    /// A query for what an engine may have made in its place.
    pub query: String,
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
    /// The id of a row that the call makes besides.
    pub made: Option<Made>,
}

impl Verdict {
    /// A verdict on a call that changes nothing.
    #[must_use]
    pub fn new(expect: Expect, client: Client) -> Self {
        Self {
            expect,
            client,
            after: None,
            made: None,
        }
    }

    /// The same; the client reads other rows first, as the call does.
    #[must_use]
    pub fn reading(mut self, mut before: Vec<String>) -> Self {
        if let Client::Statements(statements, answer) = &mut self.client {
            if let Answer::Moved(number) = answer {
                *number += before.len();
            }
            before.append(statements);
            *statements = before;
        }
        self
    }

    /// Whether the client writes.
    #[must_use]
    pub fn changes(&self) -> bool {
        let Client::Statements(statements, _) = &self.client else {
            return false;
        };
        let writes = |sql: &String| {
            let words = ["INSERT INTO ", "UPDATE caliber", "DELETE FROM "];
            words.iter().any(|word| sql.contains(word))
        };
        self.after.is_some() && statements.iter().any(writes)
    }

    /// A verdict on a call that leaves these rows; an error leaves none.
    #[must_use]
    pub fn leaving(expect: Expect, client: Client, after: World) -> Self {
        let after = (!matches!(expect, Expect::Error(_))).then_some(after);
        Self {
            after,
            ..Self::new(expect, client)
        }
    }
}

/// Judges a call: what every function does alike here, the rest by its entity.
#[must_use]
pub fn judge(
    entity: &dyn Entity,
    function: &'static Function,
    world: &World,
    call: &crate::plan::Call,
) -> Verdict {
    let args = Args::new(function, call);
    let key = args.id(entity.table().key);
    if function.kind == Kind::Get {
        return get(entity, world, key);
    }
    if let Err(sqlstate) = check_arguments(&args) {
        return refused(Refusal::Checked(sqlstate));
    }
    match key {
        Some(key) if function.kind == Kind::Delete => delete(entity, world, key),
        _ => entity.judge(world, &args),
    }
}

/// What the end of a transaction does: the client's statements, and the rows
/// afterwards.
#[must_use]
pub fn ended(world: &World) -> (Vec<String>, World) {
    let mut statements = Vec::new();
    let mut world = world.clone();
    for entity in crate::entity::described() {
        if let Some((own, after)) = entity.commit(&world) {
            statements.extend(own);
            world = after;
        }
    }
    (statements, world)
}

/// A refusal by step 1 or 3.
#[must_use]
pub fn refused(refusal: Refusal) -> Verdict {
    match refusal {
        Refusal::Checked(sqlstate) => Verdict::new(Expect::Error(sqlstate), Client::Model),
        Refusal::Input(sqlstate, statement) => Verdict::new(
            Expect::Error(sqlstate),
            Client::Statements(vec![statement], Answer::Rows),
        ),
    }
}

/// A refusal by step 3 with this SQLSTATE.
#[must_use]
pub fn refuse(sqlstate: &'static str) -> Verdict {
    refused(Refusal::Checked(sqlstate))
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
        _ => Answer::Moved(0),
    };
    Verdict::new(expect, Client::Statements(statements, answer))
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
    Verdict::new(
        Expect::Row(id.and_then(|id| world.row(table, id)).cloned()),
        Client::Statements(vec![statement], Answer::Row),
    )
}

/// Rows that a query answers with.
#[must_use]
pub fn rows(statement: String, rows: Vec<Row>) -> Verdict {
    Verdict::new(
        Expect::Rows(rows),
        Client::Statements(vec![statement], Answer::Rows),
    )
}

/// The statement that reads one row, as a verb does first.
#[must_use]
pub fn look(entity: &dyn Entity, id: Uuid) -> String {
    let table = entity.table();
    format!(
        "SELECT x FROM {} x WHERE {} = '{id}'",
        table.name, table.key
    )
}

/// At most `max_rows` of them.
#[must_use]
pub fn limit<T>(args: &Args<'_>, mut items: Vec<T>) -> Vec<T> {
    if let Some(most) = args.int("max_rows") {
        items.truncate(usize::try_from(most).unwrap_or(0));
    }
    items
}

/// `LIMIT max_rows`, if it is given.
#[must_use]
pub fn limit_sql(args: &Args<'_>) -> String {
    args.int("max_rows")
        .map_or_else(String::new, |most| format!(" LIMIT {most}"))
}

/// A list by key, of the rows that `wanted` accepts; `condition` is the same in SQL.
#[must_use]
pub fn list(
    entity: &dyn Entity,
    world: &World,
    args: &Args<'_>,
    condition: &str,
    wanted: impl Fn(&Row) -> bool,
) -> Verdict {
    let table = entity.table();
    let after = args.id("after");
    let found = world
        .rows(table)
        .filter(|(id, row)| after.is_none_or(|after| **id > after) && wanted(row))
        .map(|(_, row)| row.clone())
        .collect();
    let mut statement = format!("SELECT x FROM {} x WHERE {condition}", table.name);
    if let Some(after) = after {
        statement += &format!(" AND {} > '{after}'", table.key);
    }
    statement += &format!(" ORDER BY {}{}", table.key, limit_sql(args));
    rows(statement, limit(args, found))
}

/// A list by key, of the rows whose column has this value.
#[must_use]
pub fn list_by(
    entity: &dyn Entity,
    world: &World,
    args: &Args<'_>,
    column: &str,
    value: &Value,
) -> Verdict {
    let condition = format!("{column} = {}", value.sql());
    list(entity, world, args, &condition, |row| {
        row.cell(entity.table(), column) == value
    })
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
            return Verdict::new(
                Expect::Value(Some(id.to_string())),
                Client::Statements(vec![look], Answer::Rows),
            );
        }
        statement += &format!(" ON CONFLICT ({}) DO NOTHING", table.key);
    }
    let mut after = world.clone();
    let expect = match after.insert(entity, row) {
        Ok(()) => Expect::Value(Some(id.to_string())),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let client = Client::Statements(vec![statement], Answer::Inserted(id));
    Verdict::leaving(expect, client, after)
}

/// The `SET` list of these changes.
#[must_use]
pub fn set_list(entity: &dyn Entity, changes: &[(&str, Value)]) -> String {
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
    let client = Client::Statements(vec![statement], Answer::Moved(0));
    Verdict::leaving(expect, client, after)
}

/// A verb that found the row where it must be: it reads the row, and the UPDATE
/// repeats what was checked.
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
            *statement += &repeat(table, row, checked);
        }
    }
    verdict.reading(vec![look(entity, id)])
}

/// What was checked, as the conditions that an UPDATE adds.
#[must_use]
pub fn repeat(table: &crate::entity::Table, row: &Row, checked: &[&str]) -> String {
    checked
        .iter()
        .map(|column| {
            let value = row.cell(table, column).sql();
            format!(" AND {column} IS NOT DISTINCT FROM {value}")
        })
        .collect()
}

/// A function of the harness that changes columns of a row by plain SQL, in
/// every judge's database.
#[must_use]
pub fn helper(
    entity: &dyn Entity,
    world: &World,
    args: &Args<'_>,
    changes: &[(&str, Value)],
) -> Verdict {
    let Some(id) = args.id(entity.table().key) else {
        return refuse("22004");
    };
    let found = update(entity, world, id, changes);
    let client = Client::Statements(vec![format!("SELECT {}", args.sql())], Answer::Rows);
    Verdict { client, ..found }
}

/// A delete.
#[must_use]
pub fn delete(entity: &dyn Entity, world: &World, id: Uuid) -> Verdict {
    let table = entity.table();
    let statement = format!("DELETE FROM {} WHERE {} = '{id}'", table.name, table.key);
    let mut after = world.clone();
    let expect = match after.delete(entity, id) {
        Ok(found) => boolean(found),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let client = Client::Statements(vec![statement], Answer::Moved(0));
    Verdict::leaving(expect, client, after)
}

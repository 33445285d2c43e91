//! Entities as the benches know them: rows to start with, and operations. One file an entity;
//! whoever adds one adds its rows, and how to call it beside the equivalent SQL.

/// What has expired is left out: most rows are decided by the first comparison. Forms of ttl that
/// no row here has (`scope`, `duration:…`) are left out too, in the rival's favour.
macro_rules! live {
    () => {
        "(x.ttl == 'persistent' OR x.ttl == 'permanent' OR x.ttl == 'session'
                 OR x.created_at OPERATOR(pg_catalog.+) CASE x.ttl WHEN 'short_term' THEN interval '1 hour'
                     WHEN 'medium_term' THEN interval '1 day' ELSE interval '7 days' END
                     OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())"
    };
}

mod agent;
mod artifact;
mod conflict;
mod delegation;
mod handoff;
mod lock;
mod message;
mod note;
mod scope;
#[cfg(test)]
mod tests;
mod trajectory;
mod turn;
pub mod vector;

use crate::template;

/// An entity: its table, the rows that are there before anything is measured, its operations.
#[derive(Debug)]
pub struct Entity {
    /// Its name, and the name of the SQL function that gives the id of its n-th row.
    pub name: &'static str,
    /// Table.
    pub table: &'static str,
    /// Key column.
    pub key: &'static str,
    /// Columns and, for row `n` (from 0), their values. 100 rows in a row belong together.
    pub rows: &'static [(&'static str, &'static str)],
    /// Operations, in the order of the report.
    pub operations: &'static [Operation],
}

/// All entities, parents first.
pub static ENTITIES: [&Entity; 11] = [
    &trajectory::TRAJECTORY,
    &scope::SCOPE,
    &turn::TURN,
    &artifact::ARTIFACT,
    &note::NOTE,
    &agent::AGENT,
    &lock::LOCK,
    &message::MESSAGE,
    &delegation::DELEGATION,
    &handoff::HANDOFF,
    &conflict::CONFLICT,
];

/// Every operation with its entity.
#[must_use]
pub fn operations() -> Vec<(&'static Entity, &'static Operation)> {
    let all = ENTITIES.into_iter();
    all.flat_map(|entity| {
        entity
            .operations
            .iter()
            .map(move |operation| (entity, operation))
    })
    .collect()
}

/// Kinds of operations: each has a bar of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A new row.
    Create,
    /// A row by its id, all over the table.
    Get,
    /// A row by its id, among few that are read again and again.
    GetNear,
    /// A change of a column that an index covers.
    Update,
    /// A change that no index sees.
    Hot,
    /// 100 rows. An entity has one for each function that can return so many.
    List,
    /// Several new rows in one call.
    Many,
    /// A lock taken and given back.
    Lock,
    /// Messages claimed from an inbox.
    Receive,
    /// A new row with an embedding, which an HNSW index takes in.
    CreateVector,
    /// The nearest rows, through an HNSW index.
    Search,
}

impl Kind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::GetNear => "get (500 hot rows)",
            Self::Update => "update (indexed)",
            Self::Hot => "update (HOT)",
            Self::List => "list of 100",
            Self::Many => "create_many, a row",
            Self::Lock => "acquire + release",
            Self::Receive => "receive",
            Self::CreateVector => "create with an embedding",
            Self::Search => "search, 10 nearest",
        }
    }

    /// Does it change rows?
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::GetNear | Self::List | Self::Search)
    }
}

/// How many rows a list returns, and how many one `*_many` writes.
pub const SET: u32 = 100;

/// How many messages one call claims, and how many rows a search returns.
pub const FEW: u32 = 10;

/// An operation: a call of our function, and the statement it equals.
#[derive(Debug)]
pub struct Operation {
    /// Kind.
    pub kind: Kind,
    /// What is done, for reports. No two operations of a function have the same.
    pub title: &'static str,
    /// Our function, called with the arguments in order.
    pub function: &'static str,
    /// The arguments: name, type, and value as an expression over `n` (0 … calls − 1), `r` (row
    /// numbers at random, each once), `q` (as `r`, without the first [`crate::world::APART`] rows),
    /// `h` (0 … 499, in turn) and `g` (one of the groups of 100, each once while there are any).
    pub arguments: &'static [Argument],
    /// Type of the result, of one row of it if it is a set; `TABLE(…)` if a row has no type.
    pub returns: &'static str,
    /// The equivalent statement, see [`template`]. A create makes `:id`. Several statements
    /// are separated by `;` on a line of its own: one that returns false ends the call.
    pub statement: &'static str,
    /// For [`Kind::Lock`]: the second half, function and statement, which takes what the first
    /// one returned.
    pub then: Option<(&'static str, &'static str)>,
    /// Foreign keys of a new row that are not NULL.
    pub foreign_keys: u32,
}

/// An argument: name, type, and its value as an expression.
pub type Argument = (&'static str, &'static str, &'static str);

/// An operation with nothing out of the ordinary.
const fn operation(
    kind: Kind,
    title: &'static str,
    function: &'static str,
    arguments: &'static [Argument],
    returns: &'static str,
    statement: &'static str,
) -> Operation {
    Operation {
        kind,
        title,
        function,
        arguments,
        returns,
        statement,
        then: None,
        foreign_keys: 0,
    }
}

impl Operation {
    /// With so many foreign keys that are not NULL.
    const fn foreign_keys(self, foreign_keys: u32) -> Self {
        Self {
            foreign_keys,
            ..self
        }
    }

    /// Its name in reports: that of its kind; an entity has several lists, told apart by title.
    #[must_use]
    pub fn label(&self) -> String {
        match self.kind {
            Kind::List => format!("list {}", self.title),
            kind => kind.name().to_owned(),
        }
    }

    /// Its function and title as one identifier, which no other operation has.
    #[must_use]
    pub fn identifier(&self) -> String {
        let function = self.function.strip_prefix("caliber_");
        let name = format!("{}_{}", function.unwrap_or(self.function), self.title).to_lowercase();
        let words = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        words.join("_")
    }

    /// Does it return a set?
    #[must_use]
    pub fn returns_set(&self) -> bool {
        matches!(
            self.kind,
            Kind::List | Kind::Many | Kind::Receive | Kind::Search
        )
    }

    /// Does the function make an id?
    #[must_use]
    pub fn makes_id(&self) -> bool {
        matches!(self.kind, Kind::Create | Kind::CreateVector | Kind::Lock)
    }

    /// The statement with numbered parameters; the id, where one is made, is the first.
    #[must_use]
    pub fn numbered(&self) -> String {
        template::fill(self.statement, |name| self.parameter(name))
    }

    fn parameter(&self, name: &str) -> String {
        let first = usize::from(self.makes_id()) + 1;
        match self.arguments.iter().position(|a| a.0 == name) {
            Some(at) => format!("${}", first + at),
            None if name == "id" && self.makes_id() => "$1".to_owned(),
            None => format!(":{name}"),
        }
    }

    /// What is counted of one call: rows of a set, or one.
    #[must_use]
    pub fn units(&self) -> u32 {
        match self.kind {
            Kind::Many | Kind::List => SET,
            Kind::Receive | Kind::Search => FEW,
            _ => 1,
        }
    }

    /// By what the time of a call is divided: rows of `*_many` and messages that are claimed, else
    /// calls.
    #[must_use]
    pub fn divisor(&self) -> u32 {
        match self.kind {
            Kind::Many => SET,
            Kind::Receive => FEW,
            _ => 1,
        }
    }
}

//! Entities as the benches know them: rows to start with, and operations. One file an entity;
//! whoever adds one adds its rows, and how to call it beside the equivalent SQL.

mod agent;
mod artifact;
mod conflict;
mod delegation;
mod handoff;
mod lock;
mod message;
mod note;
mod scope;
mod trajectory;
mod turn;

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
    /// 100 rows.
    List,
    /// Several new rows in one call.
    Many,
    /// A lock taken and given back.
    Lock,
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
        }
    }

    /// Does it change rows?
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::GetNear | Self::List)
    }
}

/// How many rows a list returns, and how many one `*_many` writes.
pub const SET: u32 = 100;

/// An operation: a call of our function, and the statement it equals.
#[derive(Debug)]
pub struct Operation {
    /// Kind.
    pub kind: Kind,
    /// What is done, for reports.
    pub title: &'static str,
    /// Our function, called with the arguments in order.
    pub function: &'static str,
    /// The arguments: name, type, and value as an expression over `n` (0 … calls − 1), `r` (row
    /// numbers at random, each once), `h` (0 … 499, in turn) and `g` (one of the groups of 100).
    pub arguments: &'static [Argument],
    /// Type of the result.
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

    /// Does it return a set?
    #[must_use]
    pub fn returns_set(&self) -> bool {
        matches!(self.kind, Kind::List | Kind::Many)
    }

    /// Does the function make an id?
    #[must_use]
    pub fn makes_id(&self) -> bool {
        matches!(self.kind, Kind::Create | Kind::Lock)
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
            _ => 1,
        }
    }

    /// By what the time of a call is divided: rows of `*_many`, else calls.
    #[must_use]
    pub fn divisor(&self) -> u32 {
        match self.kind {
            Kind::Many => SET,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_a_statement_is_an_argument() {
        for entity in ENTITIES {
            for operation in entity.operations {
                let text = operation.numbered();
                let left = text.replace("::", "").replace("\": ", "");
                assert!(!left.contains(" :"), "{}: {text}", operation.function);
                for (i, argument) in operation.arguments.iter().enumerate() {
                    let n = i + 1 + usize::from(operation.makes_id());
                    let used = text.contains(&format!("${n}"));
                    assert!(used, "{}: {} is not used", operation.function, argument.0);
                }
            }
        }
    }

    #[test]
    fn every_entity_but_the_append_only_one_has_all_kinds() {
        for entity in ENTITIES {
            let has = |kind| entity.operations.iter().any(|o| o.kind == kind);
            assert!(has(Kind::Get) && has(Kind::List), "{}", entity.name);
            assert!(has(Kind::Create) || has(Kind::Lock), "{}", entity.name);
            let changes = has(Kind::Update) || has(Kind::Hot);
            assert!(changes || entity.name == "turn", "{}", entity.name);
        }
    }
}

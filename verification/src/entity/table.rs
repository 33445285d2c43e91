//! Tables as the harness knows them: columns, indexes, foreign keys.

use crate::model::Row;
use crate::value::Type;
use std::fmt;

/// Where the value of a timestamp column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Given by the caller, or no timestamp at all.
    None,
    /// The start of the transaction.
    Transaction,
    /// The wall clock during the call: known by its range, not its value.
    Wall,
}

/// A column, in attribute order.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub ty: Type,
    /// NOT NULL.
    pub not_null: bool,
    /// Who makes the value, if it is a timestamp.
    pub clock: Clock,
    /// The values that its CHECK allows, if it is enumerated.
    pub one_of: &'static [&'static str],
}

/// A nullable column that the call does not make.
#[must_use]
pub const fn column(name: &'static str, ty: Type) -> Column {
    Column {
        name,
        ty,
        not_null: false,
        clock: Clock::None,
        one_of: &[],
    }
}

/// A timestamp column that takes the start of the transaction.
#[must_use]
pub const fn made(name: &'static str) -> Column {
    Column {
        clock: Clock::Transaction,
        ..column(name, Type::Time)
    }
}

/// A timestamp column that takes the wall clock.
#[must_use]
pub const fn wall(name: &'static str) -> Column {
    Column {
        clock: Clock::Wall,
        ..column(name, Type::Time)
    }
}

impl Column {
    /// The same column, NOT NULL.
    #[must_use]
    pub const fn not_null(self) -> Self {
        Self {
            not_null: true,
            ..self
        }
    }

    /// The same column, enumerated.
    #[must_use]
    pub const fn one_of(self, values: &'static [&'static str]) -> Self {
        Self {
            one_of: values,
            ..self
        }
    }
}

/// How an index is read when it is compared with its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// In order, in full.
    BTree,
    /// By every element that occurs, and by one that does not.
    Gin,
    /// By every vector of this many dimensions that occurs.
    Hnsw(u32),
}

/// Which rows a partial unique index holds.
#[derive(Clone, Copy)]
pub struct Holds(pub fn(&Row) -> bool);

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holds")
    }
}

/// An index that `api.md` gives a table. Its name is the server's business.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Access method.
    pub method: Method,
    /// Key columns.
    pub columns: &'static [&'static str],
    /// Predicate in SQL, if partial.
    pub predicate: Option<&'static str>,
    /// Unique.
    pub unique: bool,
    /// The predicate for the model, which needs it of unique indexes.
    pub holds: Holds,
}

const fn index(method: Method, columns: &'static [&'static str]) -> Index {
    Index {
        method,
        columns,
        predicate: None,
        unique: false,
        holds: Holds(|_| true),
    }
}

/// A B-tree over all rows.
#[must_use]
pub const fn btree(columns: &'static [&'static str]) -> Index {
    index(Method::BTree, columns)
}

/// A GIN index over an array.
#[must_use]
pub const fn gin(columns: &'static [&'static str]) -> Index {
    index(Method::Gin, columns)
}

/// The HNSW index over `embedding` that the template database asks for.
#[must_use]
pub const fn hnsw(dimensions: u32) -> Index {
    index(Method::Hnsw(dimensions), &["embedding"])
}

impl Index {
    /// The same index, partial.
    #[must_use]
    pub const fn only(self, predicate: &'static str) -> Self {
        Self {
            predicate: Some(predicate),
            ..self
        }
    }

    /// The same index, unique.
    #[must_use]
    pub const fn unique(self) -> Self {
        Self {
            unique: true,
            ..self
        }
    }

    /// The same index; the model needs to know its predicate.
    #[must_use]
    pub const fn holds(self, holds: fn(&Row) -> bool) -> Self {
        Self {
            holds: Holds(holds),
            ..self
        }
    }
}

/// A foreign key (MATCH SIMPLE, NO ACTION).
#[derive(Clone, Copy, Debug)]
pub struct ForeignKey {
    /// Referencing columns.
    pub columns: &'static [&'static str],
    /// Referenced table (entity name).
    pub parent: &'static str,
    /// Referenced columns.
    pub parent_columns: &'static [&'static str],
}

/// A foreign key.
#[must_use]
pub const fn refers(
    columns: &'static [&'static str],
    parent: &'static str,
    parent_columns: &'static [&'static str],
) -> ForeignKey {
    ForeignKey {
        columns,
        parent,
        parent_columns,
    }
}

/// A table as the harness knows it.
#[derive(Debug)]
pub struct Table {
    /// The entity's name, as in `caliber_<entity>_get`.
    pub entity: &'static str,
    /// The table.
    pub name: &'static str,
    /// Key column.
    pub key: &'static str,
    /// Columns in attribute order.
    pub columns: &'static [Column],
    /// Indexes, the primary key's included.
    pub indexes: &'static [Index],
    /// Foreign keys.
    pub foreign_keys: &'static [ForeignKey],
}

impl Table {
    /// The position of a column.
    ///
    /// # Panics
    /// When the description names a column that it does not have: a mistake in
    /// the description, found by the first test that runs.
    #[must_use]
    #[allow(clippy::panic)]
    pub fn position(&self, column: &str) -> usize {
        match self.columns.iter().position(|known| known.name == column) {
            Some(position) => position,
            None => panic!("{} has no column {column}", self.name),
        }
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, column: &str) -> &Column {
        &self.columns[self.position(column)]
    }

    /// Whether a statement names the table itself.
    #[must_use]
    pub fn is_named_in(&self, sql: &str) -> bool {
        sql.match_indices(self.name).any(|(at, _)| {
            let next = sql[at + self.name.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    }

    /// Whether a column takes the wall clock.
    #[must_use]
    pub fn has_wall(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.clock == Clock::Wall)
    }
}

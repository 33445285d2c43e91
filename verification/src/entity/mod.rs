//! Descriptions of the entities. An entity joins the harness by one file
//! beside this one and a line in [`all`]; the properties, the judges, the
//! checks and the failure reports work from the description alone.

pub mod ids;
pub mod scope;
pub mod text;
pub mod trajectory;

use crate::model::{Verdict, World};
use crate::plan::Call;
use crate::value::{Type, Value};
use ids::Ids;
use proptest::strategy::BoxedStrategy;

/// Where the value of a timestamp column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Given by the caller, or no timestamp at all.
    None,
    /// The start of the transaction.
    Transaction,
    /// The wall clock: replaced by the column's name before comparison.
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
}

/// A nullable column that the call does not make.
#[must_use]
pub const fn column(name: &'static str, ty: Type) -> Column {
    Column {
        name,
        ty,
        not_null: false,
        clock: Clock::None,
    }
}

/// A timestamp column that takes the start of the transaction.
#[must_use]
pub const fn made(name: &'static str) -> Column {
    Column {
        name,
        ty: Type::Time,
        not_null: false,
        clock: Clock::Transaction,
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
}

/// How an index is read when it is compared with its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// In order, in full.
    BTree,
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
}

/// A B-tree over all rows.
#[must_use]
pub const fn btree(columns: &'static [&'static str]) -> Index {
    Index {
        method: Method::BTree,
        columns,
        predicate: None,
        unique: false,
    }
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
}

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Scalar,
    /// One row, or NULL.
    Row,
    /// A set of rows.
    Set,
}

/// What kind of call a function is; the properties choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Makes a row.
    Create,
    /// Reads one row.
    Get,
    /// Takes `updates`.
    Update,
    /// Moves a row through its life.
    Verb,
    /// Returns rows.
    List,
    /// Removes a row.
    Delete,
}

/// A parameter and what `api.md` §1.4 says about it.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Name.
    pub name: &'static str,
    /// Whether NULL is refused with 22004.
    pub not_null: bool,
    /// Whether the empty text is refused with 22023.
    pub not_empty: bool,
    /// The values an enumerated text may take.
    pub one_of: &'static [&'static str],
    /// The default; `None` if the argument must be given.
    pub default: Option<Default>,
}

/// A parameter's default.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
}

/// A parameter that must be given and not be NULL.
#[must_use]
pub const fn required(name: &'static str) -> Param {
    Param {
        name,
        not_null: true,
        not_empty: false,
        one_of: &[],
        default: None,
    }
}

/// A parameter with the default NULL.
#[must_use]
pub const fn optional(name: &'static str) -> Param {
    Param {
        name,
        not_null: false,
        not_empty: false,
        one_of: &[],
        default: Some(Default::Null),
    }
}

impl Param {
    /// Refuses the empty text.
    #[must_use]
    pub const fn not_empty(self) -> Self {
        Self {
            not_empty: true,
            ..self
        }
    }

    /// Refuses text outside the set.
    #[must_use]
    pub const fn one_of(self, values: &'static [&'static str]) -> Self {
        Self {
            one_of: values,
            ..self
        }
    }

    /// Has an integer default.
    #[must_use]
    pub const fn default_int(self, value: i64) -> Self {
        Self {
            default: Some(Default::Int(value)),
            ..self
        }
    }

    /// Accepts NULL though it must be given.
    #[must_use]
    pub const fn or_null(self) -> Self {
        Self {
            not_null: false,
            ..self
        }
    }
}

/// The last two parameters of every list.
pub const PAGE: [Param; 2] = [optional("max_rows"), optional("after")];

/// A function of the extension.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// SQL name.
    pub name: &'static str,
    /// What it returns.
    pub shape: Shape,
    /// What it does.
    pub kind: Kind,
    /// Parameters in order.
    pub params: &'static [Param],
}

/// An entity: its description, its generators and its model.
pub trait Entity: Sync {
    /// Table, columns, indexes, keys.
    fn table(&self) -> &'static Table;

    /// Its functions.
    fn functions(&self) -> &'static [Function];

    /// Calls that make the rows which rows of this entity refer to.
    fn setup(&self, ids: &Ids) -> Vec<Call>;

    /// A create of row `slot` that succeeds after [`Entity::setup`] and the
    /// creates of all smaller slots, with values that reach the edges.
    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call>;

    /// A change of row `slot`, an update or a verb, while the slots below
    /// `rows` exist. It may be refused by the state of the rows (a final
    /// status, a cycle), never by its arguments.
    fn change(&self, ids: &Ids, slot: usize, rows: usize) -> BoxedStrategy<Call>;

    /// A list, by values that occur and values that do not.
    fn list(&self, ids: &Ids) -> BoxedStrategy<Call>;

    /// An `updates` object that `api.md` refuses, or that the table's
    /// constraints refuse.
    fn bad_updates(&self, ids: &Ids) -> BoxedStrategy<String>;

    /// A create that the table's constraints refuse (step 4).
    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call>;

    /// What must come of a call, given the rows that are there.
    fn judge(&self, world: &World, call: &Call) -> Verdict;

    /// The row's CHECK constraints; `false` refuses it.
    fn checks(&self, row: &crate::model::Row) -> bool;

    /// The get of a row.
    fn get(&self, id: Value) -> Call {
        let table = self.table();
        Call::new(&format!("caliber_{}_get", table.entity)).arg(table.key, id)
    }

    /// The delete of a row.
    fn delete(&self, id: Value) -> Call {
        let table = self.table();
        Call::new(&format!("caliber_{}_delete", table.entity)).arg(table.key, id)
    }
}

/// Every entity, parents before children.
#[must_use]
pub fn all() -> &'static [&'static dyn Entity] {
    &[&trajectory::Trajectory, &scope::Scope]
}

/// The entity of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Entity> {
    all()
        .iter()
        .copied()
        .find(|entity| entity.table().entity == name)
}

/// The function of that name, and its entity.
#[must_use]
pub fn function(name: &str) -> Option<(&'static dyn Entity, &'static Function)> {
    all().iter().copied().find_map(|entity| {
        entity
            .functions()
            .iter()
            .find(|function| function.name == name)
            .map(|function| (entity, function))
    })
}

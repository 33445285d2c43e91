//! Descriptions of the entities. An entity joins the harness by one file or
//! folder beside this one and a line in [`all`]; the properties, the judges,
//! the checks and the failure reports work from the description alone.

pub mod agent;
pub mod artifact;
pub mod conflict;
pub mod delegation;
pub mod embedding;
mod function;
pub mod handoff;
pub mod ids;
pub mod life;
pub mod lock;
pub mod message;
pub mod note;
pub mod samples;
pub mod scene;
pub mod scope;
mod table;
#[cfg(test)]
mod tests;
pub mod text;
pub mod trajectory;
pub mod ttl;
pub mod turn;

pub use function::{
    defaulted, function, ids as id_array, optional, required, texts as text_array, Default,
    Function, Kind, Param, Shape, Takes, PAGE,
};
pub use life::{verb, Life, Verb};
pub use table::{
    btree, column, gin, hnsw, made, refers, wall, Clock, Column, ForeignKey, Holds, Index, Method,
    Table,
};

use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use ids::Ids;
use proptest::strategy::BoxedStrategy;

/// An entity: its description, its generators and its model.
pub trait Entity: Sync {
    /// Table, columns, indexes, keys.
    fn table(&self) -> &'static Table;

    /// Its functions.
    fn functions(&self) -> &'static [Function];

    /// Functions of the harness that write what only SQL can write.
    fn helpers(&self) -> &'static [Function] {
        &[]
    }

    /// Its life cycle, if it has one.
    fn life(&self) -> Option<&'static Life> {
        None
    }

    /// Other entities whose rows its functions write.
    fn also_writes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Calls that make the rows which rows of this entity refer to.
    fn setup(&self, ids: &Ids) -> Vec<Call>;

    /// A create of row `slot` that succeeds after [`Entity::setup`] and the
    /// creates of all smaller slots, with values that reach the edges.
    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call>;

    /// A change of row `slot`, an update or a verb, while the slots below
    /// `rows` exist. It may be refused by the state of the rows (a final
    /// status, a cycle), never by its arguments. What cannot be changed is
    /// added to.
    fn change(&self, ids: &Ids, slot: usize, rows: usize) -> BoxedStrategy<Call>;

    /// A list, by values that occur and values that do not.
    fn list(&self, ids: &Ids) -> BoxedStrategy<Call>;

    /// An `updates` object that `api.md` refuses, or that the table's
    /// constraints refuse; `None` for an entity without an update.
    fn bad_updates(&self, _ids: &Ids) -> Option<BoxedStrategy<String>> {
        None
    }

    /// A create that the table's constraints refuse (step 4), or the rows that
    /// it refers to (step 3).
    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call>;

    /// What must come of a call, given the rows that are there. Gets, deletes
    /// and bad arguments have been judged before (`model::judge`).
    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict;

    /// The row's CHECK constraints, but for those of enumerated columns;
    /// `false` refuses it.
    fn checks(&self, _row: &Row) -> bool {
        true
    }

    /// What the end of a transaction changes: the client's statements for it,
    /// and the rows afterwards.
    fn commit(&self, _world: &World) -> Option<(Vec<String>, World)> {
        None
    }

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

/// Every entity that the suites run, parents before children.
#[must_use]
pub fn all() -> &'static [&'static dyn Entity] {
    described()
}

/// Every entity that is described, parents before children: those that the
/// suites do not run yet included.
#[must_use]
pub fn described() -> &'static [&'static dyn Entity] {
    &[
        &trajectory::Trajectory,
        &scope::Scope,
        &agent::Agent,
        &turn::Turn,
        &conflict::Conflict,
        &artifact::Artifact,
        &note::Note,
        &message::Message,
        &delegation::Delegation,
        &handoff::Handoff,
        &lock::Lock,
    ]
}

/// The entity of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Entity> {
    described()
        .iter()
        .copied()
        .find(|entity| entity.table().entity == name)
}

/// The function of that name, and its entity.
#[must_use]
pub fn function_named(name: &str) -> Option<(&'static dyn Entity, &'static Function)> {
    described().iter().copied().find_map(|entity| {
        entity
            .functions()
            .iter()
            .chain(entity.helpers())
            .find(|function| function.name == name)
            .map(|function| (entity, function))
    })
}

//! How rows are stored: one small trait, and its implementations behind the
//! setting `caliber.engine`.
//!
//! Entities know nothing of storage; storage knows an entity only as the
//! description below.

pub mod accept;
pub mod claim;
pub mod consulted;
mod heap;
pub mod list;
pub mod locks;
pub mod purge;
pub mod search;
mod sql;
pub mod watch;

use crate::counters::{self, Counter};
use crate::error::{CaliberError, CaliberResult, WriteFailure};
use crate::error::{StorageError, WriteCause};
use crate::pg::call::Call;
use crate::pg::constraints;
use crate::pg::datum::Value;
use crate::pg::index;
use crate::pg::relation::{Relation, Shape, READ_LOCK};
use crate::pg::rights::{self, Rights};
use crate::pg::row::{AnyRow, RowSink};
use crate::pg::slot::SlotRow;
use crate::pg::spi::Planning;
use crate::settings::{self, EngineSetting, OnDuplicate};
use list::{List, Range};
use std::collections::HashSet;
use uuid::Uuid;

/// An entity as storage sees it: its table and the columns with a role.
#[derive(Debug)]
pub struct Entity {
    /// Name in messages, for example `trajectory`.
    pub name: &'static str,
    /// Table, row type and columns.
    pub shape: Shape,
    /// Index of the key column.
    pub key: usize,
}

impl Entity {
    /// Name of the key column.
    pub fn key_name(&self) -> &'static str {
        self.shape.columns[self.key].name
    }
}

/// New values of named columns.
pub type Changes = Vec<(usize, Value)>;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A row was written.
    Done,
    /// No row matched.
    Absent,
    /// A trigger said no.
    Vetoed,
}

/// What became of one of several new rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// This call wrote it.
    New(Uuid),
    /// A row with this id was there (`caliber.on_duplicate = return`).
    Existing(Uuid),
    /// A trigger said no.
    Vetoed,
}

impl Made {
    /// The id that the caller is told; None for a vetoed row.
    pub fn id(self) -> Option<Uuid> {
        match self {
            Self::New(id) | Self::Existing(id) => Some(id),
            Self::Vetoed => None,
        }
    }
}

/// What the rule of a verb decides for a version of the row.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing is written; the verb returns this.
    Answer(bool),
    /// These changes are written, provided that the columns of `checked`
    /// still have the values that the rule saw.
    Write {
        /// New values.
        changes: Changes,
        /// Columns that the decision rests on.
        checked: Vec<usize>,
    },
}

/// A version of a row, by known column.
#[derive(Debug)]
pub struct Stored<'r>(Columns<'r>);

#[derive(Debug)]
enum Columns<'r> {
    /// All of them.
    All(Vec<Value>),
    /// Those of a row in a slot, each when it is asked for.
    Slot(SlotRow<'r>),
}

impl<'r> Stored<'r> {
    /// A row whose columns are these.
    fn of(columns: Vec<Value>) -> Self {
        Self(Columns::All(columns))
    }

    /// The row in a slot.
    fn in_slot(row: SlotRow<'r>) -> Self {
        Self(Columns::Slot(row))
    }

    /// Copies of some columns in the current memory context.
    fn copies(&self, table: &Table, columns: &[usize]) -> Vec<Value> {
        columns
            .iter()
            .map(|&c| self.get(c).copied(table.entity.shape.columns[c].kind))
            .collect()
    }

    /// What a write that decides on these columns is guarded by: copies, which
    /// outlive the version.
    fn guard(&self, table: &Table, columns: &[usize]) -> Vec<(usize, Value)> {
        let values = self.copies(table, columns);
        columns.iter().copied().zip(values).collect()
    }

    /// Value of a column; valid while the rule of the verb runs.
    pub fn get(&self, column: usize) -> Value {
        match &self.0 {
            Columns::All(values) => values[column],
            Columns::Slot(row) => row.get(column),
        }
    }
}

/// Do the columns of `guard` still have these values (IS NOT DISTINCT FROM)?
fn same(table: &Table, stored: &Stored, guard: &[(usize, Value)]) -> bool {
    guard.iter().all(|&(column, value)| {
        stored
            .get(column)
            .same(&value, table.entity.shape.columns[column].kind)
    })
}

/// The rule of a verb.
pub type Rule<'a> = dyn FnMut(&Stored) -> CaliberResult<Verdict> + 'a;

/// The rows of one multi-row INSERT, in order.
pub type Rows = [Vec<Value>];

/// How rows are stored and found.
pub trait Engine: accept::Accept + claim::Claims + purge::Purge + search::Search {
    /// INSERT of all columns.
    fn insert(&self, table: &Table, row: &[Value]) -> CaliberResult<Written>;
    /// One INSERT of several rows; with `if_new`, ON CONFLICT (key) DO NOTHING.
    /// The heap engine's errors carry the CONTEXT `element n`.
    fn insert_many(&self, table: &Table, rows: &Rows, if_new: bool) -> CaliberResult<Vec<Written>>;
    /// INSERT … ON CONFLICT (key) DO NOTHING.
    fn insert_if_new(&self, table: &Table, row: &[Value]) -> CaliberResult<Written>;
    /// SELECT by key, as a read function sees it.
    fn get(&self, table: &Table, key: Value) -> CaliberResult<Option<AnyRow>>;
    /// SELECT in the list's order, as a read function sees it.
    fn list(&self, table: &Table, list: &List<'_>, sink: &mut RowSink) -> CaliberResult<()>;
    /// The last row of a list, as a read function sees it.
    fn last(&self, table: &Table, list: &List<'_>) -> CaliberResult<Option<AnyRow>>;
    /// Columns of the row with this key, for a statement that starts now.
    fn fetch(
        &self,
        table: &Table,
        key: Value,
        columns: &[usize],
    ) -> CaliberResult<Option<Vec<Value>>>;
    /// The greatest value of `column` in a range, under the active snapshot;
    /// NULL if there is no row. An index on the range's columns and `column`
    /// must exist.
    fn greatest(&self, table: &Table, range: &Range, column: usize) -> CaliberResult<Value>;
    /// Is there a row with this key, for a statement that starts now?
    fn exists(&self, table: &Table, key: Value) -> CaliberResult<bool>;
    /// Those of these keys that have a row, for a statement that starts now.
    fn existing(&self, table: &Table, keys: &[Uuid]) -> CaliberResult<HashSet<Uuid>>;
    /// UPDATE by key.
    fn update(&self, table: &Table, key: Value, changes: &Changes) -> CaliberResult<Written>;
    /// A verb: reads the row, decides, and updates the version it decided on.
    fn change(&self, table: &Table, key: Value, rule: &mut Rule<'_>) -> CaliberResult<bool>;
    /// One UPDATE of several rows. Under row policies every row must be one
    /// that the caller may change (42501).
    fn update_each(&self, table: &Table, keys: &[Uuid], changes: &Changes) -> CaliberResult<()>;
    /// DELETE by key.
    fn delete(&self, table: &Table, key: Value) -> CaliberResult<Written>;
    /// The uuid columns `want` of the rows where `by` equals `value`, under
    /// the active snapshot, with the owner's rights and without row policies.
    fn peek(
        &self,
        table: &Table,
        by: usize,
        value: Uuid,
        want: &[usize],
    ) -> CaliberResult<Vec<Vec<Option<Uuid>>>>;
}

/// A table that a call may work on: steps 1 to 3 of `integrity.md` §2 are done.
#[derive(Debug)]
pub struct Table {
    /// The open relation.
    pub(crate) relation: Relation,
    /// Its description.
    pub(crate) entity: &'static Entity,
    via: Via,
    policies: bool,
    find_duplicate: bool,
    watch: Option<watch::Watch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    Heap,
    Sql(Planning),
}

impl Table {
    /// Opens the table of `entity` for a call, in PostgreSQL's own order:
    /// USAGE on the schema, the relation, a transaction that may write, rights.
    /// Then decides which engine may serve it.
    ///
    /// # Errors
    /// 42501, 42P01, 42804, 0A000, 25006, 25000.
    pub fn open(call: &Call, entity: &'static Entity, rights: &Rights) -> CaliberResult<Self> {
        Self::open_to(call, entity, rights, false)
    }

    /// As [`Table::open`], for a create whose id the caller gave: under
    /// `caliber.on_duplicate = return` an existing row will be looked for.
    pub fn open_to_create(
        call: &Call,
        entity: &'static Entity,
        rights: Rights,
        id_given: bool,
    ) -> CaliberResult<Self> {
        let find = Self::finds_duplicates(id_given);
        let rights = if find {
            rights.and_select_column(entity.key)
        } else {
            rights
        };
        Self::open_to(call, entity, &rights, find)
    }

    /// Does a create whose id the caller gave look for an existing row?
    pub fn finds_duplicates(id_given: bool) -> bool {
        id_given && settings::on_duplicate() == OnDuplicate::Return
    }

    fn open_to(
        call: &Call,
        entity: &'static Entity,
        rights: &Rights,
        find_duplicate: bool,
    ) -> CaliberResult<Self> {
        let [table] = Self::open_several(call, [(entity, rights)], find_duplicate)?;
        Ok(table)
    }

    /// Opens several tables for one call, which is served by one engine: in the
    /// order of the statement, first all relations, then the transaction, then
    /// all rights. With `find_duplicate`, the first is one to create in.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn open_several<const N: usize>(
        call: &Call,
        wanted: [(&'static Entity, &Rights); N],
        find_duplicate: bool,
    ) -> CaliberResult<[Self; N]> {
        let tables = Self::open_all(call, &wanted, find_duplicate)?;
        tables.try_into().map_err(|_| nothing_opened())
    }

    fn open_all(
        call: &Call,
        wanted: &[(&'static Entity, &Rights)],
        find_duplicate: bool,
    ) -> CaliberResult<Vec<Self>> {
        let schema = call.schema();
        rights::check_schema_usage(schema);
        let mut tables = Vec::with_capacity(wanted.len());
        for &(entity, rights) in wanted {
            let lock = if crate::fault::active("weak_relation_lock") {
                READ_LOCK
            } else {
                rights.relation_lock()
            };
            tables.push(Self {
                relation: Relation::open(schema, &entity.shape, lock)?,
                entity,
                via: Via::Heap,
                policies: false,
                find_duplicate: find_duplicate && tables.is_empty(),
                watch: None,
            });
        }
        // Where `row_security = off` forbids the query, SQL raises in the
        // rewriter, before the executor checks anything.
        for table in &mut tables {
            table.policies = table.relation.policies_in_force();
        }
        // The planner (get_relation_info, plancat.c) comes before the executor.
        for (table, (_, rights)) in tables.iter().zip(wanted) {
            if rights.reads() || table.find_duplicate {
                rights::check_readable(table.relation.class())?;
            }
        }
        if let Some((_, rights)) = wanted.iter().find(|(_, rights)| rights.writes()) {
            rights::check_may_write(rights.command)?;
        }
        for (table, (_, rights)) in tables.iter().zip(wanted) {
            rights::check_table(&table.relation, rights);
        }
        let via = choose(settings::engine(), &tables);
        counters::add(match via {
            Via::Heap => Counter::CallsHeap,
            Via::Sql(Planning::Kept) => Counter::CallsSql,
            Via::Sql(Planning::OneShot) => Counter::CallsSqlOneshot,
        });
        for table in &mut tables {
            table.via = via;
        }
        Ok(tables)
    }

    /// The engine that serves this call.
    pub fn engine(&self) -> &'static dyn Engine {
        match self.via {
            Via::Heap => &heap::Heap,
            Via::Sql(planning) => self.sql(planning),
        }
    }

    fn sql(&self, planning: Planning) -> &'static sql::Sql {
        match planning {
            // A statement that a rule replaced by nothing leaves a plan that
            // depends on no relation, so that dropping the rule would not
            // invalidate it: such plans are not kept.
            _ if self.relation.has_rules() => &sql::Sql {
                planning: Planning::OneShot,
            },
            Planning::Kept => &sql::Sql {
                planning: Planning::Kept,
            },
            Planning::OneShot => &sql::Sql {
                planning: Planning::OneShot,
            },
        }
    }

    /// Are row policies in force for this user?
    pub fn has_policies(&self) -> bool {
        self.policies
    }

    /// Under `caliber.on_duplicate = return`: is the row with the id that the
    /// caller gave already there?
    pub fn is_duplicate(&self, id: Uuid) -> CaliberResult<bool> {
        Ok(self.find_duplicate && self.engine().exists(self, Value::uuid(id))?)
    }

    /// Writes a new row with key `id`. None if a trigger vetoes it.
    pub fn create(&self, id: Uuid, row: &[Value]) -> CaliberResult<Option<Uuid>> {
        let engine = self.engine();
        if !self.find_duplicate {
            let written = engine.insert(self, row)?;
            return Ok((written == Written::Done).then_some(id));
        }
        let found = engine.insert_if_new(self, row)? == Written::Done
            || engine.exists(self, Value::uuid(id))?;
        Ok(found.then_some(id))
    }

    /// Under `caliber.on_duplicate = return`: those of the ids that the caller
    /// gave that are there already.
    pub fn duplicates(&self, ids: &[Uuid]) -> CaliberResult<HashSet<Uuid>> {
        if !self.find_duplicate || ids.is_empty() {
            return Ok(HashSet::new());
        }
        self.engine().existing(self, ids)
    }

    /// Writes several new rows in one statement.
    pub fn create_many(&self, rows: &Rows) -> CaliberResult<Vec<Made>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids = rows
            .iter()
            .map(|row| row[self.entity.key].as_uuid().unwrap_or_default());
        let written = self.engine().insert_many(self, rows, self.find_duplicate)?;
        let missing: Vec<Uuid> = ids
            .clone()
            .zip(&written)
            .filter_map(|(id, &written)| (written != Written::Done).then_some(id))
            .collect();
        // What was not inserted may be another's row, or a veto.
        let existing = self.duplicates(&missing)?;
        Ok(ids
            .zip(&written)
            .map(|(id, &written)| match written {
                Written::Done => Made::New(id),
                _ if existing.contains(&id) => Made::Existing(id),
                _ => Made::Vetoed,
            })
            .collect())
    }

    /// The schema, table and name of a constraint, for an error.
    pub fn constraint(&self, name: &str) -> crate::error::ConstraintName {
        crate::error::ConstraintName {
            schema: crate::pg::relation::schema_name(self.relation.schema()),
            table: self.entity.shape.table.to_owned(),
            constraint: name.to_owned(),
        }
    }

    /// A write of this table that our own code refuses.
    pub fn refused(
        &self,
        cause: WriteCause,
        reason: String,
        constraint: Option<&str>,
    ) -> CaliberError {
        CaliberError::from(StorageError::UpdateFailed(WriteFailure {
            cause,
            reason,
            hint: None,
            object: constraint.map(|name| self.constraint(name)),
        }))
    }
}

/// As many tables are opened as were asked for, so that this is never seen.
fn nothing_opened() -> CaliberError {
    CaliberError::serialization("no table was opened")
}

/// Where the heap engine must not act alone, SQL takes over, and is counted.
fn choose(setting: EngineSetting, tables: &[Table]) -> Via {
    match setting {
        EngineSetting::SqlOneshot => return Via::Sql(Planning::OneShot),
        EngineSetting::Sql => return Via::Sql(Planning::Kept),
        EngineSetting::Heap => {}
    }
    match tables.iter().find_map(takeover) {
        Some(counter) => {
            counters::add(counter);
            Via::Sql(Planning::Kept)
        }
        None => Via::Heap,
    }
}

/// Why SQL must take over for this table, if it must.
fn takeover(table: &Table) -> Option<Counter> {
    let relation = &table.relation;
    if table.policies && !crate::fault::active("policies_ignored") {
        Some(Counter::TakeoverRowSecurity)
    } else if relation.has_rules() && !crate::fault::active("rules_ignored") {
        Some(Counter::TakeoverRule)
    } else if relation.has_children() && !crate::fault::active("children_ignored") {
        Some(Counter::TakeoverInheritance)
    } else if !relation.is_heap() {
        Some(Counter::TakeoverAccessMethod)
    } else if relation.has_generated_columns() {
        Some(Counter::TakeoverGenerated)
    } else if constraints::equal_texts_may_differ(relation) {
        Some(Counter::TakeoverCollation)
    } else if let Some(why) = index::unreliable(relation, table.entity.key) {
        Some(match why {
            index::Unreliable::TooNew => Counter::TakeoverNewIndex,
            index::Unreliable::DeferrableKey => Counter::TakeoverDeferrableKey,
        })
    } else if table.find_duplicate {
        Some(Counter::TakeoverOnDuplicate)
    } else {
        None
    }
}

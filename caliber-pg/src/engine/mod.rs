//! How rows are stored: one small trait, and its implementations behind the
//! setting `caliber.engine`.
//!
//! Entities know nothing of storage; storage knows an entity only as the
//! description below.

mod heap;
mod sql;

use crate::counters::{self, Counter};
use crate::error::{CaliberError, CaliberResult, WriteFailure};
use crate::error::{StorageError, WriteCause};
use crate::pg::call::Call;
use crate::pg::datum::Value;
use crate::pg::index::{self, Test};
use crate::pg::relation::{Relation, Shape, READ_LOCK, WRITE_LOCK};
use crate::pg::rights::{self, Rights};
use crate::pg::row::{AnyRow, RowSink};
use crate::pg::spi::Planning;
use crate::settings::{self, EngineSetting, OnDuplicate};
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
pub struct Stored(Vec<Value>);

impl Stored {
    /// Value of a column; valid while the rule of the verb runs.
    pub fn get(&self, column: usize) -> Value {
        self.0[column]
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

/// A list: rows with equal columns that pass the tests, in key order.
#[derive(Debug)]
pub struct List<'a> {
    /// Columns compared for equality.
    pub equals: &'a [(usize, Value)],
    /// Tests that all rows pass.
    pub tests: &'a [(usize, Test)],
    /// Only rows with a key greater than this.
    pub after: Option<Value>,
    /// At most this many rows; None is all.
    pub max_rows: Option<i64>,
}

/// How rows are stored and found.
pub trait Engine {
    /// INSERT of all columns.
    fn insert(&self, table: &Table, row: &[Value]) -> CaliberResult<Written>;
    /// INSERT … ON CONFLICT (key) DO NOTHING.
    fn insert_if_new(&self, table: &Table, row: &[Value]) -> CaliberResult<Written>;
    /// SELECT by key, as a read function sees it.
    fn get(&self, table: &Table, key: Value) -> CaliberResult<Option<AnyRow>>;
    /// SELECT in key order, as a read function sees it.
    fn list(&self, table: &Table, list: &List<'_>, sink: &mut RowSink) -> CaliberResult<()>;
    /// The last row of a list, as a read function sees it.
    fn last(&self, table: &Table, list: &List<'_>) -> CaliberResult<Option<AnyRow>>;
    /// Is there a row with this key, for a statement that starts now?
    fn exists(&self, table: &Table, key: Value) -> CaliberResult<bool>;
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
    /// 42501, 42P01, 42804, 25006, 25000.
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
        let find = id_given && settings::on_duplicate() == OnDuplicate::Return;
        let rights = if find {
            rights.and_select_column(entity.key)
        } else {
            rights
        };
        Self::open_to(call, entity, &rights, find)
    }

    fn open_to(
        call: &Call,
        entity: &'static Entity,
        rights: &Rights,
        find_duplicate: bool,
    ) -> CaliberResult<Self> {
        let schema = call.schema();
        rights::check_schema_usage(schema);
        let lock = if rights.writes() && !crate::fault::active("weak_relation_lock") {
            WRITE_LOCK
        } else {
            READ_LOCK
        };
        let relation = Relation::open(schema, &entity.shape, lock)?;
        // Where `row_security = off` forbids the query, SQL raises in the
        // rewriter, before the executor checks anything.
        let policies = relation.policies_in_force();
        rights::check_may_write(rights.command)?;
        rights::check_table(&relation, rights);
        let setting = settings::engine();
        let via = choose(setting, &relation, policies, find_duplicate);
        counters::add(match via {
            Via::Heap => Counter::CallsHeap,
            Via::Sql(Planning::Kept) => Counter::CallsSql,
            Via::Sql(Planning::OneShot) => Counter::CallsSqlOneshot,
        });
        Ok(Self {
            relation,
            entity,
            via,
            policies,
            find_duplicate,
        })
    }

    /// The engine that serves this call.
    pub fn engine(&self) -> &'static dyn Engine {
        match self.via {
            Via::Heap => &heap::Heap,
            // A statement that a rule replaced by nothing leaves a plan that
            // depends on no relation, so that dropping the rule would not
            // invalidate it: such plans are not kept.
            Via::Sql(_) if self.relation.has_rules() => &sql::Sql {
                planning: Planning::OneShot,
            },
            Via::Sql(Planning::Kept) => &sql::Sql {
                planning: Planning::Kept,
            },
            Via::Sql(Planning::OneShot) => &sql::Sql {
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

/// Where the heap engine must not act alone, SQL takes over, and is counted.
fn choose(
    setting: EngineSetting,
    relation: &Relation,
    policies: bool,
    find_duplicate: bool,
) -> Via {
    match setting {
        EngineSetting::SqlOneshot => return Via::Sql(Planning::OneShot),
        EngineSetting::Sql => return Via::Sql(Planning::Kept),
        EngineSetting::Heap => {}
    }
    let reason = if policies {
        Some(Counter::TakeoverRowSecurity)
    } else if relation.has_rules() {
        Some(Counter::TakeoverRule)
    } else if relation.has_children() {
        Some(Counter::TakeoverInheritance)
    } else if !relation.is_heap() {
        Some(Counter::TakeoverAccessMethod)
    } else if relation.has_generated_columns() {
        Some(Counter::TakeoverGenerated)
    } else if index::any_too_new(relation) {
        Some(Counter::TakeoverNewIndex)
    } else if find_duplicate {
        Some(Counter::TakeoverOnDuplicate)
    } else {
        None
    };
    match reason {
        Some(counter) => {
            counters::add(counter);
            Via::Sql(Planning::Kept)
        }
        None => Via::Heap,
    }
}

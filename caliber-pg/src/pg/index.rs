//! Choosing the index of a read: by its columns, operator classes, collations
//! and predicate, never by its name.

use super::datum::Value;
use super::encoding::from_server_bytes;
use super::relation::{live_attributes, quote_identifier, schema_name, Relation, READ_LOCK};
use super::unwinding;
use crate::error::{CaliberError, CaliberResult, StorageError};
use pgrx::pg_sys::{self, Oid};

/// A test on a column, beside equalities, that every row of a read passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// The boolean column is true.
    True,
}

/// What an index must serve: equality on some columns, then order by one.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Known columns compared for equality, with their values.
    pub equals: &'a [(usize, Value)],
    /// Tests that all rows pass; a partial index may rest on them.
    pub tests: &'a [(usize, Test)],
    /// The column that orders the rows, behind the equal ones.
    pub order: Option<usize>,
    /// Whether the equal columns must name at most one row.
    pub unique: bool,
}

/// Is any index of the table newer than what this transaction may see
/// (indcheckxmin)? Whoever scanned it would miss rows that are only in a HOT
/// chain's older members; SQL then plans without it (get_relation_info,
/// plancat.c).
pub fn any_too_new(relation: &Relation) -> bool {
    index_oids(relation).into_iter().any(|oid| {
        // SAFETY: a syscache lookup by OID; the tuple is checked for NULL, is
        // one of pg_index, and is released after its last use.
        unsafe {
            let tuple = pg_sys::SearchSysCache1(
                pg_sys::SysCacheIdentifier::INDEXRELID as i32,
                pg_sys::Datum::from(oid),
            );
            if tuple.is_null() {
                return false;
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>();
            let too_new = (*form).indcheckxmin
                && !pg_sys::TransactionIdPrecedes(
                    super::compat::tuple_xmin((*tuple).t_data),
                    pg_sys::TransactionXmin,
                );
            pg_sys::ReleaseSysCache(tuple);
            too_new
        }
    })
}

/// An open B-tree index that serves a read.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) ptr: pg_sys::Relation,
}

impl Index {
    /// A valid B-tree with exactly the wanted key columns, in order, with the
    /// columns' own collations, whose predicate follows from the read; a
    /// partial one before a whole one, since it holds fewer rows.
    ///
    /// # Errors
    /// 55000 if there is none.
    pub(crate) fn choose(relation: &Relation, wanted: &Wanted<'_>) -> CaliberResult<Self> {
        let columns: Vec<i16> = wanted
            .equals
            .iter()
            .map(|&(c, _)| c)
            .chain(wanted.order)
            .map(|c| relation.attribute(c))
            .collect();
        let mut whole = None;
        for oid in index_oids(relation) {
            // SAFETY: the OID comes from the relation's index list, and the
            // relation is locked; index_open locks the index and raises if it
            // vanished (DROP INDEX CONCURRENTLY), as a planner would.
            let ptr = unsafe { pg_sys::index_open(oid, READ_LOCK) };
            let index = Self { ptr };
            if !index.usable(wanted.unique) || !index.serves(relation, &columns) {
                continue;
            }
            match index.predicate() {
                None if whole.is_none() => whole = Some(index),
                None => {}
                Some(predicate) if index.implied(predicate, relation, wanted) => return Ok(index),
                Some(_) => {}
            }
        }
        whole.ok_or_else(|| missing(relation, &columns, wanted.unique))
    }

    fn form(&self) -> &pg_sys::FormData_pg_index {
        // SAFETY: the index is open.
        unsafe { &*(*self.ptr).rd_index }
    }

    /// A valid B-tree, and a whole unique one that is checked at once where
    /// the key must name one row.
    fn usable(&self, unique: bool) -> bool {
        let form = self.form();
        // SAFETY: the index is open.
        let is_btree = unsafe { (*(*self.ptr).rd_rel).relam } == pg_sys::BTREE_AM_OID;
        let fits = !unique || (form.indisunique && form.indimmediate && self.predicate().is_none());
        form.indisvalid && is_btree && fits
    }

    /// Are the key columns exactly `columns`, ascending, each with the
    /// collation of the table's column and the type's own operator class?
    fn serves(&self, relation: &Relation, columns: &[i16]) -> bool {
        let form = self.form();
        if form.indnkeyatts as usize != columns.len() {
            return false;
        }
        columns.iter().enumerate().all(|(i, &column)| {
            // SAFETY: i is below indnkeyatts, which bounds these arrays; the
            // attribute number is one of the table's.
            unsafe {
                let key = *form.indkey.values.as_ptr().add(i);
                let attribute =
                    super::compat::attribute(relation.descriptor(), column as usize - 1);
                key == column
                    && *(*self.ptr).rd_indoption.add(i) == 0
                    && *(*self.ptr).rd_indcollation.add(i) == (*attribute).attcollation
                    && *(*self.ptr).rd_opfamily.add(i) == default_family((*attribute).atttypid)
                    && *(*self.ptr).rd_opcintype.add(i) == (*attribute).atttypid
            }
        })
    }

    /// The predicate of a partial index.
    fn predicate(&self) -> Option<*mut pg_sys::List> {
        // SAFETY: the index is open; the list is a copy in this context.
        let predicate = unsafe { pg_sys::RelationGetIndexPredicate(self.ptr) };
        (!predicate.is_null()).then_some(predicate)
    }

    /// Does the index's predicate follow from the read's conditions
    /// (predicate_implied_by, predtest.c)?
    fn implied(
        &self,
        predicate: *mut pg_sys::List,
        relation: &Relation,
        wanted: &Wanted<'_>,
    ) -> bool {
        // SAFETY: the index is open. Expressions are built in the current
        // memory context as the parser builds them, with varno 1 as stored
        // predicates have it.
        unsafe {
            let mut clauses: *mut pg_sys::List = std::ptr::null_mut();
            for (i, &(column, value)) in wanted.equals.iter().enumerate() {
                let var = variable(relation, column);
                let family = *(*self.ptr).rd_opfamily.add(i);
                let operator = pg_sys::get_opfamily_member(
                    family,
                    (*var).vartype,
                    (*var).vartype,
                    pg_sys::BTEqualStrategyNumber as _,
                );
                let (mut len, mut by_value) = (0, false);
                pg_sys::get_typlenbyval((*var).vartype, &mut len, &mut by_value);
                let constant = pg_sys::makeConst(
                    (*var).vartype,
                    -1,
                    (*var).varcollid,
                    i32::from(len),
                    value.datum,
                    value.null,
                    by_value,
                );
                let clause = pg_sys::make_opclause(
                    operator,
                    pg_sys::BOOLOID,
                    false,
                    var.cast(),
                    constant.cast(),
                    Oid::INVALID,
                    (*var).varcollid,
                );
                clauses = pg_sys::lappend(clauses, clause.cast());
            }
            for &(column, test) in wanted.tests {
                let clause = match test {
                    Test::True => variable(relation, column),
                };
                clauses = pg_sys::lappend(clauses, clause.cast());
            }
            pg_sys::predicate_implied_by(predicate, clauses, false)
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened in `choose`; the lock stays to the end of the
            // transaction, as a query's does. Dropping a reference does not raise.
            unsafe { pg_sys::index_close(self.ptr, pg_sys::NoLock as _) };
        }
    }
}

/// The B-tree operator family that orders a type by default.
fn default_family(kind: Oid) -> Oid {
    // SAFETY: catalog look-ups by OID.
    unsafe { pg_sys::get_opclass_family(pg_sys::GetDefaultOpClass(kind, pg_sys::BTREE_AM_OID)) }
}

/// A Var for a known column.
///
/// # Safety
/// The relation is open.
unsafe fn variable(relation: &Relation, column: usize) -> *mut pg_sys::Var {
    let number = relation.attribute(column);
    // SAFETY: the attribute number belongs to the relation.
    unsafe {
        let a = super::compat::attribute(relation.descriptor(), number as usize - 1);
        pg_sys::makeVar(
            1,
            number,
            (*a).atttypid,
            (*a).atttypmod,
            (*a).attcollation,
            0,
        )
    }
}

/// OIDs of the relation's live indexes (RelationGetIndexList, relcache.c).
fn index_oids(relation: &Relation) -> Vec<Oid> {
    // SAFETY: the relation is open; the list is a copy in this context.
    unsafe {
        let list = pg_sys::RelationGetIndexList(relation.ptr);
        if list.is_null() {
            return Vec::new();
        }
        let oids = (0..(*list).length as usize)
            .map(|i| (*(*list).elements.add(i)).oid_value)
            .collect();
        pg_sys::list_free(list);
        oids
    }
}

fn missing(relation: &Relation, columns: &[i16], key: bool) -> CaliberError {
    let attributes = live_attributes(relation.descriptor());
    let names: Vec<String> = columns
        .iter()
        .filter_map(|column| attributes.iter().find(|a| a.number == *column))
        .map(|a| from_server_bytes(&a.name))
        .collect();
    let (schema, name) = (schema_name(relation.schema()), relation.name());
    let repair = if key {
        format!(
            "Run ALTER TABLE {}.{} ADD PRIMARY KEY ({}), or REINDEX an invalid index.",
            quote_identifier(&schema),
            quote_identifier(&name),
            names.join(", ")
        )
    } else {
        "Run caliber_init() to create missing indexes, or REINDEX an invalid one.".into()
    };
    CaliberError::from(StorageError::IndexError {
        table: format!("{schema}.{name}"),
        columns: names.join(", "),
        repair,
    })
}

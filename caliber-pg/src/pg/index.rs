//! Choosing the index of a read: by its columns, operator classes, collations
//! and predicate, never by its name.

use super::attributes::live_attributes;
use super::datum::Value;
use super::encoding::from_server_bytes;
use super::opclass::default_class;
use super::relation::{quote_identifier, schema_name, Relation, READ_LOCK};
use super::test::{equality, Test};
use super::unwinding;
use crate::error::{CaliberError, CaliberResult, StorageError};
use pgrx::pg_sys::{self, Oid};

/// What an index must serve: equality on some columns, then order by one.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Known columns compared for equality, with their values.
    pub equals: &'a [(usize, Value)],
    /// Tests that all rows pass; a partial index may rest on them.
    pub tests: &'a [(usize, Test)],
    /// The column that orders the rows, behind the equal ones.
    pub order: Option<usize>,
    /// Key columns of the index, if they are not the equal ones and the order.
    pub through: Option<&'a [usize]>,
    /// Whether the equal columns must name at most one row.
    pub unique: bool,
}

impl Wanted<'_> {
    /// Attribute numbers of the index's key.
    fn columns(&self, relation: &Relation) -> Vec<i16> {
        let equals = self.equals.iter().map(|&(c, _)| c);
        match self.through {
            Some(columns) => columns.iter().map(|&c| relation.attribute(c)).collect(),
            None => equals
                .chain(self.order)
                .map(|c| relation.attribute(c))
                .collect(),
        }
    }
}

/// Why a table's indexes cannot be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreliable {
    /// One is newer than what this transaction may see (indcheckxmin). Whoever
    /// scanned it would miss rows that are only in a HOT chain's older members; SQL
    /// then plans without it (get_relation_info, plancat.c).
    TooNew,
    /// The key is checked by deferrable constraints only: for a while several rows may
    /// have one.
    DeferrableKey,
}

/// Why the table's indexes cannot be relied on, if they cannot; `key` is its key
/// column.
pub fn unreliable(relation: &Relation, key: usize) -> Option<Unreliable> {
    let key = relation.attribute(key);
    let (mut at_once, mut deferrable) = (false, false);
    for oid in index_oids(relation) {
        let too_new = catalog_row(oid, |row| {
            let form = row.form;
            // SAFETY: the row is one of pg_index, whose indkey has an element.
            unsafe {
                if (*form).indisunique
                    && (*form).indnkeyatts == 1
                    && *(*form).indkey.values.as_ptr() == key
                {
                    // Only one of all rows, and complete, keeps the key of each apart.
                    at_once |= (*form).indimmediate && (*form).indisvalid && !row.is_partial();
                    deferrable |= !(*form).indimmediate;
                }
                (*form).indcheckxmin
                    && !pg_sys::TransactionIdPrecedes(row.written, pg_sys::TransactionXmin)
            }
        });
        if too_new == Some(true) {
            return Some(Unreliable::TooNew);
        }
    }
    (deferrable && !at_once).then_some(Unreliable::DeferrableKey)
}

/// An open index that serves a read.
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
        Self::find(relation, wanted)
            .ok_or_else(|| missing(relation, &wanted.columns(relation), wanted.unique))
    }

    /// As [`Index::choose`]; None if there is none.
    pub(crate) fn find(relation: &Relation, wanted: &Wanted<'_>) -> Option<Self> {
        let columns = wanted.columns(relation);
        let mut whole = None;
        for oid in index_oids(relation) {
            // Most are of other columns, which is known without opening them.
            if !has_key(oid, &columns) {
                continue;
            }
            let index = Self::open(oid);
            if !index.usable(wanted.unique)
                || !index.serves(relation, pg_sys::BTREE_AM_OID, &columns)
            {
                continue;
            }
            match index.predicate() {
                // No partial one has a key that names at most one row.
                None if wanted.unique => return Some(index),
                None if whole.is_none() => whole = Some(index),
                None => {}
                Some(predicate)
                    if implied(predicate, relation, wanted)
                        || crate::fault::active("predicate_not_implied") =>
                {
                    return Some(index)
                }
                Some(_) => {}
            }
        }
        whole
    }

    /// A valid GIN index on exactly this array column, for all rows.
    ///
    /// # Errors
    /// 55000 if there is none.
    pub(crate) fn of_elements(relation: &Relation, column: usize) -> CaliberResult<Self> {
        let columns = [relation.attribute(column)];
        index_oids(relation)
            .into_iter()
            .map(Self::open)
            .find(|index| {
                index.form().indisvalid
                    && index.serves(relation, pg_sys::GIN_AM_OID, &columns)
                    && index.predicate().is_none()
            })
            .ok_or_else(|| missing(relation, &columns, false))
    }

    /// Opens an index of a relation that is open and locked.
    pub(crate) fn open(oid: Oid) -> Self {
        // SAFETY: the OID comes from the relation's index list; index_open
        // locks the index and raises if it vanished (DROP INDEX CONCURRENTLY),
        // as a planner would.
        let ptr = unsafe { pg_sys::index_open(oid, READ_LOCK) };
        Self { ptr }
    }

    pub(crate) fn form(&self) -> &pg_sys::FormData_pg_index {
        // SAFETY: the index is open.
        unsafe { &*(*self.ptr).rd_index }
    }

    /// A valid one, and a whole unique one where the key must name one row.
    fn usable(&self, unique: bool) -> bool {
        let form = self.form();
        let fits = !unique || (form.indisunique && self.predicate().is_none());
        (form.indisvalid || crate::fault::active("invalid_index_used")) && fits
    }

    /// Is it of this access method, and are its key columns exactly `columns`,
    /// ascending, each with the collation of the table's column and the type's
    /// own operator class?
    fn serves(&self, relation: &Relation, method: Oid, columns: &[i16]) -> bool {
        let form = self.form();
        // SAFETY: the index is open.
        let is_of_method = unsafe { (*(*self.ptr).rd_rel).relam } == method;
        if !is_of_method || form.indnkeyatts as usize != columns.len() {
            return false;
        }
        columns.iter().enumerate().all(|(i, &column)| {
            // SAFETY: i is below indnkeyatts, which bounds these arrays; the
            // attribute number is one of the table's.
            unsafe {
                let key = *form.indkey.values.as_ptr().add(i);
                let attribute =
                    super::compat::attribute(relation.descriptor(), column as usize - 1);
                let (family, input) = default_class((*attribute).atttypid, method);
                key == column
                    && *(*self.ptr).rd_indoption.add(i) == 0
                    && (*(*self.ptr).rd_indcollation.add(i) == (*attribute).attcollation
                        || crate::fault::active("own_collation_scan"))
                    && *(*self.ptr).rd_opfamily.add(i) == family
                    && *(*self.ptr).rd_opcintype.add(i) == input
            }
        })
    }

    /// The predicate of a partial index.
    fn predicate(&self) -> Option<*mut pg_sys::List> {
        // SAFETY: the index is open; the list is a copy in this context.
        let predicate = unsafe { pg_sys::RelationGetIndexPredicate(self.ptr) };
        (!predicate.is_null()).then_some(predicate)
    }
}

/// Does an index's predicate follow from the read's conditions
/// (predicate_implied_by, predtest.c)?
fn implied(predicate: *mut pg_sys::List, relation: &Relation, wanted: &Wanted<'_>) -> bool {
    // SAFETY: the relation is open; the expressions live in this memory context.
    unsafe {
        let mut clauses: *mut pg_sys::List = std::ptr::null_mut();
        for &(column, value) in wanted.equals {
            clauses = pg_sys::lappend(clauses, equality(relation, column, value).cast());
        }
        for &(column, test) in wanted.tests {
            if let Some(clause) = test.clause(relation, column) {
                clauses = pg_sys::lappend(clauses, clause.cast());
            }
        }
        pg_sys::predicate_implied_by(predicate, clauses, false)
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

/// Are these the key columns of an index?
fn has_key(index: Oid, columns: &[i16]) -> bool {
    let same = catalog_row(index, |row| {
        let form = row.form;
        // SAFETY: the row is one of pg_index, whose indkey has indnatts elements.
        unsafe {
            let keys = (*form).indkey.values.as_ptr();
            (*form).indnkeyatts as usize == columns.len()
                && columns.iter().enumerate().all(|(i, &c)| *keys.add(i) == c)
        }
    });
    same == Some(true)
}

/// A row of pg_index, while it is held in the cache.
struct CatalogRow {
    tuple: pg_sys::HeapTuple,
    form: *const pg_sys::FormData_pg_index,
    /// The transaction that wrote it.
    written: pg_sys::TransactionId,
}

impl CatalogRow {
    /// Does the index hold only some of the rows?
    fn is_partial(&self) -> bool {
        let predicate = pg_sys::Anum_pg_index_indpred as i32;
        // SAFETY: the tuple is held; each row of pg_index has this attribute, so that no
        // descriptor is asked for.
        unsafe { !pg_sys::heap_attisnull(self.tuple, predicate, std::ptr::null_mut()) }
    }
}

/// What `look` finds in the row of pg_index of an index; None if there is no such row any
/// more.
fn catalog_row<T>(index: Oid, look: impl FnOnce(&CatalogRow) -> T) -> Option<T> {
    // SAFETY: a syscache lookup by OID; the tuple is checked for NULL, is one of pg_index,
    // and is released after its last use.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::INDEXRELID as i32,
            pg_sys::Datum::from(index),
        );
        if tuple.is_null() {
            return None;
        }
        let found = look(&CatalogRow {
            tuple,
            form: pg_sys::GETSTRUCT(tuple).cast(),
            written: super::compat::tuple_xmin((*tuple).t_data),
        });
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}

/// OIDs of the relation's live indexes (RelationGetIndexList, relcache.c).
pub(crate) fn index_oids(relation: &Relation) -> Vec<Oid> {
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

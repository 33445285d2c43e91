//! An index that is looked at, and the values that it should hold for a row.

use super::image::{Image, Kind};
use super::subject::Subject;
use crate::pg::encoding::from_server;
use crate::pg::relation::READ_LOCK;
use crate::pg::{compat, unwinding};
use pgrx::pg_sys::{self, Oid};
use std::cmp::Ordering;

/// What can be asked of an index of this access method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Read in order, with the values; searched for each key.
    BTree,
    /// Searched for each value.
    Hash,
    /// Read in full; searched for each element of an array.
    Gin,
    /// Read in full (GiST and SP-GiST).
    Tree,
    /// Searched for each value, by page.
    Brin,
    /// pgvector's, read page by page.
    Hnsw,
    /// Unknown to us: nothing can be said.
    Other,
}

/// The most columns that an index has (pg_config_manual.h).
pub(super) const MAX_KEYS: usize = pg_sys::INDEX_MAX_KEYS as usize;

/// Values of an index's columns.
pub(super) struct Values {
    pub(super) datums: [pg_sys::Datum; MAX_KEYS],
    pub(super) nulls: [bool; MAX_KEYS],
}

impl Values {
    /// Nothing but NULLs.
    pub(super) fn new() -> Self {
        Self {
            datums: [pg_sys::Datum::null(); MAX_KEYS],
            nulls: [true; MAX_KEYS],
        }
    }

    /// The value of a column (from 0).
    pub(super) fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        (!self.nulls[column]).then_some(self.datums[column])
    }
}

/// An open index.
pub(super) struct Examined {
    pub(super) rel: pg_sys::Relation,
    pub(super) heap: pg_sys::Relation,
    /// Its name.
    pub(super) name: String,
    pub(super) method: Method,
    info: *mut pg_sys::IndexInfo,
    /// The compiled predicate; NULL if the index is whole.
    predicate: *mut pg_sys::ExprState,
}

impl Examined {
    /// Opens an index of the table, unless it went away or cannot be used under
    /// this transaction's snapshots (indcheckxmin, as get_relation_info in
    /// plancat.c decides).
    ///
    /// # Safety
    /// `estate` outlives what is returned.
    pub(super) unsafe fn open(
        subject: &Subject,
        oid: Oid,
        estate: *mut pg_sys::EState,
    ) -> Option<Self> {
        // SAFETY: try_relation_open locks, and returns NULL if the index was
        // dropped meanwhile; what follows is of an open index.
        unsafe {
            let rel = pg_sys::try_relation_open(oid, READ_LOCK);
            if rel.is_null() {
                return None;
            }
            let form = (*rel).rd_index;
            let young = (*form).indcheckxmin
                && !pg_sys::TransactionIdPrecedes(
                    compat::tuple_xmin((*(*rel).rd_indextuple).t_data),
                    pg_sys::TransactionXmin,
                );
            if young || !(*form).indisvalid || (*form).indrelid != subject.oid() {
                pg_sys::relation_close(rel, pg_sys::NoLock as _);
                return None;
            }
            let info = pg_sys::BuildIndexInfo(rel);
            let predicate = if (*info).ii_Predicate.is_null() {
                std::ptr::null_mut()
            } else {
                pg_sys::ExecPrepareQual((*info).ii_Predicate, estate)
            };
            Some(Self {
                rel,
                heap: subject.rel,
                name: from_server((*(*rel).rd_rel).relname.data.as_ptr()),
                method: method((*(*rel).rd_rel).relam),
                info,
                predicate,
            })
        }
    }

    /// OID of the index.
    pub(super) fn oid(&self) -> Oid {
        // SAFETY: the index is open.
        unsafe { (*self.rel).rd_id }
    }

    fn form(&self) -> &pg_sys::FormData_pg_index {
        // SAFETY: the index is open.
        unsafe { &*(*self.rel).rd_index }
    }

    /// Is it unique?
    pub(super) fn is_unique(&self) -> bool {
        self.form().indisunique
    }

    /// Are NULLs the same to its uniqueness?
    pub(super) fn nulls_are_equal(&self) -> bool {
        self.form().indnullsnotdistinct
    }

    /// How many columns its key has.
    pub(super) fn key_columns(&self) -> usize {
        self.form().indnkeyatts as usize
    }

    /// How many columns it has, included ones too.
    pub(super) fn columns(&self) -> usize {
        self.form().indnatts as usize
    }

    /// Descriptor of its entries.
    pub(super) fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the index is open.
        unsafe { (*self.rel).rd_att }
    }

    /// The operator family of key column `column` (from 0), its input type and
    /// its collation.
    pub(super) fn operators(&self, column: usize) -> (Oid, Oid, Oid) {
        debug_assert!(column < self.key_columns());
        // SAFETY: these arrays have one element for each key column.
        unsafe {
            (
                *(*self.rel).rd_opfamily.add(column),
                *(*self.rel).rd_opcintype.add(column),
                *(*self.rel).rd_indcollation.add(column),
            )
        }
    }

    /// Type of the values of key column `column` (from 0), which the operator class
    /// says unless it is for any array, enum or row. None if it cannot be told.
    pub(super) fn key_type(&self, column: usize) -> Option<Oid> {
        let (_, input, _) = self.operators(column);
        // SAFETY: look-ups by OID; `column` is below indnatts, and an attribute
        // number that is not 0 is one of the table's.
        unsafe {
            if pg_sys::get_typtype(input) as u8 != pg_sys::TYPTYPE_PSEUDO {
                return Some(input);
            }
            // Only a B-tree stores the values as they are.
            if self.method == Method::BTree {
                return Some((*compat::attribute(self.descriptor(), column)).atttypid);
            }
            let number = *self.form().indkey.values.as_ptr().add(column);
            let attribute = usize::try_from(number).ok()?.checked_sub(1)?;
            Some((*compat::attribute((*self.heap).rd_att, attribute)).atttypid)
        }
    }

    /// Should the index have an entry for the row in the scan slot of `econtext`,
    /// as far as its predicate says?
    ///
    /// # Safety
    /// The slot holds a row of the table.
    pub(super) unsafe fn wants(&self, econtext: *mut pg_sys::ExprContext) -> bool {
        // SAFETY: the predicate was compiled for rows of the table. A NULL
        // qualification is true (ExecQual, executor.h).
        self.predicate.is_null() || unsafe { pg_sys::ExecQual(self.predicate, econtext) }
    }

    /// The values that the index should hold for a row.
    ///
    /// # Safety
    /// `slot` holds a row of the table, and is the scan slot of the expression
    /// context of `estate`.
    pub(super) unsafe fn values(
        &self,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
        values: &mut Values,
    ) {
        // SAFETY: the caller's promise; both arrays have INDEX_MAX_KEYS elements.
        unsafe {
            pg_sys::FormIndexDatum(
                self.info,
                slot,
                estate,
                values.datums.as_mut_ptr(),
                values.nulls.as_mut_ptr(),
            );
        }
    }

    /// The image of an entry with these values.
    ///
    /// # Safety
    /// They are values of this index's columns.
    pub(super) unsafe fn image(&self, values: &Values) -> i64 {
        let mut image = Image::new();
        for column in 0..self.columns() {
            // SAFETY: the caller's promise; the attribute says how the column is
            // stored in an entry, and a value from a row is passed the same way.
            unsafe {
                let kind = Kind::of_attribute(self.descriptor(), column);
                image.value(values.get(column), kind);
            }
        }
        image.done()
    }

    /// How two keys of a B-tree stand to each other in its order.
    ///
    /// # Safety
    /// They are values of this B-tree's key columns.
    pub(super) unsafe fn compare(&self, a: &Values, b: &Values) -> Ordering {
        for column in 0..self.key_columns() {
            // SAFETY: the caller's promise; the arrays of the index have one
            // element for each key column, and procedure 1 of a B-tree operator
            // class compares two values of its input type.
            let order = unsafe {
                let option = *(*self.rel).rd_indoption.add(column) as u32;
                let nulls_first = option & pg_sys::INDOPTION_NULLS_FIRST != 0;
                match (a.get(column), b.get(column)) {
                    (None, None) => Ordering::Equal,
                    (None, Some(_)) if nulls_first => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(_), None) if nulls_first => Ordering::Greater,
                    (Some(_), None) => Ordering::Less,
                    (Some(a), Some(b)) => {
                        let order = (self.compare_values(column, a, b)).cmp(&0);
                        if option & pg_sys::INDOPTION_DESC != 0 {
                            order.reverse()
                        } else {
                            order
                        }
                    }
                }
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    /// # Safety
    /// As for [`compare`](Self::compare).
    unsafe fn compare_values(&self, column: usize, a: pg_sys::Datum, b: pg_sys::Datum) -> i32 {
        // SAFETY: the caller's promise.
        unsafe {
            let procedure = pg_sys::index_getprocinfo(self.rel, column as i16 + 1, 1);
            let collation = *(*self.rel).rd_indcollation.add(column);
            pg_sys::FunctionCall2Coll(procedure, collation, a, b).value() as i32
        }
    }
}

fn method(access_method: Oid) -> Method {
    match access_method {
        pg_sys::BTREE_AM_OID => Method::BTree,
        pg_sys::HASH_AM_OID => Method::Hash,
        pg_sys::GIN_AM_OID => Method::Gin,
        pg_sys::GIST_AM_OID | pg_sys::SPGIST_AM_OID => Method::Tree,
        pg_sys::BRIN_AM_OID => Method::Brin,
        other => {
            // SAFETY: returns a palloc'd name, or NULL.
            let name = unsafe { pg_sys::get_am_name(other) };
            // SAFETY: as above.
            if !name.is_null() && unsafe { from_server(name) } == "hnsw" {
                Method::Hnsw
            } else {
                Method::Other
            }
        }
    }
}

impl Drop for Examined {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened in `open`; the lock stays to the end of the
            // transaction, as a query's does. Dropping a reference does not raise.
            unsafe { pg_sys::relation_close(self.rel, pg_sys::NoLock as _) };
        }
    }
}

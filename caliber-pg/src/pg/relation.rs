//! Finding, locking and checking the table that a function works on.

use super::attributes::{known_attributes, live_attributes};
use super::encoding::{from_server, from_server_bytes, to_server};
use super::unwinding;
use crate::error::{CaliberError, CaliberResult, RelationProblem, StorageError};
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// The type of a column, as far as the library must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `uuid`
    Uuid,
    /// `text`
    Text,
    /// `timestamp with time zone`
    Timestamp,
    /// `jsonb`
    Jsonb,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Real,
    /// `boolean`
    Bool,
    /// `bytea`
    Bytea,
    /// `uuid[]`
    UuidArray,
    /// `text[]`
    TextArray,
    /// `vector` of pgvector, in whatever schema that is
    Vector,
}

/// OID of `uuid[]`.
pub const UUID_ARRAY: Oid = pg_sys::UUIDARRAYOID;

impl ColumnType {
    /// OID of the type; invalid for one that an extension brings.
    pub fn oid(self) -> Oid {
        match self {
            Self::Uuid => pg_sys::UUIDOID,
            Self::Text => pg_sys::TEXTOID,
            Self::Timestamp => pg_sys::TIMESTAMPTZOID,
            Self::Jsonb => pg_sys::JSONBOID,
            Self::Int4 => pg_sys::INT4OID,
            Self::Int8 => pg_sys::INT8OID,
            Self::Real => pg_sys::FLOAT4OID,
            Self::Bool => pg_sys::BOOLOID,
            Self::Bytea => pg_sys::BYTEAOID,
            Self::UuidArray => UUID_ARRAY,
            Self::TextArray => pg_sys::TEXTARRAYOID,
            Self::Vector => Oid::INVALID,
        }
    }

    /// Is `kind` this type?
    pub(super) fn is(self, kind: Oid) -> bool {
        match self {
            Self::Vector => is_vector(kind),
            _ => kind == self.oid(),
        }
    }

    /// Its name as SQL writes it.
    pub(super) fn sql_name(self) -> String {
        match self {
            Self::Vector => "vector".into(),
            _ => type_name(self.oid()),
        }
    }
}

/// A column of a table: its name and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: ColumnType,
}

impl Column {
    /// A column.
    pub const fn new(name: &'static str, kind: ColumnType) -> Self {
        Self { name, kind }
    }
}

/// A table as the library knows it.
#[derive(Debug)]
pub struct Shape {
    /// Table name.
    pub table: &'static str,
    /// Name of the composite type that the table is OF.
    pub row_type: &'static str,
    /// Columns in attribute order.
    pub columns: &'static [Column],
}

/// Lock mode of a read.
pub const READ_LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// Lock mode of a write.
pub const WRITE_LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;

/// A table that is open, locked to the end of the transaction, and known to
/// have the shape that the library expects.
#[derive(Debug)]
pub struct Relation {
    pub(crate) ptr: pg_sys::Relation,
    /// Attribute number in the table of each known column.
    pub(crate) attributes: Vec<i16>,
    columns: &'static [Column],
    /// OID of the row type.
    pub(crate) row_type: Oid,
    schema: Oid,
}

impl Relation {
    /// Opens `shape.table` in `schema`, never through a search_path, and keeps
    /// the lock to the end of the transaction.
    ///
    /// # Errors
    /// 42P01 if there is no such relation, 42804 if it is something else than
    /// the library knows.
    pub fn open(schema: Oid, shape: &Shape, lock: pg_sys::LOCKMODE) -> CaliberResult<Self> {
        let Some(oid) = lock_by_name(schema, shape.table, lock) else {
            return Err(CaliberError::from(StorageError::SpiError(
                RelationProblem::Missing {
                    table: qualified(schema, shape.table),
                },
            )));
        };
        // SAFETY: the OID is locked above, so the relation cannot vanish.
        let ptr = unsafe { pg_sys::relation_open(oid, pg_sys::NoLock as _) };
        let mut relation = Self {
            ptr,
            attributes: Vec::new(),
            columns: shape.columns,
            row_type: type_by_name(schema, shape.row_type).unwrap_or(Oid::INVALID),
            schema,
        };
        relation.attributes = relation.check_shape(shape)?;
        Ok(relation)
    }

    /// OID of the table.
    pub fn oid(&self) -> Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.ptr).rd_id }
    }

    /// OID of the schema that holds it.
    pub fn schema(&self) -> Oid {
        self.schema
    }

    /// Descriptor of the table's own tuples.
    pub(crate) fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open.
        unsafe { (*self.ptr).rd_att }
    }

    /// pg_class row of the relation.
    pub(crate) fn class(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: the relation is open, and rd_rel is set while it is.
        unsafe { &*(*self.ptr).rd_rel }
    }

    /// OID of the table's owner.
    pub fn owner(&self) -> Oid {
        self.class().relowner
    }

    /// Attribute number of known column `column`.
    pub(crate) fn attribute(&self, column: usize) -> i16 {
        self.attributes[column]
    }

    /// Type of known column `column`.
    pub(crate) fn kind(&self, column: usize) -> ColumnType {
        self.columns[column].kind
    }

    /// OID of the type of known column `column`.
    pub(crate) fn column_type(&self, column: usize) -> Oid {
        let i = self.attribute(column) as usize - 1;
        // SAFETY: the relation is open and the attribute is one of its own.
        unsafe { (*super::compat::attribute(self.descriptor(), i)).atttypid }
    }

    /// Name of the table.
    pub fn name(&self) -> String {
        // SAFETY: relname is a NUL-terminated NameData.
        unsafe { from_server(self.class().relname.data.as_ptr()) }
    }

    /// Is row-level security in force for the current user? With
    /// `row_security = off` and a policy that applies, raises 42501 as SQL does
    /// (check_enable_rls, rls.c).
    pub fn policies_in_force(&self) -> bool {
        // SAFETY: the relation exists; InvalidOid means the current user.
        let state = unsafe { pg_sys::check_enable_rls(self.oid(), Oid::INVALID, false) };
        state == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
    }

    /// Are there rewrite rules?
    pub fn has_rules(&self) -> bool {
        // SAFETY: the relation is open.
        unsafe { !(*self.ptr).rd_rules.is_null() }
    }

    /// Are there triggers that somebody wrote?
    pub fn has_user_triggers(&self) -> bool {
        // SAFETY: the relation is open; trigdesc is NULL or has an array of
        // numtriggers elements.
        unsafe {
            let desc = (*self.ptr).trigdesc;
            !desc.is_null()
                && (0..(*desc).numtriggers as usize)
                    .any(|i| !(*(*desc).triggers.add(i)).tgisinternal)
        }
    }

    /// May a trigger change a row before it is inserted?
    pub fn has_insert_triggers(&self) -> bool {
        // SAFETY: the relation is open; its trigger descriptor is NULL or valid.
        unsafe {
            (*self.ptr)
                .trigdesc
                .as_ref()
                .is_some_and(|triggers| triggers.trig_insert_before_row)
        }
    }

    /// Is the table's access method the heap?
    pub fn is_heap(&self) -> bool {
        self.class().relam == pg_sys::HEAP_TABLE_AM_OID
    }

    /// Is a column generated, or GENERATED ALWAYS AS IDENTITY? The rewriter
    /// and the executor treat them in ways of their own.
    pub fn has_generated_columns(&self) -> bool {
        let desc = self.descriptor();
        // SAFETY: the relation is open; constr is NULL or valid, and attribute
        // numbers below natts are.
        unsafe {
            let constr = (*desc).constr;
            (!constr.is_null() && super::compat::has_generated(constr))
                || (0..(*desc).natts as usize).any(|i| {
                    (*super::compat::attribute(desc, i)).attidentity as u8
                        == pg_sys::ATTRIBUTE_IDENTITY_ALWAYS
                })
        }
    }

    /// Are there inheritance children? relhassubclass may be left over from a
    /// child that was dropped, so pg_inherits is asked (pg_inherits.c).
    pub fn has_children(&self) -> bool {
        unsafe extern "C-unwind" {
            fn find_inheritance_children(parent: Oid, lock: pg_sys::LOCKMODE) -> *mut pg_sys::List;
        }
        if !self.class().relhassubclass {
            return false;
        }
        let oid = self.oid();
        // SAFETY: a catalog scan by OID without locking the children; the
        // closure has nothing to drop. NIL is a NULL pointer.
        let list = unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                find_inheritance_children(oid, pg_sys::NoLock as _)
            })
        };
        !list.is_null()
    }

    /// Names of the columns that the library does not know.
    pub fn later_columns(&self) -> Vec<String> {
        live_attributes(self.descriptor())
            .into_iter()
            .filter(|a| !self.attributes.contains(&a.number))
            .map(|a| from_server_bytes(&a.name))
            .collect()
    }

    /// Raises what a domain says to the NULL of a column that the library does not know
    /// (23502, 23514), as SQL does before it writes the row (ExecEvalConstraintNotNull and
    /// ExecEvalConstraintCheck, execExprInterp.c).
    pub fn check_later_domains(&self) {
        let desc = self.descriptor();
        // SAFETY: the relation is open; attribute numbers below natts are valid. Nothing is
        // remembered of a domain.
        unsafe {
            let all = (*desc).natts as usize;
            if all == self.attributes.len() {
                return;
            }
            for i in 0..all {
                let attribute = &*super::compat::attribute(desc, i);
                let later = !attribute.attisdropped && !self.attributes.contains(&attribute.attnum);
                if later && pg_sys::get_typtype(attribute.atttypid) as u8 == pg_sys::TYPTYPE_DOMAIN
                {
                    let (null, context) = (pg_sys::Datum::null(), pg_sys::CurrentMemoryContext);
                    let nothing = std::ptr::null_mut();
                    pg_sys::domain_check(null, true, attribute.atttypid, nothing, context);
                }
            }
        }
    }

    /// Compares table and row type with what the library knows.
    fn check_shape(&self, shape: &Shape) -> CaliberResult<Vec<i16>> {
        let class = self.class();
        if class.relkind as u8 != pg_sys::RELKIND_RELATION
            || self.row_type == Oid::INVALID
            || class.reloftype != self.row_type
        {
            let s = quote_identifier(&schema_name(self.schema));
            let t = shape.table;
            return Err(wrong_shape(
                self.schema,
                shape,
                format!("It is not a table of type {s}.{}.", shape.row_type),
                format!("ALTER TABLE {s}.{t} OF {s}.{}", shape.row_type),
            ));
        }
        known_attributes(self.descriptor(), shape.columns)
            .map_err(|detail| wrong_shape(self.schema, shape, detail, UPGRADE_HINT.into()))
    }
}

const UPGRADE_HINT: &str =
    "The library and the extension's objects are of different versions, or the type was altered.";

impl Drop for Relation {
    fn drop(&mut self) {
        if !unwinding() {
            let lock = if crate::fault::active("read_lock_dropped") {
                READ_LOCK
            } else {
                pg_sys::NoLock as _
            };
            // SAFETY: opened in `open`; NoLock keeps the lock to the end of
            // the transaction. Dropping a reference does not raise.
            unsafe { pg_sys::relation_close(self.ptr, lock) };
        }
    }
}

fn wrong_shape(schema: Oid, shape: &Shape, detail: String, hint: String) -> CaliberError {
    CaliberError::from(StorageError::SpiError(RelationProblem::WrongShape {
        table: qualified(schema, shape.table),
        detail,
        hint,
    }))
}

/// `schema.table` as messages show it.
pub fn qualified(schema: Oid, table: &str) -> String {
    format!("{}.{table}", schema_name(schema))
}

/// Name of a schema.
pub fn schema_name(schema: Oid) -> String {
    // SAFETY: returns a palloc'd copy or NULL.
    unsafe {
        let p = pg_sys::get_namespace_name(schema);
        if p.is_null() {
            schema.to_u32().to_string()
        } else {
            from_server(p)
        }
    }
}

/// An identifier as SQL text needs it, quoted where necessary.
pub fn quote_identifier(name: &str) -> String {
    let name = to_server(name);
    // SAFETY: returns the input or a palloc'd NUL-terminated string.
    unsafe { from_server(pg_sys::quote_identifier(name.as_ptr())) }
}

/// Name of a type as SQL writes it.
fn type_name(kind: Oid) -> String {
    // SAFETY: format_type_be returns a palloc'd string for any OID.
    unsafe { from_server(pg_sys::format_type_be(kind)) }
}

/// Is this the type `vector`, in whatever schema pgvector is? A domain, an enumeration
/// or a composite type of that name is none; another base type only a superuser can
/// make.
fn is_vector(kind: Oid) -> bool {
    // SAFETY: a syscache lookup by OID; the tuple is one of pg_type, checked
    // for NULL and released after its last use.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::TYPEOID as i32,
            pg_sys::Datum::from(kind),
        );
        if tuple.is_null() {
            return false;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_type>();
        let name = CStr::from_ptr((*form).typname.data.as_ptr());
        let found = name == c"vector"
            && (*form).typtype as u8 == pg_sys::TYPTYPE_BASE
            && (*form).typlen == -1;
        pg_sys::ReleaseSysCache(tuple);
        found
    }
}

/// OID of the type `name` in `schema`, never by search_path.
pub fn type_by_name(schema: Oid, name: &str) -> Option<Oid> {
    let name = to_server(name);
    // SAFETY: a syscache lookup with the key types of TYPENAMENSP (pg_type.h).
    let oid = unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as _,
            pg_sys::Anum_pg_type_oid as _,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(schema),
            pg_sys::Datum::from(0usize),
            pg_sys::Datum::from(0usize),
        )
    };
    (oid != Oid::INVALID).then_some(oid)
}

/// Looks the relation up and locks it; if it was renamed or replaced while we
/// waited for the lock, tries again (as RangeVarGetRelidExtended, namespace.c).
pub(crate) fn lock_by_name(schema: Oid, name: &str, lock: pg_sys::LOCKMODE) -> Option<Oid> {
    let name = to_server(name);
    loop {
        // SAFETY: syscache lookups and a heavyweight lock; LockRelationOid
        // accepts invalidation messages, so the second lookup is current.
        unsafe {
            let mut oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
            if oid == Oid::INVALID {
                // The answer may be a cached one from before somebody else
                // created the table.
                pg_sys::AcceptInvalidationMessages();
                oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
            }
            if oid == Oid::INVALID {
                return None;
            }
            pg_sys::LockRelationOid(oid, lock);
            if pg_sys::get_relname_relid(name.as_ptr(), schema) == oid {
                return Some(oid);
            }
            pg_sys::UnlockRelationOid(oid, lock);
        }
        super::check_for_interrupts();
    }
}

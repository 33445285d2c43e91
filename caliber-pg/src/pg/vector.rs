//! pgvector's types and functions, in whatever schema that extension is.

use super::catalog::internal_error;
use super::compat::privileges::check_function_execute;
use super::datum::Value;
use super::memory;
use super::relation::type_by_name;
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// OID of the type `vector`. Invalid only if the extension that ours requires
/// has gone.
pub fn vector_type() -> Oid {
    schema().map_or(Oid::INVALID, |schema| {
        type_by_name(schema, "vector").unwrap_or(Oid::INVALID)
    })
}

/// A vector, and how far others are from it by pgvector's cosine distance.
/// Lives as long as the memory context it was made in.
#[derive(Debug, Clone, Copy)]
pub struct Cosine {
    query: pg_sys::Datum,
    dimensions: i32,
    /// pgvector's schema and its type `vector`.
    schema: Oid,
    kind: Oid,
    vector_dims: *mut pg_sys::FmgrInfo,
    cosine_distance: *mut pg_sys::FmgrInfo,
}

impl Cosine {
    /// Distances from `query`, a `vector` that is not NULL. The caller needs
    /// USAGE on pgvector's schema and EXECUTE on its functions, as for the operator
    /// (42501).
    pub fn from(query: Value) -> Self {
        let Some(schema) = schema() else {
            internal_error("extension \"vector\" does not exist".to_owned());
        };
        let kind = type_by_name(schema, "vector").unwrap_or(Oid::INVALID);
        // SAFETY: the query is a vector (its declared type); the functions are
        // looked up by the types that they are called with.
        unsafe {
            let query = pg_sys::Datum::from(pg_sys::pg_detoast_datum(query.datum.cast_mut_ptr()));
            let vector_dims = function(schema, c"vector_dims", &[kind]);
            let cosine_distance = function(schema, c"cosine_distance", &[kind, kind]);
            let dimensions = pg_sys::FunctionCall1Coll(vector_dims, Oid::INVALID, query);
            Self {
                query,
                dimensions: dimensions.value() as i32,
                schema,
                kind,
                vector_dims,
                cosine_distance,
            }
        }
    }

    /// The number of dimensions.
    pub fn dimensions(&self) -> i32 {
        self.dimensions
    }

    /// The query itself.
    pub fn query(&self) -> Value {
        Value::of(self.query)
    }

    /// The type `vector`.
    pub fn vector_type(&self) -> Oid {
        self.kind
    }

    /// pgvector's schema.
    pub fn schema(&self) -> Oid {
        self.schema
    }

    /// The distance of an embedding, `embedding <=> query`: None for NULL and
    /// for one of another dimension. Not a number if either has no direction.
    pub fn distance(&self, embedding: Value) -> Option<f64> {
        if embedding.is_null() {
            return None;
        }
        // SAFETY: the column has the type `vector`, which both functions take.
        memory::scratch(|| unsafe {
            let embedding =
                pg_sys::Datum::from(pg_sys::pg_detoast_datum(embedding.datum.cast_mut_ptr()));
            let found = pg_sys::FunctionCall1Coll(self.vector_dims, Oid::INVALID, embedding);
            if found.value() as i32 != self.dimensions {
                return None;
            }
            let distance = pg_sys::FunctionCall2Coll(
                self.cosine_distance,
                Oid::INVALID,
                embedding,
                self.query,
            );
            Some(f64::from_bits(distance.value() as u64))
        })
    }
}

/// A qualified name as the parser's look-ups take it.
///
/// # Safety
/// The schema exists.
pub(crate) unsafe fn name_in(schema: Oid, name: &CStr) -> *mut pg_sys::List {
    // SAFETY: makeString keeps pointers: to a palloc'd copy each.
    unsafe {
        let name = pg_sys::pstrdup(name.as_ptr());
        let list = pg_sys::lappend(
            std::ptr::null_mut(),
            pg_sys::makeString(pg_sys::get_namespace_name(schema)).cast(),
        );
        pg_sys::lappend(list, pg_sys::makeString(name).cast())
    }
}

/// OID of pgvector's function for exactly these argument types.
pub(crate) fn function_oid(schema: Oid, name: &CStr, arguments: &[Oid]) -> Oid {
    // SAFETY: raises if there is no such function.
    unsafe {
        let name = name_in(schema, name);
        pg_sys::LookupFuncName(name, arguments.len() as i32, arguments.as_ptr(), false)
    }
}

/// A function ready to be called, which the user may (ExecInitFunc, execExpr.c).
fn function(schema: Oid, name: &CStr, arguments: &[Oid]) -> *mut pg_sys::FmgrInfo {
    let oid = function_oid(schema, name, arguments);
    check_function_execute(oid);
    // SAFETY: fmgr_info fills zeroed memory of the current context.
    unsafe {
        let info = pg_sys::palloc0(std::mem::size_of::<pg_sys::FmgrInfo>()).cast();
        pg_sys::fmgr_info(oid, info);
        info
    }
}

/// The schema of the extension `vector` (get_extension_schema, extension.c,
/// which 15 does not export).
pub fn schema() -> Option<Oid> {
    // SAFETY: a scan of pg_extension by its unique index on the name; the tuple
    // is read before the scan ends.
    unsafe {
        let catalog = pg_sys::table_open(pg_sys::ExtensionRelationId, pg_sys::AccessShareLock as _);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_extension_extname as i16,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::F_NAMEEQ.into(),
            pg_sys::Datum::from(c"vector".as_ptr()),
        );
        let scan = pg_sys::systable_beginscan(
            catalog,
            pg_sys::ExtensionNameIndexId.into(),
            true,
            std::ptr::null_mut(),
            1,
            &mut key,
        );
        let tuple = pg_sys::systable_getnext(scan);
        let schema = (!tuple.is_null()).then(|| {
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_extension>();
            (*form).extnamespace
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, pg_sys::AccessShareLock as _);
        schema
    }
}

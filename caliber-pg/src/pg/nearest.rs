//! pgvector's HNSW indexes: those that `caliber_init(embedding_dimensions)`
//! makes (sql/embedding.sql), found by what they index, never by name.

use super::datum::Value;
use super::index::{index_oids, Index};
use super::relation::{type_by_name, Relation};
use super::test::variable;
use super::vector::{function_oid, name_in, Cosine};
use pgrx::pg_sys::{self, Oid};

/// The most dimensions that pgvector's HNSW takes of a `vector`.
pub const VECTOR_DIMENSIONS: i32 = 2000;
/// The most dimensions that it takes of a `halfvec`.
pub const HALFVEC_DIMENSIONS: i32 = 4000;

/// The type whose cast an index for so many dimensions is on; None if there
/// can be no index.
pub fn element_type(dimensions: i32) -> Option<&'static str> {
    if dimensions <= VECTOR_DIMENSIONS {
        Some("vector")
    } else if dimensions <= HALFVEC_DIMENSIONS {
        Some("halfvec")
    } else {
        None
    }
}

/// The open index of the embeddings that have the query's dimension, and the
/// key that orders them by their distance.
#[derive(Debug)]
pub(crate) struct Hnsw {
    pub(crate) index: Index,
    pub(crate) key: pg_sys::ScanKeyData,
}

/// What such an index is made of.
struct Definition {
    /// `vector` or `halfvec`.
    element: Oid,
    /// `embedding::element(n)`
    expression: *mut pg_sys::Node,
    /// `vector_dims(embedding) = n`
    predicate: *mut pg_sys::Node,
    /// `<=>` of that type.
    operator: Oid,
}

impl Hnsw {
    /// The valid HNSW index on known column `column` for embeddings of the
    /// query's dimension, if there is one.
    pub(crate) fn find(relation: &Relation, column: usize, cosine: &Cosine) -> Option<Self> {
        let wanted = Definition::of(relation, column, cosine)?;
        let index = index_oids(relation)
            .into_iter()
            .map(Index::open)
            .find(|index| wanted.is(index))?;
        let key = wanted.key(&index, cosine);
        Some(Self { index, key })
    }
}

impl Definition {
    fn of(relation: &Relation, column: usize, cosine: &Cosine) -> Option<Self> {
        let n = cosine.dimensions();
        let element = type_by_name(cosine.schema(), element_type(n)?)?;
        // SAFETY: expressions are built in the current memory context as the
        // parser builds them, then treated as those of an index are
        // (RelationGetIndexExpressions, relcache.c).
        unsafe {
            let cast = pg_sys::coerce_to_target_type(
                std::ptr::null_mut(),
                variable(relation, column).cast(),
                cosine.vector_type(),
                element,
                n,
                pg_sys::CoercionContext::COERCION_EXPLICIT,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
                -1,
            );
            if cast.is_null() {
                return None;
            }
            let dimensions = pg_sys::makeFuncExpr(
                function_oid(cosine.schema(), c"vector_dims", &[cosine.vector_type()]),
                pg_sys::INT4OID,
                pg_sys::lappend(std::ptr::null_mut(), variable(relation, column).cast()),
                Oid::INVALID,
                Oid::INVALID,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
            );
            let number = pg_sys::makeConst(
                pg_sys::INT4OID,
                -1,
                Oid::INVALID,
                4,
                Value::int4(n).datum,
                false,
                true,
            );
            let equal = pg_sys::make_opclause(
                pg_sys::Int4EqualOperator.into(),
                pg_sys::BOOLOID,
                false,
                dimensions.cast(),
                number.cast(),
                Oid::INVALID,
                Oid::INVALID,
            );
            Some(Self {
                element,
                expression: pg_sys::eval_const_expressions(std::ptr::null_mut(), cast),
                predicate: equal.cast(),
                operator: pg_sys::OpernameGetOprid(
                    name_in(cosine.schema(), c"<=>"),
                    element,
                    element,
                ),
            })
        }
    }

    /// Is it this index?
    fn is(&self, index: &Index) -> bool {
        // SAFETY: the index is open; it has at least one key column. The lists
        // are copies; their single elements are nodes.
        unsafe {
            let form = index.form();
            let method = pg_sys::get_am_name((*(*index.ptr).rd_rel).relam);
            if !form.indisvalid
                || method.is_null()
                || std::ffi::CStr::from_ptr(method) != c"hnsw"
                || form.indnkeyatts != 1
                || *form.indkey.values.as_ptr() != 0
            {
                return false;
            }
            let orders = pg_sys::get_opfamily_member(
                *(*index.ptr).rd_opfamily,
                self.element,
                self.element,
                1,
            );
            let expressions = pg_sys::RelationGetIndexExpressions(index.ptr);
            let predicate = pg_sys::RelationGetIndexPredicate(index.ptr);
            orders == self.operator
                && is_only(expressions, self.expression)
                && is_only(predicate, self.predicate)
        }
    }

    /// ORDER BY the distance (ExecIndexBuildScanKeys, nodeIndexscan.c).
    fn key(&self, index: &Index, cosine: &Cosine) -> pg_sys::ScanKeyData {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: the index is open and has one key column; the query becomes a
        // value of its type by the function of the cast that it indexes.
        unsafe {
            let mut query = cosine.query().datum;
            if self.element != cosine.vector_type() {
                let cast = (*self.expression.cast::<pg_sys::FuncExpr>()).funcid;
                query = pg_sys::OidFunctionCall3Coll(
                    cast,
                    Oid::INVALID,
                    query,
                    Value::int4(cosine.dimensions()).datum,
                    Value::boolean(true).datum,
                );
            }
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                pg_sys::SK_ORDER_BY as i32,
                1,
                1,
                self.element,
                *(*index.ptr).rd_indcollation,
                pg_sys::get_opcode(self.operator),
                query,
            );
        }
        key
    }
}

/// Is `node` all that is in the list?
///
/// # Safety
/// `list` is NULL or a list of nodes.
unsafe fn is_only(list: *mut pg_sys::List, node: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        !list.is_null()
            && (*list).length == 1
            && pg_sys::equal((*(*list).elements).ptr_value, node.cast())
    }
}

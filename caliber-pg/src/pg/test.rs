//! Conditions on one column, beside equality.

use super::array::uuids;
use super::compat;
use super::datum::Value;
use super::opclass::default_class;
use super::relation::{ColumnType, Relation};
use pgrx::pg_sys::{self, Oid};

/// What every row of a read passes, on one column.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    /// The boolean column is true.
    True,
    /// IS NULL.
    Null,
    /// IS NOT NULL.
    NotNull,
    /// `= value`.
    Is(Value),
    /// `=` a word of ours. The `sql` engine writes it out, so that a kept plan
    /// knows which partial index it may use.
    Word(&'static str),
    /// `<> value`.
    IsNot(Value),
    /// `<>` each of these words of ours.
    NoneOf(&'static [&'static str]),
    /// IS NULL, or `= value`.
    NullOr(Value),
    /// IS NULL, or a moment after this one.
    NullOrAfter(Value),
    /// IS NULL, or a moment before this one.
    NullOrBefore(Value),
    /// A moment after this one.
    After(Value),
    /// A moment before this one.
    Before(Value),
    /// A `uuid[]` that contains all elements of this one.
    Contains(Value),
}

impl Test {
    /// Does a value of a column of type `kind` pass?
    pub fn passes(self, value: Value, kind: ColumnType) -> bool {
        let is = |other: &Value| !value.is_null() && value.same(other, kind);
        let moment = |wanted: fn(&i64, &i64) -> bool, other: Value| matches!((value.as_int8(), other.as_int8()), (Some(a), Some(b)) if wanted(&a, &b));
        match self {
            Self::True => value.as_bool() == Some(true),
            Self::Null => value.is_null(),
            Self::NotNull => !value.is_null(),
            Self::Is(other) => is(&other),
            Self::Word(word) => value.word_among(&[word]).is_some(),
            Self::IsNot(other) => !value.is_null() && !is(&other),
            Self::NoneOf(words) => !value.is_null() && value.word_among(words).is_none(),
            Self::NullOr(other) => value.is_null() || is(&other),
            Self::NullOrAfter(other) => value.is_null() || moment(i64::gt, other),
            Self::NullOrBefore(other) => value.is_null() || moment(i64::lt, other),
            Self::After(other) => moment(i64::gt, other),
            Self::Before(other) => moment(i64::lt, other),
            Self::Contains(other) => {
                let ids = uuids(value);
                !value.is_null() && uuids(other).iter().all(|id| ids.contains(id))
            }
        }
    }

    /// The test as an expression that a partial index's predicate may follow
    /// from; None where no index of ours rests on it.
    ///
    /// # Safety
    /// The relation is open.
    pub(crate) unsafe fn clause(
        self,
        relation: &Relation,
        column: usize,
    ) -> Option<*mut pg_sys::Node> {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::True => Some(variable(relation, column).cast()),
                Self::Null => Some(null_test(relation, column, pg_sys::NullTestType::IS_NULL)),
                Self::NotNull => {
                    let kind = pg_sys::NullTestType::IS_NOT_NULL;
                    Some(null_test(relation, column, kind))
                }
                Self::Is(value) => Some(equality(relation, column, value)),
                Self::Word(word) => Some(equality(relation, column, Value::text(word))),
                _ => None,
            }
        }
    }
}

/// A Var for a known column, with varno 1 as stored predicates have it.
///
/// # Safety
/// The relation is open.
pub(crate) unsafe fn variable(relation: &Relation, column: usize) -> *mut pg_sys::Var {
    let number = relation.attribute(column);
    // SAFETY: the attribute number belongs to the relation.
    unsafe {
        let a = compat::attribute(relation.descriptor(), number as usize - 1);
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

/// `column IS [NOT] NULL`.
unsafe fn null_test(
    relation: &Relation,
    column: usize,
    kind: pg_sys::NullTestType::Type,
) -> *mut pg_sys::Node {
    // SAFETY: the relation is open (the caller's promise); the node is
    // allocated zeroed with its tag.
    unsafe {
        let test: *mut pg_sys::NullTest = compat::make_node(pg_sys::NodeTag::T_NullTest);
        (*test).arg = variable(relation, column).cast();
        (*test).nulltesttype = kind;
        (*test).location = -1;
        test.cast()
    }
}

/// `column = value` by the default B-tree equality of the column's type; for
/// NULL, `column IS NULL`.
///
/// # Safety
/// The relation is open.
pub(crate) unsafe fn equality(
    relation: &Relation,
    column: usize,
    value: Value,
) -> *mut pg_sys::Node {
    // SAFETY: the relation is open; expressions are built in the current
    // memory context as the parser builds them.
    unsafe {
        if value.is_null() {
            return null_test(relation, column, pg_sys::NullTestType::IS_NULL);
        }
        let var = variable(relation, column);
        let kind = (*var).vartype;
        let (family, input) = default_class(kind, pg_sys::BTREE_AM_OID);
        let operator =
            pg_sys::get_opfamily_member(family, input, input, pg_sys::BTEqualStrategyNumber as _);
        let (mut len, mut by_value) = (0, false);
        pg_sys::get_typlenbyval(kind, &mut len, &mut by_value);
        let constant = pg_sys::makeConst(
            kind,
            -1,
            (*var).varcollid,
            i32::from(len),
            value.datum,
            false,
            by_value,
        );
        pg_sys::make_opclause(
            operator,
            pg_sys::BOOLOID,
            false,
            var.cast(),
            constant.cast(),
            Oid::INVALID,
            (*var).varcollid,
        )
        .cast()
    }
}

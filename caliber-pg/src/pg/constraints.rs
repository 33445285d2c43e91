//! What the constraints of a table say of its rows.

use super::compat::checks;
use super::datum::Value;
use super::memory;
use super::relation::Relation;
use super::test::equality;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CStr;
use std::ptr::null_mut;

/// A question that was answered: the same expressions give the same answer,
/// whatever became of the table since.
struct Answered {
    attribute: i16,
    values: &'static [&'static str],
    checks: Vec<Vec<u8>>,
    follows: bool,
}

thread_local! {
    static LAST: RefCell<Option<Answered>> = const { RefCell::new(None) };
}

/// Has the text column one of these values in every row? It has where it is NOT
/// NULL and the CHECKs that all rows have passed allow nothing else: whoever wrote
/// them, and under whatever name.
pub fn allow_only(relation: &Relation, column: usize, values: &'static [&'static str]) -> bool {
    let attribute = relation.attribute(column);
    // SAFETY: the relation is open, and the number is one of its attributes.
    if !unsafe { checks::is_never_null(relation.descriptor(), attribute as usize - 1) } {
        return false;
    }
    let checks = passed_checks(relation);
    let known = LAST.with_borrow(|last| {
        last.as_ref().and_then(|last| {
            let same = last.attribute == attribute
                && last.values == values
                && last.checks.len() == checks.len()
                && last
                    .checks
                    .iter()
                    .zip(&checks)
                    .all(|(a, b)| a == b.to_bytes());
            same.then_some(last.follows)
        })
    });
    if let Some(follows) = known {
        return follows;
    }
    let follows = memory::scratch(|| follows(relation, column, values, &checks));
    LAST.set(Some(Answered {
        attribute,
        values,
        checks: checks
            .iter()
            .map(|check| check.to_bytes().to_vec())
            .collect(),
        follows,
    }));
    follows
}

/// The stored expressions of the valid CHECKs. They live as long as the open
/// relation's descriptor.
fn passed_checks(relation: &Relation) -> Vec<&CStr> {
    // SAFETY: the relation is open; constr is NULL or valid, and check has
    // num_check elements with expressions that end in NUL.
    unsafe {
        let Some(constr) = (*relation.descriptor()).constr.as_ref() else {
            return Vec::new();
        };
        (0..usize::from(constr.num_check))
            .map(|i| constr.check.add(i))
            .filter(|&check| (*check).ccvalid && checks::is_enforced(check))
            .map(|check| CStr::from_ptr((*check).ccbin))
            .collect()
    }
}

/// Asks the planner's prover (predicate_implied_by, predtest.c). A CHECK holds
/// where it is not false, which is its weak form; the column is not NULL, so that
/// what follows weakly is true.
fn follows(relation: &Relation, column: usize, values: &[&str], checks: &[&CStr]) -> bool {
    // SAFETY: the relation is open; expressions are read and built in the current
    // memory context, in the forms that get_relation_constraints (plancat.c) gives
    // the prover.
    unsafe {
        let mut clauses: *mut pg_sys::List = null_mut();
        for check in checks {
            let stored = pg_sys::stringToNode(check.as_ptr());
            let constant = pg_sys::eval_const_expressions(null_mut(), stored.cast());
            let canonical = pg_sys::canonicalize_qual(constant.cast(), true);
            clauses = pg_sys::list_concat(clauses, pg_sys::make_ands_implicit(canonical));
        }
        let mut one_of: *mut pg_sys::List = null_mut();
        for value in values {
            let is = equality(relation, column, Value::text(value));
            one_of = pg_sys::lappend(one_of, is.cast());
        }
        let predicate = pg_sys::lappend(null_mut(), pg_sys::make_orclause(one_of).cast());
        pg_sys::predicate_implied_by(predicate, clauses, true)
    }
}

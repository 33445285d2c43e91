//! What the constraints of a table say of its rows.

use super::compat::{attribute, checks, tuple_xmin};
use super::datum::Value;
use super::memory;
use super::relation::Relation;
use super::test::equality;
use pgrx::pg_sys::{self, Oid};
use std::cell::RefCell;
use std::ffi::{c_char, CStr};
use std::ptr::null_mut;

/// A CHECK from which it follows that a column has none but some values. What it says
/// is all in its expression, for no function of a user's is looked into.
struct Proof {
    table: Oid,
    attribute: i16,
    values: &'static [&'static str],
    /// The constraint, and its expression as it is stored.
    check: Oid,
    expression: Vec<u8>,
    /// The column's NOT NULL, where that is a constraint.
    not_null: Option<Oid>,
}

thread_local! {
    /// The last that was found for each set of values: there are three.
    static FOUND: RefCell<Vec<Proof>> = const { RefCell::new(Vec::new()) };
}

/// A CHECK of the open relation that all its rows have passed.
struct Check<'a> {
    name: &'a CStr,
    expression: &'a CStr,
}

/// Has the text column one of these values in every row that the transaction sees? It
/// has where it is NOT NULL and a CHECK allows nothing else: whoever wrote it, and under
/// whatever name. False wherever that is not certain.
pub fn allow_only(relation: &Relation, column: usize, values: &'static [&'static str]) -> bool {
    let number = relation.attribute(column);
    let index = number as usize - 1;
    let table = relation.oid();
    // SAFETY: the relation is open, and the number is one of its attributes.
    let never_null = unsafe { checks::is_never_null(relation.descriptor(), index) };
    if !never_null || !is_old(Row::Attribute(table, number)) {
        return false;
    }
    let passed = passed_checks(relation);
    let proven = FOUND.with_borrow(|found| {
        let proof = found.iter().find(|proof| proof.values == values)?;
        let same = proof.table == table && proof.attribute == number;
        let is_it = |check: &Check<'_>| check.expression.to_bytes() == proof.expression;
        (same && passed.iter().any(is_it)).then_some((proof.check, proof.not_null))
    });
    if proven.is_some_and(|(check, not_null)| are_old(check, not_null)) {
        return true;
    }
    for check in passed {
        if !memory::scratch(|| follows(relation, column, values, check.expression)) {
            continue;
        }
        let proof = Proof {
            table,
            attribute: number,
            values,
            check: constraint(table, check.name),
            expression: check.expression.to_bytes().to_vec(),
            not_null: checks::not_null_constraint(table, number),
        };
        if are_old(proof.check, proof.not_null) {
            FOUND.with_borrow_mut(|found| {
                found.retain(|other| other.values != values);
                found.push(proof);
            });
            return true;
        }
    }
    false
}

/// Are the constraints of a proof older than the snapshots?
fn are_old(check: Oid, not_null: Option<Oid>) -> bool {
    is_old(Row::Constraint(check)) && not_null.is_none_or(|oid| is_old(Row::Constraint(oid)))
}

/// Has a column of the library's a nondeterministic collation, by which a user made texts
/// of other bytes equal? Values are compared bytewise here.
pub fn equal_texts_may_differ(relation: &Relation) -> bool {
    relation.attributes.iter().any(|&number| {
        // SAFETY: the relation is open, and the number is one of its attributes; a
        // collation that a column has exists.
        unsafe {
            let collation = (*attribute(relation.descriptor(), number as usize - 1)).attcollation;
            let usual = [
                Oid::INVALID,
                pg_sys::C_COLLATION_OID,
                pg_sys::DEFAULT_COLLATION_OID,
            ];
            !usual.contains(&collation) && !pg_sys::get_collation_isdeterministic(collation)
        }
    })
}

/// The valid CHECKs. They live as long as the open relation's descriptor.
fn passed_checks(relation: &Relation) -> Vec<Check<'_>> {
    // SAFETY: the relation is open; constr is NULL or valid, and check has num_check
    // elements whose texts end in NUL.
    unsafe {
        let Some(constr) = (*relation.descriptor()).constr.as_ref() else {
            return Vec::new();
        };
        (0..usize::from(constr.num_check))
            .map(|i| constr.check.add(i))
            .filter(|&check| (*check).ccvalid && checks::is_enforced(check))
            .map(|check| Check {
                name: CStr::from_ptr((*check).ccname),
                expression: CStr::from_ptr((*check).ccbin),
            })
            .collect()
    }
}

/// Asks the planner's prover (predicate_implied_by, predtest.c). A CHECK holds where it
/// is not false, which is its weak form; the column is not NULL, so that what follows
/// weakly is true.
///
/// Nothing is computed beforehand (eval_const_expressions), as the planner does: a
/// user's IMMUTABLE function would run, and its result is not for ever. What a CHECK
/// says by functions is not proven.
fn follows(relation: &Relation, column: usize, values: &[&str], check: &CStr) -> bool {
    // SAFETY: the relation is open; expressions are read and built in the current
    // memory context, in the forms that get_relation_constraints (plancat.c) gives
    // the prover.
    unsafe {
        let stored = pg_sys::stringToNode(check.as_ptr());
        let canonical = pg_sys::canonicalize_qual(stored.cast(), true);
        let clauses = pg_sys::make_ands_implicit(canonical);
        let mut one_of: *mut pg_sys::List = null_mut();
        for value in values {
            let is = equality(relation, column, Value::text(value));
            one_of = pg_sys::lappend(one_of, is.cast());
        }
        let predicate = pg_sys::lappend(null_mut(), pg_sys::make_orclause(one_of).cast());
        pg_sys::predicate_implied_by(predicate, clauses, true)
    }
}

/// OID of a table's constraint; invalid if there is none (pg_constraint.c).
fn constraint(table: Oid, name: &CStr) -> Oid {
    unsafe extern "C-unwind" {
        fn get_relation_constraint_oid(relid: Oid, conname: *const c_char, missing_ok: bool)
            -> Oid;
    }
    // SAFETY: a catalog scan by OID and a name that ends in NUL; the closure has nothing
    // to drop.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            get_relation_constraint_oid(table, name.as_ptr(), true)
        })
    }
}

/// A row of a catalog.
enum Row {
    Attribute(Oid, i16),
    Constraint(Oid),
}

/// Did every snapshot of the transaction begin after the row was written? A constraint
/// that came later says nothing of the versions that an older snapshot sees (for indexes
/// that is indcheckxmin).
fn is_old(row: Row) -> bool {
    // SAFETY: syscache lookups with the key types of ATTNUM (pg_attribute.h) and CONSTROID
    // (pg_constraint.h); the tuple is checked for NULL and released after its last use.
    unsafe {
        let tuple = match row {
            Row::Attribute(table, number) => pg_sys::SearchSysCache2(
                pg_sys::SysCacheIdentifier::ATTNUM as i32,
                pg_sys::Datum::from(table),
                pg_sys::Datum::from(number),
            ),
            Row::Constraint(oid) => pg_sys::SearchSysCache1(
                pg_sys::SysCacheIdentifier::CONSTROID as i32,
                pg_sys::Datum::from(oid),
            ),
        };
        if tuple.is_null() {
            return false;
        }
        let written = tuple_xmin((*tuple).t_data);
        pg_sys::ReleaseSysCache(tuple);
        pg_sys::TransactionIdPrecedes(written, pg_sys::TransactionXmin)
    }
}

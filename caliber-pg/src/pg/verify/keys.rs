//! Unique keys: which rows share one, whatever the index says.

use super::index::{Examined, Values};
use super::pairs::Place;
use super::sorter::{Column, Sorter};
use pgrx::pg_sys::{self, Oid};
use std::cmp::Ordering;

/// The keys of a table's rows, sorted as a unique B-tree sorts them.
pub(super) struct Keys {
    sorter: Sorter,
    columns: usize,
    nulls_are_equal: bool,
}

impl Keys {
    /// Prepares a sort of this unique B-tree's keys in so many kilobytes; None
    /// if its operator class has no operator to sort by.
    pub(super) fn new(index: &Examined, kilobytes: i32) -> Option<Self> {
        let mut columns = Vec::new();
        for column in 0..index.key_columns() {
            let (family, input, collation) = index.operators(column);
            // SAFETY: a look-up by OID.
            let less = unsafe {
                let strategy = pg_sys::BTLessStrategyNumber as i16;
                pg_sys::get_opfamily_member(family, input, input, strategy)
            };
            if less == Oid::INVALID {
                return None;
            }
            columns.push(Column::ordered(index.key_type(column)?, less, collation));
        }
        // The row's place comes last.
        columns.push(Column::number());
        Some(Self {
            sorter: Sorter::new(&columns, kilobytes),
            columns: index.key_columns(),
            nulls_are_equal: index.nulls_are_equal(),
        })
    }

    /// Adds the key of a row; one with a NULL is like no other.
    ///
    /// # Safety
    /// They are values of the index's columns.
    pub(super) unsafe fn put(&mut self, values: &Values, row: Place) {
        let key = (0..self.columns).map(|column| values.get(column));
        if !self.nulls_are_equal && key.clone().any(|value| value.is_none()) {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.sorter.put(key.chain([Some(pg_sys::Datum::from(row))])) };
    }

    /// Calls `report` for every row that shares its key with another one.
    ///
    /// # Safety
    /// `index` is the one that this was made for.
    pub(super) unsafe fn shared(&mut self, index: &Examined, report: &mut dyn FnMut(Place)) {
        self.sorter.sort();
        let mut before: Option<(Values, Place)> = None;
        let mut told = false;
        while let Some((datums, nulls)) = self.sorter.next() {
            pgrx::check_for_interrupts!();
            let mut now = Values::new();
            now.datums[..self.columns].copy_from_slice(&datums[..self.columns]);
            now.nulls[..self.columns].copy_from_slice(&nulls[..self.columns]);
            let row = datums[self.columns].value() as Place;
            // SAFETY: the row before stays where it is while this one is looked at;
            // both are keys of the index.
            let same = before
                .as_ref()
                .filter(|(last, _)| unsafe { index.compare(last, &now) } == Ordering::Equal);
            match same {
                Some((_, place)) => {
                    if !told {
                        report(*place);
                    }
                    report(row);
                    told = true;
                }
                None => told = false,
            }
            before = Some((now, row));
        }
    }
}

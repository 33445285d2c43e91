//! Searching an index for each value that the table's rows hold: for access methods
//! that have no order to read them in.

use super::bitmap::{Bitmap, BitmapScan};
use super::constraints::Executor;
use super::image::{Image, Kind};
use super::index::{Examined, Method, Values};
use super::pairs::Place;
use super::sorter::{Column, Sorter};
use crate::pg::compat;
use pgrx::pg_sys::{self, Oid};

/// `array_ops` for GIN (pg_opfamily.dat), and its strategy "contains".
const GIN_ARRAYS: u32 = 2745;
const GIN_CONTAINS: u16 = 2;

/// BRIN has nothing but ranges, all of which each search reads: as many different
/// values are searched for, in the order of their images.
const BRIN_SEARCHES: u64 = 10_000;

/// The values of one column in all rows, and how they are searched for.
struct Searched {
    /// Of the index, from 0.
    column: usize,
    /// The equality (or "contains") of the index's operator class.
    strategy: u16,
    procedure: Oid,
    collation: Oid,
    /// The type of a value, or of an array's elements.
    kind: Oid,
    elements: bool,
    /// Images of the values, the rows that hold them, and the values.
    values: Sorter,
}

/// The values that an index should hold, by column.
pub(super) struct Sought {
    columns: Vec<Searched>,
    nulls: bool,
    limit: u64,
}

impl Sought {
    /// For an index of a method that is searched; None if nothing can be
    /// searched for.
    pub(super) fn new(index: &Examined, kilobytes: i32) -> Option<Self> {
        if !matches!(index.method, Method::Hash | Method::Gin | Method::Brin) {
            return None;
        }
        let kilobytes = (kilobytes / index.key_columns() as i32).max(64);
        let columns: Vec<Searched> = (0..index.key_columns())
            .filter_map(|column| Searched::new(index, column, kilobytes))
            .collect();
        (!columns.is_empty()).then(|| Self {
            columns,
            nulls: index.method == Method::Brin,
            limit: match index.method {
                Method::Brin => BRIN_SEARCHES,
                _ => u64::MAX,
            },
        })
    }

    /// Notes what the index should hold for a row.
    ///
    /// # Safety
    /// They are values of the index's columns. Memory is taken from the current
    /// context.
    pub(super) unsafe fn note(&mut self, values: &Values, row: Place) {
        for searched in &mut self.columns {
            // SAFETY: the caller's promise; an element is of the elements' type.
            unsafe {
                match values.get(searched.column) {
                    Some(array) if searched.elements => {
                        for element in elements(array, searched.kind) {
                            searched.note(Some(element), row);
                        }
                    }
                    None if !self.nulls => {}
                    value => searched.note(value, row),
                }
            }
        }
    }

    /// Searches for each value once, and calls `missing` for the rows that hold it
    /// and are not found.
    ///
    /// # Safety
    /// `index` is the one that this was made for.
    pub(super) unsafe fn search(
        &mut self,
        index: &Examined,
        executor: &Executor,
        kilobytes: i32,
        missing: &mut dyn FnMut(Place),
    ) {
        let mut scan = BitmapScan::begin(index, 1, kilobytes);
        for searched in &mut self.columns {
            // SAFETY: the caller's promise.
            unsafe { searched.search(&mut scan, executor, self.limit, missing) };
        }
    }
}

impl Searched {
    /// # Safety
    /// The value is of the type `kind`.
    unsafe fn note(&mut self, value: Option<pg_sys::Datum>, row: Place) {
        let mut image = Image::new();
        // SAFETY: the caller's promise.
        unsafe {
            image.value(value, Kind::of_type(self.kind));
            let [image, row] = [image.done(), row].map(|n| Some(pg_sys::Datum::from(n)));
            self.values.put([image, row, value]);
        }
    }

    /// # Safety
    /// The scan is one of the index, for one key.
    unsafe fn search(
        &mut self,
        scan: &mut BitmapScan,
        executor: &Executor,
        limit: u64,
        missing: &mut dyn FnMut(Place),
    ) {
        self.values.sort();
        let (mut searches, mut last, mut found) = (0, None, None);
        loop {
            let (image, row, value) = match self.values.next() {
                Some((datums, nulls)) => (
                    datums[0].value() as i64,
                    datums[1].value() as Place,
                    (!nulls[2]).then_some(datums[2]),
                ),
                None => return,
            };
            let run = |scan: &mut BitmapScan| {
                executor.briefly(|| {
                    let mut keys = [self.key(value)];
                    // SAFETY: one key, on a column of the index; the value stays
                    // where it is until the row after the next one is asked for.
                    unsafe { scan.run(&mut keys) }
                })
            };
            if last.is_none_or(|(before, _)| before != image) {
                if searches == limit {
                    return;
                }
                searches += 1;
                found = Some(run(scan));
            }
            // An array may hold an element twice.
            if last.replace((image, row)) == Some((image, row)) {
                continue;
            }
            let held = found
                .as_mut()
                .is_some_and(|found: &mut Bitmap| found.holds(row));
            // Two values could share an image: only a search for the row's own
            // value is proof.
            if !held && !run(scan).holds(row) {
                missing(row);
            }
        }
    }

    fn key(&self, value: Option<pg_sys::Datum>) -> pg_sys::ScanKeyData {
        let (flags, strategy, argument) = match value {
            // SAFETY: the datum is an element of the type `kind`.
            Some(datum) if self.elements => (0, self.strategy, unsafe { array(datum, self.kind) }),
            Some(datum) => (0, self.strategy, datum),
            None => (
                (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as i32,
                0,
                pg_sys::Datum::null(),
            ),
        };
        // The type of the argument, by which BRIN chooses operators.
        let subtype = match self.elements {
            true => Oid::INVALID,
            false => self.kind,
        };
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: fills the key in place; the procedure is that of an operator.
        unsafe {
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                flags,
                self.column as i16 + 1,
                strategy,
                subtype,
                self.collation,
                self.procedure,
                argument,
            );
        }
        key
    }

    /// None if nothing can be searched for in this column.
    fn new(index: &Examined, column: usize, kilobytes: i32) -> Option<Self> {
        let (family, input, collation) = index.operators(column);
        let elements = index.method == Method::Gin;
        // SAFETY: look-ups by OID; the attribute exists, and a type cache entry
        // lives as long as the backend.
        unsafe {
            let (strategy, operator, kind) = if elements {
                if family.to_u32() != GIN_ARRAYS {
                    return None;
                }
                let stored = (*compat::attribute(index.descriptor(), column)).atttypid;
                let strategy = GIN_CONTAINS as i16;
                let contains = pg_sys::get_opfamily_member(family, input, input, strategy);
                (GIN_CONTAINS, contains, stored)
            } else {
                let kind = index.key_type(column)?;
                let flags = pg_sys::TYPECACHE_EQ_OPR as i32;
                let equal = (*pg_sys::lookup_type_cache(kind, flags)).eq_opr;
                let strategy = pg_sys::get_op_opfamily_strategy(equal, family);
                (strategy as u16, equal, kind)
            };
            if operator == Oid::INVALID || strategy == 0 {
                return None;
            }
            let columns = [Column::number(), Column::number(), Column::carried(kind)];
            Some(Self {
                column,
                strategy,
                procedure: pg_sys::get_opcode(operator),
                collation,
                kind,
                elements,
                values: Sorter::new(&columns, kilobytes),
            })
        }
    }
}

/// The elements of an array, without NULLs: no search finds these.
///
/// # Safety
/// `array` is an array of elements of that type.
unsafe fn elements(array: pg_sys::Datum, kind: Oid) -> Vec<pg_sys::Datum> {
    // SAFETY: the caller's promise; deconstruct_array returns two palloc'd arrays of
    // `count` elements.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let (mut length, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(kind, &mut length, &mut by_value, &mut align);
        let (mut datums, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        let length = i32::from(length);
        pg_sys::deconstruct_array(
            array,
            kind,
            length,
            by_value,
            align,
            &mut datums,
            &mut nulls,
            &mut count,
        );
        (0..count as usize)
            .filter(|i| !*nulls.add(*i))
            .map(|i| *datums.add(i))
            .collect()
    }
}

/// An array of one element.
///
/// # Safety
/// `element` is of that type.
unsafe fn array(mut element: pg_sys::Datum, kind: Oid) -> pg_sys::Datum {
    // SAFETY: the caller's promise.
    unsafe {
        let (mut length, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(kind, &mut length, &mut by_value, &mut align);
        let length = i32::from(length);
        pg_sys::Datum::from(pg_sys::construct_array(
            &mut element,
            1,
            kind,
            length,
            by_value,
            align,
        ))
    }
}

//! The functions that the benches declare in SQL.

use super::super::datum::Value;
use super::super::random::new_id;
use super::probe::{clock, probe};
use super::statement::{Bound, Planning, Script};
use pgrx::pg_guard;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};

/// A version-1 function: its record (fmgr.h) and itself.
macro_rules! rival {
    ($(#[$doc:meta])* $name:ident, $info:ident, $body:ident $(, $planning:expr)?) => {
        #[doc(hidden)]
        #[no_mangle]
        pub extern "C" fn $info() -> &'static pg_sys::Pg_finfo_record {
            const RECORD: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &RECORD
        }

        $(#[$doc])*
        ///
        /// # Safety
        /// Called by fmgr, as the benches declare it.
        #[no_mangle]
        #[pg_guard]
        pub unsafe extern "C-unwind" fn $name(fcinfo: FunctionCallInfo) -> Datum {
            // SAFETY: fmgr's promise.
            unsafe { $body(fcinfo $(, $planning)?) }
        }
    };
}

rival!(
    /// Makes an id and writes a row with it; returns the id.
    caliber_bench_kept_create,
    pg_finfo_caliber_bench_kept_create,
    create,
    Planning::Kept
);
rival!(
    /// As [`caliber_bench_kept_create`], planned at each call.
    caliber_bench_oneshot_create,
    pg_finfo_caliber_bench_oneshot_create,
    create,
    Planning::OneShot
);
rival!(
    /// Returns the first row, NULL if there is none.
    caliber_bench_kept_row,
    pg_finfo_caliber_bench_kept_row,
    row,
    Planning::Kept
);
rival!(
    /// As [`caliber_bench_kept_row`], planned at each call.
    caliber_bench_oneshot_row,
    pg_finfo_caliber_bench_oneshot_row,
    row,
    Planning::OneShot
);
rival!(
    /// Writes; returns whether a row was written.
    caliber_bench_kept_write,
    pg_finfo_caliber_bench_kept_write,
    write,
    Planning::Kept
);
rival!(
    /// As [`caliber_bench_kept_write`], planned at each call.
    caliber_bench_oneshot_write,
    pg_finfo_caliber_bench_oneshot_write,
    write,
    Planning::OneShot
);
rival!(
    /// Returns the rows of a statement as a set.
    caliber_bench_kept_set,
    pg_finfo_caliber_bench_kept_set,
    set,
    Planning::Kept
);
rival!(
    /// As [`caliber_bench_kept_set`], planned at each call.
    caliber_bench_oneshot_set,
    pg_finfo_caliber_bench_oneshot_set,
    set,
    Planning::OneShot
);
rival!(
    /// The floor of reads: looks up every element of an array in an index, with everything
    /// opened once; returns how many were there.
    caliber_bench_probe,
    pg_finfo_caliber_bench_probe,
    probe
);
rival!(
    /// A monotonic clock in nanoseconds.
    caliber_bench_clock,
    pg_finfo_caliber_bench_clock,
    clock
);

/// # Safety
/// A call whose last argument is its statement.
unsafe fn create(fcinfo: FunctionCallInfo, planning: Planning) -> Datum {
    // SAFETY: the caller's promise; connected between the two calls. The id is made in the
    // caller's memory, where it is returned.
    unsafe {
        let script = Script::of(fcinfo, planning, true);
        let id = Value::uuid(new_id()).datum;
        let mut bound = Bound::of(fcinfo, script.makes_id().then_some(id));
        pg_sys::SPI_connect();
        let written = script.run(&mut bound) && pg_sys::SPI_processed > 0;
        pg_sys::SPI_finish();
        (*fcinfo).isnull = !written;
        id
    }
}

/// # Safety
/// A call whose last argument is its statement, of a function that returns a row type.
unsafe fn row(fcinfo: FunctionCallInfo, planning: Planning) -> Datum {
    // SAFETY: the caller's promise; after a SELECT the table holds SPI_processed tuples; what is
    // returned is a copy in the caller's memory (SPI_returntuple, spi.c), of the result's type.
    unsafe {
        let script = Script::of(fcinfo, planning, false);
        let mut bound = Bound::of(fcinfo, None);
        pg_sys::SPI_connect();
        let found = script.run(&mut bound) && pg_sys::SPI_processed > 0;
        let result = if found {
            let tuple = *(*pg_sys::SPI_tuptable).vals;
            Datum::from(pg_sys::SPI_returntuple(tuple, script.row()))
        } else {
            Datum::null()
        };
        pg_sys::SPI_finish();
        (*fcinfo).isnull = !found;
        result
    }
}

/// # Safety
/// A call whose last argument is its statement.
unsafe fn write(fcinfo: FunctionCallInfo, planning: Planning) -> Datum {
    // SAFETY: the caller's promise; connected between the two calls.
    unsafe {
        let script = Script::of(fcinfo, planning, false);
        let mut bound = Bound::of(fcinfo, None);
        pg_sys::SPI_connect();
        let written = script.run(&mut bound) && pg_sys::SPI_processed > 0;
        pg_sys::SPI_finish();
        Datum::from(written)
    }
}

/// # Safety
/// A call whose last argument is its statement.
unsafe fn set(fcinfo: FunctionCallInfo, planning: Planning) -> Datum {
    // SAFETY: the caller's promise; InitMaterializedSRF (funcapi.c) makes the result set, or
    // raises where the query takes none.
    unsafe {
        let script = Script::of(fcinfo, planning, false);
        let bound = Bound::of(fcinfo, None);
        let set = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        pg_sys::InitMaterializedSRF(fcinfo, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
        pg_sys::SPI_connect();
        script.stream(&bound, set);
        pg_sys::SPI_finish();
        (*fcinfo).isnull = true;
        Datum::null()
    }
}

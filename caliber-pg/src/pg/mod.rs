//! One safe layer over the server. `unsafe` lives here and in `engine::heap`
//! only; every block says which invariant it rests on.
//!
//! Guards (relation, scan, slot, snapshot) restore what they changed when they
//! are dropped normally. While an ERROR unwinds they do nothing: the resource
//! owner of the aborting (sub)transaction releases what they hold, and a call
//! into PostgreSQL from a drop could raise a second time.
#![allow(unsafe_code)]

pub mod advisory;
pub mod array;
pub mod attributes;
pub mod backend;
#[cfg(feature = "bench")]
pub mod bench;
pub(crate) mod bitmap;
pub mod call;
pub mod catalog;
pub(crate) mod chain;
pub(crate) mod compat;
pub mod constraints;
pub mod context;
pub mod datum;
pub mod encoding;
pub mod error;
pub mod found;
pub mod function;
pub mod guc;
pub mod hash;
pub mod ids;
pub mod index;
pub mod json;
pub(crate) mod maker;
pub mod memory;
pub mod nearest;
pub mod notify;
pub(crate) mod opclass;
pub mod random;
pub mod relation;
pub mod rights;
pub mod row;
pub mod scan;
pub(crate) mod slot;
pub mod snapshot;
pub(crate) mod sort;
pub mod spi;
pub mod test;
pub mod transaction;
pub mod user;
pub mod vector;
pub mod verify;

/// Reserves the prefix `caliber`: an unknown setting under it is an error.
pub fn reserve_setting_prefix() {
    // SAFETY: the name is a NUL-terminated constant, which guc.c copies.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"caliber".as_ptr()) };
}

/// Is this drop part of an unwinding ERROR?
pub(crate) fn unwinding() -> bool {
    std::thread::panicking()
}

/// Raises if the statement was cancelled, ran into a timeout, or its session is to
/// end. Every loop over rows calls this.
///
/// # Errors
/// 57014, 57P01 and what else ProcessInterrupts (postgres.c) raises.
pub fn check_for_interrupts() {
    if crate::fault::active("loops_uninterrupted") {
        return;
    }
    pgrx::check_for_interrupts!();
}

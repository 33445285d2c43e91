//! The attributes of a tuple descriptor, and those that the library knows.

use super::compat;
use super::encoding::{from_server, from_server_bytes};
use super::relation::{type_by_name, Column, Shape};
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// One attribute that is not dropped.
pub(crate) struct LiveAttribute {
    pub number: i16,
    /// In the server's encoding: only these bytes tell columns apart.
    pub name: Vec<u8>,
    pub kind: Oid,
}

/// The name of an attribute, in the server's encoding.
pub(crate) fn name_of(attribute: &pg_sys::FormData_pg_attribute) -> &[u8] {
    // SAFETY: a NameData ends in NUL.
    unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) }.to_bytes()
}

/// The attributes of a descriptor that are not dropped, in order.
pub(crate) fn live_attributes(desc: pg_sys::TupleDesc) -> Vec<LiveAttribute> {
    // SAFETY: the caller holds a reference to `desc`; attribute numbers below
    // natts are valid.
    unsafe {
        let n = (*desc).natts;
        (0..n)
            .filter_map(|i| {
                let a = super::compat::attribute(desc, i as usize);
                (!(*a).attisdropped).then(|| LiveAttribute {
                    number: (*a).attnum,
                    name: name_of(&*a).to_vec(),
                    kind: (*a).atttypid,
                })
            })
            .collect()
    }
}

/// Whether the row type of this name has the columns that the library knows. (A
/// typed table has its type's.)
pub fn row_type_fits(schema: Oid, shape: &Shape) -> bool {
    let Some(kind) = type_by_name(schema, shape.row_type) else {
        return false;
    };
    // SAFETY: the descriptor is reference counted; given back after its last use.
    unsafe {
        let desc = pg_sys::lookup_rowtype_tupdesc_noerror(kind, -1, true);
        if desc.is_null() {
            return false;
        }
        let fits = known_attributes(desc, shape.columns).is_ok();
        pg_sys::DecrTupleDescRefCount(desc);
        fits
    }
}

/// The attribute number of each known column, or in what the descriptor differs.
pub(super) fn known_attributes(
    desc: pg_sys::TupleDesc,
    columns: &[Column],
) -> Result<Vec<i16>, String> {
    let mut known = columns.iter();
    let mut attributes = Vec::with_capacity(columns.len());
    // SAFETY: the caller holds a reference to `desc`; attribute numbers below natts are
    // valid.
    let all = unsafe { (0..(*desc).natts as usize).map(|i| &*compat::attribute(desc, i)) };
    for attribute in all.filter(|attribute| !attribute.attisdropped) {
        // Columns that a later version added are behind the known ones.
        let Some(column) = known.next() else { break };
        let name = name_of(attribute);
        // A modifier (`vector(3)`, `timestamptz(0)`) wants values converted that we store
        // as they are.
        let is_known = attribute.atttypmod == -1 && column.kind.is(attribute.atttypid);
        if name != column.name.as_bytes() || !is_known {
            return Err(format!(
                "Column {} is {} {}, but {} {} is expected.",
                attributes.len() + 1,
                from_server_bytes(name),
                modified_type_name(attribute.atttypid, attribute.atttypmod),
                column.name,
                column.kind.sql_name()
            ));
        }
        attributes.push(attribute.attnum);
    }
    match known.next() {
        Some(missing) => Err(format!("Column {} is missing.", missing.name)),
        None => Ok(attributes),
    }
}

/// Name of a type as SQL writes it, with its modifier, if it has one.
fn modified_type_name(kind: Oid, modifier: i32) -> String {
    // SAFETY: format_type_with_typemod returns a palloc'd string for any OID.
    unsafe { from_server(pg_sys::format_type_with_typemod(kind, modifier)) }
}

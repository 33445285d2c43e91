//! Reading pgvector's HNSW index page by page.
//!
//! A search of such an index is approximate: that it misses a row proves nothing. So
//! the elements themselves are read, as hnsw.h of pgvector lays them out (version 1):
//! every row with a vector has one, which holds the row's vector. Whether the graph
//! leads to it is not looked at.

use super::image::content;
use super::index::{Examined, Values};
use super::pairs::{self, Pairs, Place};
use super::stream::met;
use crate::pg::encoding::from_server;
use pgrx::pg_sys::{self, Oid};

const MAGIC: u32 = 0xA953_A953;
const VERSION: u32 = 1;
const PAGE_ID: u16 = 0xFF90;
const PAGE_SIZE: usize = pg_sys::BLCKSZ as usize;
/// HnswPageOpaqueData: nextblkno, unused, page_id.
const OPAQUE_SIZE: usize = 8;
/// HnswElementTupleData: type, level, deleted, version; ten heap TIDs; the
/// neighbours' TID and padding; the vector.
const ELEMENT: u8 = 1;
const DELETED_AT: usize = 2;
const ROWS_AT: usize = 4;
const ROWS: usize = 10;
const VECTOR_AT: usize = 72;
const TID_SIZE: usize = 6;
/// Procedure 2 of an operator class: the norm of a vector. With it, vectors are
/// normalized, and those of norm 0 are left out (HnswFormIndexValue, hnswutils.c).
const NORM: u16 = 2;
/// In a vector: dim and unused, then the elements.
const VECTOR_HEADER: usize = 4;

/// How an index stores vectors.
#[derive(Debug)]
pub(super) struct Format {
    /// Whether vectors are normalized.
    normalized: bool,
    /// The type of a vector's elements, if we can read them.
    float: Option<Float>,
}

#[derive(Clone, Copy, Debug)]
enum Float {
    Single,
    Half,
}

impl Format {
    /// None if the index is of a version that we do not know.
    pub(super) fn of(index: &Examined) -> Option<Self> {
        let page = read_page(index, 0);
        if !is_ours(&page) || cfg!(target_endian = "big") {
            return None;
        }
        let header = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);
        let meta = header.next_multiple_of(8);
        if number(&page, meta)? != MAGIC || number(&page, meta + 4)? != VERSION {
            return None;
        }
        // SAFETY: look-ups for the first column of an open index.
        let (normalized, kind) = unsafe {
            let norm = pg_sys::index_getprocid(index.rel, 1, NORM);
            let attribute = crate::pg::compat::attribute(index.descriptor(), 0);
            let name = pg_sys::format_type_be((*attribute).atttypid);
            (norm != Oid::INVALID, from_server(name))
        };
        let float = match kind.rsplit('.').next() {
            Some("vector") => Some(Float::Single),
            Some("halfvec") => Some(Float::Half),
            _ => None,
        };
        Some(Self { normalized, float })
    }

    /// Should the index have an entry for these values of a row?
    ///
    /// # Safety
    /// They are values of the index's columns.
    pub(super) unsafe fn wants(&self, index: &Examined, values: &Values) -> bool {
        let Some(vector) = values.get(0) else {
            return false;
        };
        if !self.normalized {
            return true;
        }
        // SAFETY: the caller's promise; the procedure takes a vector and returns
        // float8 (HnswCheckNorm, hnswutils.c).
        unsafe {
            let norm = pg_sys::index_getprocinfo(index.rel, 1, NORM);
            let (_, _, collation) = index.operators(0);
            let norm = pg_sys::FunctionCall1Coll(norm, collation, vector);
            f64::from_bits(norm.value() as u64) > 0.0
        }
    }

    /// Does the element at `place` hold the row's vector?
    ///
    /// # Safety
    /// As for [`wants`](Self::wants).
    pub(super) unsafe fn holds(&self, index: &Examined, place: Place, values: &Values) -> bool {
        let Some(vector) = values.get(0) else {
            return false;
        };
        // SAFETY: the caller's promise: all vectors are varlenas.
        let wanted = unsafe { content(vector) };
        let page = read_page(index, pairs::block(place));
        let Some(stored) = item(&page, pairs::offset(place)).and_then(vector_at) else {
            return false;
        };
        match (self.normalized, self.float) {
            _ if stored == wanted => true,
            (true, Some(float)) => float.same_direction(stored, &wanted),
            // Normalized in a form that we cannot read: nothing can be said.
            (true, None) => true,
            (false, _) => false,
        }
    }
}

impl Float {
    fn read(self, vector: &[u8]) -> Vec<f64> {
        let elements = vector.get(VECTOR_HEADER..).unwrap_or_default();
        match self {
            Self::Single => elements
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_ne_bytes([b[0], b[1], b[2], b[3]])))
                .collect(),
            Self::Half => elements
                .chunks_exact(2)
                .map(|b| half(u16::from_ne_bytes([b[0], b[1]])))
                .collect(),
        }
    }

    /// Normalizing rounds each element: the cosine is 1 but for that.
    fn same_direction(self, a: &[u8], b: &[u8]) -> bool {
        let (a, b) = (self.read(a), self.read(b));
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let cosine = dot(&a, &b) / (dot(&a, &a).sqrt() * dot(&b, &b).sqrt());
        let tolerance = match self {
            Self::Single => 1e-6,
            Self::Half => 1e-3,
        };
        a.len() == b.len() && cosine > 1.0 - tolerance
    }
}

/// A half-precision number.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let exponent = i32::from(bits >> 10 & 0x1f);
    let size = match exponent {
        0 => fraction * (-24f64).exp2(),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * f64::from(exponent - 25).exp2(),
    };
    if bits >> 15 == 1 {
        -size
    } else {
        size
    }
}

/// Reads all elements: the rows that each stands for, and where it is. Calls
/// `damaged` for a page that is not one of an HNSW index.
pub(super) fn read(index: &Examined, entries: &mut Pairs, damaged: &mut dyn FnMut(u32)) {
    let main = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: the index is open.
    let blocks = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(index.rel, main) };
    for block in 1..blocks {
        pgrx::check_for_interrupts!();
        let page = read_page(index, block);
        if !is_ours(&page) {
            // A crash can leave a page that was never filled.
            if short(
                &page,
                std::mem::offset_of!(pg_sys::PageHeaderData, pd_upper),
            ) != Some(0)
            {
                damaged(block);
            }
            continue;
        }
        for offset in 1.. {
            if offset > items(&page) {
                break;
            }
            let element = item(&page, offset).unwrap_or_default();
            if element.first() != Some(&ELEMENT) || element.get(DELETED_AT) != Some(&0) {
                continue;
            }
            for row in 0..ROWS {
                let at = ROWS_AT + row * TID_SIZE;
                let Some(bytes) = element.get(at..at + TID_SIZE) else {
                    break;
                };
                let part = |i| u16::from_ne_bytes([bytes[i], bytes[i + 1]]);
                // An unused TID has offset 0 (ItemPointerSetInvalid).
                if part(4) == 0 {
                    break;
                }
                let heap = (u32::from(part(0)) << 16) | u32::from(part(2));
                let place = pairs::at(block, offset);
                entries.put(pairs::at(heap, part(4)), met(place));
            }
        }
    }
}

/// A copy of a page.
fn read_page(index: &Examined, block: u32) -> Vec<u8> {
    // SAFETY: the index is open, and a block behind its end raises. The page is
    // copied under a shared lock, and both are given back at once.
    unsafe {
        let buffer = pg_sys::ReadBuffer(index.rel, block);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let start = pg_sys::BufferGetPage(buffer).cast::<u8>();
        let page = std::slice::from_raw_parts(start, PAGE_SIZE).to_vec();
        pg_sys::UnlockReleaseBuffer(buffer);
        page
    }
}

/// Is it a page of an HNSW index?
fn is_ours(page: &[u8]) -> bool {
    let special = std::mem::offset_of!(pg_sys::PageHeaderData, pd_special);
    short(page, special).is_some_and(|special| {
        let special = usize::from(special);
        special + OPAQUE_SIZE <= PAGE_SIZE && short(page, special + 6) == Some(PAGE_ID)
    })
}

fn short(page: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(page.get(at..at + 2)?.try_into().ok()?))
}

fn number(page: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(page.get(at..at + 4)?.try_into().ok()?))
}

/// PageGetMaxOffsetNumber (bufpage.h).
fn items(page: &[u8]) -> u16 {
    let lower = short(page, std::mem::offset_of!(pg_sys::PageHeaderData, pd_lower));
    let header = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp) as u16;
    lower.unwrap_or(0).saturating_sub(header) / 4
}

/// The item at that offset (from 1), if it is in use.
fn item(page: &[u8], offset: u16) -> Option<&[u8]> {
    let header = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);
    // ItemIdData (itemid.h): 15 bits of offset, 2 of flags (1 = normal), 15 of length.
    let line = number(page, header + (usize::from(offset) - 1) * 4)?;
    let (start, flags, length) = (line & 0x7fff, line >> 15 & 3, line >> 17);
    if flags != 1 {
        return None;
    }
    page.get(start as usize..(start + length) as usize)
}

/// The content of an element's vector, which is stored with a header of four bytes.
fn vector_at(element: &[u8]) -> Option<&[u8]> {
    let vector = element.get(VECTOR_AT..)?;
    // VARSIZE_4B (postgres.h), little endian.
    let size = number(vector, 0)? >> 2;
    vector.get(4..size as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read() {
        for (bits, number) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x3555, 0.333_251_953_125),
            (0x0000, 0.0),
        ] {
            assert_eq!(half(bits), number, "{bits:x}");
        }
    }

    #[test]
    fn a_normalized_vector_has_the_direction_of_its_row() {
        let vector = |elements: &[f32]| {
            let mut bytes = vec![elements.len() as u8, 0, 0, 0];
            bytes.extend(elements.iter().flat_map(|x| x.to_ne_bytes()));
            bytes
        };
        let same = |a: &[f32], b: &[f32]| Float::Single.same_direction(&vector(a), &vector(b));
        assert!(same(&[0.6, 0.8], &[3.0, 4.0]));
        assert!(!same(&[0.6, 0.8], &[3.0, 4.1]));
        assert!(!same(&[0.6, 0.8], &[-3.0, -4.0]));
        assert!(!same(&[0.6, 0.8], &[3.0, 4.0, 0.0]));
    }
}

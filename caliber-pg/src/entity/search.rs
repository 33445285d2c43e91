//! Searches by cosine distance: the k nearest of the live rows.

use super::args;
use crate::engine::list::Range;
use crate::engine::{Stored, Table};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::datum::IntArg;
use crate::pg::found::Found;
use crate::pg::row::KeptRow;
use crate::pg::vector::Cosine;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use uuid::Uuid;

/// The most rows that a search returns.
const MAX_K: i32 = 1000;

/// Is a row one that the search may return?
pub type Live<'a> = dyn Fn(&Stored) -> CaliberResult<bool> + 'a;

/// Reads the argument `k`.
///
/// # Errors
/// 22004; 22023 outside 1 … 1000.
pub fn count(k: &IntArg) -> CaliberResult<usize> {
    let k = args::required("k", k)?.as_int4().unwrap_or_default();
    if !(1..=MAX_K).contains(&k) {
        return Err(CaliberError::argument(
            Rule::Value,
            format!("\"k\" must be between 1 and {MAX_K}, not {k}"),
            None,
        ));
    }
    Ok(k as usize)
}

/// What decides where a row comes: its distance and its key.
type Place = (f64, Option<Uuid>);

/// A row that was found.
#[derive(Debug)]
struct Hit {
    distance: f64,
    /// None where a user has dropped the key.
    key: Option<Uuid>,
    row: KeptRow,
}

impl Hit {
    fn place(&self) -> Place {
        (self.distance, self.key)
    }
}

/// By distance, what is not a number last, as PostgreSQL orders it; then by key, those
/// that have none last.
fn order((a, one): Place, (b, other): Place) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        .then(one.is_none().cmp(&other.is_none()))
        .then(one.cmp(&other))
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self.place(), other.place())
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Hit {}

/// A search in one table.
pub struct Search<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its column of embeddings.
    pub embedding: usize,
    /// The query.
    pub cosine: Cosine,
    /// How many rows are wanted.
    pub k: usize,
    /// Which rows may be returned.
    pub live: &'a Live<'a>,
}

impl Search<'_> {
    /// Searches through the HNSW index of the query's dimension.
    ///
    /// # Errors
    /// 55000 if there is none.
    pub fn through_index<T>(&self, found: &mut Found<T>) -> CaliberResult<()> {
        let engine = self.table.engine();
        let _snapshot = engine.snapshot();
        let mut hits = Vec::new();
        engine.nearest(
            self.table,
            self.embedding,
            &self.cosine,
            &mut |row, keep| {
                if let Some((distance, key)) = self.place(row)? {
                    let row = keep();
                    hits.push(Hit { distance, key, row });
                }
                Ok(hits.len() < self.k)
            },
        )?;
        // The index goes by rounded distances.
        hits.sort();
        self.give(&hits, found);
        Ok(())
    }

    /// Compares all rows of a range.
    ///
    /// # Errors
    /// Those of the read.
    pub fn exactly<T>(&self, range: &Range, found: &mut Found<T>) -> CaliberResult<()> {
        let engine = self.table.engine();
        let _snapshot = engine.snapshot();
        // The greatest of the hits is on top, to make room for a nearer one.
        let mut nearest = BinaryHeap::with_capacity(self.k + 1);
        engine.visit(self.table, range, &mut |row, keep| {
            let Some((distance, key)) = self.place(row)? else {
                return Ok(true);
            };
            let farthest = nearest.peek().filter(|_| nearest.len() == self.k);
            if farthest.is_none_or(|hit: &Hit| order((distance, key), hit.place()).is_lt()) {
                let row = keep();
                nearest.push(Hit { distance, key, row });
            }
            if nearest.len() > self.k {
                nearest.pop();
            }
            Ok(true)
        })?;
        self.give(&nearest.into_sorted_vec(), found);
        Ok(())
    }

    /// Where the row comes, if it is live and has the query's dimension.
    fn place(&self, row: &Stored) -> CaliberResult<Option<Place>> {
        if !(self.live)(row)? {
            return Ok(None);
        }
        let key = row.get(self.table.entity.key).as_uuid();
        let distance = self.cosine.distance(row.get(self.embedding));
        Ok(distance.map(|distance| (distance, key)))
    }

    /// Returns the rows themselves.
    fn give<T>(&self, hits: &[Hit], found: &mut Found<T>) {
        found.prepare(&self.table.relation);
        for hit in hits {
            found.put(&hit.row, hit.distance);
        }
    }
}

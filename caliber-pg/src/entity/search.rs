//! Searches by cosine distance: the k nearest of the live rows.

use super::args;
use crate::engine::list::Range;
use crate::engine::{Stored, Table};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::datum::{IntArg, Value};
use crate::pg::found::Found;
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

/// A row that was found.
#[derive(Debug)]
struct Hit {
    distance: f64,
    key: Uuid,
}

/// By distance, what is not a number last, as PostgreSQL orders it; then by key.
impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.distance, other.distance);
        a.partial_cmp(&b)
            .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            .then(self.key.cmp(&other.key))
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
        engine.nearest(self.table, self.embedding, &self.cosine, &mut |row| {
            hits.extend(self.hit(row)?);
            Ok(hits.len() < self.k)
        })?;
        // The index goes by rounded distances.
        hits.sort();
        self.give(hits, found)
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
        engine.visit(self.table, range, &mut |row| {
            nearest.extend(self.hit(row)?);
            if nearest.len() > self.k {
                nearest.pop();
            }
            Ok(true)
        })?;
        self.give(nearest.into_sorted_vec(), found)
    }

    /// The row as a hit, if it is live and has the query's dimension.
    fn hit(&self, row: &Stored) -> CaliberResult<Option<Hit>> {
        if !(self.live)(row)? {
            return Ok(None);
        }
        let key = row.get(self.table.entity.key).as_uuid();
        let distance = self.cosine.distance(row.get(self.embedding));
        Ok(key
            .zip(distance)
            .map(|(key, distance)| Hit { distance, key }))
    }

    /// Returns the rows themselves, each read under the same snapshot.
    fn give<T>(&self, hits: Vec<Hit>, found: &mut Found<T>) -> CaliberResult<()> {
        found.prepare(&self.table.relation);
        for hit in hits {
            let row = self.table.engine().get(self.table, Value::uuid(hit.key))?;
            if let Some(row) = row {
                found.put(row, hit.distance);
            }
        }
        Ok(())
    }
}

//! Embeddings, and what is nearest to a query by cosine distance.

use crate::model::Row;
use crate::value::Value;
use proptest::prelude::*;

/// A direction of its own for each number: no two rows are ever equally far
/// from a query. (What is equally far comes in any order.)
#[must_use]
pub fn direction(number: usize, dimensions: usize) -> Vec<f64> {
    (0..dimensions)
        .map(|axis| {
            let step = [37, 59, 71, 83][axis % 4];
            let span = [101, 103, 107, 109][axis % 4];
            #[allow(clippy::cast_precision_loss)]
            let length = ((number + 1) * step % span) as f64 - 40.0;
            length + 0.5
        })
        .collect()
}

fn vector(number: usize, dimensions: usize, scale: f64) -> Value {
    let items: Vec<String> = direction(number, dimensions)
        .iter()
        .map(|length| (length * scale).to_string())
        .collect();
    Value::Vector(format!("[{}]", items.join(",")))
}

/// An embedding of row `slot`: of 3 dimensions, which have an index, or others.
pub fn of_row(slot: usize) -> BoxedStrategy<Value> {
    (
        prop_oneof![8 => Just(3usize), 2 => Just(2usize), 1 => Just(4usize)],
        prop::sample::select(vec![0.5f64, 1.0, 2.0]),
        proptest::bool::ANY,
    )
        .prop_map(move |(dimensions, scale, other)| {
            vector(slot + if other { 64 } else { 0 }, dimensions, scale)
        })
        .boxed()
}

/// Something to look for.
pub fn query(dimensions: usize) -> BoxedStrategy<Value> {
    (0usize..12)
        .prop_map(move |number| vector(number + 32, dimensions, 1.0))
        .boxed()
}

/// How many to find.
pub fn count() -> BoxedStrategy<Option<Value>> {
    let count = prop_oneof![1i64..4, Just(1000)].prop_map(Value::Int);
    proptest::option::of(count).boxed()
}

/// The elements of a vector.
#[must_use]
pub fn elements(vector: &Value) -> Vec<f64> {
    vector
        .text()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .split(',')
        .filter_map(|item| item.trim().parse().ok())
        .collect()
}

/// Cosine distance.
#[must_use]
pub fn distance(left: &[f64], right: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    1.0 - dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// The `k` rows nearest to a query, of those that have its dimensions.
/// `embedding` gives the embedding of a row.
#[must_use]
pub fn nearest<'a>(
    query: &Value,
    k: usize,
    rows: impl Iterator<Item = &'a Row>,
    embedding: impl Fn(&Row) -> Value,
) -> Vec<Row> {
    let query = elements(query);
    let mut hits: Vec<(f64, Row)> = rows
        .map(|row| (elements(&embedding(row)), row))
        .filter(|(found, _)| found.len() == query.len())
        .map(|(found, row)| (distance(&found, &query), row.clone()))
        .collect();
    hits.sort_by(|a, b| a.0.total_cmp(&b.0));
    hits.truncate(k);
    hits.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_equally_far() {
        for dimensions in [2, 3] {
            for query in 32..44 {
                let query = direction(query, dimensions);
                let mut distances: Vec<f64> = (0..10)
                    .chain(20..32)
                    .chain(64..74)
                    .chain(84..96)
                    .map(|number| distance(&direction(number, dimensions), &query))
                    .collect();
                distances.sort_by(f64::total_cmp);
                for pair in distances.windows(2) {
                    assert!(pair[1] - pair[0] > 2e-6, "{dimensions}: {query:?} {pair:?}");
                }
            }
        }
    }
}

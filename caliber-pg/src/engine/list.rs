//! What a list reads, in terms that both engines understand.

use super::{Stored, Table};
use crate::entity::args::Page;
use crate::error::CaliberResult;
use crate::pg::constraints;
use crate::pg::datum::Value;
use crate::pg::test::Test;
use std::fmt;
use uuid::Uuid;

/// Rows that equal some values and pass some tests.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// Columns compared for equality, in the order of the index; NULL is
    /// IS NULL.
    pub equals: Vec<(usize, Value)>,
    /// Tests that all rows pass.
    pub tests: Vec<(usize, Test)>,
    /// Key columns of the index to go through where it does not give the
    /// order; the rows are then sorted. For a list of this one range.
    pub through: Option<&'static [usize]>,
}

impl Range {
    /// The rows where these columns have these values.
    pub fn of<const N: usize>(equals: [(usize, Value); N]) -> Self {
        Self {
            equals: equals.to_vec(),
            tests: Vec::new(),
            through: None,
        }
    }

    /// Only those that pass a test on a column.
    pub fn test(mut self, column: usize, test: Test) -> Self {
        self.tests.push((column, test));
        self
    }

    /// The rows whose column, a `uuid[]`, contains this id: read through a GIN
    /// index, and sorted.
    pub fn containing(column: usize, id: Value) -> Self {
        let ids: Vec<Uuid> = id.as_uuid().into_iter().collect();
        Self::default().test(column, Test::Contains(Value::uuid_array(&ids)))
    }

    /// The rows whose column has a text that is none of these: there are some only where
    /// a user has dropped or changed the CHECK that allows nothing else.
    pub fn of_others(column: usize, known: &'static [&'static str]) -> Self {
        Self::default().test(column, Test::NoneOf(known))
    }

    /// Can the table have such rows?
    fn is_inhabited(&self, table: &Table) -> bool {
        self.tests.iter().all(|&(column, test)| match test {
            Test::NoneOf(_) if crate::fault::active("other_ranks_unlisted") => false,
            Test::NoneOf(known) => !constraints::allow_only(&table.relation, column, known),
            _ => true,
        })
    }

    /// The column and the elements of a range that is read through a GIN index.
    pub(super) fn elements(&self) -> Option<(usize, Value)> {
        self.tests.iter().find_map(|&(column, test)| match test {
            Test::Contains(elements) => Some((column, elements)),
            _ => None,
        })
    }

    /// Does no index give its rows in order?
    pub(super) fn is_unordered(&self) -> bool {
        self.through.is_some() || self.elements().is_some()
    }

    /// Reads through the index on exactly these columns, and sorts.
    pub fn sorted_through(mut self, columns: &'static [usize]) -> Self {
        self.through = Some(columns);
        self
    }
}

/// Rows in the order of the values that a column takes, before the order.
#[derive(Debug, Clone, Copy)]
pub struct Rank {
    /// The column, of type text.
    pub column: usize,
    /// Its values, first to last. Rows with others come behind them.
    pub values: &'static [&'static str],
}

/// A condition that is decided in Rust.
pub type Keep<'a> = dyn Fn(&Stored) -> CaliberResult<bool> + 'a;

/// A list: the rows of any of its ranges, once each, in order.
pub struct List<'a> {
    /// A row may be in several.
    pub ranges: Vec<Range>,
    /// Ranks before the order.
    pub rank: Option<Rank>,
    /// Column of the order; None is the key.
    pub order: Option<usize>,
    /// Only rows whose order column is greater than this.
    pub after: Option<Value>,
    /// At most this many rows; None is all.
    pub max_rows: Option<i64>,
    /// The last rows instead of the first, in the same order. For one range
    /// without a rank.
    pub last: bool,
    /// A further condition.
    pub keep: Option<&'a Keep<'a>>,
}

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("ranges", &self.ranges)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl<'a> List<'a> {
    /// All rows of these ranges by key.
    pub fn of<const N: usize>(ranges: [Range; N]) -> Self {
        Self::any(ranges.to_vec())
    }

    /// All rows of these ranges by key.
    pub fn any(ranges: Vec<Range>) -> Self {
        Self {
            ranges,
            rank: None,
            order: None,
            after: None,
            max_rows: None,
            last: false,
            keep: None,
        }
    }

    /// Only one page of it.
    pub fn page(mut self, page: Page) -> Self {
        self.after = page.after;
        self.max_rows = page.max_rows;
        self
    }

    /// At most so many rows.
    pub fn limit(mut self, max_rows: i64) -> Self {
        self.max_rows = Some(max_rows);
        self
    }

    /// By this column, which no two rows of the list share, unless a user allows
    /// it: then for one range only.
    pub fn by(mut self, column: usize) -> Self {
        self.order = Some(column);
        self
    }

    /// By rank first.
    pub fn ranked(mut self, rank: Rank) -> Self {
        self.rank = Some(rank);
        self
    }

    /// The last rows instead of the first, in the same order.
    pub fn last(mut self) -> Self {
        self.last = true;
        self
    }

    /// Only rows for which `keep` is true.
    pub fn keep(mut self, keep: &'a Keep<'a>) -> Self {
        self.keep = Some(keep);
        self
    }

    /// The ranges that the table can have rows of.
    pub(super) fn inhabited(&self, table: &Table) -> Vec<&Range> {
        let ranges = self.ranges.iter();
        ranges.filter(|range| range.is_inhabited(table)).collect()
    }

    /// Is this a row of the list, on whatever page?
    pub(super) fn holds(&self, table: &Table, row: &Stored) -> CaliberResult<bool> {
        let columns = table.entity.shape.columns;
        let holds = |range: &Range| {
            let equals = |&(c, value): &(usize, Value)| row.get(c).same(&value, columns[c].kind);
            let passes = |&(c, test): &(usize, Test)| test.passes(row.get(c), columns[c].kind);
            range.equals.iter().all(equals) && range.tests.iter().all(passes)
        };
        Ok(self.ranges.iter().any(holds) && self.keep.map_or(Ok(true), |keep| keep(row))?)
    }

    /// The place of a row's rank; last if it has none.
    pub(super) fn rank_of(&self, row: &Stored) -> usize {
        self.rank.map_or(0, |rank| {
            let found = row.get(rank.column).word_among(rank.values);
            found.unwrap_or(rank.values.len())
        })
    }
}

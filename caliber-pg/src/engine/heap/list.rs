//! Lists: several index scans merged into one order.

use super::stored;
use crate::engine::list::{List, Range};
use crate::engine::Table;
use crate::error::CaliberResult;
use crate::pg::constraints;
use crate::pg::datum::Value;
use crate::pg::index::{Index, Wanted};
use crate::pg::relation::ColumnType;
use crate::pg::scan::Scan;
use crate::pg::slot::slot_attribute;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::sort::Sort;
use crate::pg::test::Test;
use pgrx::pg_sys;
use uuid::Uuid;

type Slot = *mut pg_sys::TupleTableSlot;

/// What is done with a row of a list: true if the row counts. Where no index
/// gives the order all rows count.
pub(super) type Take<'a> = dyn FnMut(Slot) -> CaliberResult<bool> + 'a;

/// Gives the rows of `list` to `row`, in order, until enough of them count.
pub(super) fn each(
    table: &Table,
    list: &List<'_>,
    snapshot: &ActiveSnapshot,
    row: &mut Take<'_>,
) -> CaliberResult<()> {
    let mut left = list.max_rows.unwrap_or(i64::MAX);
    if left <= 0 {
        return Ok(());
    }
    let start = if list.last {
        before_last(table, list, snapshot)?
    } else {
        Start::after(list.after)
    };
    let Some(rank) = list.rank else {
        return Part::new(table, list, start, Ranked::All).run(snapshot, &mut left, row);
    };
    for &value in rank.values {
        let ranked = Ranked::Is(rank.column, Value::text(value));
        Part::new(table, list, start, ranked).run(snapshot, &mut left, row)?;
    }
    let no_others = constraints::allow_only(&table.relation, rank.column, rank.values);
    if !no_others && !crate::fault::active("other_ranks_unlisted") {
        Part::new(table, list, start, Ranked::Unknown).run(snapshot, &mut left, row)?;
    }
    Ok(())
}

/// Where the rows of a list begin.
#[derive(Clone, Copy)]
struct Start {
    /// Behind this value of the order column.
    after: Option<Value>,
    /// And behind so many rows that have the next one.
    skip: i64,
}

impl Start {
    fn after(after: Option<Value>) -> Self {
        Self { after, skip: 0 }
    }
}

/// Walks back over the last `max_rows` rows, to the one before them whose value is
/// another than that of the first of them. (Rows may share a value where a user has
/// made the key deferrable, or dropped it, and have none where NOT NULL was dropped:
/// no search key leads to those, so that the rows before them are counted.)
fn before_last(table: &Table, list: &List<'_>, snapshot: &ActiveSnapshot) -> CaliberResult<Start> {
    let part = Part::new(table, list, Start::after(list.after), Ranked::All);
    let kind = table.entity.shape.columns[part.order].kind;
    let mut merged = part.merge(snapshot, true)?;
    let mut wanted = list.max_rows.unwrap_or(i64::MAX);
    let (mut first, mut skip, mut unnumbered) = (None, 0, false);
    while let Some(slot) = merged.next() {
        if !part.kept(slot)? {
            continue;
        }
        let value = value_of(table, slot, part.order);
        let place = Place::of(value, kind);
        if wanted > 0 {
            wanted -= 1;
            first = Some(place);
            unnumbered |= value.is_null();
        } else if unnumbered || first == Some(place) {
            skip += 1;
        } else {
            let after = Some(value.copied(kind));
            return Ok(Start { after, skip });
        }
    }
    let after = list.after;
    Ok(Start { after, skip })
}

/// Which ranks.
#[derive(Clone, Copy)]
enum Ranked {
    All,
    /// The rows whose column has this value.
    Is(usize, Value),
    /// The rows that have none of the known ranks.
    Unknown,
}

/// A list, or the rows of one rank of it.
struct Part<'t, 'l> {
    table: &'t Table,
    list: &'l List<'l>,
    order: usize,
    start: Start,
    ranked: Ranked,
}

impl<'t, 'l> Part<'t, 'l> {
    fn new(table: &'t Table, list: &'l List<'l>, start: Start, ranked: Ranked) -> Self {
        let order = list.order.unwrap_or(table.entity.key);
        Self {
            table,
            list,
            order,
            start,
            ranked,
        }
    }

    fn run(
        &self,
        snapshot: &ActiveSnapshot,
        left: &mut i64,
        row: &mut Take<'_>,
    ) -> CaliberResult<()> {
        if self.list.ranges.iter().any(Range::is_unordered) {
            return self.run_sorted(snapshot, left, row);
        }
        if *left == 0 {
            return Ok(());
        }
        let mut merged = self.merge(snapshot, false)?;
        let mut skip = self.start.skip;
        while *left > 0 {
            let Some(slot) = merged.next() else { break };
            if !self.kept(slot)? {
                continue;
            }
            if skip > 0 {
                skip -= 1;
            } else if row(slot)? {
                *left -= 1;
            }
        }
        Ok(())
    }

    /// Reads every range in full and sorts, where no index gives the order.
    fn run_sorted(
        &self,
        snapshot: &ActiveSnapshot,
        left: &mut i64,
        row: &mut Take<'_>,
    ) -> CaliberResult<()> {
        let kind = self.table.entity.shape.columns[self.order].kind;
        let after = self.start.after.map(|after| Place::of(after, kind));
        let mut sort = Sort::by(&self.table.relation, self.order, self.list.max_rows);
        for range in self.list.inhabited(self.table) {
            let mut scan = self.scan(range, snapshot, false)?;
            while let Some(slot) = scan.next() {
                let place = Place::of(value_of(self.table, slot, self.order), kind);
                let in_page = after.is_none_or(|after| place > after && place != Place::Null);
                if in_page && self.kept(slot)? {
                    // SAFETY: the scan returned a row of the table.
                    unsafe { sort.put(slot) };
                }
            }
        }
        sort.sort();
        while *left > 0 {
            let Some(slot) = sort.next() else { break };
            row(slot)?;
            *left -= 1;
        }
        Ok(())
    }

    fn merge(&self, snapshot: &ActiveSnapshot, backward: bool) -> CaliberResult<Merged<'t>> {
        let ranges = self.list.inhabited(self.table);
        let mut sources = Vec::with_capacity(ranges.len());
        for range in ranges {
            sources.push(Source {
                scan: self.scan(range, snapshot, backward)?,
                state: State::Unread,
            });
        }
        Ok(Merged {
            table: self.table,
            order: self.order,
            backward,
            sources,
            given: None,
            at: None,
            here: Vec::new(),
        })
    }

    fn scan(
        &self,
        range: &Range,
        snapshot: &ActiveSnapshot,
        backward: bool,
    ) -> CaliberResult<Scan<'t>> {
        let relation = &self.table.relation;
        if let Some(elements) = range.elements() {
            let scan = Scan::containing(relation, elements, &range.tests)?;
            return Ok(scan.seeing(relation, self.table.entity.key, snapshot));
        }
        let mut equals = range.equals.clone();
        let mut tests = range.tests.clone();
        let by_order = range.through.is_none();
        let after = self.start.after;
        if let Ranked::Is(column, value) = self.ranked {
            equals.push((column, value));
            let wanted = Wanted {
                equals: &equals,
                tests: &tests,
                order: Some(self.order),
                through: None,
                unique: false,
            };
            if let Some(index) = Index::find(relation, &wanted) {
                let scan = Scan::through(index, relation, &wanted, after, backward);
                return Ok(scan.seeing(relation, self.table.entity.key, snapshot));
            }
            equals.pop();
            tests.push((column, Test::Is(value)));
        }
        let wanted = Wanted {
            equals: &equals,
            tests: &tests,
            order: by_order.then_some(self.order),
            through: range.through,
            unique: false,
        };
        let after = after.filter(|_| by_order);
        let scan = Scan::begin(relation, &wanted, after, backward)?;
        Ok(scan.seeing(relation, self.table.entity.key, snapshot))
    }

    /// Does the row pass the condition that is decided in Rust?
    fn kept(&self, slot: Slot) -> CaliberResult<bool> {
        let is_unknown = matches!(self.ranked, Ranked::Unknown);
        if self.list.keep.is_none() && !is_unknown {
            return Ok(true);
        }
        // SAFETY: the scan returned a stored row in the slot.
        let row = unsafe { stored(self.table, slot) };
        let known = self.list.rank.map_or(0, |rank| rank.values.len());
        if is_unknown && self.list.rank_of(&row) < known {
            return Ok(false);
        }
        self.list.keep.map_or(Ok(true), |keep| keep(&row))
    }
}

/// A value of an order column, which is a uuid or an integer; NULL, where a user allows
/// it, comes last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Id(Uuid),
    Number(i32),
    Null,
}

impl Place {
    fn of(value: Value, kind: ColumnType) -> Self {
        if crate::fault::active("list_nulls_first") && value.is_null() {
            return Self::Id(Uuid::nil());
        }
        match kind {
            ColumnType::Uuid => value.as_uuid().map_or(Self::Null, Self::Id),
            _ => value.as_int4().map_or(Self::Null, Self::Number),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unread,
    Holding(Place),
    Ended,
}

struct Source<'t> {
    scan: Scan<'t>,
    state: State,
}

/// Scans that each give one order, merged; a row that several give comes once.
struct Merged<'t> {
    table: &'t Table,
    order: usize,
    backward: bool,
    sources: Vec<Source<'t>>,
    /// The source whose row was given last.
    given: Option<usize>,
    /// The place in the order, and where its rows are that were given: several where a
    /// user has dropped the key.
    at: Option<Place>,
    here: Vec<(u32, u16)>,
}

impl Merged<'_> {
    fn next(&mut self) -> Option<Slot> {
        if let [only] = &mut self.sources[..] {
            return only.scan.next();
        }
        loop {
            if let Some(i) = self.given.take() {
                self.sources[i].state = State::Unread;
            }
            let mut best: Option<(usize, Place)> = None;
            for (i, source) in self.sources.iter_mut().enumerate() {
                if source.state == State::Unread {
                    source.state = match source.scan.next() {
                        Some(slot) => {
                            let kind = self.table.entity.shape.columns[self.order].kind;
                            State::Holding(Place::of(value_of(self.table, slot, self.order), kind))
                        }
                        None => State::Ended,
                    };
                }
                let State::Holding(place) = source.state else {
                    continue;
                };
                let first = best.is_none_or(|(_, other)| {
                    if self.backward {
                        place > other
                    } else {
                        place < other
                    }
                });
                if first {
                    best = Some((i, place));
                }
            }
            let (i, place) = best?;
            self.given = Some(i);
            let slot = self.sources[i].scan.current();
            // SAFETY: the scan has just stored a row of the table in the slot.
            let tid = pgrx::itemptr::item_pointer_get_both(unsafe { (*slot).tts_tid });
            if self.at.replace(place) != Some(place) {
                self.here.clear();
            }
            if !self.here.contains(&tid) || crate::fault::active("list_repeats") {
                self.here.push(tid);
                return Some(slot);
            }
        }
    }
}

/// The value of a known column of the row in a slot; it points into the slot.
fn value_of(table: &Table, slot: Slot, column: usize) -> Value {
    // SAFETY: the caller got the slot from a scan or sort of this table.
    unsafe { slot_attribute(slot, table.relation.attribute(column)) }
}

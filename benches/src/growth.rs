//! How cost follows the number of rows present: get, create and every list, each call timed
//! by a clock inside the backend.

use crate::bar::{judge, Verdict};
use crate::config::{Config, Effort};
use crate::entity::{self, Entity, Kind, Operation};
use crate::stats::{quantile, Figure};
use crate::world;
use anyhow::{bail, Context, Result};
use serde::Serialize;
use verification::session::Session;

/// How many times as many rows make a step that is judged: within less, the caches of the
/// processor that the rows no longer fit are a greater step than log n.
const STEP: u32 = 10;

/// How far p99 may be from p50.
pub const TAIL: f64 = 3.0;

/// One operation at several numbers of rows.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Entity and operation.
    pub what: String,
    /// Kind of the operation.
    pub kind: &'static str,
    /// Fillfactor of the table.
    pub fillfactor: u32,
    /// By ascending number of rows.
    pub points: Vec<Point>,
    /// Time at the most rows as a share of that at the fewest.
    pub growth: f64,
    /// What log n would give.
    pub allowed: f64,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The same of the floor: of a bare probe for a row, where the operation is a get. What it
    /// grows by is the processor's caches and the height of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_growth: Option<f64>,
    /// Each number of rows against the one before: what a cost that does not grow hides between
    /// the ends shows here.
    pub steps: Vec<Step>,
    /// Pages that a list touches among the most rows as a share of those among the fewest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_growth: Option<f64>,
    /// What log n would give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_allowed: Option<f64>,
    /// What came of it: a count, without spread.
    pub pages_verdict: Verdict,
}

/// One step of a series.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Step {
    /// The greater number of rows.
    pub rows: u32,
    /// Time among them as a share of that among the number before.
    pub growth: f64,
    /// What log n would give.
    pub allowed: f64,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Step {
    /// From one number of rows to another.
    fn between(first: &Point, last: &Point) -> Self {
        let growth = last.p50.median / first.p50.median;
        let allowed = logarithm(first, last);
        let figure = Figure {
            median: growth,
            spread: growth * (first.p50.relative() + last.p50.relative()),
        };
        let noise = first.p50.relative().max(last.p50.relative());
        let verdict = if last.rows < first.rows * STEP {
            Verdict::None
        } else {
            judge(&figure, Some(allowed), noise)
        };
        Self {
            rows: last.rows,
            growth,
            allowed,
            verdict,
        }
    }
}

/// How much log n grows from one number of rows to another.
fn logarithm(first: &Point, last: &Point) -> f64 {
    f64::from(last.rows).ln() / f64::from(first.rows).ln()
}

impl Series {
    /// Is p99 near enough to p50 where there are most rows?
    #[must_use]
    pub fn tail(&self) -> Verdict {
        let Some(point) = self.points.last() else {
            return Verdict::None;
        };
        let median = point.p99.median / point.p50.median;
        let figure = Figure {
            median,
            spread: median * point.p99.relative(),
        };
        judge(&figure, Some(TAIL), point.p50.relative())
    }
}

/// One operation at one number of rows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Rows of each entity.
    pub rows: u32,
    /// Calls of a statement, each timed.
    pub calls: u32,
    /// Statements.
    pub pairs: usize,
    /// Microseconds of a call: medians of several statements.
    pub p50: Figure,
    /// 99th percentile.
    pub p99: Figure,
    /// Microseconds of a bare probe for a row, with everything opened once, where the operation is
    /// a get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<Figure>,
    /// Pages that one call of a list touches, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<f64>,
}

/// The operations whose growth is measured.
#[must_use]
pub fn operations() -> Vec<(&'static Entity, &'static Operation)> {
    let all = entity::operations().into_iter();
    all.filter(|(_, o)| matches!(o.kind, Kind::Get | Kind::Create | Kind::List))
        .collect()
}

/// Measures one operation with so many rows present.
///
/// # Errors
/// When a statement fails.
pub fn point(
    session: &mut Session,
    entity: &'static Entity,
    operation: &'static Operation,
    rows: u32,
    config: &Config,
) -> Result<Point> {
    let calls = match (operation.kind, config.effort) {
        (Kind::List, Effort::Quick) => 100,
        (Kind::List, Effort::Full) => 400,
        (_, Effort::Quick) => 500,
        (_, Effort::Full) => 1_000,
    };
    // Other rows in every round, as far as there are any; and others for the floor.
    let slices = (calls * 2 * (config.pairs as u32 + 1)).min(rows) / calls;
    let half = slices.div_ceil(2);
    let arguments = world::arguments(session, entity, operation, rows, calls * slices)?;
    let (mut p50, mut p99, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=config.pairs {
        let turn = round as u32 % half;
        let from = turn * calls;
        let call = timed(
            operation,
            &format!("(SELECT * FROM {arguments} OFFSET {from} LIMIT {calls})"),
        );
        session.batch("BEGIN")?;
        let reply = session
            .query(&call)
            .map_err(|failure| anyhow::anyhow!("{failure}"))
            .with_context(|| call.clone())?;
        session.batch("ROLLBACK")?;
        let times = reply
            .column()
            .into_iter()
            .flatten()
            .filter_map(|t| t.parse::<f64>().ok());
        let mut times: Vec<f64> = times.map(|nanoseconds| nanoseconds / 1e3).collect();
        if times.len() != calls as usize {
            bail!(
                "only {} of {calls} calls found what they should: {call}",
                times.len()
            );
        }
        times.sort_by(f64::total_cmp);
        if round > 0 {
            p50.push(quantile(&times, 0.5));
            p99.push(quantile(&times, 0.99));
        }
        if operation.kind == Kind::Get {
            let from = (half + turn) % slices * calls;
            let rows = format!("{arguments} OFFSET {from} LIMIT {calls}");
            let time = probed(session, entity, &rows)? / f64::from(calls);
            if round > 0 {
                floor.push(time);
            }
        }
    }
    if operation.kind.writes() {
        session.batch(&format!("VACUUM {}", entity.table))?;
    }
    let pages = match operation.kind {
        Kind::List => Some(pages(session, operation, &arguments)?),
        _ => None,
    };
    Ok(Point {
        rows,
        calls,
        pairs: config.pairs,
        p50: Figure::of(p50),
        p99: Figure::of(p99),
        floor: (!floor.is_empty()).then(|| Figure::of(floor)),
        pages,
    })
}

fn call(operation: &Operation) -> String {
    let names: Vec<String> = operation
        .arguments
        .iter()
        .map(|a| format!("a.{}", a.0))
        .collect();
    format!("{}({})", operation.function, names.join(", "))
}

/// A query that returns the nanoseconds of each call that found what it should.
fn timed(operation: &Operation, arguments: &str) -> String {
    let call = call(operation);
    let (call, found) = if operation.returns_set() {
        let units = operation.units();
        (
            format!("(SELECT count(*) FROM {call})"),
            format!("x = {units}"),
        )
    } else {
        // Not IS NOT NULL, which asks for every column of a row.
        (call, "x IS DISTINCT FROM NULL".to_owned())
    };
    // The order of a target list is the order of evaluation (ExecProject).
    format!(
        "SELECT b - a FROM (SELECT bench.clock() AS a, {call} AS x, bench.clock() AS b FROM {arguments} a OFFSET 0) t
         WHERE {found}"
    )
}

/// Microseconds that a bare probe takes for all of some rows.
fn probed(session: &mut Session, entity: &Entity, rows: &str) -> Result<f64> {
    let (table, key) = (entity.table, entity.key);
    let sql = format!(
        "SELECT b - a FROM (
             SELECT bench.clock() AS a, bench.probe('public.{table}_pkey', ids) AS x, bench.clock() AS b, cardinality(ids) AS n
             FROM (SELECT array_agg({key}) AS ids FROM (SELECT {key} FROM {rows}) r) s OFFSET 0
         ) t WHERE x = n"
    );
    let nanoseconds = session
        .value(&sql)?
        .and_then(|text| text.parse::<f64>().ok());
    let nanoseconds = nanoseconds.with_context(|| format!("not every row was found by: {sql}"))?;
    Ok(nanoseconds / 1e3)
}

/// Pages that a call touches, on average over some calls.
fn pages(session: &mut Session, operation: &Operation, arguments: &str) -> Result<f64> {
    const SAMPLE: u32 = 100;
    let explain =
        |from: &str| format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {from}");
    let some = format!("(SELECT * FROM {arguments} LIMIT {SAMPLE}) a");
    let lists = explain(&format!(
        "SELECT count(*) FROM {some}, LATERAL {} x",
        call(operation)
    ));
    let alone = explain(&format!("SELECT count(*) FROM {some}"));
    let mut touched = |sql: &str| -> Result<u64> {
        let text = session.value(sql)?.unwrap_or_default();
        let plan: serde_json::Value = serde_json::from_str(&text)?;
        let plan = &plan[0]["Plan"];
        let pages = |name: &str| plan[name].as_u64().unwrap_or(0);
        Ok(pages("Shared Hit Blocks") + pages("Shared Read Blocks"))
    };
    // The first call in a session also reads catalogs.
    touched(&lists)?;
    let pages = touched(&lists)?.saturating_sub(touched(&alone)?);
    Ok(pages as f64 / f64::from(SAMPLE))
}

/// Puts the points of an operation together and judges them.
///
/// # Errors
/// When the table's fillfactor cannot be read, or there is no point.
pub fn series(
    session: &mut Session,
    entity: &Entity,
    operation: &Operation,
    points: Vec<Point>,
) -> Result<Series> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        bail!("{} was measured nowhere", operation.function);
    };
    let whole = Step::between(first, last);
    let steps = points.windows(2).map(|two| Step::between(&two[0], &two[1]));
    let pages = first.pages.zip(last.pages);
    let pages_growth = pages.map(|(few, many)| many / few);
    let pages_allowed = pages.map(|_| whole.allowed);
    let pages_verdict = pages_growth.map_or(Verdict::None, |median| {
        let spread = 0.0;
        judge(&Figure { median, spread }, pages_allowed, 0.0)
    });
    Ok(Series {
        what: format!("{} {}", entity.name, operation.label()),
        kind: operation.kind.name(),
        fillfactor: world::fillfactor(session, entity.table)?,
        growth: whole.growth,
        floor_growth: first
            .floor
            .zip(last.floor)
            .map(|(few, many)| many.median / few.median),
        allowed: whole.allowed,
        verdict: whole.verdict,
        steps: steps.collect(),
        pages_growth,
        pages_allowed,
        pages_verdict,
        points,
    })
}

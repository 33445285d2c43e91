//! The cost inside a backend: one statement that calls a function over generated arguments,
//! in one session, timed by the client from sending it to its answer. Nothing is subtracted:
//! one round trip, the parsing of that statement and the reading of its arguments are in the
//! time of both sides, and a statement makes thousands of calls.
//!
//! Runs alternate: in each round every contender does the same work, our function twice, in
//! forward order in one round and backward in the next. Writes are rolled back, and what they
//! leave is vacuumed before the next one starts.

use crate::bar::{self, Baseline, Verdict};
use crate::config::Config;
use crate::entity::{Entity, Kind, Operation};
use crate::race::{Race, CONTROL};
use crate::rival::Contender;
use crate::stats::{ratio, Figure};
use anyhow::{bail, Result};
use serde::Serialize;
use verification::session::Session;

/// Settings of the measuring session: without memoize, since each call is to be made.
pub const SESSION: &str =
    "SET synchronous_commit = off; SET caliber.notify = off; SET work_mem = '64MB'; SET enable_memoize = off";

/// The share of HOT updates below which a race of them measures something else.
const HOT: f64 = 0.95;

/// What was measured of one operation.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Entity.
    pub entity: &'static str,
    /// Kind, as it is called in reports.
    pub kind: String,
    /// What was done.
    pub title: &'static str,
    /// Our function.
    pub function: &'static str,
    /// Foreign keys of a new row that are not NULL.
    pub foreign_keys: u32,
    /// Rows present.
    pub rows: u32,
    /// Fillfactor of the table during the race.
    pub fillfactor: u32,
    /// Calls in one statement.
    pub calls: u32,
    /// Alternating pairs.
    pub pairs: usize,
    /// Microseconds of a call (of a row, for `*_many`).
    pub ours: Figure,
    /// Our function against itself.
    pub control: Figure,
    /// Against each baseline.
    pub against: Vec<Compared>,
    /// The share of our updates that were HOT in the race.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot: Option<f64>,
    /// The same on the table as it was created, with its pages full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot_as_created: Option<f64>,
}

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// With what.
    pub baseline: Baseline,
    /// Which kind of plan was faster and was taken, where plans are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<&'static str>,
    /// Its microseconds.
    pub time: Figure,
    /// Our time as a share of it.
    pub ratio: Figure,
    /// The share that is allowed.
    pub allowed: Option<f64>,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Measured {
    /// How far our function is from itself.
    #[must_use]
    pub fn noise(&self) -> f64 {
        self.control.noise()
    }
}

/// Measures one operation.
///
/// # Errors
/// When a statement fails, or a contender does not do what it should.
pub fn measure(
    session: &mut Session,
    entity: &'static Entity,
    operation: &'static Operation,
    config: &Config,
) -> Result<Measured> {
    let before = takeovers(session)?;
    let mut race = Race::prepare(session, entity, operation, config)?;
    // The first round warms caches and plans.
    for round in 0..=config.pairs {
        let mut order: Vec<usize> = (0..race.parts.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let time = race.once(session, i)?;
            if round > 0 {
                race.parts[i].times.push(time);
            }
            race.tidy(session)?;
        }
    }
    race.restore(session)?;
    if let Some(taken) = takeovers(session)?.checked_sub(before).filter(|&n| n > 0) {
        bail!(
            "the sql engine served {taken} calls of {}: not what is to be measured",
            operation.function
        );
    }
    if let Some(hot) = race
        .hot
        .filter(|&hot| operation.kind == Kind::Hot && (hot.is_nan() || hot < HOT))
    {
        bail!(
            "only {:.0} % of the updates by {} were HOT",
            hot * 100.0,
            operation.function
        );
    }
    Ok(evaluate(&race, config))
}

/// Calls of this backend that the heap engine left to SQL.
fn takeovers(session: &mut Session) -> Result<u64> {
    let sum = session
        .value("SELECT sum(value)::bigint FROM caliber_counters() WHERE name LIKE 'takeover.%'")?;
    Ok(sum.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn evaluate(race: &Race, config: &Config) -> Measured {
    let (first, second) = (&race.parts[0].times, &race.parts[CONTROL].times);
    let control = ratio(first, second);
    let both = first.iter().zip(second);
    let ours: Vec<f64> = both.map(|(a, b)| (a + b) / 2.0).collect();
    let operation = race.operation;
    let against = race.parts.iter().filter_map(|part| {
        let baseline = match part.contender {
            Some(Contender::Ours) => return None,
            Some(Contender::Rival(baseline)) => baseline,
            None => Baseline::Floor,
        };
        let time = Figure::of(part.times.clone());
        let ratio = ratio(&ours, &part.times);
        let allowed = bar::allowed(
            operation.kind,
            baseline,
            operation.foreign_keys,
            time.median,
        );
        Some(Compared {
            baseline,
            plan: part.plan(),
            time,
            ratio,
            allowed,
            verdict: bar::judge(&ratio, allowed, control.noise()),
        })
    });
    Measured {
        entity: race.entity.name,
        kind: operation.label(),
        title: operation.title,
        function: operation.function,
        foreign_keys: operation.foreign_keys,
        rows: config.rows,
        fillfactor: race.fillfactor,
        calls: race.calls(),
        pairs: config.pairs,
        against: against.collect(),
        ours: Figure::of(ours),
        control,
        hot: race.hot,
        hot_as_created: race.hot_as_created,
    }
}

//! The cost inside a backend: one statement that calls a function over generated arguments,
//! in one session, timed by the client from sending it to its answer. Nothing is subtracted:
//! one round trip, the parsing of that statement and the reading of its arguments are in the
//! time of both sides, and a statement makes thousands of calls.
//!
//! Runs alternate: in each round every contender does the same work, our function twice, in
//! forward order in one round and backward in the next. Writes are rolled back; what they
//! leave is vacuumed between rounds.

use crate::bar::{self, Baseline, Verdict};
use crate::config::Config;
use crate::entity::{Entity, Kind, Operation};
use crate::rival::Contender;
use crate::stats::{ratio, Figure};
use crate::world;
use anyhow::{bail, Context, Result};
use serde::Serialize;
use std::time::Instant;
use verification::session::Session;

/// Settings of the measuring session.
pub const SESSION: &str =
    "SET synchronous_commit = off; SET caliber.notify = off; SET work_mem = '64MB'; SET plan_cache_mode = auto";

/// The file that COPY reads, on the server.
const FILE: &str = "/tmp/caliber_bench.copy";

/// What was measured of one operation.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Entity.
    pub entity: &'static str,
    /// Kind, as it is called in reports.
    pub kind: &'static str,
    /// What was done.
    pub title: &'static str,
    /// Our function.
    pub function: &'static str,
    /// Foreign keys of a new row that are not NULL.
    pub foreign_keys: u32,
    /// Rows present.
    pub rows: u32,
    /// Fillfactor of the table.
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
    /// The share of updates that were HOT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot: Option<f64>,
}

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// With what.
    pub baseline: Baseline,
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
    /// The spread of the control pair.
    #[must_use]
    pub fn noise(&self) -> f64 {
        self.control.relative()
    }
}

/// Someone who takes part in the rounds.
struct Part {
    contender: Option<Contender>,
    sql: String,
    /// Microseconds of a unit, by round.
    times: Vec<f64>,
}

/// One operation with everyone who does it, ready to run.
pub struct Race {
    entity: &'static Entity,
    operation: &'static Operation,
    calls: u32,
    parts: Vec<Part>,
    /// The share of HOT updates in our function's last run.
    hot: Option<f64>,
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
        }
        race.tidy(session)?;
    }
    let fillfactor = session
        .value(&format!(
            "SELECT coalesce(substring(array_to_string(reloptions, ',') from 'fillfactor=(\\d+)'), '100')
             FROM pg_class WHERE oid = '{}'::regclass",
            entity.table
        ))?
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    Ok(race.evaluate(config, fillfactor))
}

/// The floor's statement: COPY of the very rows that our function writes, or a probe for each
/// id.
fn floor(
    session: &mut Session,
    entity: &Entity,
    operation: &Operation,
    rows: u32,
    arguments: &str,
) -> Result<Option<String>> {
    match operation.kind {
        Kind::Create | Kind::Many => {
            let ours = Contender::Ours.query(operation, arguments);
            session.batch(&format!(
                "BEGIN; {ours};
                 COPY (SELECT x.* FROM {} x WHERE x.{key} > bench.{}({rows}) ORDER BY x.{key}) TO '{FILE}';
                 ROLLBACK",
                entity.table,
                entity.name,
                key = entity.key,
            ))?;
            Ok(Some(format!("COPY {} FROM '{FILE}'", entity.table)))
        }
        Kind::Get | Kind::GetNear => {
            let key = operation.arguments[0].0;
            session.batch(&format!(
                "DROP TABLE IF EXISTS {arguments}_ids;
                 CREATE TEMP TABLE {arguments}_ids AS SELECT array_agg({key}) AS ids FROM {arguments}"
            ))?;
            Ok(Some(format!(
                "SELECT bench.probe('public.{}_pkey', ids) FROM {arguments}_ids",
                entity.table
            )))
        }
        _ => Ok(None),
    }
}

impl Race {
    /// Makes the arguments, and a statement for everyone.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn prepare(
        session: &mut Session,
        entity: &'static Entity,
        operation: &'static Operation,
        config: &Config,
    ) -> Result<Self> {
        let calls = config.calls(operation.kind);
        let arguments = world::arguments(session, entity, operation, config.rows, calls)?;
        let part = |contender, sql| Part {
            contender,
            sql,
            times: Vec::new(),
        };
        let mut parts: Vec<Part> = [
            Contender::Ours,
            Contender::Rival(Baseline::Kept),
            Contender::Rival(Baseline::PlPgSql),
            Contender::Ours,
            Contender::Rival(Baseline::OneShot),
        ]
        .into_iter()
        .map(|contender| part(Some(contender), contender.query(operation, &arguments)))
        .collect();
        if let Some(sql) = floor(session, entity, operation, config.rows, &arguments)? {
            parts.push(part(None, sql));
        }
        session.batch("CHECKPOINT")?;
        Ok(Self {
            entity,
            operation,
            calls,
            parts,
            hot: None,
        })
    }

    /// Who takes part, by name; our function once.
    pub fn names(&self) -> impl Iterator<Item = (usize, &'static str)> + '_ {
        let control = self.control();
        let parts = self.parts.iter().enumerate();
        parts
            .filter(move |(i, _)| *i != control)
            .map(|(i, part)| match part.contender {
                Some(Contender::Ours) => (i, "caliber_pg"),
                Some(Contender::Rival(baseline)) => (i, baseline.name()),
                None => (i, Baseline::Floor.name()),
            })
    }

    /// Calls in one statement.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// The second of our function's places.
    fn control(&self) -> usize {
        let ours = |part: &Part| part.contender == Some(Contender::Ours);
        self.parts.iter().rposition(ours).unwrap_or(0)
    }

    /// Removes what rolled-back writes left.
    ///
    /// # Errors
    /// When VACUUM fails.
    pub fn tidy(&self, session: &mut Session) -> Result<()> {
        if self.operation.kind.writes() {
            session.batch(&format!("VACUUM {}", self.entity.table))?;
        }
        Ok(())
    }

    /// Runs one contender's statement; microseconds of a unit.
    ///
    /// # Errors
    /// When it fails, or does not do what it should.
    pub fn once(&mut self, session: &mut Session, i: usize) -> Result<f64> {
        let part = &self.parts[i];
        let writes = self.operation.kind.writes();
        let copies = writes && part.contender.is_none();
        if writes {
            session.batch("BEGIN")?;
        }
        if copies {
            session.batch("SET LOCAL session_replication_role = replica")?;
        }
        let expected = u64::from(self.calls) * u64::from(self.operation.units());
        let started = Instant::now();
        let reply = session
            .query(&part.sql)
            .map_err(|failure| anyhow::anyhow!("{failure}"))
            .with_context(|| part.sql.clone())?;
        let passed = started.elapsed().as_secs_f64() * 1e6;
        let done = if copies {
            reply.count
        } else {
            let count = reply.column().into_iter().next().flatten();
            count.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        if done != expected {
            bail!("{done} instead of {expected} by: {}", part.sql);
        }
        if matches!(self.operation.kind, Kind::Update | Kind::Hot)
            && part.contender == Some(Contender::Ours)
        {
            self.hot = Some(self.hot_share(session)?);
        }
        if writes {
            session.batch("ROLLBACK")?;
        }
        Ok(passed / f64::from(self.calls * self.operation.divisor()))
    }

    /// The share of this transaction's updates that were HOT.
    fn hot_share(&self, session: &mut Session) -> Result<f64> {
        let table = self.entity.table;
        let share = session.value(&format!(
            "SELECT pg_stat_get_xact_tuples_hot_updated('{table}'::regclass)::float8
                 / nullif(pg_stat_get_xact_tuples_updated('{table}'::regclass), 0)"
        ))?;
        Ok(share.and_then(|text| text.parse().ok()).unwrap_or(0.0))
    }

    fn evaluate(&self, config: &Config, fillfactor: u32) -> Measured {
        let (first, second) = (&self.parts[0].times, &self.parts[self.control()].times);
        let control = ratio(first, second);
        let both = first.iter().zip(second);
        let ours: Vec<f64> = both.map(|(a, b)| (a + b) / 2.0).collect();
        let operation = self.operation;
        let against = self.parts.iter().filter_map(|part| {
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
                time,
                ratio,
                allowed,
                verdict: bar::judge(&ratio, allowed, control.relative()),
            })
        });
        Measured {
            entity: self.entity.name,
            kind: operation.kind.name(),
            title: operation.title,
            function: operation.function,
            foreign_keys: operation.foreign_keys,
            rows: config.rows,
            fillfactor,
            calls: self.calls,
            pairs: config.pairs,
            against: against.collect(),
            ours: Figure::of(ours),
            control,
            hot: self.hot,
        }
    }
}

//! One operation with everyone who does it: statements, the room and the plans they need, and
//! one run of one of them.
//!
//! SQL with kept plans runs with generic or with custom plans, whichever is faster: a trial
//! before the rounds decides. Left to itself, PostgreSQL plans some lists at each call for ever,
//! since it believes that a generic plan returns a third of the table.

use crate::bar::Baseline;
use crate::config::Config;
use crate::entity::{Entity, Kind, Operation};
use crate::rival::Contender;
use crate::world;
use anyhow::{bail, Context, Result};
use std::time::Instant;
use verification::session::Session;

/// Kinds of kept plans, as `plan_cache_mode` and as reports call them.
const PLANS: [(&str, &str); 2] = [
    ("force_generic_plan", "generic"),
    ("force_custom_plan", "custom"),
];

/// The fillfactor of a race of HOT updates where the table's own leaves no room on full pages.
const ROOM: u32 = 70;

/// The file that COPY reads, on the server.
const FILE: &str = "/tmp/caliber_bench.copy";

/// Who runs, in the order of the first round; the floor, where there is one, comes last.
const ORDER: [Contender; 5] = [
    Contender::Ours,
    Contender::Rival(Baseline::Kept),
    Contender::Rival(Baseline::PlPgSql),
    Contender::Ours,
    Contender::Rival(Baseline::OneShot),
];

/// The second of our function's places.
pub(crate) const CONTROL: usize = 3;

/// Someone who takes part in the rounds.
pub(crate) struct Part {
    pub(crate) contender: Option<Contender>,
    sql: String,
    /// One of [`PLANS`], where plans are kept.
    plan: usize,
    /// Microseconds of a unit, by round.
    pub(crate) times: Vec<f64>,
}

impl Part {
    /// Which kind of plan was chosen, where plans are kept.
    pub(crate) fn plan(&self) -> Option<&'static str> {
        self.keeps_plans().then(|| PLANS[self.plan].1)
    }

    fn keeps_plans(&self) -> bool {
        let kept = [Baseline::Kept, Baseline::PlPgSql].map(Contender::Rival);
        self.contender
            .is_some_and(|contender| kept.contains(&contender))
    }
}

/// One operation with everyone who does it, ready to run.
pub struct Race {
    pub(crate) entity: &'static Entity,
    pub(crate) operation: &'static Operation,
    calls: u32,
    pub(crate) parts: Vec<Part>,
    /// The table's fillfactor.
    pub(crate) fillfactor: u32,
    /// Whether that is of this race only.
    roomy: bool,
    /// The share of HOT updates in our function's last run.
    pub(crate) hot: Option<f64>,
    pub(crate) hot_as_created: Option<f64>,
}

/// Is there a least that PostgreSQL can do for it?
fn has_floor(kind: Kind) -> bool {
    matches!(kind, Kind::Create | Kind::Many | Kind::Get | Kind::GetNear)
}

/// The floor's statement: COPY of the very rows that our function writes, or a probe for each
/// id.
fn floor(
    session: &mut Session,
    entity: &Entity,
    operation: &Operation,
    rows: u32,
    arguments: &str,
) -> Result<String> {
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
            Ok(format!("COPY {} FROM '{FILE}'", entity.table))
        }
        _ => {
            let key = operation.arguments[0].0;
            // Not compressed: the probe is not to be timed with the unpacking of its ids.
            session.batch(&format!(
                "DROP TABLE IF EXISTS {arguments}_ids;
                 CREATE TEMP TABLE {arguments}_ids (ids uuid[]);
                 ALTER TABLE {arguments}_ids ALTER ids SET STORAGE EXTERNAL;
                 INSERT INTO {arguments}_ids SELECT array_agg({key}) FROM {arguments}"
            ))?;
            Ok(format!(
                "SELECT bench.probe('public.{}_pkey', ids) FROM {arguments}_ids",
                entity.table
            ))
        }
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
        let calls = config.calls(operation.kind, config.rows);
        let arguments = world::arguments(session, entity, operation, config.rows, calls)?;
        let part = |contender, sql| Part {
            contender,
            sql,
            plan: 0,
            times: Vec::new(),
        };
        let mut parts: Vec<Part> = ORDER
            .into_iter()
            .map(|contender| part(Some(contender), contender.query(operation, &arguments)))
            .collect();
        if has_floor(operation.kind) {
            let sql = floor(session, entity, operation, config.rows, &arguments)?;
            parts.push(part(None, sql));
        }
        let mut race = Self {
            entity,
            operation,
            calls,
            parts,
            fillfactor: world::fillfactor(session, entity.table)?,
            roomy: false,
            hot: None,
            hot_as_created: None,
        };
        if operation.kind == Kind::Hot {
            race.once(session, 0)?;
            race.hot_as_created = race.hot;
            race.make_room(session)?;
        }
        race.choose_plans(session)?;
        session.batch("CHECKPOINT")?;
        Ok(race)
    }

    /// HOT needs room on the row's page: where the table as it was created and filled has none,
    /// it gets some for this race.
    fn make_room(&mut self, session: &mut Session) -> Result<()> {
        if self.fillfactor <= ROOM {
            return self.tidy(session);
        }
        let table = self.entity.table;
        session.batch(&format!("ALTER TABLE {table} SET (fillfactor = {ROOM})"))?;
        session.batch(&format!("VACUUM (FULL, FREEZE, ANALYZE) {table}"))?;
        (self.fillfactor, self.roomy) = (ROOM, true);
        Ok(())
    }

    /// Takes the room back that a race of HOT updates had.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn restore(&self, session: &mut Session) -> Result<()> {
        if self.roomy {
            let table = self.entity.table;
            session.batch(&format!("ALTER TABLE {table} RESET (fillfactor)"))?;
            session.batch(&format!("VACUUM (FULL, FREEZE, ANALYZE) {table}"))?;
        }
        session.batch("RESET plan_cache_mode")
    }

    /// Lets SQL with kept plans try both kinds, and takes the faster.
    fn choose_plans(&mut self, session: &mut Session) -> Result<()> {
        for i in 0..self.parts.len() {
            if !self.parts[i].keeps_plans() {
                continue;
            }
            let mut best = f64::INFINITY;
            let mut faster = 0;
            for plan in 0..PLANS.len() {
                self.parts[i].plan = plan;
                let mut time = f64::INFINITY;
                // The first makes the plan.
                for _ in 0..3 {
                    time = time.min(self.once(session, i)?);
                    self.tidy(session)?;
                }
                if time < best {
                    (best, faster) = (time, plan);
                }
            }
            self.parts[i].plan = faster;
        }
        Ok(())
    }

    /// Who takes part in a race of such operations, by place and name; our function once.
    #[must_use]
    pub fn names(kind: Kind) -> Vec<(usize, &'static str)> {
        let places = ORDER.iter().enumerate().filter(|(i, _)| *i != CONTROL);
        let mut names: Vec<_> = places
            .map(|(i, contender)| match contender {
                Contender::Ours => (i, "caliber_pg"),
                Contender::Rival(baseline) => (i, baseline.name()),
            })
            .collect();
        if has_floor(kind) {
            names.push((ORDER.len(), Baseline::Floor.name()));
        }
        names
    }

    /// Calls in one statement.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// Removes what rolled-back writes left, so that the next one finds what this one found:
    /// index entries too, which VACUUM would leave where they are few.
    ///
    /// # Errors
    /// When VACUUM fails.
    pub fn tidy(&self, session: &mut Session) -> Result<()> {
        if self.operation.kind.writes() {
            session.batch(&format!(
                "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) {}",
                self.entity.table
            ))?;
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
        let mode = if part.keeps_plans() {
            PLANS[part.plan].0
        } else {
            "auto"
        };
        session.batch(&format!("SET plan_cache_mode = {mode}"))?;
        if writes {
            session.batch("BEGIN")?;
        }
        if copies {
            session.batch("SET LOCAL session_replication_role = replica")?;
        }
        let expected = u64::from(self.calls) * u64::from(self.operation.units());
        let updates = part.contender == Some(Contender::Ours)
            && matches!(
                self.operation.kind,
                Kind::Update | Kind::Hot | Kind::Receive
            );
        let before = match updates {
            true => self.updated(session)?,
            false => (0.0, 0.0),
        };
        let part = &self.parts[i];
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
        if updates {
            let after = self.updated(session)?;
            self.hot = Some((after.0 - before.0) / (after.1 - before.1));
        }
        if writes {
            session.batch("ROLLBACK")?;
        }
        Ok(passed / f64::from(self.calls * self.operation.divisor()))
    }

    /// HOT updates and all updates that this backend has counted and not yet reported: only a
    /// difference within a transaction says something of it (pgstat_report_stat, pgstat.c).
    fn updated(&self, session: &mut Session) -> Result<(f64, f64)> {
        let table = self.entity.table;
        let text = session.value(&format!(
            "SELECT pg_stat_get_xact_tuples_hot_updated('{table}'::regclass) || ' '
                 || pg_stat_get_xact_tuples_updated('{table}'::regclass)"
        ))?;
        let text = text.unwrap_or_default();
        let mut counts = text.split(' ').filter_map(|part| part.parse().ok());
        match (counts.next(), counts.next()) {
            (Some(hot), Some(all)) => Ok((hot, all)),
            _ => bail!("no counts of {table}: {text}"),
        }
    }
}

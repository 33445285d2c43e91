//! The bench: one session per judge, each in its own clone of the template.

use super::clock::Clock;
use super::outcome::Outcome;
use super::Engine;
use crate::entity;
use crate::server::{Database, Server};
use crate::session::{Failure, Reply, Session};
use anyhow::{bail, Context, Result};
use std::sync::Arc;

/// One judge.
pub struct Judge {
    /// Who it is.
    pub engine: Engine,
    pub(super) session: Session,
    pub(super) clock: Clock,
}

impl Judge {
    fn open(engine: Engine, database: &Database) -> Result<Self> {
        let mut session = Session::connect(&database.target)?;
        if engine != Engine::Client {
            // Loads the library, so that the setting is checked at once.
            session.batch("SELECT caliber_version()")?;
            session.batch(&format!("SET caliber.engine = {}", engine.name()))?;
        }
        Ok(Self {
            engine,
            session,
            clock: Clock::default(),
        })
    }

    /// The judge's session, for a test that does something behind its back.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(super) fn run(&mut self, sql: &str) -> Result<Vec<Reply>, Failure> {
        self.session.run(sql)
    }

    /// Values with the moments of this judge replaced.
    pub(super) fn values(&self, values: Vec<Option<String>>) -> Outcome {
        Outcome::Values(
            values
                .into_iter()
                .map(|value| value.map(|text| self.clock.apply(&text)))
                .collect(),
        )
    }

    /// A failure with the moments of this judge replaced.
    pub(super) fn failure(&self, failure: Failure) -> Outcome {
        match failure {
            Failure::Error(error) => Outcome::Error(Box::new(
                error.map_text(|text| self.clock.apply_to_error(text)),
            )),
            lost => Outcome::from_failure(lost),
        }
    }
}

/// The judges of a run. Databases are reused from case to case.
pub struct Bench {
    /// The judges; the first is compared with each of the others.
    pub judges: Vec<Judge>,
    /// Whether the server has amcheck.
    pub amcheck: bool,
    pub(super) on_duplicate_return: bool,
    databases: Vec<Database>,
    cleanups: u32,
    reusable: bool,
}

impl Bench {
    /// Opens a bench on a server.
    ///
    /// # Errors
    /// When a database cannot be cloned or the extension does not answer.
    pub fn open(server: &Arc<Server>, engines: &[Engine]) -> Result<Self> {
        let databases = engines
            .iter()
            .map(|_| server.database())
            .collect::<Result<Vec<_>>>()?;
        Self::over(engines, databases, true)
    }

    /// Opens a bench on new databases that nobody gets afterwards: for a test
    /// that changes more than rows.
    ///
    /// # Errors
    /// As [`Bench::open`].
    pub fn open_fresh(server: &Arc<Server>, engines: &[Engine]) -> Result<Self> {
        let databases = engines
            .iter()
            .map(|_| server.fresh_database())
            .collect::<Result<Vec<_>>>()?;
        Self::over(engines, databases, false)
    }

    fn over(engines: &[Engine], databases: Vec<Database>, reusable: bool) -> Result<Self> {
        let mut judges = Vec::new();
        for (engine, database) in engines.iter().zip(&databases) {
            judges.push(Judge::open(*engine, database).with_context(|| engine.name())?);
        }
        let Some(first) = judges.first_mut() else {
            bail!("a bench needs a judge")
        };
        let amcheck = first
            .session
            .value("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")?
            .is_some();
        Ok(Self {
            judges,
            amcheck,
            on_duplicate_return: false,
            databases,
            cleanups: 0,
            reusable,
        })
    }

    /// Sends statements to every judge, for a test that prepares its own tables,
    /// triggers or roles.
    ///
    /// # Errors
    /// When one of them refuses.
    pub fn prepare(&mut self, sql: &str) -> Result<()> {
        self.judges
            .iter_mut()
            .try_for_each(|judge| judge.session.batch(sql))
    }

    /// Puts the bench back to empty tables after a case. After a failed case
    /// the sessions are replaced too.
    ///
    /// # Errors
    /// When a server does not answer any more.
    pub fn reset(&mut self, failed: bool, committed: bool) -> Result<()> {
        if failed {
            for (judge, database) in self.judges.iter_mut().zip(&self.databases) {
                *judge = Judge::open(judge.engine, database)?;
            }
            self.on_duplicate_return = false;
        }
        self.cleanups += 1;
        // Mostly DELETE: the dead entries it leaves are food for the next cases.
        let truncate = failed || self.cleanups.is_multiple_of(25);
        if !(committed || truncate) {
            return Ok(());
        }
        let names = tables();
        let sql = if truncate {
            format!("TRUNCATE {} CASCADE", names.join(", "))
        } else {
            names
                .iter()
                .map(|name| format!("DELETE FROM {name};"))
                .collect()
        };
        self.prepare(&sql)
    }
}

/// Children before parents.
fn tables() -> Vec<&'static str> {
    entity::all()
        .iter()
        .rev()
        .map(|entity| entity.table().name)
        .collect()
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Whoever comes next finds empty tables with new indexes, whatever a
        // seeded fault did to the old ones; or no database at all.
        if self.reusable
            && self
                .prepare(&format!(
                    "ROLLBACK; TRUNCATE {} CASCADE",
                    tables().join(", ")
                ))
                .is_ok()
        {
            self.databases.iter_mut().for_each(Database::mark_clean);
        }
        self.judges.clear();
    }
}

//! The bench: one session per judge, each in its own clone of the template.

use super::clock::Clock;
use super::outcome::Outcome;
use super::Engine;
use crate::account::Account;
use crate::entity;
use crate::model::Made;
use crate::server::{Database, Server};
use crate::session::{Failure, Reply, Session};
use anyhow::{bail, Context, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// One judge.
pub struct Judge {
    /// Who it is.
    pub engine: Engine,
    pub(super) session: Session,
    pub(super) clock: Clock,
    /// The names of described indexes (by the address of the description) here.
    pub(super) index_names: HashMap<usize, String>,
    /// How a row ends whose last column is the judge's own process id, and how
    /// it ends for all; in what a trigger wrote there may be two.
    pid: (String, String),
}

impl Judge {
    fn open(engine: Engine, database: &Database) -> Result<Self> {
        let mut session = Session::connect(&database.target)?;
        // A plan that is forced to an index looks dear: compiling it takes 100 ms.
        session.batch("SET jit = off")?;
        if engine != Engine::Client {
            // Loads the library, so that the setting is checked at once.
            session.batch("SELECT caliber_version()")?;
            session.batch(&format!("SET caliber.engine = {}", engine.name()))?;
        }
        let pid = (
            format!(",{})", session.pid()?),
            ",pg_backend_pid())".to_owned(),
        );
        Ok(Self {
            engine,
            session,
            clock: Clock::default(),
            index_names: HashMap::new(),
            pid,
        })
    }

    /// The judge's session, for a test that does something behind its back.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The first column that a query of a test's own answers, with the moments,
    /// ids and process id of this judge replaced.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn look(&mut self, sql: &str) -> Result<Vec<Option<String>>, Failure> {
        let column = self.session.query(sql)?.column();
        match self.values(column) {
            Outcome::Values(values) => Ok(values),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn run(&mut self, sql: &str) -> Result<Vec<Reply>, Failure> {
        self.session.run(&self.clock.to_own_ids(sql))
    }

    /// Finds the id that a call made by itself. The client was told the
    /// model's, so that there is nothing to find.
    pub(super) fn learn_id(&mut self, made: &Made) -> Result<(), Failure> {
        if self.engine == Engine::Client {
            return Ok(());
        }
        let reply = self.session.query(&made.query)?;
        let known: Vec<&str> = self.clock.own_ids().collect();
        let found = reply
            .column()
            .into_iter()
            .flatten()
            .find(|id| !known.contains(&id.as_str()));
        if let Some(id) = found {
            self.clock.note_id(&id, &made.id.to_string());
        }
        Ok(())
    }

    /// Values with the moments and the process id of this judge replaced.
    pub(super) fn values(&self, values: Vec<Option<String>>) -> Outcome {
        let (own, shown) = &self.pid;
        let replace = |text: String| self.clock.apply(&text).replace(own, shown);
        Outcome::Values(values.into_iter().map(|value| value.map(replace)).collect())
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
    /// that changes more than rows. The heap engine must do its own work there, as at
    /// a desk (`suite::desk`).
    ///
    /// # Errors
    /// As [`Bench::open`].
    pub fn open_fresh(server: &Arc<Server>, engines: &[Engine]) -> Result<Self> {
        let databases = engines
            .iter()
            .map(|_| server.fresh_database())
            .collect::<Result<Vec<_>>>()?;
        let mut bench = Self::over(engines, databases, false)?;
        for judge in &mut bench.judges {
            if judge.engine == Engine::Heap {
                judge.session.account_to(&Account::open());
            }
        }
        Ok(bench)
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

    /// Are the indexes of every judge read in this case, and not of the heap engine
    /// alone? That shows in one case of eight, and wherever there is but one, that the
    /// reading itself is right.
    pub(super) fn is_control(&self) -> bool {
        self.cleanups.is_multiple_of(8)
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
        // A lock of the session outlives its row, which no call has released.
        self.prepare(&format!("SELECT pg_advisory_unlock_all(); {sql}"))
    }
}

/// Children before parents.
fn tables() -> Vec<&'static str> {
    entity::described()
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

//! A crew of writers, in sessions of their own, whose ledgers know what the
//! server acknowledged: for crashes and for load.

mod ledger;
mod writer;

use crate::session::{Session, Target};
use anyhow::{anyhow, ensure, Context as _, Result};
use ledger::Facts;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use writer::Writer;
pub use writer::{Dice, Done};

const FACTS: &str = include_str!("facts.sql");

/// Writers who outlive their sessions, and the server.
pub struct Crew {
    writers: Vec<Writer>,
}

/// What becomes of the HNSW indexes, and of autovacuum on their tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearest {
    /// The indexes stay, and nobody vacuums.
    WithoutVacuum,
    /// The indexes are dropped, and autovacuum is on for every table.
    Dropped,
}

/// What a stretch of work came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Transactions that were acknowledged.
    pub committed: u64,
    /// Sessions that were lost.
    pub lost: usize,
    /// Commits that were sent and not answered.
    pub in_doubt: usize,
}

impl Crew {
    /// A crew of so many.
    ///
    /// Up to 0.8.3 at least, pgvector's HNSW does not bear writers beside VACUUM
    /// (pgvector's pull requests 988 and 990): either goes.
    ///
    /// # Errors
    /// When its agents and trees cannot be written.
    pub fn new(target: &Target, size: u64, seed: u64, nearest: Nearest) -> Result<Self> {
        let mut session = Session::connect(target)?;
        session
            .batch("SET synchronous_commit = on; CREATE TABLE crew_mark (mark text PRIMARY KEY)")?;
        // Long values are stored elsewhere, not squeezed.
        session.batch("ALTER TABLE caliber_artifact ALTER content SET STORAGE EXTERNAL")?;
        session.batch(match nearest {
            Nearest::WithoutVacuum => {
                "ALTER TABLE caliber_artifact SET (autovacuum_enabled = off);
                 ALTER TABLE caliber_note SET (autovacuum_enabled = off)"
            }
            Nearest::Dropped => {
                "DO $$ DECLARE i regclass; BEGIN
                    FOR i IN SELECT indexrelid FROM pg_index JOIN pg_class c ON c.oid = indexrelid
                             JOIN pg_am a ON a.oid = c.relam WHERE amname = 'hnsw' LOOP
                        EXECUTE format('DROP INDEX %s', i);
                    END LOOP; END $$"
            }
        })?;
        let mut writers: Vec<Writer> = (0..size).map(|n| Writer::new(n, seed)).collect();
        for writer in &mut writers {
            writer.introduction(&mut session)?;
        }
        Ok(Self { writers })
    }

    /// Everybody works while `meanwhile` runs, which learns how many commits
    /// were acknowledged so far; then each finishes its transaction, or finds
    /// the server gone.
    ///
    /// # Errors
    /// When the server does what it must not, or `meanwhile` fails.
    pub fn work(
        &mut self,
        target: &Target,
        meanwhile: impl FnOnce(&Progress) -> Result<()>,
    ) -> Result<Work> {
        let stop = AtomicBool::new(false);
        let progress = Progress::default();
        let ended = std::thread::scope(|scope| -> Result<Vec<Option<Session>>> {
            let threads: Vec<_> = self
                .writers
                .iter_mut()
                .map(|writer| {
                    let session = connect(target);
                    let (stop, progress) = (&stop, &progress);
                    scope.spawn(move || {
                        let ended =
                            session.and_then(|session| toil(writer, session, stop, progress));
                        if ended.is_err() {
                            progress.broken.store(true, Ordering::Relaxed);
                        }
                        ended
                    })
                })
                .collect();
            let done = meanwhile(&progress);
            stop.store(true, Ordering::Relaxed);
            // A session that ends gives its locks to those who go on: all end together.
            let ended: Vec<_> = threads
                .into_iter()
                .map(|thread| {
                    let ended = thread.join().map_err(|_| anyhow!("a writer panicked"));
                    ended.and_then(|ended| ended)
                })
                .collect::<Result<_>>()?;
            done.map(|()| ended)
        })?;
        let lost = ended.iter().filter(|session| session.is_none()).count();
        let in_doubt = self.writers.iter().filter(|w| w.ledger.in_doubt()).count();
        Ok(Work {
            committed: progress.committed.into_inner(),
            lost,
            in_doubt,
        })
    }

    /// After a crash: what was prepared is committed, each doubt is cleared by the
    /// mark of its transaction (a row of plain SQL's), and then ledgers and tables must agree, row for row; nothing is locked
    /// but by leases.
    ///
    /// # Errors
    /// When they do not.
    pub fn settle(&mut self, target: &Target) -> Result<()> {
        let mut session = connect(target)?;
        for name in session.query("SELECT gid FROM pg_prepared_xacts")?.column() {
            let name = name.unwrap_or_default();
            session.batch(&format!("COMMIT PREPARED '{name}'"))?;
        }
        let marks = session
            .query("SELECT mark FROM crew_mark")?
            .column()
            .into_iter()
            .flatten()
            .collect();
        let writers = self.writers.iter_mut();
        let settled: Vec<String> = writers.filter_map(|w| w.ledger.settle(&marks)).collect();
        let said = || format!("settled before:\n  {}", settled.join("\n  "));
        self.agree(&read(&mut session)?).with_context(said)?;
        self.sweep(&mut session)?;
        self.agree(&read(&mut session)?)
            .context("after the purge of dead locks")
    }

    /// Sessions are gone, or about to be, and with them what they held: no lock
    /// of theirs is live, and the purge takes their rows.
    ///
    /// # Errors
    /// When something survives them.
    pub fn sweep(&mut self, session: &mut Session) -> Result<()> {
        let began = Instant::now();
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        while session.value(sql)?.as_deref() != Some("0") {
            ensure!(
                began.elapsed() < Duration::from_secs(10),
                "advisory locks survive their sessions"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let listed = session.value(
            "SELECT count(*) FROM (SELECT DISTINCT resource_type, resource_id FROM caliber_lock) r,
                 LATERAL caliber_lock_list_by_resource(r.resource_type, r.resource_id) l WHERE l.level <> 'lease'",
        )?;
        ensure!(
            listed.as_deref() == Some("0"),
            "{listed:?} locks of dead sessions are live"
        );
        session.batch("SELECT caliber_lock_purge_expired()")?;
        for writer in &mut self.writers {
            let session_lock = |name: &str, state: &str| {
                name.starts_with("lock/") && state.starts_with("session|")
            };
            writer.ledger.forget(session_lock);
        }
        Ok(())
    }

    /// Ledgers and tables agree.
    ///
    /// # Errors
    /// When they do not.
    pub fn agree(&self, there: &Facts) -> Result<()> {
        ledger::compare(self.writers.iter().map(|writer| &writer.ledger), there)
    }

    /// Every deed was done by somebody.
    ///
    /// # Errors
    /// Naming the deeds that nobody did.
    pub fn done(&self) -> Result<()> {
        let done: BTreeSet<&str> = self
            .writers
            .iter()
            .flat_map(|w| w.deeds.iter().copied())
            .collect();
        let missing: Vec<&str> = writer::names()
            .filter(|name| !done.contains(name))
            .collect();
        ensure!(missing.is_empty(), "nobody did {missing:?}");
        Ok(())
    }

    /// How many facts are known.
    #[must_use]
    pub fn facts(&self) -> usize {
        self.writers.iter().map(|w| w.ledger.known().len()).sum()
    }

    /// Transactions that were begun again: deadlocks, serialization failures.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.writers.iter().map(|writer| writer.retried).sum()
    }
}

/// Works until it is told to stop; the session that is left, or None.
fn toil(
    writer: &mut Writer,
    mut session: Session,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Option<Session>> {
    while !stop.load(Ordering::Relaxed) {
        match writer.transaction(&mut session)? {
            Done::Committed => {
                progress.committed.fetch_add(1, Ordering::Relaxed);
            }
            Done::Undone => {}
            Done::Lost => return Ok(None),
        }
    }
    Ok(Some(session))
}

fn connect(target: &Target) -> Result<Session> {
    let mut session = Session::connect(target)?;
    session.batch("SET synchronous_commit = on; SET statement_timeout = '30s'")?;
    Ok(session)
}

/// All facts that are there.
///
/// # Errors
/// When one is there twice.
pub fn read(session: &mut Session) -> Result<Facts> {
    let mut facts = Facts::new();
    for row in session.query(FACTS)?.rows {
        if let [Some(name), Some(state)] = &row[..] {
            let before = facts.insert(name.clone(), state.clone());
            ensure!(before.is_none(), "{name} is there twice");
        } else {
            return Err(anyhow!("not a fact: {row:?}"));
        }
    }
    Ok(facts)
}

/// Indexes against tables, by `caliber_check()` and, where the server has it,
/// amcheck. True if it has.
///
/// # Errors
/// Saying what is wrong.
pub fn truth(session: &mut Session) -> Result<bool> {
    let found = session.query("SELECT * FROM caliber_check()")?.rows;
    ensure!(
        found.is_empty(),
        "caliber_check() finds {}: {:?}",
        found.len(),
        &found[..found.len().min(8)]
    );
    if session
        .value("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")?
        .is_none()
    {
        return Ok(false);
    }
    session.batch(
        "SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         JOIN pg_am a ON a.oid = c.relam JOIN pg_class t ON t.oid = i.indrelid
         WHERE t.relname LIKE 'caliber%' AND a.amname = 'btree'",
    )?;
    let damage = session.query(
        "SELECT c.relname, v.* FROM pg_class c, LATERAL verify_heapam(c.oid) v WHERE c.relname LIKE 'caliber%' AND c.relkind = 'r'",
    )?;
    ensure!(damage.rows.is_empty(), "verify_heapam: {:?}", damage.rows);
    Ok(true)
}

/// How far a crew is.
#[derive(Debug, Default)]
pub struct Progress {
    committed: AtomicU64,
    /// Somebody saw what must not be.
    broken: AtomicBool,
}

impl Progress {
    /// Waits until so much was committed.
    ///
    /// # Errors
    /// When that takes too long, or can never be.
    pub fn until(&self, wanted: u64) -> Result<()> {
        let began = Instant::now();
        while self.committed.load(Ordering::Relaxed) < wanted {
            let waits = !self.broken.load(Ordering::Relaxed);
            ensure!(
                waits && began.elapsed() < Duration::from_secs(60),
                "the crew came to nothing: {self:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

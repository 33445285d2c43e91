//! kill -9 under writers: whatever was acknowledged is there afterwards,
//! nothing is half done, nothing else is there, and no lock survives but
//! leases.

use super::crew::{self, Crew, Dice, Nearest, Work};
use crate::runner::{Context, Outcome, Test};
use crate::server::Own;
use crate::session::Failure;
use anyhow::{bail, ensure, Context as _, Result};
use std::time::{Duration, Instant};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "crash::server",
            "the server is killed under writers: every acknowledged commit is there, nothing else is",
            |context| rounds(context, Victim::Server),
        ),
        Test::new(
            "crash::backend",
            "a single backend is killed under writers: every acknowledged commit is there, nothing else is",
            |context| rounds(context, Victim::Backend),
        ),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server,
    /// A client's backend.
    Backend,
    /// The WAL writer or the checkpointer.
    Helper,
}

const WRITERS: u64 = 6;

/// Indexes of a user's on what the writers write, of every other method.
const OWN_INDEXES: &str = "
CREATE INDEX own_hash ON caliber_turn USING hash (content);
CREATE INDEX own_brin ON caliber_message USING brin (created_at);
CREATE INDEX own_partial ON caliber_scope ((tokens_used % 7)) WHERE is_active;
CREATE INDEX own_gin ON caliber_note USING gin (source_note_ids);";

fn rounds(context: &Context, victim: Victim) -> Result<Outcome> {
    // Checkpoints and vacuum are in the midst of things too.
    let settings = [
        "checkpoint_timeout=30s",
        "autovacuum_naptime=1s",
        "autovacuum_vacuum_cost_delay=0",
        "autovacuum_vacuum_threshold=20",
        "autovacuum_vacuum_scale_factor=0",
    ];
    let Some(mut own) = Own::start(context.major, &settings)? else {
        return Ok(Outcome::NotCovered(
            "only servers in containers are killed".to_owned(),
        ));
    };
    own.connect()?.batch(OWN_INDEXES)?;
    let mut crew = Crew::new(
        own.target(),
        WRITERS,
        context.config.seed,
        Nearest::WithoutVacuum,
    )?;
    let mut dice = Dice::new(context.config.seed, 1 << 20);
    let mut sum = Work::default();
    let rounds = context.config.rounds;
    // Now and then a process of the server's own, beyond the rounds that were asked for.
    let more = match victim {
        Victim::Backend => rounds.div_ceil(5),
        _ => 0,
    };
    for round in 1..=rounds + more {
        let victim = if round > rounds {
            Victim::Helper
        } else {
            victim
        };
        let work = one(&mut own, &mut crew, &mut dice, victim);
        let work = work.with_context(|| {
            let log = own.log();
            let tail = log.len().saturating_sub(2000);
            format!(
                "round {round}; the log ends:\n{}",
                log.get(tail..).unwrap_or_default()
            )
        })?;
        sum.committed += work.committed;
        sum.in_doubt += work.in_doubt;
    }
    let facts = crew.facts();
    // One or two rounds are too short for every deed.
    if rounds > 2 {
        crew.done()?;
    }
    Ok(Outcome::Passed(format!(
        "{rounds} rounds (VERIFY_ROUNDS) and {more} more, {} commits, {} in doubt, {} retried, {facts} facts",
        sum.committed,
        sum.in_doubt,
        crew.retried()
    )))
}

fn one(own: &mut Own, crew: &mut Crew, dice: &mut Dice, victim: Victim) -> Result<Work> {
    let target = own.target().clone();
    let work = crew.work(&target, |progress| {
        progress.until(40 + dice.roll(60))?;
        std::thread::sleep(Duration::from_micros(dice.roll(20_000)));
        match victim {
            Victim::Server => own.kill(),
            Victim::Backend | Victim::Helper => {
                let mut executioner = own.connect()?;
                let name = match (victim, dice.roll(2)) {
                    (Victim::Backend, _) => "client backend",
                    (_, 0) => "walwriter",
                    _ => "checkpointer",
                };
                let pid = executioner.value(&format!(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = '{name}' AND pid <> pg_backend_pid()
                     ORDER BY random() LIMIT 1"
                ))?;
                let pid = pid.with_context(|| format!("no {name}"))?;
                let kill = format!("COPY (SELECT) TO PROGRAM 'cat >/dev/null; kill -9 {pid}'");
                if let Err(Failure::Error(error)) = executioner.run(&kill) {
                    bail!("{kill}: {error}");
                }
                // It dies of this too: the server ends all of its sessions.
                let began = Instant::now();
                while executioner.run("SELECT pg_sleep(0.01)").is_ok() {
                    ensure!(
                        began.elapsed() < Duration::from_secs(30),
                        "the server did not mind that its {name} was killed"
                    );
                }
                Ok(())
            }
        }
    })?;
    match victim {
        Victim::Server => own.restart()?,
        Victim::Backend | Victim::Helper => own.wait()?,
    }
    crew.settle(own.target())?;
    crew::truth(&mut own.connect()?)?;
    Ok(work)
}

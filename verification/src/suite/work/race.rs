//! Many sessions at once: exactly one takes the work, at every isolation level.

use super::{ids, outcome, Kind};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome};
use crate::session::Session;
use anyhow::{anyhow, ensure, Result};
use std::sync::Barrier;

const SESSIONS: usize = 6;
const ROUNDS: usize = 12;

/// The id of a round's row.
fn round_id(round: usize) -> String {
    format!("00000000-0000-7000-9000-{round:012x}")
}

/// Looks at what is left after a round: the winner, or what is wrong.
pub type Look = fn(&mut Session, &str) -> Result<()>;

/// Sessions of two agents race for rows.
///
/// # Errors
/// When not exactly one wins.
pub fn race(context: &Context, kind: &'static Kind, look: Look) -> Result<Outcome> {
    let mut lost = 0;
    for engine in [Engine::Heap, Engine::Sql] {
        let mut desks = kind.desks(context, &[engine], "")?;
        let Some(desk) = desks.pop() else { continue };
        let mut control = desk.another()?;
        for (level, isolation) in Isolation::ALL.into_iter().enumerate() {
            let first = level * ROUNDS;
            for round in first..first + ROUNDS {
                // For a type, for any, and for one by name, in turn.
                let target = ["worker", "*", "@b"][round % 3];
                let put = kind.put("@9", target, kind.open);
                control.batch(&put.replace(&ids("@9"), &round_id(round)))?;
            }
            let barrier = Barrier::new(SESSIONS);
            let told: Vec<Vec<String>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..SESSIONS)
                    .map(|number| {
                        let mut session = desk.another();
                        let barrier = &barrier;
                        scope.spawn(move || {
                            let mut told = Vec::new();
                            for round in first..first + ROUNDS {
                                // Whoever could not connect must not keep the others.
                                barrier.wait();
                                if let Ok(session) = &mut session {
                                    told.push(
                                        accept(session, kind, isolation, round, number)
                                            .unwrap_or_else(|error| error.to_string()),
                                    );
                                }
                            }
                            told
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().map_err(|_| anyhow!("a session panicked")))
                    .collect::<Result<_>>()
            })?;
            for (i, round) in (first..first + ROUNDS).enumerate() {
                let answers: Vec<&str> = told
                    .iter()
                    .map(|answers| answers.get(i).map_or("no answer", String::as_str))
                    .collect();
                let count = |wanted: &str| answers.iter().filter(|a| **a == wanted).count();
                let at = format!("{}, {}: {answers:?}", engine.name(), isolation.sql());
                ensure!(count("t") == 1, "not one winner: {at}");
                // By name only half of the sessions may.
                let refused = if round % 3 == 2 { SESSIONS / 2 } else { 0 };
                ensure!(count("42501") == refused, "{at}");
                ensure!(count("f") == SESSIONS - 1 - refused, "{at}");
                lost += count("f");
                look(&mut control, &round_id(round))?;
            }
        }
    }
    Ok(Outcome::Passed(format!("{lost} losers")))
}

/// Accepts until the answer is none of a lost race for the snapshot.
fn accept(
    session: &mut Session,
    kind: &Kind,
    isolation: Isolation,
    round: usize,
    number: usize,
) -> Result<String> {
    let agent = if number.is_multiple_of(2) { "@b" } else { "@c" };
    let sql = kind
        .accept("@9", agent)
        .replace(&ids("@9"), &round_id(round));
    loop {
        session.batch(&format!("BEGIN ISOLATION LEVEL {}", isolation.sql()))?;
        let answer = outcome(session, &sql)?;
        let ended = match &answer {
            Ok(_) => outcome(session, "COMMIT")?.err(),
            Err(_) => outcome(session, "ROLLBACK")?.err(),
        };
        match answer.map_err(|error| error.sqlstate) {
            Err(state) if state == "40001" => {}
            _ if ended.as_ref().is_some_and(|e| e.sqlstate == "40001") => {}
            Err(state) => return Ok(state),
            Ok(value) => return Ok(value.unwrap_or_default()),
        }
    }
}

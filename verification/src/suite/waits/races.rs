//! What others find who come by while a session is parked in the middle of a
//! call: always what they find before a statement of plain SQL, or behind it.

use super::{ids, key, truth, ROWS};
use crate::isolation::{run, Answer, Options, Script, Transcript};
use crate::judge::{without_moments, Engine};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::session::Failure;
use crate::suite::concurrency::without_numbers;
use crate::suite::desk;
use anyhow::{ensure, Context as _, Result};

mod orphans;
mod purges;
mod reads;
mod schedules;

use orphans::ORPHANS;
use schedules::{Does, Race, RACES};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "waits::races",
        "whoever comes by in the middle of a call finds it not begun, or done, as with plain SQL",
        races,
    )
    .with_faults()]
}

/// The parked session, who comes by, and who lets it go on.
const PARKED: usize = 0;
const OTHER: usize = 1;
const STAGEHAND: usize = 2;

const LEVELS: [Isolation; 2] = [Isolation::ReadCommitted, Isolation::RepeatableRead];

/// What is left. Ids that a call makes are not shown.
const LOOK: &str = "SELECT string_agg(line, ' / ') FROM (
    SELECT concat_ws(' ', 'task', name, status, parent_trajectory_id, root_trajectory_id) AS line FROM caliber_trajectory
    UNION ALL SELECT 'scope ' || x::text FROM caliber_scope x
    UNION ALL SELECT concat_ws(' ', 'work', status, delegatee_agent_id, child_trajectory_id IS NOT NULL) FROM caliber_delegation
    UNION ALL SELECT concat_ws(' ', 'message', message_id, received_by) FROM caliber_message
    UNION ALL SELECT concat_ws(' ', 'lock', holder_agent_id, mode) FROM caliber_lock
    UNION ALL SELECT concat_ws(' ', 'turn', scope_id, sequence, content) FROM caliber_turn
    UNION ALL SELECT concat_ws(' ', 'agent', agent_id, status, current_trajectory_id, current_scope_id) FROM caliber_agent
    UNION ALL SELECT concat_ws(' ', 'artifact', artifact_id, superseded_by) FROM caliber_artifact
    UNION ALL SELECT concat_ws(' ', 'note', note_id, superseded_by) FROM caliber_note
    UNION ALL SELECT concat_ws(' ', 'handoff', handoff_id, scope_id) FROM caliber_handoff
    ORDER BY 1) lines";

/// Where the steps of a run are in the long script.
struct Run {
    race: &'static Race,
    isolation: Isolation,
    call: usize,
    other: usize,
    look: usize,
}

fn text(engine: Engine, does: &Does) -> String {
    match does {
        Does::Call(_, client) if engine == Engine::Client => ids(client),
        Does::Call(call, _) => ids(&format!("SELECT {call}")),
        Does::Sql(sql) => ids(sql),
    }
}

fn script(engine: Engine, races: &[&'static Race]) -> (Script, Vec<Run>) {
    let setup = desk::setup(engine);
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let mut script = Script::new(3, &setup);
    let mut runs = Vec::new();
    for race in races {
        // What changes the table itself is the same at each level.
        let levels = if race.other.is_sql() { 1 } else { LEVELS.len() };
        for isolation in LEVELS.into_iter().take(levels) {
            let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1", isolation.sql());
            let lock = key(race.point);
            script = script
                .step(STAGEHAND, &ids(&format!("{ROWS}{}", race.prepare)))
                .step(PARKED, &begin);
            if !race.alone {
                script = script.step(OTHER, &begin);
            }
            let call = text(engine, &race.call);
            let other = text(engine, &race.other);
            let client = engine == Engine::Client;
            let parks = if client {
                call.clone()
            } else {
                format!("SET LOCAL caliber.wait_at = '{}'; {call}", race.point)
            };
            let commit = if race.alone { "SELECT 1" } else { "COMMIT" };
            if !client {
                script = script.step(STAGEHAND, &format!("SELECT pg_advisory_lock({lock})"));
            }
            let place;
            let other_place;
            if client && race.other_first {
                other_place = script.steps.len();
                script = script.step(OTHER, &other).step(OTHER, commit);
                place = script.steps.len();
                script = script.step(PARKED, &parks).step(PARKED, "COMMIT");
            } else {
                place = script.steps.len();
                other_place = place + 1;
                script = script.step(PARKED, &parks).step(OTHER, &other);
                if !race.other_waits && race.other_first {
                    script = script.step(OTHER, commit);
                }
                if !client {
                    script = script.step(STAGEHAND, &format!("SELECT pg_advisory_unlock({lock})"));
                }
                script = script.step(PARKED, "COMMIT");
                if race.other_waits || !race.other_first {
                    script = script.step(OTHER, commit);
                }
            }
            runs.push(Run {
                race,
                isolation,
                call: place,
                other: other_place,
                look: script.steps.len(),
            });
            script = script.step(STAGEHAND, LOOK);
            if !race.undo.is_empty() {
                script = script.step(STAGEHAND, race.undo);
            }
        }
    }
    (script, runs)
}

fn races(context: &Context) -> Result<Outcome> {
    // Those that change the tables themselves come last.
    let all: Vec<&Race> = ORPHANS
        .iter()
        .chain(purges::RACES)
        .chain(RACES)
        .chain(reads::RACES)
        .collect();
    let ours = tell(context, Engine::Heap, &all)?;
    let judged: Vec<&Race> = all.iter().copied().filter(|race| race.judged).collect();
    let client = tell(context, Engine::Client, &judged)?;
    let mut plain = client.1.iter();
    for run in &ours.1 {
        let judge = if run.race.judged { plain.next() } else { None };
        run.judge(&ours.0, judge.map(|judge| (&client.0, judge)))
            .with_context(|| {
                let mut shown = ours.0.clone();
                shown
                    .events
                    .retain(|event| (run.call.saturating_sub(4)..=run.look).contains(&event.step));
                format!(
                    "{} at {}, {}\n{shown}",
                    run.race.name,
                    run.race.point,
                    run.isolation.sql()
                )
            })?;
    }
    Ok(Outcome::Passed(format!("{} races", ours.1.len())))
}

fn tell(
    context: &Context,
    engine: Engine,
    races: &[&'static Race],
) -> Result<(Transcript, Vec<Run>)> {
    let database = context.server.fresh_database()?;
    let (script, runs) = script(engine, races);
    let transcript = run(&database.target, &script, Options::default())?;
    let mut control = database.connect()?;
    truth(&mut control)?;
    super::amcheck(&mut control)?;
    Ok((transcript, runs))
}

impl Run {
    fn judge(&self, ours: &Transcript, plain: Option<(&Transcript, &Self)>) -> Result<()> {
        let (call, other) = match self.isolation {
            Isolation::ReadCommitted => self.race.committed,
            _ => self.race.repeatable,
        };
        ensure!(
            ours.waited(self.call),
            "the call does not come by {}",
            self.race.point
        );
        let waited = ours.waited(self.other);
        ensure!(
            waited == self.race.other_waits,
            "the other one waited: {waited}"
        );
        for (step, wanted, who) in [
            (self.call, call, "the call"),
            (self.other, other, "the other one"),
        ] {
            let answer = self.answer(ours, step, false);
            let short = answer.split(':').next().unwrap_or_default();
            ensure!(short == wanted, "{who} gave {answer}, not {wanted}");
        }
        let Some((client, theirs)) = plain else {
            return Ok(());
        };
        for (here, there, who) in [
            (self.call, theirs.call, "the call"),
            (self.other, theirs.other, "the other one"),
        ] {
            let (here, there) = (
                self.answer(ours, here, false),
                theirs.answer(client, there, true),
            );
            ensure!(here == there, "{who} gave {here}\nplain SQL {there}");
        }
        let (here, there) = (look(ours, self.look), look(client, theirs.look));
        ensure!(here == there, "left: {here}\nplain SQL: {there}");
        Ok(())
    }

    /// `t`, `f`, `done`, or the error without numbers.
    fn answer(&self, transcript: &Transcript, step: usize, client: bool) -> String {
        let sql = step == self.other && self.race.other.is_sql();
        match transcript.answer(step) {
            None => "no answer".to_owned(),
            Some(Answer::Lost(why)) => format!("lost: {why}"),
            Some(Answer::Error(error)) => {
                let told = desk::answer(Err(Failure::Error(error.clone())));
                told.map_or_else(
                    |error| without_numbers(&error.to_string()),
                    |_| String::new(),
                )
            }
            Some(Answer::Replies(_)) if sql => "done".to_owned(),
            Some(Answer::Replies(replies)) if client => {
                let moved = replies.last().is_some_and(|reply| reply.count > 0);
                if moved { "t" } else { "f" }.to_owned()
            }
            Some(answer) => match answer.value() {
                None | Some("f" | "0") => "f".to_owned(),
                Some(_) => "t".to_owned(),
            },
        }
    }
}

fn look(transcript: &Transcript, step: usize) -> String {
    without_moments(
        transcript
            .answer(step)
            .and_then(Answer::value)
            .unwrap_or_default(),
    )
}

//! The anomalies of Hermitage (Martin Kleppmann's collection, after Adya's
//! thesis), through our functions: what each isolation level lets happen is
//! what it lets happen to plain SQL, with the same waits and the same errors.

mod cases;

use super::super::desk;
use super::{ids, without_numbers, ENGINES};
use crate::isolation::{run, Answer, Options, Script, Transcript};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::session::Failure;
use anyhow::{bail, ensure, Context as _, Result};
use cases::{Anomaly, Do, ANOMALIES, LOOK, ROWS};
use std::fmt::Write as _;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "concurrency::hermitage",
        "each isolation level forbids the anomalies that it forbids to plain SQL",
        hermitage,
    )]
}

/// The session that prepares and looks.
const STAGEHAND: usize = 3;

/// One run of an anomaly, and where it is in the long script.
struct Run {
    anomaly: &'static Anomaly,
    isolation: Isolation,
    first: usize,
}

fn sql(engine: Engine, run: usize, step: &Do) -> String {
    let text = match step {
        Do::Read(_, call, client) | Do::Write(_, call, client) => {
            if engine == Engine::Client {
                client
            } else {
                call
            }
        }
        Do::Plain(_, sql) => sql,
    };
    ids(run, text)
}

fn script(engine: Engine) -> (Script, Vec<Run>) {
    let mut setup = desk::setup(engine);
    // What a read remembers at SERIALIZABLE depends on how it was done. Our
    // reads go through an index, as a big table's do.
    setup.push("SET enable_seqscan = off; SET enable_bitmapscan = off".to_owned());
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let mut script = Script::new(STAGEHAND + 1, &setup);
    let mut runs = Vec::new();
    for anomaly in ANOMALIES {
        for isolation in Isolation::ALL {
            let number = runs.len() + 1;
            script = script.step(STAGEHAND, &ids(number, ROWS));
            for session in 0..STAGEHAND {
                let begin = format!("BEGIN ISOLATION LEVEL {}", isolation.sql());
                script = script.step(session, &begin);
            }
            let first = script.steps.len();
            for step in anomaly.steps {
                script = script.step(step.session(), &sql(engine, number, step));
            }
            for session in 0..STAGEHAND {
                script = script.step(session, "ROLLBACK");
            }
            script = script.step(STAGEHAND, &ids(number, LOOK));
            runs.push(Run {
                anomaly,
                isolation,
                first,
            });
        }
    }
    (script, runs)
}

fn hermitage(context: &Context) -> Result<Outcome> {
    let (_, runs) = script(Engine::Heap);
    let told = std::thread::scope(|scope| {
        let threads = ENGINES.map(|engine| scope.spawn(move || tell(context, engine)));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a driver panicked")))
            .collect::<Result<Vec<_>>>()
    })?;
    for run in &runs {
        run.judge(&told).with_context(|| {
            let range = run.first..run.first + run.anomaly.steps.len() + STAGEHAND + 1;
            let mut shown = format!(
                "{}, {}, from step {}\n",
                run.anomaly.name,
                run.isolation.sql(),
                run.first
            );
            for (engine, transcript) in &told {
                let mut part = transcript.clone();
                part.events.retain(|event| range.contains(&event.step));
                let _ = write!(shown, "--- {}\n{part}", engine.name());
            }
            shown
        })?;
    }
    Ok(Outcome::Passed(format!("{} schedules", runs.len())))
}

fn tell(context: &Context, engine: Engine) -> Result<(Engine, Transcript)> {
    let mut database = context.server.database()?;
    let transcript = run(&database.target, &script(engine).0, Options::default())?;
    database
        .connect()?
        .batch("TRUNCATE caliber_trajectory CASCADE")?;
    database.mark_clean();
    Ok((engine, transcript))
}

impl Run {
    /// Hermitage's own result for each step that it is about, then every step
    /// as plain SQL has it, then the rows that are left.
    fn judge(&self, told: &[(Engine, Transcript)]) -> Result<()> {
        let expected = match self.isolation {
            Isolation::ReadCommitted => self.anomaly.committed,
            Isolation::RepeatableRead => self.anomaly.repeatable,
            Isolation::Serializable => self.anomaly.serializable,
        };
        let steps = self.anomaly.steps.len();
        for (engine, transcript) in told {
            for (step, wanted) in expected {
                // The rows at the end come after the sessions' ROLLBACKs.
                let place = if *step == cases::END {
                    steps + STAGEHAND
                } else {
                    *step
                };
                let answer = self.answer(*engine, transcript, place);
                let answer = answer.split(':').next().unwrap_or_default();
                ensure!(
                    answer == *wanted,
                    "{}: step {place} gave {answer}, not {wanted}",
                    engine.name()
                );
            }
        }
        let Some((_, client)) = told.iter().find(|(engine, _)| *engine == Engine::Client) else {
            bail!("plain SQL told nothing")
        };
        for (engine, transcript) in told {
            for step in 0..=steps + STAGEHAND {
                let (ours, theirs) = (
                    self.answer(*engine, transcript, step),
                    self.answer(Engine::Client, client, step),
                );
                ensure!(
                    ours == theirs,
                    "step {step}: {} says {ours}\nplain SQL says {theirs}",
                    engine.name()
                );
                let place = self.first + step;
                ensure!(
                    transcript.waited(place) == client.waited(place),
                    "step {step}: {} waited: {}",
                    engine.name(),
                    transcript.waited(place)
                );
            }
        }
        Ok(())
    }

    /// `t` or `f` for a write, the value for a read, or the error.
    fn answer(&self, engine: Engine, transcript: &Transcript, step: usize) -> String {
        let written = matches!(self.anomaly.steps.get(step), Some(Do::Write(..)));
        match transcript.answer(self.first + step) {
            None => "no answer".to_owned(),
            Some(Answer::Lost(why)) => format!("lost: {why}"),
            Some(Answer::Error(error)) => {
                let told = desk::answer(Err(Failure::Error(error.clone())));
                told.map_or_else(
                    |error| without_numbers(&error.to_string()),
                    |_| String::new(),
                )
            }
            Some(Answer::Replies(replies)) if written && engine == Engine::Client => {
                let moved = replies.last().is_some_and(|reply| reply.count > 0);
                if moved { "t" } else { "f" }.to_owned()
            }
            Some(answer) if written => match answer.value() {
                None | Some("f") => "f".to_owned(),
                Some(_) => "t".to_owned(),
            },
            Some(answer) => answer.value().unwrap_or("nothing").to_owned(),
        }
    }
}

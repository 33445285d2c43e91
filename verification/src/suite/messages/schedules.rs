//! Two sessions and the same messages: who gets what, and who waits.

use super::cases::{Case, Do, Level, CASES, PAUSE, ROWS};
use super::{ids, receive, AGENTS};
use crate::isolation::{run, Answer, Options, Script, Transcript};
use crate::judge::{without_moments, Engine};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "messages::schedules",
        "what two sessions receive, acknowledge and purge, and who waits, is as with plain SQL",
        schedules,
    )]
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::Client];

/// What a session shows of what it received.
const SHOWN: &str = "string_agg(right(m.message_id::text, 2), ' ')";

/// What is there at the end.
const LOOK: &str = "SELECT string_agg(line, E'\\n') FROM (SELECT m::text AS line FROM caliber_message m ORDER BY message_id) m";

fn text(engine: Engine, level: Level, what: &Do) -> String {
    let client = engine == Engine::Client;
    let sql = match what {
        Do::Sql(sql) => (*sql).to_owned(),
        Do::Begin => match level {
            Level::Statement => "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1".to_owned(),
            Level::Transaction => {
                format!("BEGIN ISOLATION LEVEL {}; SELECT 1", Isolation::RepeatableRead.sql())
            }
        },
        Do::Receive(agent, most) if client => receive(agent, *most, None, SHOWN),
        Do::Receive(agent, most) => {
            format!("SELECT {SHOWN} FROM caliber_message_receive('{agent}', {most}) m")
        }
        Do::Again(agent, age) if client => receive(agent, 10, Some(age), SHOWN),
        Do::Again(agent, age) => {
            format!("SELECT {SHOWN} FROM caliber_message_receive('{agent}', redeliver_after => '{age}') m")
        }
        Do::Acknowledge(id) if client => format!(
            "WITH u AS (UPDATE caliber_message SET acknowledged_at = now(), delivered_at = coalesce(delivered_at, clock_timestamp())
            WHERE message_id = '{id}' AND acknowledged_at IS NULL RETURNING 1) SELECT EXISTS (SELECT FROM u)"
        ),
        Do::Acknowledge(id) => format!("SELECT caliber_message_acknowledge('{id}')"),
        Do::Purge(before) if client => format!(
            "WITH d AS (DELETE FROM caliber_message WHERE message_id IN (SELECT message_id FROM caliber_message
            WHERE acknowledged_at < '{before}' OR expires_at < '{before}' FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM d"
        ),
        Do::Purge(before) => format!("SELECT caliber_message_purge('{before}')"),
    };
    ids(&sql)
}

fn schedules(context: &Context) -> Result<Outcome> {
    let mut count = 0;
    // One engine beside the other: most of the time is waiting.
    let told = std::thread::scope(|scope| {
        let threads = ENGINES.map(|engine| scope.spawn(move || tell(context, engine)));
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| anyhow::bail!("a driver panicked"))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let mut runs = told.into_iter().map(Vec::into_iter).collect::<Vec<_>>();
    for case in CASES {
        for level in Level::ALL {
            let told: Vec<Told> = runs.iter_mut().filter_map(Iterator::next).collect();
            judge(case, level, &told).with_context(|| {
                let shown: Vec<String> = ENGINES
                    .iter()
                    .zip(&told)
                    .map(|(engine, told)| format!("--- {}\n{}", engine.name(), told.transcript))
                    .collect();
                format!("{}, {level:?}\n{}", case.name, shown.join(""))
            })?;
            count += 1;
        }
    }
    Ok(Outcome::Passed(format!("{count} schedules")))
}

/// What came of one case on one engine.
struct Told {
    transcript: Transcript,
    left: String,
}

fn tell(context: &Context, engine: Engine) -> Result<Vec<Told>> {
    let database = context.server.fresh_database()?;
    let mut control = database.connect()?;
    control.batch(&ids(&format!("{AGENTS}; {PAUSE}")))?;
    let mut told = Vec::new();
    for case in CASES {
        for level in Level::ALL {
            control.batch(&ids(&format!("{ROWS}; {}", case.prepare)))?;
            let setup = desk::setup(engine);
            let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
            let mut script = Script::new(2, &setup);
            script.setup[0].push("SET application_name = 'pauses'".to_owned());
            for (session, what) in case.steps {
                script = script.step(*session, &text(engine, level, what));
            }
            let transcript = run(&database.target, &script, Options::default())?;
            let left = control.value(LOOK)?.unwrap_or_default();
            control.batch(&ids(&format!("TRUNCATE caliber_message; {}", case.undo)))?;
            told.push(Told {
                transcript,
                left: without_moments(&left),
            });
        }
    }
    Ok(told)
}

fn judge(case: &Case, level: Level, told: &[Told]) -> Result<()> {
    let expected = match level {
        Level::Statement => case.statement,
        Level::Transaction => case.transaction,
    };
    for (engine, told) in ENGINES.iter().zip(told) {
        let name = engine.name();
        for step in 0..case.steps.len() {
            let waited = told.transcript.waited(step);
            ensure!(
                waited == case.waits.contains(&step),
                "{name}: step {step} waited: {waited}"
            );
            let answer = answer(&told.transcript, step);
            if let Some((_, allowed)) = expected.iter().find(|(known, _)| *known == step) {
                ensure!(
                    answer == *allowed,
                    "{name}: step {step} gave {answer}, not {allowed}"
                );
            }
        }
    }
    let [first, others @ ..] = told else {
        anyhow::bail!("nobody told anything")
    };
    for other in others {
        for step in 0..case.steps.len() {
            let (left, right) = (
                answer(&first.transcript, step),
                answer(&other.transcript, step),
            );
            ensure!(left == right, "step {step}: {left}, elsewhere {right}");
        }
        ensure!(
            first.left == other.left,
            "left behind: {}\nelsewhere: {}",
            first.left,
            other.left
        );
    }
    Ok(())
}

fn answer(transcript: &Transcript, step: usize) -> String {
    match transcript.answer(step) {
        None => "no answer".to_owned(),
        Some(Answer::Error(error)) => error.sqlstate.clone(),
        Some(Answer::Lost(why)) => format!("lost: {why}"),
        Some(answer) => answer.value().unwrap_or_default().to_owned(),
    }
}

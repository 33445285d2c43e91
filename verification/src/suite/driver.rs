//! The session driver itself: it must see who waits, and who does not.

use crate::isolation::{run, Options, Script};
use crate::runner::{Context, Outcome, Test, PASSED};
use anyhow::{ensure, Result};

/// All tests of the driver.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "driver::sees_a_waiting_step",
            "a step that waits is seen, and its end too",
            waiting,
        ),
        Test::new(
            "driver::lives_through_a_deadlock",
            "of two sessions in a deadlock one goes on",
            deadlock,
        ),
    ]
}

const ROWS: &str = "CREATE TABLE IF NOT EXISTS driver (id int PRIMARY KEY, n int);
    INSERT INTO driver VALUES (1, 0), (2, 0) ON CONFLICT DO NOTHING";

fn waiting(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    database.connect()?.batch(ROWS)?;
    let script = Script::new(2, &[])
        .step(0, "BEGIN; UPDATE driver SET n = 1 WHERE id = 1")
        .step(1, "UPDATE driver SET n = n + 10 WHERE id = 1 RETURNING n")
        .step(0, "SELECT n FROM driver WHERE id = 2")
        .step(0, "COMMIT");
    let transcript = run(&database.target, &script, Options::default())?;
    ensure!(
        transcript.waited(1),
        "the blocked update was not seen:\n{transcript}"
    );
    ensure!(
        !transcript.waited(2),
        "a free step seemed to wait:\n{transcript}"
    );
    ensure!(
        transcript.answer(1).and_then(|answer| answer.value()) == Some("11"),
        "{transcript}"
    );
    // The waiting step ends after the commit that let it go.
    let order: Vec<usize> = transcript.events.iter().map(|event| event.step).collect();
    ensure!(order == [0, 1, 2, 3, 1], "{transcript}");
    Ok(PASSED)
}

fn deadlock(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    database.connect()?.batch(ROWS)?;
    let script = Script::new(2, &["SET deadlock_timeout = '50ms'"])
        .step(0, "BEGIN; UPDATE driver SET n = 1 WHERE id = 1")
        .step(1, "BEGIN; UPDATE driver SET n = 1 WHERE id = 2")
        .step(0, "UPDATE driver SET n = 2 WHERE id = 2")
        .step(1, "UPDATE driver SET n = 2 WHERE id = 1");
    let transcript = run(&database.target, &script, Options::default())?;
    let victims = [2, 3]
        .into_iter()
        .filter(|step| {
            transcript
                .answer(*step)
                .and_then(|answer| answer.sqlstate())
                == Some("40P01")
        })
        .count();
    ensure!(victims == 1, "{transcript}");
    Ok(PASSED)
}

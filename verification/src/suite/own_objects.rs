//! A user's own objects on our tables: triggers, constraints, indexes, modes
//! and settings are those of the table, whoever made them, and every call
//! meets them as the client's statement does (`integrity.md` §2).

mod cases;
mod costs;
mod dropped;
mod functions;
mod indexes;
mod locks;
mod publications;
mod published;
mod rows;
mod triggers;

use super::desk::{self, Desk};
use super::steps::{ids, say, tables, Step, ROWS};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Result};
use cases::{Case, CASES};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = CASES
        .iter()
        .map(|case| {
            Test::new(
                &format!("own_objects::{}", case.name),
                case.promise,
                |context| compare(context, case),
            )
        })
        .collect();
    tests.extend(triggers::tests());
    tests.extend(indexes::tests());
    tests.extend(locks::tests());
    tests.extend(publications::tests());
    tests.extend(published::tests());
    tests.extend(costs::tests());
    tests.extend(rows::tests());
    tests.extend(dropped::tests());
    tests
}

/// Who is compared: the client is the judge of both engines.
const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::Client];

/// Sends a step to every desk; all must say the same. Returns it.
fn same(desks: &mut [Desk], step: &Step) -> Result<Vec<String>> {
    let answers: Vec<Vec<String>> = desks.iter_mut().map(|desk| say(desk, step)).collect();
    let shown: Vec<String> = desks
        .iter()
        .zip(&answers)
        .map(|(desk, answer)| format!("{}: {answer:?}", desk.engine.name()))
        .collect();
    ensure!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{}\n{}",
        step.0,
        shown.join("\n")
    );
    Ok(answers.into_iter().next().unwrap_or_default())
}

/// All rows, and what `look` asks for, are the same everywhere. Returns them.
fn same_tables(desks: &mut [Desk], look: &str) -> Result<Vec<String>> {
    let mut seen: Vec<(Engine, Vec<String>)> = Vec::new();
    for desk in desks {
        seen.push((desk.engine, tables(desk, look)?));
    }
    let Some((_, first)) = seen.first() else {
        anyhow::bail!("no desks")
    };
    for (engine, rows) in &seen {
        ensure!(
            rows == first,
            "the tables of {} differ:\n{rows:#?}\nnot\n{first:#?}",
            engine.name()
        );
    }
    Ok(first.clone())
}

fn compare(context: &Context, case: &Case) -> Result<Outcome> {
    if context.major < case.since {
        return Ok(Outcome::NotCovered(format!(
            "begins with PostgreSQL {}",
            case.since
        )));
    }
    let prepare = ids(&format!("{ROWS}{}", case.make));
    let mut desks = desk::open(context, &ENGINES, &prepare)?;
    for desk in &mut desks {
        let own = desk.text(case.calls, case.statements).to_owned();
        if !own.is_empty() {
            desk.session.batch(&ids(&own))?;
        }
    }
    let mut steps = 0;
    for stage in case.stages {
        for desk in &mut desks {
            desk.session.batch(&ids(stage.before))?;
        }
        for step in stage.steps {
            same(&mut desks, step)?;
            steps += 1;
        }
    }
    let rows = same_tables(&mut desks, case.look)?;
    for desk in &mut desks {
        let effect = desk.session.value(&ids(case.effect))?;
        ensure!(
            effect.as_deref() == Some("t"),
            "{}: without effect: {rows:#?}",
            desk.engine.name()
        );
    }
    let served = desks[0].session.value(
        "SELECT value FROM caliber_counters() WHERE name = 'calls.heap' AND NOT EXISTS
            (SELECT FROM caliber_counters() WHERE name LIKE 'takeover.%' AND value > 0)",
    )?;
    ensure!(
        served.is_some_and(|count| count != "0"),
        "the heap engine did not serve"
    );
    Ok(Outcome::Passed(format!("{steps} steps")))
}

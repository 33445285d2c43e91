//! Every pair of states of every entity with a life cycle, through the SQL
//! functions, on each engine, against the table in its description.

use super::desk::{self, Desk};
use crate::entity::{self, scene, Entity, Life, Verb};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Failure;
use anyhow::{bail, ensure, Result};

/// One test per life cycle.
#[must_use]
pub fn tests() -> Vec<Test> {
    entity::all()
        .iter()
        .filter_map(|entity| entity.life().map(|life| (*entity, life)))
        .map(|(entity, life)| {
            let name = format!("states::{}", entity.table().entity);
            Test::new(
                &name,
                "every pair of states: moved, done before, or 55000 naming the state; nothing else is written",
                move |context| walk(context, entity, life),
            )
        })
        .collect()
}

fn walk(context: &Context, entity: &'static dyn Entity, life: &Life) -> Result<Outcome> {
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    let mut desks = desk::open(context, &engines, &scene::named(scene::ROWS))?;
    let mut problems = Vec::new();
    let mut count = 0;
    // The scene has the ids before.
    let first_id = 1000;
    for from in life.states {
        for verb in life.verbs {
            count += 1;
            let mut words = Vec::new();
            for desk in &mut desks {
                match one(desk, entity, life, from, verb, first_id + count) {
                    Ok(text) => words.push(text),
                    Err(error) => problems.push(format!(
                        "{} from {from}, {}: {error:#}",
                        desk.engine.name(),
                        verb.call
                    )),
                }
            }
            if words.windows(2).any(|pair| pair[0] != pair[1]) {
                problems.push(format!("from {from}, {}: {words:?}", verb.call));
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(Outcome::Passed(format!("{count} calls on each engine")))
}

/// One call on a new row in the state `from`. Returns the words of its error.
fn one(
    desk: &mut Desk,
    entity: &dyn Entity,
    life: &Life,
    from: &str,
    verb: &Verb,
    number: usize,
) -> Result<String> {
    let table = entity.table();
    let id = format!("00000000-0000-7000-8000-0000{number:08}");
    let insert = life.row.replace("$id", &id).replace("$state", from);
    desk.session.batch(&scene::named(&insert))?;
    let look = format!(
        "SELECT x FROM {} x WHERE {} = '{id}'",
        table.name, table.key
    );
    let state = format!(
        "SELECT {} FROM {} WHERE {} = '{id}'",
        life.column, table.name, table.key
    );
    let before = desk.session.value(&look)?;
    let call = format!("SELECT {}", verb.call.replace("$id", &id));
    let answer = desk.session.query(&scene::named(&call));
    let moves = verb.from.contains(&from);
    let (done, says) = verb.already;
    let wanted = if moves { verb.to } else { from };
    let found = desk.session.value(&state)?;
    ensure!(found.as_deref() == Some(wanted), "the row is {found:?}");
    if !moves {
        ensure!(desk.session.value(&look)? == before, "the row was written");
    }
    match answer {
        Ok(reply) => {
            let expected = if moves {
                "t"
            } else if done.contains(&from) {
                if says {
                    "t"
                } else {
                    "f"
                }
            } else {
                bail!("no error but {:?}", reply.column());
            };
            let answer = reply.column().into_iter().next().flatten();
            ensure!(answer.as_deref() == Some(expected), "answers {answer:?}");
            Ok(String::new())
        }
        Err(Failure::Error(error)) => {
            ensure!(!moves && !done.contains(&from), "{error}");
            ensure!(error.sqlstate == "55000", "{error}");
            for word in [table.entity, from, id.as_str()] {
                let says = format!("{error}");
                ensure!(error.message.contains(word), "does not say {word}: {says}");
            }
            Ok(error.without_spi_context().to_string())
        }
        Err(lost) => Err(lost.into()),
    }
}

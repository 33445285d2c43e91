//! Arguments: each function of each entity, called well and then spoilt in one
//! argument after the other (`api.md` §1.4 step 1). Every engine refuses with
//! the same words, which are a snapshot; nothing is changed.

use super::desk::{self, Answer, Desk};
use crate::entity::{self, samples, Entity};
use crate::judge::Engine;
use crate::model::{self, Client, Expect};
use crate::plan::Call;
use crate::property::spoil;
use crate::runner::{Context, Outcome, Test};
use crate::session::shorten;
use anyhow::{bail, ensure, Result};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One test per entity.
#[must_use]
pub fn tests() -> Vec<Test> {
    entity::all()
        .iter()
        .map(|entity| {
            Test::new(
                &format!("arguments::{}", entity.table().entity),
                "each argument of each function, spoilt: SQLSTATE and words (a snapshot), and nothing is changed",
                |context| spoilt(context, *entity),
            )
        })
        .collect()
}

fn spoilt(context: &Context, entity: &'static dyn Entity) -> Result<Outcome> {
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    let mut desks = desk::open(context, &engines, "")?;
    let mut words = String::new();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for (call, world) in samples::of(entity) {
        let Some((owner, function)) = entity::function_named(&call.function) else {
            bail!("no description has {}", call.function);
        };
        let own = owner.table().entity == entity.table().entity;
        if own && seen.insert(call.function.clone()) {
            for bad in spoil(&call).into_iter().filter(|bad| *bad != call) {
                let verdict = model::judge(owner, function, &world, &bad);
                let Expect::Error(sqlstate) = verdict.expect else {
                    bail!("the model lets {} pass", bad.sql());
                };
                count += 1;
                let text = refused(&mut desks, entity, &bad, sqlstate)?;
                // PostgreSQL's own words differ from major to major.
                if verdict.client == Client::Model {
                    let argument = changed(&call, &bad);
                    // Writing to a String cannot fail.
                    let _ = writeln!(words, "{}({argument})\n    {text}", call.function);
                }
            }
        }
        for desk in &mut desks {
            desk.session.batch(&statement(&call))?;
        }
    }
    insta::assert_snapshot!(format!("arguments_{}", entity.table().entity), words);
    Ok(Outcome::Passed(format!("{count} refusals")))
}

fn statement(call: &Call) -> String {
    format!("SELECT l FROM {} l", call.sql())
}

/// The argument in which a call was spoilt.
fn changed(good: &Call, bad: &Call) -> String {
    bad.args
        .iter()
        .find(|argument| !good.args.contains(argument))
        .map_or_else(String::new, |(name, value)| {
            format!("{name} => {}", shorten(&value.sql(), 100))
        })
}

/// Every engine refuses the call in the same words, and changes nothing.
fn refused(desks: &mut [Desk], entity: &dyn Entity, call: &Call, sqlstate: &str) -> Result<String> {
    let mut answers: Vec<(Engine, Answer)> = Vec::new();
    for desk in desks {
        let rows = format!(
            "SELECT coalesce(md5(string_agg(x::text, ';' ORDER BY x::text)), '') FROM {} x",
            entity.table().name
        );
        let before = desk.session.value(&rows)?;
        let answer = desk::answer(desk.session.run(&statement(call)));
        answers.push((desk.engine, answer));
        ensure!(
            desk.session.value(&rows)? == before,
            "{}: {} changed rows",
            desk.engine.name(),
            call.sql()
        );
    }
    let shown = || {
        let answers: Vec<String> = answers
            .iter()
            .map(|(engine, answer)| match answer {
                Ok(rows) => format!("{}: {rows:?}", engine.name()),
                Err(error) => format!("{}: {error}", engine.name()),
            })
            .collect();
        format!("{}\n{}", shorten(&call.sql(), 600), answers.join("\n"))
    };
    let Some((_, Err(first))) = answers.first() else {
        bail!("expected {sqlstate}: {}", shown());
    };
    ensure!(
        answers
            .iter()
            .all(|(_, answer)| answer.as_ref().err() == Some(first)),
        "not the same: {}",
        shown()
    );
    ensure!(
        first.sqlstate == sqlstate,
        "expected {sqlstate}: {}",
        shown()
    );
    Ok(first.to_string().replace('\n', "\n  "))
}

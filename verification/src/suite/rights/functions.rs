//! Each function of each entity with each right of its client's statements
//! taken away: all engines and the client agree on whether it is missed, and
//! in which words. A read-only transaction likewise.

use super::super::bad_input::stage::Stage;
use super::super::desk::Answer;
use super::super::sampled::{walk, Case};
use super::{roles, CALLER};
use crate::entity::{self, Entity, Table};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::shorten;
use anyhow::{bail, Result};

/// One test per entity whose functions are single statements. (What a lock
/// needs is the suite `locks`' business: its calls are none.)
pub(super) fn tests() -> Vec<Test> {
    entity::all()
        .iter()
        .filter(|entity| entity.table().entity != "lock")
        .map(|entity| {
            Test::new(
                &format!("rights::of_{}", entity.table().entity),
                "each right that a call's statement needs is needed, and no other; read-only transactions",
                |context| each(context, *entity),
            )
        })
        .collect()
}

fn each(context: &Context, entity: &'static dyn Entity) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    stage.good = None;
    roles(&mut stage, &[CALLER])?;
    let mut count = 0;
    let calls = walk(
        &mut stage,
        entity,
        |all| all,
        |stage, case| {
            count += one(stage, case)?;
            Ok(())
        },
    )?;
    stage
        .verdict()
        .map(|_| Outcome::Passed(format!("{calls} calls, {count} rights")))
}

const KINDS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// A call with each right taken away; with each column's right, where the
/// whole table's was missed; and in a read-only transaction.
fn one(stage: &mut Stage, case: &Case) -> Result<usize> {
    let mut count = 0;
    stage.before = format!("BEGIN; SET LOCAL ROLE {CALLER}");
    grant(stage, case, &[])?;
    if !agree(stage, case, "with all rights")? {
        stage.problem(&format!("* {} fails with all rights", case.call.sql()));
    }
    for table in &case.tables {
        for kind in KINDS {
            count += 1;
            let name = format!("without {kind} on {}", table.name);
            grant(stage, case, &[(table, kind, None)])?;
            if agree(stage, case, &name)? || kind == "DELETE" {
                continue;
            }
            for column in table.columns {
                count += 1;
                let name = format!("without {kind} on {}.{}", table.name, column.name);
                grant(stage, case, &[(table, kind, Some(column.name))])?;
                agree(stage, case, &name)?;
            }
        }
    }
    grant(stage, case, &[])?;
    stage.before = "BEGIN READ ONLY".to_owned();
    agree(stage, case, "in a read-only transaction")?;
    Ok(count + 1)
}

/// All rights on the tables of the case but these: a right, or that on one column.
fn grant(stage: &mut Stage, case: &Case, without: &[(&&Table, &str, Option<&str>)]) -> Result<()> {
    let mut sql = Vec::new();
    for table in &case.tables {
        sql.push(format!("REVOKE ALL ON {} FROM {CALLER}", table.name));
        for kind in KINDS {
            let left_out = without
                .iter()
                .find(|(other, right, _)| other.name == table.name && *right == kind);
            let what = match left_out {
                None => kind.to_owned(),
                Some((_, _, None)) => continue,
                Some((_, _, Some(column))) => {
                    let others: Vec<&str> = table
                        .columns
                        .iter()
                        .map(|known| known.name)
                        .filter(|name| name != column)
                        .collect();
                    format!("{kind} ({})", others.join(", "))
                }
            };
            sql.push(format!("GRANT {what} ON {} TO {CALLER}", table.name));
        }
    }
    stage.admin.batch(&sql.join("; "))
}

/// Whether all engines and the client succeed; if not, all must fail alike.
fn agree(stage: &mut Stage, case: &Case, how: &str) -> Result<bool> {
    let (call, client) = (case.sql(), case.statements());
    let mut answers: Vec<(Engine, Answer)> = Vec::new();
    for at in 0..stage.sessions.len() {
        let engine = stage.sessions[at].0;
        let sql = if engine == Engine::Client {
            &client
        } else {
            &call
        };
        answers.push((engine, stage.send(at, sql)?));
    }
    let Some((_, first)) = answers.first() else {
        bail!("no sessions");
    };
    let first = first.as_ref().err();
    if answers
        .iter()
        .any(|(_, answer)| answer.as_ref().err() != first)
    {
        let shown: Vec<String> = answers
            .iter()
            .map(|(engine, answer)| match answer {
                Ok(_) => format!("  {}: succeeds", engine.name()),
                Err(error) => format!("  {}: {error}", engine.name()),
            })
            .collect();
        let text = format!(
            "* {} {how}\n{}\n  client: {}",
            shorten(&call, 300),
            shown.join("\n"),
            shorten(&client, 300)
        );
        stage.problem(&text);
    }
    Ok(first.is_none())
}

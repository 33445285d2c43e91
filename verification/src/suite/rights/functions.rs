//! Each function of each entity with each right of its client's statements
//! taken away: all engines and the client agree on whether it is missed, and
//! in which words. A read-only transaction likewise.

use super::super::bad_input::stage::Stage;
use super::super::desk::Answer;
use super::{roles, CALLER};
use crate::entity::{self, samples, Entity, Table};
use crate::judge::Engine;
use crate::model::{self, Client};
use crate::plan::Call;
use crate::runner::{Context, Outcome, Test};
use crate::session::shorten;
use anyhow::{bail, Result};
use std::collections::BTreeMap;

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

/// A call to look at, and the client's statements for it.
struct Case {
    call: Call,
    client: String,
    tables: Vec<&'static Table>,
}

fn each(context: &Context, entity: &'static dyn Entity) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    stage.good = None;
    roles(&mut stage, &[CALLER])?;
    let calls = samples::of(entity);
    let chosen = choose(entity, &calls);
    let mut count = 0;
    for (at, (call, _)) in calls.iter().enumerate() {
        if let Some(case) = chosen.get(&at) {
            count += one(&mut stage, case)?;
        }
        let sql = format!("SELECT l FROM {} l", call.sql());
        stage.admin.batch(&sql)?;
    }
    stage
        .verdict()
        .map(|_| Outcome::Passed(format!("{} functions, {count} rights", chosen.len())))
}

/// One call of each function: one that writes, if any does.
fn choose(entity: &'static dyn Entity, calls: &[(Call, model::World)]) -> BTreeMap<usize, Case> {
    let mut chosen: BTreeMap<&str, (bool, usize, Case)> = BTreeMap::new();
    for (at, (call, world)) in calls.iter().enumerate() {
        let own = entity
            .functions()
            .iter()
            .find(|known| known.name == call.function);
        let Some(function) = own else { continue };
        let verdict = model::judge(entity, function, world, call);
        let Client::Statements(statements, _) = &verdict.client else {
            continue;
        };
        let client = statements.join("; ");
        let writes = verdict.changes();
        let known = chosen.get(function.name);
        if known.is_none_or(|(before, _, _)| writes && !before) {
            let tables = entity::described()
                .iter()
                .map(|entity| entity.table())
                .filter(|table| mentions(&client, table.name))
                .collect();
            let case = Case {
                call: call.clone(),
                client,
                tables,
            };
            chosen.insert(function.name, (writes, at, case));
        }
    }
    chosen
        .into_values()
        .map(|(_, at, case)| (at, case))
        .collect()
}

/// Whether a statement names the table itself.
fn mentions(sql: &str, table: &str) -> bool {
    sql.match_indices(table).any(|(at, _)| {
        let next = sql[at + table.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
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
    let call = format!("SELECT l FROM {} l", case.call.sql());
    let mut answers: Vec<(Engine, Answer)> = Vec::new();
    for at in 0..stage.sessions.len() {
        let engine = stage.sessions[at].0;
        let sql = if engine == Engine::Client {
            &case.client
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
            shorten(&case.client, 300)
        );
        stage.problem(&text);
    }
    Ok(first.is_none())
}

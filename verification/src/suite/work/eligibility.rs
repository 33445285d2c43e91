//! Who may take work, in every state that it can be in.

use super::{outcome, undone, Kind, ENGINES};
use crate::runner::{Context, Outcome};
use crate::session::ServerError;
use anyhow::{ensure, Context as _, Result};
use std::collections::BTreeMap;

const AGENTS: [(&str, &str); 4] = [
    ("@a", "boss"),
    ("@b", "worker"),
    ("@c", "worker"),
    ("@d", "other"),
];

/// What the API says about `agent` who accepts work for `target` in `status`.
fn expected(kind: &Kind, target: &str, status: &str, agent: &str) -> &'static str {
    let Some((_, own)) = AGENTS.iter().find(|known| known.0 == agent) else {
        return "23503";
    };
    let (named, of_type) = match target.split_once(' ') {
        Some((named, of_type)) => (named, of_type),
        None if target.starts_with('@') => (target, ""),
        None => ("", target),
    };
    if agent == "@a" || (named != agent && of_type != *own && of_type != "*") {
        return "42501";
    }
    match status {
        "rejected" => "55000",
        _ if status == kind.open => "t",
        _ => "f",
    }
}

/// Every kind of target in every state, and every agent.
///
/// # Errors
/// When an engine answers otherwise.
pub fn matrix(context: &Context, kind: &Kind) -> Result<Outcome> {
    let mut desks = kind.desks(context, &ENGINES, "")?;
    let mut cases = 0;
    let mut words: BTreeMap<String, ServerError> = BTreeMap::new();
    for desk in &mut desks {
        let engine = desk.engine.name();
        for status in kind.states {
            // An open one, or one that was rejected, is for exactly one of the
            // two; one that was taken has an agent.
            let targets: &[&str] = if *status == kind.open || *status == "rejected" {
                &["@b", "worker", "*", "boss", "@a", "Worker"]
            } else {
                &["@b", "@b worker", "@b *", "@a"]
            };
            for target in targets {
                for agent in ["@a", "@b", "@c", "@d", "@f"] {
                    let at = format!("{engine}: {status} for {target}, by {agent}");
                    let wanted = expected(kind, target, status, agent);
                    undone(&mut desk.session, |session| {
                        session.batch(&kind.put("@9", target, status))?;
                        let answer = outcome(session, &kind.accept("@9", agent))?;
                        match answer {
                            Ok(value) => {
                                ensure!(
                                    value.as_deref() == Some(wanted),
                                    "{at}: {value:?}, not {wanted}"
                                );
                                let seen = session.value(&kind.see("@9"))?.unwrap_or_default();
                                let kept = if wanted == "t" {
                                    let kind = target.trim_start_matches("@b");
                                    format!("{agent} {} accepted", kind.trim_start())
                                } else {
                                    format!("{target} {status}")
                                };
                                let kept = kept.replace("  ", " ");
                                ensure!(seen == kept, "{at}: the row is {seen}, not {kept}");
                            }
                            Err(error) => {
                                ensure!(error.sqlstate == wanted, "{at}: {error}, not {wanted}");
                                let known =
                                    words.entry(at.replace(engine, "")).or_insert(error.clone());
                                ensure!(*known == error, "{at}:\n{error}\nnot\n{known}");
                                check(kind, &error)?;
                            }
                        }
                        Ok(())
                    })
                    .with_context(|| at.clone())?;
                    cases += 1;
                }
            }
        }
        // One that is not there is false for anybody.
        for agent in ["@a", "@b", "@f"] {
            let answer = outcome(&mut desk.session, &kind.accept("@8", agent))?;
            ensure!(answer == Ok(Some("f".to_owned())), "{engine}: {answer:?}");
        }
    }
    Ok(Outcome::Passed(format!("{cases} cases")))
}

/// What an ERROR must carry.
fn check(kind: &Kind, error: &ServerError) -> Result<()> {
    ensure!(
        error.message.contains(kind.name) || error.message.contains("agent"),
        "{error}"
    );
    if error.sqlstate == "23503" {
        ensure!(
            error.constraint.as_deref() == Some(kind.foreign_key)
                && error.table.as_deref() == Some(&kind.table())
                && error.schema.as_deref() == Some("public"),
            "{error}"
        );
    }
    Ok(())
}

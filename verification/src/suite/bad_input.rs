//! Bad input: what each function of Trajectory, Scope and the cold path refuses,
//! with which SQLSTATE and words, and that nothing is changed by it.

mod arguments;
mod broken;
mod duplicates;
mod missing;
pub(super) mod rows;
pub mod stage;
mod tables;
mod trees;

use crate::runner::{Context, Outcome, Test};
use crate::session::ServerError;
use anyhow::Result;
use stage::{contract, Stage, ROWS};
use std::fmt::Write as _;

/// All of them.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "bad_input::our_words",
            "steps 1 to 3 refuse with their SQLSTATE and words (one snapshot), and change nothing",
            our_words,
        ),
        Test::new(
            "bad_input::postgresql_words",
            "what PostgreSQL refuses is the client's ERROR in every field",
            postgresql_words,
        ),
        Test::new(
            "bad_input::let_through",
            "NULL, zero, whole numbers and JSON null where they are allowed",
            let_through,
        ),
        Test::new(
            "bad_input::moves",
            "every pair of states: moved, already there, or 55000 naming the state",
            moves,
        ),
    ];
    tests.extend(duplicates::tests());
    tests.extend(missing::tests());
    tests.extend(tables::tests());
    tests.extend(trees::tests());
    tests
}

/// One line of the snapshot: the call, and the ERROR below it.
fn note(text: &mut String, call: &str, error: Option<&ServerError>) {
    let error = error.map_or_else(|| "no error".to_owned(), ToString::to_string);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}\n    {}",
        call,
        contract(&error).replace('\n', "\n  ")
    );
}

fn our_words(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    let mut text = String::new();
    let cases = arguments::REFUSED.iter().chain(rows::STATE);
    for (call, sqlstate, says) in cases.chain(arguments::COLD) {
        let error = stage.refused(&format!("SELECT {call}"), None, sqlstate, says)?;
        note(&mut text, call, error.as_ref());
    }
    for (at, from) in rows::STATES.iter().enumerate() {
        for to in rows::STATES {
            if from == to || rows::MOVES.contains(&(from, to)) {
                continue;
            }
            for outcome in ["", ", '{}'"] {
                let call = format!(
                    "caliber_trajectory_set_status('@{}', '{to}'{outcome})",
                    at + 1
                );
                let who = format!("@{}", at + 1);
                let says = ["trajectory", &who, from, to];
                let error = stage.refused(&format!("SELECT {call}"), None, "55000", &says)?;
                if outcome.is_empty() {
                    note(&mut text, &call, error.as_ref());
                }
            }
        }
    }
    for call in rows::CYCLES {
        let says = ["trajectory", "ancestors"];
        let error = stage.refused(&format!("SELECT {call}"), None, "23514", &says)?;
        note(&mut text, call, error.as_ref());
        let object = error.map(|error| (error.schema, error.table, error.constraint));
        let wanted = [
            "public",
            "caliber_trajectory",
            "caliber_trajectory_parent_check",
        ]
        .map(|name| Some(name.to_owned()));
        if object.map(|(schema, table, constraint)| [schema, table, constraint]) != Some(wanted) {
            stage.problem(&format!("* {call} names no schema, table and constraint"));
        }
    }
    let outcome = stage.verdict();
    // Without the tables step 1 says the same.
    let mut bare = Stage::open(
        context.server.empty_database()?,
        "CREATE EXTENSION caliber_pg CASCADE",
    )?;
    (bare.tables, bare.good) = (&[], Some(("SELECT caliber_version()".to_owned(), VERSION)));
    for (call, sqlstate, says) in arguments::REFUSED.iter().chain(arguments::COLD) {
        bare.refused(&format!("SELECT {call}"), None, sqlstate, says)?;
    }
    bare.answers("SELECT caliber_trajectory_get(NULL) IS NULL", Some("t"))?;
    bare.answers("SELECT caliber_scope_get(NULL) IS NULL", Some("t"))?;
    outcome.and(bare.verdict())?;
    insta::assert_snapshot!("our_words", text);
    Ok(Outcome::Passed(format!(
        "{} errors",
        text.lines().count() / 2
    )))
}

/// The version of the library that is tested.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn postgresql_words(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    for (call, client, sqlstate) in rows::violations() {
        stage.refused(&format!("SELECT {call}"), Some(&client), sqlstate, &[])?;
    }
    stage.verdict()
}

fn let_through(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    let before = stage.fingerprint()?;
    stage.before = "BEGIN".to_owned();
    for (call, value) in arguments::ALLOWED {
        stage.answers(&format!("SELECT {call}"), *value)?;
    }
    if stage.fingerprint()? != before {
        stage.problem("* rows are changed after ROLLBACK");
    }
    stage.verdict()
}

fn moves(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    stage.before = "BEGIN".to_owned();
    for (at, from) in rows::STATES.iter().enumerate() {
        let row = format!(
            "FROM caliber_trajectory WHERE trajectory_id = '@{}'",
            at + 1
        );
        for to in rows::STATES {
            for outcome in ["", ", '{\"a\": 1}'"] {
                let call = format!(
                    "SELECT caliber_trajectory_set_status('@{}', '{to}'{outcome})",
                    at + 1
                );
                let ended = ["completed", "failed"].contains(to);
                let moved = rows::MOVES.contains(&(from, to));
                // Only a final state that is there already takes an outcome.
                let written = moved || (from == to && ended && !outcome.is_empty());
                if !moved && from != to {
                    continue;
                }
                stage.answers(&call, Some("t"))?;
                let look = format!(
                    "{call}; SELECT concat_ws(' ', status, completed_at IS NOT NULL, \
                     completed_at = now(), outcome, updated_at = now()) {row}"
                );
                let stored = written && !outcome.is_empty();
                let wanted = format!(
                    "{to} {} {}{}{}",
                    if ended { "t" } else { "f" },
                    match (ended, moved) {
                        (true, true) => "t ",
                        (true, false) => "f ",
                        (false, _) => "",
                    },
                    if stored { "{\"a\": 1} " } else { "" },
                    if written { "t" } else { "f" },
                );
                stage.answers(&look, Some(&wanted))?;
            }
        }
    }
    stage.verdict()
}

/// Each function once, with arguments that are good: for what a call meets
/// before it comes to rows.
pub(super) const CALLS: &[(&str, &str)] = &[
    ("trajectory", "caliber_trajectory_create('x', id => '@50')"),
    (
        "trajectory",
        "caliber_trajectory_create('x', parent_trajectory_id => '@1', id => '@50')",
    ),
    ("trajectory", "(caliber_trajectory_get('@8')).name"),
    (
        "trajectory",
        "caliber_trajectory_update('@8', '{\"name\": \"x\"}')",
    ),
    ("trajectory", "caliber_trajectory_update('@8', '{}')"),
    (
        "trajectory",
        "caliber_trajectory_update('@8', '{\"parent_trajectory_id\": \"@1\"}')",
    ),
    (
        "trajectory",
        "caliber_trajectory_set_status('@8', 'failed')",
    ),
    (
        "trajectory",
        "count(*) FROM caliber_trajectory_list_by_status('active')",
    ),
    (
        "trajectory",
        "count(*) FROM caliber_trajectory_list_children('@1')",
    ),
    (
        "trajectory",
        "count(*) FROM caliber_trajectory_list_by_agent('@90')",
    ),
    ("trajectory", "caliber_trajectory_delete('@8')"),
    ("scope", "caliber_scope_create('@1', 'x', id => '@50')"),
    ("scope", "(caliber_scope_get('@23')).name"),
    ("scope", "(caliber_scope_get_current('@1')).name"),
    ("scope", "caliber_scope_close('@23')"),
    ("scope", "caliber_scope_update_tokens('@23', 1)"),
    ("scope", "caliber_scope_update('@23', '{\"name\": \"x\"}')"),
    ("scope", "caliber_scope_update('@23', '{}')"),
    (
        "scope",
        "count(*) FROM caliber_scope_list_by_trajectory('@1')",
    ),
    ("scope", "caliber_scope_delete('@23')"),
];

/// Every function of [`CALLS`] that is not of `except` works on the rows; what
/// it does is rolled back.
fn all_work(stage: &mut Stage, except: &str) -> Result<()> {
    let before = std::mem::replace(&mut stage.before, "BEGIN".to_owned());
    for (entity, call) in CALLS.iter().filter(|(entity, _)| *entity != except) {
        for at in 0..3 {
            if let Err(error) = stage.send(at, &format!("SELECT {call}"))? {
                let name = stage.sessions[at].0.name();
                stage.problem(&format!("* {entity} must work: {call}\n  {name}: {error}"));
            }
        }
    }
    stage.before = before;
    Ok(())
}

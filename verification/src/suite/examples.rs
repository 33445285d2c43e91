//! What the documentation shows: every example runs, and every function has
//! one.

use crate::config::workspace;
use crate::runner::{Context, Outcome, Test};
use crate::script::{self, Item};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};
use std::collections::BTreeSet;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "examples::every_function",
            "examples/every_function.sql calls each function, and all calls succeed",
            every_function,
        ),
        Test::new(
            "examples::functions_page",
            "docs/functions.md lists each function once, with an example that runs",
            functions_page,
        ),
        Test::new(
            "examples::agent_session",
            "examples/agent_session.sql runs",
            agent_session,
        ),
    ]
}

pub(super) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(workspace().join(path)).with_context(|| path.to_owned())
}

/// Names of the extension's functions.
fn published(session: &mut Session) -> Result<BTreeSet<String>> {
    let names = session.query(
        "SELECT DISTINCT p.proname::text FROM pg_proc p
         JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
         JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
         WHERE e.extname = 'caliber_pg'",
    )?;
    Ok(names.column().into_iter().flatten().collect())
}

/// The names of functions of ours that a text calls.
pub(super) fn called(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices('(') {
        let name: String = text[..at]
            .chars()
            .rev()
            .take_while(|c| word(*c))
            .collect::<Vec<char>>()
            .into_iter()
            .rev()
            .collect();
        if name.starts_with("caliber_") {
            names.insert(name);
        }
    }
    names
}

fn run(session: &mut Session, statement: &str) -> Result<()> {
    session
        .run(statement)
        .map(drop)
        .with_context(|| statement.to_owned())
}

/// A database with the extension and no tables: the script makes them.
fn database(context: &Context) -> Result<crate::server::Database> {
    let database = context.server.empty_database()?;
    database
        .connect()?
        .batch("CREATE EXTENSION caliber_pg CASCADE")?;
    Ok(database)
}

fn every_function(context: &Context) -> Result<Outcome> {
    let text = read("examples/every_function.sql")?;
    let (items, _) = script::parse(&text)?;
    let database = database(context)?;
    let mut session = database.connect()?;
    let published = published(&mut session)?;
    let mut calls = BTreeSet::new();
    for item in &items {
        if let Item::Statement(statement) = item {
            run(&mut session, statement)?;
            calls.extend(called(statement));
        }
    }
    ensure!(
        calls == published,
        "not called: {:?}; not published: {:?}",
        &published - &calls,
        &calls - &published
    );
    let found = session.query("SELECT * FROM caliber_check()")?.rows;
    ensure!(found.is_empty(), "caliber_check() says {found:?}");
    Ok(Outcome::Passed(format!("{} functions", published.len())))
}

/// A line of the page's tables: the function and the example.
fn entries(page: &str) -> Vec<(String, String)> {
    page.lines()
        .filter(|line| line.starts_with("| `caliber_"))
        .filter_map(|line| {
            let code: Vec<&str> = line.split('`').collect();
            let name = code.get(1)?.split('(').next()?.to_owned();
            let example = code.get(code.len().checked_sub(2)?)?;
            Some((name, example.replace("\\|", "|")))
        })
        .collect()
}

fn functions_page(context: &Context) -> Result<Outcome> {
    let page = read("docs/functions.md")?;
    let entries = entries(&page);
    let (items, variables) = script::parse(&read("examples/every_function.sql")?)?;
    let database = database(context)?;
    let mut session = database.connect()?;
    let published = published(&mut session)?;
    let named: BTreeSet<String> = entries.iter().map(|(name, _)| name.clone()).collect();
    ensure!(
        named == published && entries.len() == published.len(),
        "not listed: {:?}; not published: {:?}; {} lines",
        &published - &named,
        &named - &published,
        entries.len()
    );
    // The examples of the page are statements of the script, which runs above;
    // so each is one that succeeds where the script has it.
    let statements: BTreeSet<&str> = items
        .iter()
        .filter_map(|item| match item {
            Item::Statement(statement) => Some(statement.trim_end_matches(';')),
            Item::Echo(_) => None,
        })
        .collect();
    for (name, example) in &entries {
        let filled = variables.fill(example)?;
        ensure!(
            called(&filled).contains(name),
            "the example of {name} does not call it: {example}"
        );
        ensure!(
            statements.contains(filled.as_str()),
            "the example of {name} is no statement of the script: {example}"
        );
    }
    Ok(Outcome::Passed(format!("{} examples", entries.len())))
}

fn agent_session(context: &Context) -> Result<Outcome> {
    let (items, _) = script::parse(&read("examples/agent_session.sql")?)?;
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    for item in &items {
        if let Item::Statement(statement) = item {
            run(&mut session, statement)?;
        }
    }
    Ok(Outcome::Passed(format!("{} statements", items.len())))
}

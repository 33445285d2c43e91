//! `caliber_check()`: it finds what it promises, and nothing where all is well. Each
//! kind of damage is done on purpose, to each table, index, constraint and rule that it
//! can be done to; what is found must name the damaged row and nothing else.

mod clean;
mod indexes;
mod life;
mod refused;
mod rows;

use crate::runner::{Context, Test};
use crate::server::Database;
use crate::session::{Failure, Session};
use anyhow::{ensure, Context as _, Result};
use std::fmt;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = clean::tests();
    tests.extend(indexes::tests());
    tests.extend(rows::tests());
    tests.extend(life::tests());
    tests.extend(refused::tests());
    tests
}

/// Rows in every state.
const ROWS: &str = include_str!("check/rows.sql");

/// Indexes of a user's, of every access method and shape.
const OWN_INDEXES: &str = include_str!("check/own_indexes.sql");

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    relation: String,
    index: Option<String>,
    item: Option<String>,
    problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [index, item] = [&self.index, &self.item].map(|x| x.as_deref().unwrap_or("-"));
        write!(f, "{} | {index} | {item} | {}", self.relation, self.problem)
    }
}

/// A database with rows and, if wanted, a user's indexes.
fn database(context: &Context, own_indexes: bool) -> Result<(Database, Session)> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    session.batch(ROWS).context("rows")?;
    if own_indexes {
        session.batch(OWN_INDEXES).context("indexes")?;
    }
    Ok((database, session))
}

/// What `caliber_check()` finds.
fn check(session: &mut Session) -> Result<Vec<Finding>, Failure> {
    let reply = session.query("SELECT * FROM caliber_check()")?;
    let finding = |row: Vec<Option<String>>| {
        let [relation, index, item, problem] =
            <[Option<String>; 4]>::try_from(row).unwrap_or_default();
        Finding {
            relation: relation.unwrap_or_default(),
            index,
            item,
            problem: problem.unwrap_or_default(),
        }
    };
    Ok(reply.rows.into_iter().map(finding).collect())
}

/// Nothing may be found.
fn nothing(session: &mut Session, when: &str) -> Result<()> {
    let found = check(session).with_context(|| when.to_owned())?;
    ensure!(found.is_empty(), "{when}: {}", list(&found));
    Ok(())
}

fn list(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().take(20).map(Finding::to_string).collect();
    format!("{} findings\n  {}", findings.len(), lines.join("\n  "))
}

/// Does damage in a transaction that is rolled back; what is found meanwhile. No
/// trigger and no key of other tables interferes.
fn found_after(session: &mut Session, damage: &str) -> Result<Vec<Finding>> {
    session.batch(&format!(
        "BEGIN; SET LOCAL session_replication_role = replica; {damage}"
    ))?;
    let found = check(session).with_context(|| damage.to_owned());
    session.batch("ROLLBACK")?;
    found
}

/// All findings must be of this table and row, at least one must say this; each
/// that speaks of an index must name one of these.
fn only(
    found: &[Finding],
    table: &str,
    item: &str,
    indexes: &[String],
    says: &str,
    damage: &str,
) -> Result<()> {
    let of_it = |finding: &Finding| {
        finding.relation == table
            && finding.item.as_deref() == Some(item)
            && finding.index.as_ref().is_none_or(|i| indexes.contains(i))
    };
    ensure!(
        found.iter().all(of_it),
        "{damage}\nmore than {table} {item} {indexes:?}: {}",
        list(found)
    );
    ensure!(
        found.iter().any(|finding| finding.problem.contains(says)),
        "{damage}\nnobody says \"{says}\" of {table} {item}: {}",
        list(found)
    );
    Ok(())
}

/// The eleven tables, each with its key, in the order of the findings.
const TABLES: [(&str, &str); 11] = [
    ("caliber_trajectory", "trajectory_id"),
    ("caliber_scope", "scope_id"),
    ("caliber_artifact", "artifact_id"),
    ("caliber_note", "note_id"),
    ("caliber_turn", "turn_id"),
    ("caliber_agent", "agent_id"),
    ("caliber_lock", "lock_id"),
    ("caliber_message", "message_id"),
    ("caliber_delegation", "delegation_id"),
    ("caliber_handoff", "handoff_id"),
    ("caliber_conflict", "conflict_id"),
];

/// The key of a row that meets a condition: one at the end of the table, where its page
/// has room for a second version.
fn victim(session: &mut Session, table: &str, condition: &str) -> Result<String> {
    let key = key_of(table);
    let sql = format!("SELECT {key} FROM {table} WHERE {condition} ORDER BY ctid DESC LIMIT 1");
    session
        .value(&sql)?
        .with_context(|| format!("{table} has no row where {condition}"))
}

fn key_of(table: &str) -> &'static str {
    TABLES
        .iter()
        .find(|(name, _)| *name == table)
        .map_or("", |(_, key)| key)
}

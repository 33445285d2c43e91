//! Taking a delegation on, with the trajectory that the work is done in.

use super::column::*;
use super::{status_of, ADDRESSED, DELEGATION, LIFE};
use crate::engine::accept::NewRow;
use crate::engine::consulted::Consulted;
use crate::engine::{Stored, Table, Verdict};
use crate::entity::agent::AGENT;
use crate::entity::args;
use crate::entity::trajectory::{self, TRAJECTORY};
use crate::entity::tree;
use crate::error::CaliberResult;
use crate::pg::call::Call;
use crate::pg::datum::{ToValue, UuidArg, Value};
use crate::pg::encoding::is_sql_ascii;
use crate::pg::function::Returned;
use crate::pg::json;
use crate::pg::random::new_id;
use crate::pg::rights::{Command, Rights};
use pgrx::prelude::*;
use uuid::Uuid;

/// Characters of a task that become the name of the trajectory for it.
const NAME_LENGTH: usize = 200;

/// Takes the work on (R9.3): the agent that it is addressed to, or one of the
/// type, but never the delegator (42501; 23503 for an unknown agent). Exactly
/// one call returns true. False if there is none, or it was accepted already;
/// 55000 if it was rejected.
///
/// Without a child trajectory one is created under the parent in the same
/// statement, unless the delegation has one from an agent that it was taken
/// back from.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_delegation_accept(
    delegation_id: UuidArg,
    delegatee_agent_id: UuidArg,
    child_trajectory_id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("delegation_id", &delegation_id)?;
        let agent = args::required_id("delegatee_agent_id", &delegatee_agent_id)?;
        let child = child_trajectory_id.value();
        let changed = vec![DELEGATEE_AGENT_ID, STATUS, ACCEPTED_AT, CHILD_TRAJECTORY_ID];
        let mut rights = Rights::update(DELEGATION_ID, changed).and_select();
        let read = Rights::select();
        if !child.is_null() {
            let wanted = [(&DELEGATION, &rights), (&AGENT, &read)];
            let [table, agents] = Table::open_several(&call, wanted, false)?;
            return accept(&table, &agents.into(), id, agent, &Child::Given(child));
        }
        // With the UPDATE in its WITH clause, the statement is an INSERT.
        rights.command = Command::Insert;
        let insert = Rights::insert().and_select();
        let wanted = [
            (&DELEGATION, &rights),
            (&AGENT, &read),
            (&TRAJECTORY, &insert),
        ];
        let [table, agents, tasks] = Table::open_several(&call, wanted, false)?;
        accept(&table, &agents.into(), id, agent, &Child::New(&tasks))
    })
}

/// Where the work will be done.
enum Child<'t> {
    /// In this trajectory.
    Given(Value),
    /// In one that is created, unless the delegation has one already.
    New(&'t Table),
}

fn accept(
    table: &Table,
    agents: &Consulted,
    id: Uuid,
    agent: Uuid,
    child: &Child<'_>,
) -> CaliberResult<bool> {
    let engine = table.engine();
    engine.accept(table, Value::uuid(id), &mut |stored| {
        ADDRESSED.check(table, agents, stored, id, agent)?;
        let status = status_of(stored);
        if !LIFE.allows(&status, "accepted") {
            if status == "rejected" {
                return Err(LIFE.refuse(id, &status, "accepted"));
            }
            return Ok((Verdict::Answer(false), None));
        }
        let mut changes = vec![
            (DELEGATEE_AGENT_ID, Value::uuid(agent)),
            (STATUS, Value::text("accepted")),
            (ACCEPTED_AT, Value::transaction_start()),
        ];
        let mut checked = vec![STATUS];
        checked.extend(ADDRESSED.columns());
        let mut new = None;
        match child {
            Child::Given(child) => changes.push((CHILD_TRAJECTORY_ID, *child)),
            Child::New(tasks) => {
                checked.push(CHILD_TRAJECTORY_ID);
                if stored.get(CHILD_TRAJECTORY_ID).is_null() {
                    checked.push(PARENT_TRAJECTORY_ID);
                    let key = new_id();
                    changes.push((CHILD_TRAJECTORY_ID, Value::uuid(key)));
                    new = Some(NewRow {
                        table: tasks,
                        values: child_row(tasks, stored, id, agent, key)?,
                    });
                }
            }
        }
        Ok((Verdict::Write { changes, checked }, new))
    })
}

/// The trajectory for a delegation. Joins the tree of its parent, and so may
/// wait for a move of that tree.
fn child_row(
    tasks: &Table,
    stored: &Stored,
    id: Uuid,
    agent: Uuid,
    key: Uuid,
) -> CaliberResult<Vec<Value>> {
    let parent = stored
        .get(PARENT_TRAJECTORY_ID)
        .as_uuid()
        .unwrap_or_default();
    let task = stored.get(TASK_DESCRIPTION).as_text().unwrap_or_default();
    let root = tree::join(tasks, parent)?;
    let delegation = Value::text(&id.to_string());
    Ok(trajectory::new_row(
        key,
        Value::text(&name_of(&task, is_sql_ascii())),
        Value::NULL,
        Some((parent, root)),
        Value::uuid(agent),
        json::object(&[("delegation_id", delegation)]),
    )
    .to_vec())
}

/// The name of the trajectory for a task: its first line, trimmed, at most 200
/// characters. Where bytes have no known meaning (`bytewise`, SQL_ASCII) each counts as
/// a character, and one that UTF-8 has in the middle of a character is not cut off from
/// what it follows.
fn name_of(task: &str, bytewise: bool) -> String {
    let line = task.split(['\r', '\n']).next().unwrap_or_default();
    let is_blank = |c: char| {
        if bytewise {
            c.is_ascii_whitespace()
        } else {
            c.is_whitespace()
        }
    };
    let mut name: Vec<char> = line.trim_matches(is_blank).chars().collect();
    if name.len() > NAME_LENGTH {
        let is_inner = |c: char| bytewise && ('\u{80}'..'\u{c0}').contains(&c);
        let mut end = NAME_LENGTH;
        while end > 0 && is_inner(name[end]) {
            end -= 1;
        }
        name.truncate(end);
    }
    let name: String = name.into_iter().collect();
    match name.trim_end_matches(is_blank) {
        "" => "delegation".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_task_names_its_trajectory_by_its_first_line() {
        for (task, name) in [
            ("Mend the roof", "Mend the roof"),
            (" Mend the roof \nbefore winter", "Mend the roof"),
            ("a\rb", "a"),
            ("\r\nx", "delegation"),
            (" \t ", "delegation"),
            ("", "delegation"),
        ] {
            assert_eq!(name_of(task, false), name);
            assert_eq!(name_of(task, true), name);
        }
        assert_eq!(name_of(&"ü".repeat(201), false), "ü".repeat(200));
        let blank = format!("{} b", "a".repeat(199));
        assert_eq!(name_of(&blank, false), "a".repeat(199));
    }

    /// As SQL_ASCII shows UTF-8: a character for each byte.
    fn bytes(text: &str) -> String {
        text.bytes().map(char::from).collect()
    }

    #[test]
    fn no_character_is_cut_in_two() {
        // Two of their bytes are blanks of Latin-1.
        for text in ["voilà", "Å", "…"] {
            assert_eq!(name_of(&bytes(text), true), bytes(text));
        }
        let long = format!("x{}", "é".repeat(150));
        let cut = format!("x{}", "é".repeat(99));
        assert_eq!(name_of(&bytes(&long), true), bytes(&cut));
    }
}

//! Taking work back from an agent that is not heard of any more, and what its
//! late calls then get.

use super::super::work::schedules::{self, Case};
use super::super::work::{ids, told, undone, DELEGATION, ENGINES};
use super::ORPHANS;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "delegations::reclaim",
            "from the dead only, for the new target, the old type or the same agent",
            reclaim,
        ),
        Test::new(
            "delegations::late_complete",
            "the dead agent's late complete fails, the new agent's does not",
            late,
        ),
        Test::new(
            "delegations::reclaim_schedules",
            "reclaim against complete, start, heartbeat and another reclaim",
            |context| {
                let row = DELEGATION.put("@9", "@b worker", "accepted");
                let row = format!("{row}; {}", ids(STALE));
                schedules::schedules(context, &DELEGATION, &[CASES], &row, ORPHANS)
            },
        ),
    ]
}

/// The last heartbeat of `@b` was an hour ago.
const STALE: &str =
    "UPDATE caliber_agent SET last_heartbeat = clock_timestamp() - interval '1 hour' WHERE agent_id = '@b'";

/// State and target of the row, the call's arguments, and what it leaves.
const CASES_OF_ONE: [(&str, &str, &str, &str); 16] = [
    ("accepted", "@b worker", "'59 minutes'", "worker pending"),
    ("in_progress", "@b worker", "'59 minutes'", "worker pending"),
    ("accepted", "@b *", "'59 minutes'", "* pending"),
    ("accepted", "@b", "'59 minutes'", "@b pending"),
    ("accepted", "@b", "'59 minutes', '@c'", "@c pending"),
    ("accepted", "@b worker", "'59 minutes', '@c'", "@c pending"),
    (
        "accepted",
        "@b worker",
        "'59 minutes', NULL, 'other'",
        "other pending",
    ),
    ("accepted", "@b", "'59 minutes', NULL, '*'", "* pending"),
    ("accepted", "@b worker", "'59 minutes', '@f'", "23503"),
    // Not stale enough, or not in anybody's hands.
    ("accepted", "@b worker", "'61 minutes'", ""),
    ("in_progress", "@b", "'1 year'", ""),
    ("accepted", "@c worker", "'1 minute'", ""),
    ("pending", "@b", "'59 minutes'", ""),
    ("rejected", "worker", "'59 minutes'", ""),
    ("completed", "@b", "'59 minutes'", ""),
    ("failed", "@b worker", "'59 minutes', '@c'", ""),
];

fn reclaim(context: &Context) -> Result<Outcome> {
    let mut desks = DELEGATION.desks(context, &ENGINES, STALE)?;
    // Who was never heard of is not older than any moment.
    for desk in &mut desks {
        undone(&mut desk.session, |session| {
            session.batch("ALTER TABLE caliber_agent ALTER last_heartbeat DROP NOT NULL; UPDATE caliber_agent SET last_heartbeat = NULL")?;
            session.batch(&DELEGATION.put("@9", "@b", "accepted"))?;
            let answer = told(
                session,
                &ids("SELECT caliber_delegation_reclaim('@9', '1 second')"),
            )?;
            ensure!(answer == "f", "{answer}");
            Ok(())
        })?;
    }
    for desk in &mut desks {
        for (status, target, arguments, wanted) in CASES_OF_ONE {
            undone(&mut desk.session, |session| {
                session.batch(&DELEGATION.put("@9", target, status))?;
                session.batch(&ids("UPDATE caliber_delegation SET child_trajectory_id = '@1', accepted_at = now()"))?;
                let call = format!("SELECT caliber_delegation_reclaim('@9', {arguments})");
                let answer = told(session, &ids(&call))?;
                if wanted.len() == 5 {
                    ensure!(answer == wanted, "{answer}");
                    return Ok(());
                }
                let moved = !wanted.is_empty();
                ensure!(answer == if moved { "t" } else { "f" }, "{answer}");
                let left = session.value(&DELEGATION.see("@9"))?.unwrap_or_default();
                let expected = if moved {
                    wanted.to_owned()
                } else {
                    format!("{target} {status}")
                };
                ensure!(left == expected, "left {left}, not {expected}");
                let rest = session.value(
                    "SELECT concat_ws(' ', right(child_trajectory_id::text, 1), accepted_at = now()) FROM caliber_delegation",
                )?;
                let expected = if moved { "1" } else { "1 t" };
                ensure!(rest.as_deref() == Some(expected), "{rest:?}");
                Ok(())
            })
            .with_context(|| format!("{}: {status} {target}, {arguments}", desk.engine.name()))?;
        }
        let absent = told(
            &mut desk.session,
            &ids("SELECT caliber_delegation_reclaim('@9', '1 s')"),
        )?;
        ensure!(absent == "f", "of nothing: {absent}");
    }
    Ok(Outcome::Passed(format!("{} cases", CASES_OF_ONE.len())))
}

fn late(context: &Context) -> Result<Outcome> {
    // What happens one after the other, and what each gives. `@b` accepts,
    // falls silent, and comes back.
    let story = |target: &str| {
        let again = match target {
            "@b" => "'59 minutes', '@c'",
            _ => "'59 minutes'",
        };
        [
            ("SELECT caliber_delegation_accept('@9', '@b')".to_owned(), "t"),
            ("SELECT count(*) FROM caliber_trajectory WHERE metadata IS NOT NULL".to_owned(), "1"),
            (format!("SELECT caliber_delegation_reclaim('@9', {again})"), "f"),
            (format!("{STALE}; SELECT caliber_delegation_reclaim('@9', {again})"), "t"),
            (format!("SELECT caliber_delegation_reclaim('@9', {again})"), "f"),
            ("SELECT caliber_delegation_complete('@9', true, agent_id => '@b')".to_owned(), "42501"),
            ("SELECT caliber_delegation_start('@9', '@b')".to_owned(), "42501"),
            ("SELECT caliber_delegation_complete('@9', true)".to_owned(), "55000"),
            ("SELECT caliber_delegation_accept('@9', '@c')".to_owned(), "t"),
            // The child of the first one is the second one's now.
            ("SELECT count(*) FROM caliber_trajectory t JOIN caliber_delegation ON child_trajectory_id = trajectory_id WHERE metadata IS NOT NULL".to_owned(), "1"),
            ("SELECT caliber_delegation_start('@9', '@b')".to_owned(), "42501"),
            ("SELECT caliber_delegation_start('@9', '@c')".to_owned(), "t"),
            ("SELECT caliber_delegation_complete('@9', true, 'late', agent_id => '@b')".to_owned(), "42501"),
            ("SELECT caliber_delegation_complete('@9', true, 'done', agent_id => '@c')".to_owned(), "t"),
            ("SELECT caliber_delegation_complete('@9', true, 'late', agent_id => '@b')".to_owned(), "42501"),
            ("SELECT caliber_delegation_complete('@9', false, 'late', agent_id => '@b')".to_owned(), "42501"),
            ("SELECT caliber_delegation_complete('@9', true, agent_id => '@c')".to_owned(), "f"),
            ("SELECT result->>'summary' FROM caliber_delegation".to_owned(), "done"),
        ]
    };
    let mut desks = DELEGATION.desks(context, &ENGINES, "")?;
    for desk in &mut desks {
        for target in ["worker", "*", "@b"] {
            desk.session.batch(&ids(
                "DELETE FROM caliber_delegation; DELETE FROM caliber_trajectory WHERE metadata IS NOT NULL;
                 UPDATE caliber_agent SET last_heartbeat = clock_timestamp()",
            ))?;
            desk.session
                .batch(&DELEGATION.put("@9", target, "pending"))?;
            for (number, (sql, wanted)) in story(target).into_iter().enumerate() {
                let answer = told(&mut desk.session, &ids(&sql))?;
                ensure!(
                    answer == wanted,
                    "{}, for {target}, step {number}: {sql}: {answer}, not {wanted}",
                    desk.engine.name()
                );
            }
        }
    }
    Ok(Outcome::Passed(String::new()))
}

/// While `@b` has it, who was last heard of an hour ago.
const CASES: &[Case] = &[
    Case {
        name: "taken back, and completed by the dead agent",
        first: "SELECT caliber_NAME_reclaim('@9', '59 minutes')",
        second: "SELECT caliber_NAME_complete('@9', true, agent_id => '@b')",
        end: "COMMIT",
        committed: "42501",
        repeatable: "40001",
        left: "worker pending",
    },
    Case {
        name: "taken back, and completed by whomever",
        first: "SELECT caliber_NAME_reclaim('@9', '59 minutes')",
        second: "SELECT caliber_NAME_complete('@9', true)",
        end: "COMMIT",
        committed: "55000",
        repeatable: "40001",
        left: "worker pending",
    },
    Case {
        name: "not taken back after all",
        first: "SELECT caliber_NAME_reclaim('@9', '59 minutes')",
        second: "SELECT caliber_NAME_complete('@9', true, agent_id => '@b')",
        end: "ROLLBACK",
        committed: "t",
        repeatable: "t",
        left: "@b worker completed",
    },
    Case {
        name: "taken back and accepted by another",
        first: "SELECT caliber_NAME_reclaim('@9', '59 minutes'); SELECT caliber_NAME_accept('@9', '@c')",
        second: "SELECT caliber_NAME_complete('@9', true, agent_id => '@b')",
        end: "COMMIT",
        committed: "42501",
        repeatable: "40001",
        left: "@c worker accepted",
    },
    Case {
        name: "completed just in time",
        first: "SELECT caliber_NAME_complete('@9', true, agent_id => '@b')",
        second: "SELECT caliber_NAME_reclaim('@9', '59 minutes')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "@b worker completed",
    },
    Case {
        name: "started, but without a heartbeat",
        first: "SELECT caliber_NAME_start('@9', '@b')",
        second: "SELECT caliber_NAME_reclaim('@9', '59 minutes')",
        end: "COMMIT",
        committed: "t",
        repeatable: "40001",
        left: "worker pending",
    },
    Case {
        name: "started with a heartbeat",
        first: "SELECT caliber_NAME_start('@9', '@b'); SELECT caliber_agent_heartbeat('@b')",
        second: "SELECT caliber_NAME_reclaim('@9', '59 minutes')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "@b worker in_progress",
    },
    Case {
        name: "taken back twice",
        first: "SELECT caliber_NAME_reclaim('@9', '59 minutes')",
        second: "SELECT caliber_NAME_reclaim('@9', '59 minutes', '@c')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "worker pending",
    },
];

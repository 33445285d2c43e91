//! Delegations: who may take work on, the trajectory that comes with it, taking
//! it back from the dead, and what two sessions do to each other.

mod accept;
mod calls;
mod reclaim;
mod statement;

use super::work::lists::{self, List};
use super::work::schedules::{self, Case};
use super::work::{eligibility, race, DELEGATION};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "delegations::eligibility",
            "the named agent, or one of the type, but never the delegator",
            |context| eligibility::matrix(context, &DELEGATION),
        ),
        Test::new(
            "delegations::race",
            "of many sessions exactly one accepts, with one child, at every isolation level",
            |context| race::race(context, &DELEGATION, one_child),
        ),
        Test::new(
            "delegations::schedules",
            "two sessions wait, win and lose as SQL's do; no child is left behind",
            |context| {
                let cases = [schedules::BOTH, CASES];
                let row = DELEGATION.put("@9", "worker", "pending");
                schedules::schedules(context, &DELEGATION, &cases, &row, ORPHANS)
            },
        ),
        Test::new(
            "delegations::lists",
            "lists hold what they promise, in order, page by page",
            all_lists,
        ),
        Test::new(
            "delegations::lists_among_many",
            "a page of pending delegations does not touch 100,000 that are finished",
            among_many,
        ),
    ];
    tests.extend(accept::tests());
    tests.extend(calls::tests());
    tests.extend(reclaim::tests());
    tests.extend(statement::tests());
    tests
}

/// Trajectories that no delegation names though they were made for one.
const ORPHANS: &str = "SELECT string_agg(format('orphan %s', trajectory_id), ' ') FROM caliber_trajectory t
    WHERE metadata ? 'delegation_id' AND NOT EXISTS (SELECT FROM caliber_delegation WHERE child_trajectory_id = t.trajectory_id)";

/// After a race: the row has one child, its agent's, in the parent's tree.
fn one_child(session: &mut Session, id: &str) -> Result<()> {
    let children = session.value(&format!(
        "SELECT count(*) FROM caliber_trajectory WHERE metadata->>'delegation_id' = '{id}'"
    ))?;
    ensure!(children.as_deref() == Some("1"), "{children:?} children");
    let fits = session.value(&format!(
        "SELECT t.agent_id = d.delegatee_agent_id AND t.parent_trajectory_id = d.parent_trajectory_id
            AND t.root_trajectory_id = (SELECT root_trajectory_id FROM caliber_trajectory p WHERE p.trajectory_id = d.parent_trajectory_id)
            AND t.created_at = d.accepted_at AND d.status = 'accepted'
         FROM caliber_delegation d JOIN caliber_trajectory t ON t.trajectory_id = d.child_trajectory_id
         WHERE d.delegation_id = '{id}'"
    ))?;
    ensure!(
        fits.as_deref() == Some("t"),
        "the child does not fit: {fits:?}"
    );
    let orphans = session.value(ORPHANS)?;
    ensure!(orphans.is_none(), "{orphans:?}");
    Ok(())
}

/// Beside those of all work.
const CASES: &[Case] = &[
    Case {
        name: "a given child meanwhile",
        first: "UPDATE TABLE SET child_trajectory_id = '@2' WHERE KEY = '@9'",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "t",
        repeatable: "40001",
        left: "@c worker accepted",
    },
    Case {
        name: "another parent meanwhile",
        first: "UPDATE TABLE SET parent_trajectory_id = '@1' WHERE KEY = '@9'",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "t",
        repeatable: "40001",
        left: "@c worker accepted",
    },
    Case {
        name: "two with a child that is given",
        first: "SELECT caliber_NAME_accept('@9', '@b', '@2')",
        second: "SELECT caliber_NAME_accept('@9', '@c', '@1')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "@b worker accepted",
    },
    Case {
        name: "one with a child that is given",
        first: "SELECT caliber_NAME_accept('@9', '@b', '@2')",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "@b worker accepted",
    },
];

fn all_lists(context: &Context) -> Result<Outcome> {
    let pending =
        |kind: &str| format!("status = 'pending' AND delegatee_agent_type IN ('{kind}', '*')");
    let mut all = vec![
        List::new("caliber_delegation_list_pending(", "status = 'pending'"),
        List::new("caliber_delegation_list_pending(NULL", "status = 'pending'"),
    ];
    for kind in ["worker", "Worker", "boss", "*", "nobody"] {
        all.push(List::new(
            &format!("caliber_delegation_list_pending('{kind}'"),
            &pending(kind),
        ));
    }
    for (agent, kind) in [
        ("@a", "boss"),
        ("@b", "worker"),
        ("@c", "worker"),
        ("@d", "other"),
    ] {
        all.push(List::new(
            &format!("caliber_delegation_list_for_agent('{agent}'"),
            &format!(
                "(delegatee_agent_id = '{agent}' AND status IN ('pending', 'accepted', 'in_progress'))
                 OR ({} AND delegator_agent_id <> '{agent}')",
                pending(kind)
            ),
        ));
        all.push(List::new(
            &format!("caliber_delegation_list_by_delegator('{agent}'"),
            &format!("delegator_agent_id = '{agent}'"),
        ));
    }
    // One that is no agent is of no type.
    all.push(List::new("caliber_delegation_list_for_agent('@f'", "false"));
    lists::lists(context, &DELEGATION, &all)
}

fn among_many(context: &Context) -> Result<Outcome> {
    lists::among_many(
        context,
        &DELEGATION,
        "status = 'completed', completed_at = now()",
        &[
            "caliber_delegation_list_pending('worker', 10)",
            "caliber_delegation_list_pending(NULL, 10)",
            "caliber_delegation_list_pending('worker', 10, '10000000-0000-4000-8000-000000000000')",
            "caliber_delegation_list_for_agent('@b', 10)",
            "caliber_delegation_list_for_agent('@c', 10)",
            "caliber_delegation_list_by_delegator('@a', 10)",
        ],
    )
}

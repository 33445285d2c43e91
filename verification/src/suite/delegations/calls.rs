//! What each function stores, answers and refuses.

use super::super::desk;
use super::super::work::{ids, told, undone, DELEGATION, ENGINES};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "delegations::life",
            "what each verb does in each state",
            life,
        ),
        Test::new(
            "delegations::results",
            "what complete and reject store as the result",
            results,
        ),
        Test::new(
            "delegations::create",
            "what is stored, and what is refused in whose words",
            create,
        ),
    ]
}

/// Verb, and what it gives when pending, accepted, rejected, in progress,
/// completed and failed; `@b` is recorded but while pending and rejected.
const VERBS: [(&str, [&str; 6]); 12] = [
    (
        "start('@9')",
        ["55000", "t", "55000", "f", "55000", "55000"],
    ),
    (
        "start('@9', '@b')",
        ["42501", "t", "42501", "f", "55000", "55000"],
    ),
    ("start('@9', '@c')", ["42501"; 6]),
    (
        "complete('@9', true)",
        ["55000", "t", "55000", "t", "f", "55000"],
    ),
    (
        "complete('@9', false)",
        ["55000", "t", "55000", "t", "55000", "f"],
    ),
    (
        "complete('@9', true, agent_id => '@b')",
        ["42501", "t", "42501", "t", "f", "55000"],
    ),
    ("complete('@9', true, agent_id => '@c')", ["42501"; 6]),
    ("complete('@9', false, agent_id => '@f')", ["42501"; 6]),
    (
        "reject('@9')",
        ["t", "55000", "f", "55000", "55000", "55000"],
    ),
    ("accept('@9', '@c')", ["t", "f", "55000", "f", "f", "f"]),
    (
        "accept('@9', '@c', '@2')",
        ["t", "f", "55000", "f", "f", "f"],
    ),
    ("reclaim('@9', '-1 hour')", ["f", "t", "f", "t", "f", "f"]),
];

/// What a move leaves: state, and which of the times are of this transaction.
fn after(verb: &str) -> &'static str {
    match verb.split('(').next().unwrap_or_default() {
        "start" => "in_progress",
        "complete" if verb.contains("true") => "completed completed_at",
        "complete" => "failed completed_at",
        "reject" => "rejected",
        "accept" => "accepted accepted_at",
        _ => "pending",
    }
}

fn life(context: &Context) -> Result<Outcome> {
    let mut desks = DELEGATION.desks(context, &ENGINES, "")?;
    for desk in &mut desks {
        let engine = desk.engine.name();
        for (verb, answers) in VERBS {
            let call = ids(&format!("SELECT caliber_delegation_{verb}"));
            for (state, wanted) in DELEGATION.states.iter().zip(answers) {
                let target = if matches!(*state, "pending" | "rejected") {
                    "worker"
                } else {
                    "@b worker"
                };
                undone(&mut desk.session, |session| {
                    session.batch(&DELEGATION.put("@9", target, state))?;
                    let answer = told(session, &call)?;
                    ensure!(answer == wanted, "{answer}, not {wanted}");
                    if answer.len() > 1 {
                        return Ok(());
                    }
                    let left = session.value(
                        "SELECT concat_ws(' ', status, CASE WHEN accepted_at = now() THEN 'accepted_at' END,
                            CASE WHEN completed_at = now() THEN 'completed_at' END) FROM caliber_delegation",
                    )?;
                    let expected = if wanted == "t" { after(verb) } else { state };
                    ensure!(left.as_deref() == Some(expected), "left {left:?}, not {expected}");
                    Ok(())
                })
                .with_context(|| format!("{engine}: {verb} of {state}"))?;
            }
            let absent = told(&mut desk.session, &call)?;
            ensure!(absent == "f", "{engine}: {verb} of nothing: {absent}");
        }
    }
    Ok(Outcome::Passed(format!("{} moves", VERBS.len() * 6)))
}

fn results(context: &Context) -> Result<Outcome> {
    let cases = [
        ("complete('@9', true)", None),
        (
            "complete('@9', true, 'done')",
            Some("{\"summary\": \"done\"}"),
        ),
        ("complete('@9', false, '')", Some("{\"summary\": \"\"}")),
        ("complete('@9', true, result => '{}')", Some("{}")),
        (
            "complete('@9', true, 'd\"\\', '{}')",
            Some("{\"summary\": \"d\\\"\\\\\"}"),
        ),
        (
            "complete('@9', true, 'ü', '{\"a\": 1.50, \"z\": [1, null]}')",
            Some("{\"a\": 1.50, \"z\": [1, null], \"summary\": \"ü\"}"),
        ),
        (
            "complete('@9', true, 'new', '{\"summary\": {\"old\": 1}, \"b\": 1e3}')",
            Some("{\"b\": 1000, \"summary\": \"new\"}"),
        ),
        (
            "complete('@9', true, NULL, '{\"summary\": 1}')",
            Some("{\"summary\": 1}"),
        ),
        ("reject('@8')", None),
        ("reject('@8', 'no time')", Some("{\"reason\": \"no time\"}")),
    ];
    let refused = [
        ("complete('@9', true, 's', '[]')", "22023"),
        ("complete('@9', true, 's', 'null')", "22023"),
        ("complete('@9', true, 's', '1')", "22023"),
        ("complete('@9', true, 's', '\"{}\"')", "22023"),
    ];
    let mut desks = DELEGATION.desks(context, &ENGINES, "")?;
    for desk in &mut desks {
        let engine = desk.engine.name();
        desk.session
            .batch(&DELEGATION.put("@9", "@b", "accepted"))?;
        desk.session.batch(&DELEGATION.put("@8", "@b", "pending"))?;
        for (call, expected) in cases {
            undone(&mut desk.session, |session| {
                let sql = ids(&format!("SELECT caliber_delegation_{call}"));
                let answer = told(session, &sql)?;
                ensure!(answer == "t", "{engine}: {call}: {answer}");
                let stored = session.value(
                    "SELECT result FROM caliber_delegation WHERE status IN ('completed', 'failed', 'rejected')",
                )?;
                ensure!(
                    stored.as_deref() == expected,
                    "{engine}: {call} stored {stored:?}, not {expected:?}"
                );
                Ok(())
            })?;
        }
        for (call, state) in refused {
            let sql = ids(&format!("SELECT caliber_delegation_{call}"));
            let answer = told(&mut desk.session, &sql)?;
            ensure!(answer == state, "{engine}: {call}: {answer}");
        }
        // One large enough to be stored out of line, with an old result.
        let long = desk.session.value(&ids(
            "SELECT caliber_delegation_complete('@9', true, repeat('ab', 100000), jsonb_build_object('long', repeat('x', 100000)))",
        ))?;
        let kept = desk.session.value(
            "SELECT (SELECT string_agg(key || length(value), ' ' ORDER BY key) FROM jsonb_each_text(result)) FROM caliber_delegation WHERE status = 'completed'",
        )?;
        ensure!(
            long.as_deref() == Some("t") && kept.as_deref() == Some("long100000 summary200000"),
            "{engine}: {kept:?}"
        );
    }
    Ok(Outcome::Passed(format!("{} results", cases.len())))
}

fn create(context: &Context) -> Result<Outcome> {
    let mut desks = DELEGATION.desks(context, &desk::ALL, "")?;
    let calls = [
        ("SELECT caliber_delegation_create('@a', NULL, '*', '', '@2', '{@5,@6}', '{@7}', 'context', '{\"a\": 1.0}', 'infinity', '@9')",
         "INSERT INTO caliber_delegation VALUES ('@9', '@a', NULL, '*', '', '@2', NULL, '{@5,@6}', '{@7}', 'context', '{\"a\": 1.0}', 'infinity', 'pending', NULL, now(), NULL, NULL) RETURNING delegation_id", "@9"),
        ("SELECT caliber_delegation_create('@a', '@b', NULL, 'task', '@2', id => '@8')",
         "INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_id, task_description, parent_trajectory_id) VALUES ('@8', '@a', '@b', 'task', '@2') RETURNING delegation_id", "@8"),
        // To itself, and constraints that are no object: recorded.
        ("SELECT caliber_delegation_create('@a', '@a', NULL, 'task', '@2', constraints => 'null', id => '@7')",
         "INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_id, task_description, parent_trajectory_id, constraints) VALUES ('@7', '@a', '@a', 'task', '@2', 'null') RETURNING delegation_id", "@7"),
    ];
    let mut rows = Vec::new();
    for desk in &mut desks {
        for (call, client, id) in calls {
            let value = desk.session.value(&ids(desk.text(call, client)))?;
            ensure!(value == Some(ids(id)), "{call}: {value:?}");
        }
        rows.push(desk.session.value(
            "SELECT string_agg((to_jsonb(d) - 'created_at')::text || (created_at > now() - interval '1 hour'), E'\\n' ORDER BY delegation_id) FROM caliber_delegation d",
        )?);
    }
    ensure!(rows.windows(2).all(|two| two[0] == two[1]), "{rows:#?}");
    for (values, state) in [
        (["'@a'", "NULL", "NULL", "'@2'"], "23514"),
        (["'@a'", "'@b'", "'worker'", "'@2'"], "23514"),
        (["'@f'", "'@b'", "NULL", "'@2'"], "23503"),
        (["'@a'", "'@f'", "NULL", "'@2'"], "23503"),
        (["'@a'", "'@b'", "NULL", "'@f'"], "23503"),
    ] {
        let [from, agent, kind, parent] = values;
        let call = ids(&format!(
            "SELECT caliber_delegation_create({from}, {agent}, {kind}, 'task', {parent}, id => '@6')"
        ));
        let client = ids(&format!(
            "INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_id, delegatee_agent_type, task_description, parent_trajectory_id)
             VALUES ('@6', {from}, {agent}, {kind}, 'task', {parent})"
        ));
        desk::same_error(&mut desks, &call, &client, state)?;
    }
    let engines = desks
        .iter_mut()
        .filter(|desk| desk.engine != Engine::Client);
    for desk in engines {
        for (call, state) in [
            ("create(NULL, '@b', NULL, 't', '@2')", "22004"),
            ("create('@a', '@b', NULL, NULL, '@2')", "22004"),
            ("create('@a', '@b', NULL, 't', NULL)", "22004"),
            ("create('@a', NULL, '', 't', '@2')", "22023"),
            ("create('@a', '@b', NULL, 't', '@2', NULL)", "22004"),
            (
                "create('@a', '@b', NULL, 't', '@2', shared_artifacts => '{NULL}')",
                "22023",
            ),
            (
                "create('@a', '@b', NULL, 't', '@2', shared_notes => '{{@1},{@2}}')",
                "22023",
            ),
            (
                "create('@a', '@b', NULL, 't', '@2', shared_notes => NULL)",
                "22004",
            ),
            (
                "create('@a', '@b', NULL, 't', '@2', constraints => NULL)",
                "22004",
            ),
            ("accept(NULL, '@b')", "22004"),
            ("accept('@9', NULL)", "22004"),
            ("start(NULL)", "22004"),
            ("complete(NULL, true)", "22004"),
            ("complete('@9', NULL)", "22004"),
            ("reject(NULL)", "22004"),
            ("reclaim(NULL, '1 s')", "22004"),
            ("reclaim('@9', NULL)", "22004"),
            ("reclaim('@9', '1 s', '@b', 'worker')", "22023"),
            ("reclaim('@9', '1 s', delegatee_agent_type => '')", "22023"),
            ("delete(NULL)", "22004"),
            ("list_pending('')", "22023"),
            ("list_for_agent(NULL)", "22004"),
            ("list_by_delegator(NULL)", "22004"),
            ("get(NULL)", "NULL"),
        ] {
            let sql = ids(&format!("SELECT caliber_delegation_{call}"));
            let answer = told(&mut desk.session, &sql)?;
            ensure!(answer == state, "{call}: {answer}, not {state}");
        }
    }
    Ok(Outcome::Passed(String::new()))
}

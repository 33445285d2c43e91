//! Handoffs: who may take a scope over, what becomes of one, and what two
//! sessions do to each other.

use super::desk;
use super::work::lists::{self, List};
use super::work::{eligibility, ids, race, schedules, told, undone, HANDOFF};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "handoffs::eligibility",
            "the named agent, or one of the type, but never the sender",
            |context| eligibility::matrix(context, &HANDOFF),
        ),
        Test::new(
            "handoffs::race",
            "of many sessions exactly one takes it, at every isolation level",
            |context| race::race(context, &HANDOFF, |_, _| Ok(())),
        ),
        Test::new(
            "handoffs::schedules",
            "two sessions wait, win and lose as SQL's do",
            |context| {
                let row = HANDOFF.put("@9", "worker", "initiated");
                let cases = [schedules::BOTH];
                schedules::schedules(context, &HANDOFF, &cases, &row, "SELECT NULL")
            },
        ),
        Test::new("handoffs::life", "what each verb does in each state", life),
        Test::new(
            "handoffs::lists",
            "lists hold what they promise, in order, page by page",
            all_lists,
        ),
        Test::new(
            "handoffs::lists_among_many",
            "a page of open handoffs does not touch 100,000 that are done",
            among_many,
        ),
        Test::new(
            "handoffs::create",
            "what is stored, and what is refused in whose words",
            create,
        ),
    ]
}

/// Verb, and what it gives when initiated, accepted by `@b`, completed and
/// rejected.
const VERBS: [(&str, [&str; 4]); 6] = [
    (
        "caliber_handoff_complete('@9')",
        ["55000", "t", "f", "55000"],
    ),
    (
        "caliber_handoff_complete('@9', '@b')",
        ["42501", "t", "f", "42501"],
    ),
    (
        "caliber_handoff_complete('@9', '@c')",
        ["42501", "42501", "42501", "42501"],
    ),
    (
        "caliber_handoff_complete('@9', '@f')",
        ["42501", "42501", "42501", "42501"],
    ),
    ("caliber_handoff_reject('@9')", ["t", "55000", "55000", "f"]),
    (
        "caliber_handoff_accept('@9', '@c')",
        ["t", "f", "f", "55000"],
    ),
];

fn life(context: &Context) -> Result<Outcome> {
    let states = ["initiated", "accepted", "completed", "rejected"];
    let mut desks = HANDOFF.desks(context, &super::work::ENGINES, "")?;
    for desk in &mut desks {
        for (verb, answers) in VERBS {
            for (state, wanted) in states.into_iter().zip(answers) {
                let target = if matches!(state, "accepted" | "completed") {
                    "@b worker"
                } else {
                    "worker"
                };
                undone(&mut desk.session, |session| {
                    session.batch(&HANDOFF.put("@9", target, state))?;
                    let answer = told(session, &ids(&format!("SELECT {verb}")))?;
                    ensure!(
                        answer == wanted,
                        "{}: {verb} of {state}: {answer}, not {wanted}",
                        desk.engine.name()
                    );
                    if answer.len() > 1 {
                        return Ok(());
                    }
                    // The times that a move sets, and no others.
                    let stamps = session.value(
                        "SELECT concat_ws(' ', status, accepted_at = now(), completed_at = now()) FROM caliber_handoff",
                    )?;
                    let expected = match (wanted, verb) {
                        ("t", verb) if verb.contains("complete") => "completed t".to_owned(),
                        ("t", verb) if verb.contains("accept") => "accepted t".to_owned(),
                        ("t", _) => "rejected".to_owned(),
                        _ => state.to_owned(),
                    };
                    ensure!(
                        stamps.as_deref() == Some(&expected),
                        "{verb} of {state} left {stamps:?}, not {expected}"
                    );
                    Ok(())
                })?;
            }
            let absent = told(&mut desk.session, &ids(&format!("SELECT {verb}")))?;
            ensure!(absent == "f", "{verb} of nothing: {absent}");
        }
    }
    Ok(Outcome::Passed(format!("{} moves", VERBS.len() * 4)))
}

fn all_lists(context: &Context) -> Result<Outcome> {
    let mut all = vec![
        List::new(
            "caliber_handoff_list_by_trajectory('@2'",
            "trajectory_id = '@2'",
        ),
        List::new(
            "caliber_handoff_list_by_trajectory('@1'",
            "trajectory_id = '@1'",
        ),
    ];
    for (agent, kind) in [
        ("@a", "boss"),
        ("@b", "worker"),
        ("@c", "worker"),
        ("@d", "other"),
    ] {
        let open = format!(
            "status = 'initiated' AND (to_agent_id = '{agent}' OR (to_agent_type IN ('{kind}', '*') AND from_agent_id <> '{agent}'))"
        );
        all.push(List::new(
            &format!("caliber_handoff_list_for_agent('{agent}'"),
            &open,
        ));
        all.push(List::new(
            &format!("caliber_handoff_list_for_agent('{agent}', 'initiated'"),
            &open,
        ));
        for status in ["accepted", "completed", "rejected"] {
            all.push(List::new(
                &format!("caliber_handoff_list_for_agent('{agent}', '{status}'"),
                &format!("status = '{status}' AND to_agent_id = '{agent}'"),
            ));
        }
    }
    // One that is no agent is of no type.
    all.push(List::new("caliber_handoff_list_for_agent('@f'", "false"));
    lists::lists(context, &HANDOFF, &all)
}

fn among_many(context: &Context) -> Result<Outcome> {
    lists::among_many(
        context,
        &HANDOFF,
        "status = 'completed', completed_at = now()",
        &[
            "caliber_handoff_list_for_agent('@b', max_rows => 10)",
            "caliber_handoff_list_for_agent('@c', 'initiated', 10)",
            "caliber_handoff_list_for_agent('@b', 'completed', 10)",
            "caliber_handoff_list_by_trajectory('@2', 10)",
        ],
    )
}

fn create(context: &Context) -> Result<Outcome> {
    let mut desks = HANDOFF.desks(context, &desk::ALL, "")?;
    // All columns, as the call and as the client gives them.
    let call = "SELECT caliber_handoff_create('@a', NULL, 'worker', '@2', '@3', '@4', 'escalation', 'notes', '{a,NULL2}', '{\"b c\"}', '{}', '@9')";
    let client = "INSERT INTO caliber_handoff VALUES ('@9', '@a', NULL, 'worker', '@2', '@3', '@4', 'notes', '{a,NULL2}', '{\"b c\"}', '{}', 'initiated', now(), NULL, NULL, 'escalation') RETURNING handoff_id";
    let defaults = "SELECT caliber_handoff_create('@a', '@b', NULL, '@2', '@3', '@4', id => '@8')";
    let client_defaults = "INSERT INTO caliber_handoff (handoff_id, from_agent_id, to_agent_id, trajectory_id, scope_id, context_snapshot_id, reason) VALUES ('@8', '@a', '@b', '@2', '@3', '@4', 'scheduled') RETURNING handoff_id";
    let mut rows = Vec::new();
    for desk in &mut desks {
        for (call, client, id) in [(call, client, "@9"), (defaults, client_defaults, "@8")] {
            let sql = ids(desk.text(call, client));
            let value = desk.session.value(&sql)?;
            ensure!(value == Some(ids(id)), "{value:?}");
        }
        rows.push(
            desk.session
                .value("SELECT string_agg(to_jsonb(x)::text, E'\\n' ORDER BY handoff_id) FROM (SELECT to_jsonb(h) - 'initiated_at' AS x, handoff_id FROM caliber_handoff h) r")?,
        );
    }
    ensure!(rows.windows(2).all(|two| two[0] == two[1]), "{rows:#?}");
    let insert = |agent: &str, kind: &str, from: &str, trajectory: &str| {
        ids(&format!(
            "INSERT INTO caliber_handoff (handoff_id, from_agent_id, to_agent_id, to_agent_type, trajectory_id, scope_id, context_snapshot_id, reason)
             VALUES ('@7', {from}, {agent}, {kind}, {trajectory}, '@3', '@4', 'scheduled')"
        ))
    };
    let ask = |agent: &str, kind: &str, from: &str, trajectory: &str| {
        ids(&format!(
            "SELECT caliber_handoff_create({from}, {agent}, {kind}, {trajectory}, '@3', '@4', id => '@7')"
        ))
    };
    for (agent, kind, from, trajectory, state) in [
        ("NULL", "NULL", "'@a'", "'@2'", "23514"),
        ("'@b'", "'worker'", "'@a'", "'@2'", "23514"),
        ("'@b'", "NULL", "'@f'", "'@2'", "23503"),
        ("'@f'", "NULL", "'@a'", "'@2'", "23503"),
        // The scope is of another task.
        ("'@b'", "NULL", "'@a'", "'@1'", "23503"),
    ] {
        desk::same_error(
            &mut desks,
            &ask(agent, kind, from, trajectory),
            &insert(agent, kind, from, trajectory),
            state,
        )?;
    }
    let engines = desks
        .iter_mut()
        .filter(|desk| desk.engine != Engine::Client);
    for desk in engines {
        for (call, state) in [
            ("create(NULL, '@b', NULL, '@2', '@3', '@4')", "22004"),
            ("create('@a', '@b', NULL, NULL, '@3', '@4')", "22004"),
            ("create('@a', '@b', NULL, '@2', NULL, '@4')", "22004"),
            ("create('@a', '@b', NULL, '@2', '@3', NULL)", "22004"),
            ("create('@a', '@b', NULL, '@2', '@3', '@4', NULL)", "22004"),
            ("create('@a', '@b', NULL, '@2', '@3', '@4', 'fun')", "22023"),
            ("create('@a', NULL, '', '@2', '@3', '@4')", "22023"),
            (
                "create('@a', '@b', NULL, '@2', '@3', '@4', handoff_notes => NULL)",
                "22004",
            ),
            (
                "create('@a', '@b', NULL, '@2', '@3', '@4', next_steps => NULL)",
                "22004",
            ),
            (
                "create('@a', '@b', NULL, '@2', '@3', '@4', blockers => '{NULL}')",
                "22023",
            ),
            (
                "create('@a', '@b', NULL, '@2', '@3', '@4', open_questions => '{{a},{b}}')",
                "22023",
            ),
            ("accept(NULL, '@b')", "22004"),
            ("accept('@9', NULL)", "22004"),
            ("complete(NULL)", "22004"),
            ("reject(NULL)", "22004"),
            ("delete(NULL)", "22004"),
            ("list_for_agent(NULL)", "22004"),
            ("list_for_agent('@a', NULL)", "22004"),
            ("list_for_agent('@a', 'open')", "22023"),
            ("list_by_trajectory(NULL)", "22004"),
            ("get(NULL)", "NULL"),
        ] {
            let answer = told(
                &mut desk.session,
                &ids(&format!("SELECT caliber_handoff_{call}")),
            )?;
            ensure!(answer == state, "{call}: {answer}, not {state}");
        }
    }
    Ok(Outcome::Passed(String::new()))
}

//! No SPI: on the heap engine a call leaves no nested statement but PostgreSQL's
//! own foreign key checks, as pg_stat_statements sees it.

use super::desk::{self, Desk};
use crate::entity;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Context as _, Result};
use std::collections::BTreeMap;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![Test::new(
        "no_spi::nested_statements",
        "the heap engine sends no SQL of its own; the sql engine is seen to",
        nested_statements,
    )];
    tests.extend(entity::all().iter().map(|entity| {
        Test::new(
            &format!("no_spi::{}", entity.table().entity),
            "the heap engine sends no SQL of its own for any function; the sql engine is seen to",
            |context| sampled(context, *entity),
        )
    }));
    tests
}

/// The ways through the functions of Trajectory and Scope that read or write
/// differently. Ids are written as `@1`.
const CALLS: [&str; 46] = [
    "caliber_trajectory_create('root')",
    "caliber_trajectory_create('root', id => '@1')",
    "caliber_trajectory_create('child', 'words', '@a', '@1', '{\"a\": 1}', '@2')",
    "caliber_trajectory_create('below', parent_trajectory_id => '@2', id => '@3')",
    "caliber_trajectory_create('other', id => '@4')",
    "caliber_trajectory_create('big', description => (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i), id => '@5')",
    "caliber_trajectory_get('@1')",
    "caliber_trajectory_get('@f')",
    "caliber_trajectory_get(NULL)",
    "caliber_trajectory_update('@1', '{}')",
    "caliber_trajectory_update('@1', '{\"name\": \"new\", \"description\": null, \"outcome\": [1], \"metadata\": {}}')",
    "caliber_trajectory_update('@1', '{\"agent_id\": \"@a\"}')",
    "caliber_trajectory_update('@f', '{\"name\": \"nobody\"}')",
    "caliber_trajectory_update('@2', '{\"parent_trajectory_id\": \"@4\", \"name\": \"moved\"}')",
    "caliber_trajectory_update('@2', '{\"parent_trajectory_id\": null}')",
    "caliber_trajectory_update('@f', '{\"parent_trajectory_id\": null}')",
    "caliber_trajectory_set_status('@1', 'suspended')",
    "caliber_trajectory_set_status('@1', 'suspended')",
    "caliber_trajectory_set_status('@1', 'failed', '{\"why\": 1}')",
    "caliber_trajectory_set_status('@1', 'failed', '{\"why\": 2}')",
    "caliber_trajectory_set_status('@f', 'failed')",
    "caliber_trajectory_list_by_status('active')",
    "caliber_trajectory_list_by_status('active', 2, '@1')",
    "caliber_trajectory_list_children('@2')",
    "caliber_trajectory_list_by_agent('@a', max_rows => 1)",
    "caliber_scope_create('@2', 'scope', id => '@6')",
    "caliber_scope_create('@2', 'inner', 'purpose', 10, '@6', '{}', '@7')",
    "caliber_scope_create('@2', 'third', id => '@8')",
    "caliber_scope_get('@6')",
    "caliber_scope_get('@f')",
    "caliber_scope_get_current('@2')",
    "caliber_scope_get_current('@f')",
    "caliber_scope_list_by_trajectory('@2')",
    "caliber_scope_list_by_trajectory('@2', 1, '@6')",
    "caliber_scope_update('@6', '{\"name\": \"n\", \"checkpoint\": {}, \"token_budget\": 7}')",
    "caliber_scope_update('@6', '{}')",
    "caliber_scope_update_tokens('@6', 9)",
    "caliber_scope_update_tokens('@f', 9)",
    "caliber_scope_close('@6')",
    "caliber_scope_close('@6')",
    "caliber_scope_close('@f')",
    "caliber_scope_delete('@7')",
    "caliber_scope_delete('@f')",
    "caliber_trajectory_delete('@3')",
    "caliber_trajectory_delete('@f')",
    "caliber_trajectory_delete('@5')",
];

/// Calls that may well do without a statement, on any engine.
const WITHOUT: &str = "caliber_trajectory_get(NULL) caliber_scope_update('@6', '{}')";

/// Searches may use SPI.
const SEARCHES: [&str; 2] = ["caliber_artifact_search", "caliber_note_search"];

/// A desk for each engine that sees all statements, if the server can show them.
fn open(context: &Context) -> Result<Option<Vec<Desk>>> {
    let mut control = crate::session::Session::connect(context.server.target())?;
    let loaded = control.value("SHOW shared_preload_libraries")?;
    if !loaded.is_some_and(|list| list.contains("pg_stat_statements")) {
        return Ok(None);
    }
    let prepare = "CREATE EXTENSION pg_stat_statements; SET pg_stat_statements.track = 'all'; \
        SET pg_stat_statements.track_utility = on; SET plan_cache_mode = force_generic_plan";
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    desk::open(context, &engines, prepare).map(Some)
}

fn not_shown() -> Outcome {
    Outcome::NotCovered("the server does not load pg_stat_statements".to_owned())
}

/// Every function of an entity, by the calls that its description gives.
fn sampled(context: &Context, entity: &dyn entity::Entity) -> Result<Outcome> {
    let Some(mut desks) = open(context)? else {
        return Ok(not_shown());
    };
    let calls = entity::samples::of(entity);
    let mut shown = Vec::new();
    for desk in &mut desks {
        let mut own: BTreeMap<&str, usize> = BTreeMap::new();
        for (call, _) in &calls {
            let seen = nested(desk, &call.sql()).with_context(|| call.sql())?;
            let others: Vec<&String> = seen.iter().filter(|text| !is_key_check(text)).collect();
            let heap = desk.engine == Engine::Heap;
            if heap && call.function.starts_with("caliber_") {
                ensure!(
                    others.is_empty() || SEARCHES.contains(&call.function.as_str()),
                    "{}: SQL of our own: {others:?}",
                    call.sql()
                );
            }
            *own.entry(call.function.as_str()).or_default() += others.len();
        }
        if desk.engine != Engine::Heap {
            for function in entity.functions() {
                let sent = own.get(function.name).copied().unwrap_or_default();
                ensure!(
                    sent > 0,
                    "{}: nothing is seen of {}",
                    desk.engine.name(),
                    function.name
                );
            }
        }
        let sum: usize = own.values().sum();
        shown.push(format!("{} {sum} statements", desk.engine.name()));
    }
    Ok(Outcome::Passed(format!(
        "{} calls: {}",
        calls.len(),
        shown.join(", ")
    )))
}

fn nested_statements(context: &Context) -> Result<Outcome> {
    let Some(mut desks) = open(context)? else {
        return Ok(not_shown());
    };
    let mut shown = Vec::new();
    let mut key_checks = Vec::new();
    for desk in &mut desks {
        let mut own = 0;
        let mut keys = 0;
        for call in CALLS {
            let seen = nested(desk, call).with_context(|| call)?;
            let (checks, others): (Vec<String>, Vec<String>) =
                seen.into_iter().partition(|text| is_key_check(text));
            keys += checks.len();
            own += others.len();
            if desk.engine == Engine::Heap {
                ensure!(others.is_empty(), "{call}: SQL of our own: {others:?}");
            } else {
                ensure!(
                    !others.is_empty() || WITHOUT.contains(call),
                    "{} sends nothing, or nothing is seen, for {call}",
                    desk.engine.name()
                );
            }
        }
        let served = desk.session.value(&format!(
            "SELECT value FROM caliber_counters() WHERE name = 'calls.{}'",
            desk.engine.name()
        ))?;
        let served: usize = served.unwrap_or_default().parse()?;
        // A get of NULL touches no table.
        ensure!(
            served + 1 >= CALLS.len(),
            "{} served only {served} calls",
            desk.engine.name()
        );
        ensure!(keys > 0, "no key check was seen: nothing would be");
        key_checks.push(keys);
        shown.push(format!(
            "{} {own} statements, {keys} key checks",
            desk.engine.name()
        ));
    }
    ensure!(
        key_checks.windows(2).all(|pair| pair[0] == pair[1]),
        "other keys are checked: {}",
        shown.join("; ")
    );
    Ok(Outcome::Passed(shown.join("; ")))
}

/// The texts of the statements that one call ran inside it.
fn nested(desk: &mut Desk, call: &str) -> Result<Vec<String>> {
    let call = call.replace('@', "00000000-0000-7000-8000-00000000000");
    let mine = "(SELECT oid FROM pg_database WHERE datname = current_database())";
    desk.session
        .batch(&format!("SELECT pg_stat_statements_reset(0, {mine}, 0)"))?;
    desk.session.batch(&format!("SELECT {call}"))?;
    let seen = desk
        .session
        .query(&format!(
            "SELECT query, toplevel FROM pg_stat_statements(true) WHERE dbid = {mine}"
        ))?
        .rows;
    let top = |row: &&Vec<Option<String>>| row[1].as_deref() == Some("t");
    ensure!(
        seen.iter().filter(top).count() > 0,
        "the call itself was not seen"
    );
    Ok(seen
        .iter()
        .filter(|row| !top(row))
        .map(|row| row[0].clone().unwrap_or_default())
        .collect())
}

/// A check of PostgreSQL's own (ri_triggers.c); its constant may be shown as a
/// parameter.
fn is_key_check(text: &str) -> bool {
    let selected = text
        .strip_prefix("SELECT ")
        .and_then(|rest| rest.split_once(" FROM ONLY "))
        .is_some_and(|(selected, _)| {
            selected
                .trim_start_matches('$')
                .chars()
                .all(|c| c.is_ascii_digit())
        });
    selected && text.ends_with(" FOR KEY SHARE OF x")
}

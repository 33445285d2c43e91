//! What makes SQL take over, on each table in turn, under every function whose
//! statement names the table: the call is counted under its cause, and is the
//! client's. Calls that do not name it are the heap engine's.

use super::growth;
use crate::entity::{self, samples, Entity, Kind, Table};
use crate::judge::{execute_watched, Bench, Done, Engine};
use crate::model::{self, Client};
use crate::plan::{Call, Plan, Step};
use crate::runner::{Context, Outcome, Test};
use crate::suite::steps::counters;
use crate::value::Value;
use anyhow::{ensure, Context as _, Result};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) fn tests() -> Vec<Test> {
    CAUSES
        .iter()
        .map(|cause| {
            Test::new(
                &format!("takeover::every_table_{}", cause.name),
                "on each table, under each function: SQL takes over exactly the calls that touch the table",
                |context| every_table(context, cause),
            )
        })
        .collect()
}

/// Why SQL takes over.
struct Cause {
    name: &'static str,
    counter: &'static str,
    /// Brings it about on the table `$t` with the key `$k`, and undoes it.
    make: &'static str,
    undo: &'static str,
    /// Where the row that the model does not know goes, if there is one.
    stranger: Option<&'static str>,
    /// Whether that row, or a rule, makes the client's statements the only judge.
    strange: bool,
    /// As whom the calls are made.
    role: &'static str,
    /// What it must have done in the end, where the table's own functions ran.
    effect: &'static str,
}

/// The row that the model does not know.
const STRANGER: Uuid = Uuid::from_u128(1);

static CAUSES: [Cause; 3] = [
    // The row that nobody may see is not in the model's world, and nothing shows it.
    Cause {
        name: "row_security",
        counter: "takeover.row_security",
        make: "ALTER TABLE $t ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON $t USING ($k <> '$x') WITH CHECK ($k <> '$x')",
        undo: "DROP POLICY own ON $t; ALTER TABLE $t DISABLE ROW LEVEL SECURITY",
        stranger: Some("$t"),
        strange: false,
        role: "verify_tenant",
        effect: "SELECT count(*) = 1 FROM $t WHERE $k = '$x'",
    },
    Cause {
        name: "rule",
        counter: "takeover.rule",
        make: "CREATE RULE own_insert AS ON INSERT TO $t DO ALSO INSERT INTO diary VALUES ('insert $t ' || NEW.$k);
            CREATE RULE own_update AS ON UPDATE TO $t DO ALSO INSERT INTO diary VALUES ('update $t ' || OLD.$k);
            CREATE RULE own_delete AS ON DELETE TO $t WHERE $w DO ALSO INSERT INTO diary VALUES ('delete $t ' || OLD.$k)",
        undo: "DROP RULE own_insert ON $t; DROP RULE own_update ON $t; DROP RULE own_delete ON $t",
        stranger: None,
        strange: true,
        role: "postgres",
        effect: "SELECT count(*) > 0 FROM diary",
    },
    // The row in the child is one of the table's for every statement.
    Cause {
        name: "inheritance",
        counter: "takeover.inheritance",
        make: "CREATE TABLE $t_child () INHERITS ($t)",
        undo: "DROP TABLE $t_child",
        stranger: Some("$t_child"),
        strange: true,
        role: "postgres",
        effect: "SELECT count(*) = 0 FROM $t_child",
    },
];

const PREPARE: &str = "
    DO $$ BEGIN CREATE ROLE verify_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO verify_tenant;
    GRANT USAGE ON SCHEMA verification TO verify_tenant;
    CREATE TABLE diary (line text)";

fn with(table: &Table, sql: &str) -> String {
    // What a commit removes meets no rule (`api.md`, Lock); the client, who has only
    // DELETE for it, cannot help that.
    let deleted = match table.entity {
        "lock" => "OLD.level <> 'transaction'",
        _ => "true",
    };
    sql.replace("$t", table.name)
        .replace("$w", deleted)
        .replace("$k", table.key)
        .replace("$x", &STRANGER.to_string())
}

/// A copy of a row under the stranger's key, which refers to no row that a call
/// deletes, and stands in the way of none.
fn stranger(table: &Table, target: &str) -> String {
    let own = match table.entity {
        // The first number that nobody has: it does not change the next one.
        "turn" => {
            "jsonb_build_object('sequence', (SELECT min(n) FROM generate_series(0, 1000) n
            WHERE n NOT IN (SELECT sequence FROM caliber_turn y WHERE y.scope_id = x.scope_id)))"
        }
        // Alive, of another resource.
        "lock" => "'{\"resource_id\": \"$x\", \"level\": \"lease\", \"expires_at\": \"infinity\"}'",
        "trajectory" => "'{\"parent_trajectory_id\": null, \"root_trajectory_id\": null}'",
        "scope" => "'{\"parent_scope_id\": null}'",
        "artifact" | "note" => "'{\"superseded_by\": null}'",
        "agent" => "'{\"reports_to\": null}'",
        _ => "'{}'",
    };
    with(
        table,
        &format!(
            "INSERT INTO {target} SELECT (jsonb_populate_record(x, '{{\"$k\": \"$x\"}}'::jsonb || {own}::jsonb)).*
             FROM $t x ORDER BY $k LIMIT 1"
        ),
    )
}

/// An entity's calls, and what they touch.
struct Run {
    entity: &'static dyn Entity,
    calls: Vec<Call>,
    /// How many there are up to the last create.
    created: usize,
    /// Tables that each function's calls touch.
    named: BTreeMap<String, Vec<&'static Table>>,
    /// Tables that a call of the entity's own touches.
    own: Vec<&'static Table>,
    /// Tables that no call touches.
    others: Vec<&'static Table>,
}

fn run_of(entity: &'static dyn Entity) -> Run {
    let all = || entity::all().iter().map(|other| other.table());
    let mut own: Vec<&Table> = Vec::new();
    let mut others: Vec<&Table> = all().collect();
    let mut named: BTreeMap<String, Vec<&Table>> = BTreeMap::new();
    let mut calls = Vec::new();
    let mut created = None;
    for (call, world) in samples::of(entity) {
        if let Some((of, function)) = entity::function_named(&call.function) {
            let is_own = of.table().entity == entity.table().entity;
            if is_own && function.kind == Kind::Get {
                created.get_or_insert(calls.len());
            }
            if let Client::Statements(sent, _) = model::judge(of, function, &world, &call).client {
                let is_named = |table: &&Table| sent.iter().any(|sql| table.is_named_in(sql));
                if is_own {
                    own.extend(all().filter(is_named));
                }
                named
                    .entry(call.function.clone())
                    .or_default()
                    .extend(all().filter(is_named));
                others.retain(|table| !is_named(table));
            }
        }
        calls.push(call);
    }
    own.sort_by_key(|table| table.name);
    own.dedup_by_key(|table| table.name);
    Run {
        entity,
        created: created.unwrap_or(calls.len()),
        calls,
        named,
        own,
        others,
    }
}

fn every_table(context: &Context, cause: &'static Cause) -> Result<Outcome> {
    let mut bench = Bench::open_fresh(&context.server, &[Engine::Heap, Engine::Client])?;
    bench.prepare(PREPARE)?;
    let mut taken = BTreeMap::new();
    let mut pairs = 0;
    let entities = context.share(entity::all().to_vec());
    for entity in &entities {
        let run = run_of(*entity);
        for table in &run.own {
            one(&mut bench, cause, &run, &[table], &mut taken)
                .with_context(|| format!("{} on {}", entity.table().entity, table.name))?;
            pairs += 1;
        }
        one(&mut bench, cause, &run, &run.others, &mut taken)
            .with_context(|| format!("{} beside the others", entity.table().entity))?;
    }
    for function in entities.iter().flat_map(|one| one.functions()) {
        ensure!(
            taken.contains_key(function.name),
            "{} was never taken over",
            function.name
        );
    }
    let calls: i64 = taken.values().sum();
    Ok(Outcome::Passed(format!(
        "{calls} calls, {pairs} pairs of entity and table"
    )))
}

/// An entity's calls with the cause on some tables.
fn one(
    bench: &mut Bench,
    cause: &Cause,
    run: &Run,
    tables: &[&'static Table],
    taken: &mut BTreeMap<String, i64>,
) -> Result<()> {
    let all = |sql: &str| -> Vec<String> { tables.iter().map(|table| with(table, sql)).collect() };
    bench.prepare(&all(cause.make).join("; "))?;
    let of_its_own = |table: &&Table| table.entity == run.entity.table().entity;
    let own = tables.iter().copied().find(of_its_own);
    let come = match (cause.stranger, tables) {
        (Some(target), [table]) => Some(stranger(table, target)),
        _ => None,
    };
    let mut calls = run.calls.clone();
    if own.is_some() && come.is_some() {
        let id = Value::Uuid(STRANGER);
        calls.extend([run.entity.get(id.clone()), run.entity.delete(id)]);
    }
    let mut steps: Vec<Step> = calls.into_iter().map(Step::Call).collect();
    steps.push(Step::CheckTables);
    let plan = Plan {
        property: "every_table".to_owned(),
        entity: run.entity.table().entity.to_owned(),
        on_duplicate_return: false,
        savepoint_each: false,
        steps,
    };
    let as_role = format!("SET ROLE {}", cause.role);
    bench.prepare(&as_role)?;
    let mut before = counters(bench.judges[0].session())?;
    let mut number = 0;
    let mut look = |bench: &mut Bench, done: &Done<'_>| -> Result<()> {
        let touches = run.touches(tables, done);
        let after = counters(bench.judges[0].session())?;
        let seen = growth(&before, &after);
        before = after;
        ensure!(
            is_counted(cause, done, touches, &seen),
            "counted {seen:?}, though its statement touches the table: {touches:?}"
        );
        if seen.iter().any(|(name, _)| name == cause.counter) {
            *taken.entry(done.call.function.clone()).or_default() += 1;
        }
        number += 1;
        if number == run.created {
            if let Some(come) = &come {
                bench.prepare(&format!("RESET ROLE; {come}; {as_role}"))?;
            }
        }
        Ok(())
    };
    let mut look =
        |bench: &mut Bench, done: &Done<'_>| look(bench, done).map_err(|why| format!("{why:#}"));
    execute_watched(bench, &plan, cause.strange, &mut look)?;
    bench.prepare("RESET ROLE")?;
    if let Some(table) = own {
        for judge in &mut bench.judges {
            let effect = judge.session().value(&with(table, cause.effect))?;
            ensure!(effect.as_deref() == Some("t"), "it was without effect");
        }
    }
    same_diaries(bench)?;
    bench.prepare(&all(cause.undo).join("; "))?;
    bench.reset(false, true)
}

/// Whether a call touches the tables of the cause.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Touches {
    /// The client's statements name one of them.
    Named,
    /// Other calls of the function do: this one ends before, or is a `*_many` of
    /// nothing, and may have opened it by then.
    Perhaps,
    /// No call of the function does.
    Never,
}

impl Run {
    fn touches(&self, tables: &[&'static Table], done: &Done<'_>) -> Touches {
        let is_one = |usual: &&Table| tables.iter().any(|table| table.name == usual.name);
        let usual = self.named.get(&done.call.function);
        if done
            .client
            .iter()
            .any(|sql| tables.iter().any(|table| table.is_named_in(sql)))
        {
            Touches::Named
        } else if usual.is_some_and(|usual| usual.iter().any(is_one)) {
            Touches::Perhaps
        } else {
            Touches::Never
        }
    }
}

/// Whether a call was counted as it must be: once, by the engine that served it, and
/// by the cause if that was not its own.
fn is_counted(cause: &Cause, done: &Done<'_>, touches: Touches, seen: &[(String, i64)]) -> bool {
    // The harness' own helpers are no calls.
    if !done.call.function.starts_with("caliber_") {
        return seen.is_empty();
    }
    let heap = [("calls.heap".to_owned(), 1)];
    let taken = [("calls.sql".to_owned(), 1), (cause.counter.to_owned(), 1)];
    match touches {
        Touches::Named => seen == taken,
        Touches::Perhaps => seen == taken || seen == heap,
        Touches::Never => seen == heap,
    }
}

/// What the rules wrote is the same for the heap engine's calls and the client.
fn same_diaries(bench: &mut Bench) -> Result<()> {
    let mut diaries = Vec::new();
    for judge in &mut bench.judges {
        diaries.push(judge.look("SELECT line FROM diary ORDER BY line")?);
    }
    ensure!(
        diaries[0] == diaries[1],
        "the rules wrote {:?}\nand for the client {:?}",
        diaries[0],
        diaries[1]
    );
    bench.prepare("TRUNCATE diary")
}

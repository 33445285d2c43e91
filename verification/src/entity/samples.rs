//! A run of calls that reaches every function of an entity, the same each time:
//! for suites that look at each function for itself.

use super::ids::{Ids, SLOTS};
use super::{described, function_named, Entity, Kind};
use crate::model::{self, Client, Expect, Made, World};
use crate::plan::Call;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};

/// How often each function is called, at least.
const TIMES: usize = 3;
/// How many calls there may be before those that only move rows are left out.
const MOVES: usize = 100;

/// Calls in order, with the rows that are there before each. All succeed, and
/// every function is among them, also in a way that changes rows if it can;
/// helpers of the harness too.
#[must_use]
pub fn of(entity: &dyn Entity) -> Vec<(Call, World)> {
    let ids = Ids::new(1);
    let mut runner = TestRunner::deterministic();
    let mut run = Run {
        world: World::new(false),
        calls: Vec::new(),
        seen: BTreeMap::new(),
        changing: BTreeSet::new(),
    };
    for call in entity.setup(&ids) {
        run.add(call);
    }
    for slot in 0..SLOTS {
        if let Some(call) = sample(&mut runner, &entity.create(&ids, slot)) {
            run.add(call);
        }
    }
    let key = |slot| crate::value::Value::Uuid(ids.of(entity.table().entity, slot));
    let mut slots = (0..SLOTS).cycle();
    // What is not reached by then never is: the test below says so.
    for _ in 0..2000 {
        let missing = run.calls.len() < 2 * MOVES
            && entity.functions().iter().any(|function| {
                function.kind != Kind::Delete
                    && (run.seen.get(function.name).is_none_or(|n| *n < TIMES)
                        || writes(function.kind) && !run.changes(function.name))
            });
        let Some(slot) = slots.next().filter(|_| missing) else {
            break;
        };
        run.add(entity.get(key(slot)));
        for strategy in [entity.change(&ids, slot, SLOTS), entity.list(&ids)] {
            if let Some(call) = sample(&mut runner, &strategy) {
                run.add(call);
            }
        }
    }
    for slot in (0..SLOTS).rev() {
        run.add(entity.delete(key(slot)));
    }
    run.calls
}

/// A call that writes, and the client's statements for it.
pub struct Written {
    /// The call.
    pub call: Call,
    /// What kind its function is.
    pub kind: Kind,
    /// What the client sends.
    pub statements: Vec<String>,
    /// What it sends before it commits.
    pub end: Vec<String>,
    /// The id that the call makes by itself.
    pub made: Option<Made>,
    /// The first of its function that changes rows: one to look at.
    pub first: bool,
}

/// The calls of [`of`] that write, with the client's statements for each.
#[must_use]
pub fn written(entity: &dyn Entity) -> Vec<Written> {
    let mut known = BTreeSet::new();
    let mut all = Vec::new();
    for (call, world) in of(entity) {
        let Some((owner, function)) = function_named(&call.function) else {
            continue;
        };
        if !writes(function.kind) {
            continue;
        }
        let verdict = model::judge(owner, function, &world, &call);
        let own = owner.table().entity == entity.table().entity && function.kind != Kind::Helper;
        // A receive of nothing, say, is a statement that changes no row.
        let moves = verdict.after.as_ref().is_some_and(|after| {
            let table = |entity: &&'static dyn Entity| entity.table();
            let mut tables = described().iter().map(table);
            tables.any(|table| !world.rows(table).eq(after.rows(table)))
        });
        let first = own && moves && verdict.changes() && known.insert(function.name);
        all.push(Written {
            kind: function.kind,
            end: verdict
                .after
                .as_ref()
                .map(|after| model::ended(after).0)
                .unwrap_or_default(),
            made: verdict.made,
            statements: match verdict.client {
                Client::Statements(statements, _) => statements,
                Client::Model => Vec::new(),
            },
            first,
            call,
        });
    }
    all
}

fn writes(kind: Kind) -> bool {
    !matches!(kind, Kind::Get | Kind::List)
}

struct Run {
    world: World,
    calls: Vec<(Call, World)>,
    seen: BTreeMap<String, usize>,
    /// Functions of which a call has changed rows.
    changing: BTreeSet<String>,
}

impl Run {
    fn changes(&self, function: &str) -> bool {
        self.changing.contains(function)
    }

    /// Adds a call that the model lets pass, unless the function has enough.
    fn add(&mut self, call: Call) {
        let Some((entity, function)) = function_named(&call.function) else {
            return;
        };
        self.world.statement += 1;
        let verdict = model::judge(entity, function, &self.world, &call);
        let new = verdict.changes() && self.changing.insert(call.function.clone());
        let seen = self.seen.entry(call.function.clone()).or_default();
        let many = *seen >= 2 * TIMES && !matches!(function.kind, Kind::Create | Kind::Delete);
        // A call that moves a row may be what another function waits for.
        let moves = verdict.after.is_some() && self.calls.len() < MOVES;
        let enough = many && !new && !moves;
        if enough || matches!(verdict.expect, Expect::Error(_)) {
            return;
        }
        *seen += 1;
        self.calls.push((call, self.world.clone()));
        // Each call is a transaction of its own.
        if let Some(after) = verdict.after {
            self.world = model::ended(&after).1;
        }
    }
}

fn sample(runner: &mut TestRunner, strategy: &BoxedStrategy<Call>) -> Option<Call> {
    strategy.new_tree(runner).ok().map(|tree| tree.current())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_there() {
        let mut wrong = Vec::new();
        for entity in described() {
            let calls = of(*entity);
            for function in entity.functions() {
                let mut own = calls
                    .iter()
                    .filter(|(call, _)| call.function == function.name);
                assert!(own.clone().next().is_some(), "{} is missing", function.name);
                let changes =
                    own.any(|(call, world)| model::judge(*entity, function, world, call).changes());
                // Of a lock, `assert` only looks, and leases run out early here.
                let lock = entity.table().entity == "lock";
                if changes != writes(function.kind) && !lock {
                    wrong.push(format!(
                        "{}: changes {changes}, {} calls",
                        function.name,
                        calls.len()
                    ));
                }
            }
            if calls.len() > 3 * MOVES {
                wrong.push(format!(
                    "{} calls for {}",
                    calls.len(),
                    entity.table().entity
                ));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

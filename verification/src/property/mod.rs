//! The eight properties of the requirement document, and random sequences.
//! Each is written once, as a generator of plans over an entity's description;
//! the judges do the rest.

mod check;
mod parts;

pub use check::{check, regressions, Checked};
pub use parts::spoil;

use crate::entity::ids::{Ids, ABSENT, SLOTS};
use crate::entity::Entity;
use crate::plan::{Call, Isolation, Plan, Step, Weave};
use crate::value::Value;
use parts::*;
use proptest::prelude::*;

/// A property.
#[derive(Clone, Copy)]
pub struct Property {
    /// The number in the requirement document; 0 for our own.
    pub number: u8,
    /// Its name in test names, reports and failure directories.
    pub name: &'static str,
    /// What it promises.
    pub promise: &'static str,
    plans: fn(&'static dyn Entity) -> BoxedStrategy<Plan>,
}

impl Property {
    /// The tag that the requirement document asks for.
    #[must_use]
    pub fn tag(&self) -> String {
        match self.number {
            0 => format!("Model and differential: {}", self.promise),
            n => format!(
                "Feature: caliber-pg-hot-path, Property {n}: {}",
                self.promise
            ),
        }
    }

    /// The plans of this property for an entity.
    pub fn plans(&self, entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
        let name = self.name;
        (self.plans)(entity)
            .prop_map(move |plan| Plan {
                property: name.to_owned(),
                entity: entity.table().entity.to_owned(),
                ..plan
            })
            .boxed()
    }
}

/// All properties.
pub static ALL: [Property; 9] = [
    Property {
        number: 1,
        name: "insert_get_round_trip",
        promise: "what was inserted is what is read",
        plans: insert_get,
    },
    Property {
        number: 2,
        name: "update_persistence",
        promise: "an update is there afterwards, and nothing else changed",
        plans: update_persistence,
    },
    Property {
        number: 3,
        name: "index_consistency",
        promise: "every index holds exactly the rows of its table",
        plans: index_consistency,
    },
    Property {
        number: 4,
        name: "delete_removes_from_indexes",
        promise: "a deleted row is found by no index",
        plans: delete_removes,
    },
    Property {
        number: 5,
        name: "transaction_visibility",
        promise: "an operation sees all that its transaction did before",
        plans: visibility,
    },
    Property {
        number: 6,
        name: "timestamp_consistency",
        promise: "timestamps are the start of the transaction, or the wall clock during the call",
        plans: timestamps,
    },
    Property {
        number: 7,
        name: "error_propagation",
        promise: "what fails raises the right error, changes nothing and leaves the session usable",
        plans: errors,
    },
    Property {
        number: 8,
        name: "not_found",
        promise: "what is not there is NULL, empty or false, never an error",
        plans: not_found,
    },
    Property {
        number: 0,
        name: "sequences",
        promise: "random sequences agree with the model and with plain SQL",
        plans: sequences,
    },
];

/// The property of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Property> {
    ALL.iter().find(|property| property.name == name)
}

fn insert_get(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    case(entity, move |ids| {
        creates(entity, ids, 5)
            .prop_map(move |calls| {
                let mut steps = Vec::new();
                for call in &calls {
                    steps.push(Step::Call(call.clone()));
                    steps.push(Step::Call(entity.get(new_key(call))));
                }
                steps.extend(
                    calls
                        .iter()
                        .map(|call| Step::Call(entity.get(new_key(call)))),
                );
                steps.push(Step::CheckTables);
                steps
            })
            .boxed()
    })
}

fn update_persistence(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    case(entity, move |ids| {
        (
            creates(entity, ids, 3),
            proptest::collection::vec(changes(entity, ids, 3), 1..7),
        )
            .prop_map(move |(creates, changes)| {
                let mut steps: Vec<Step> = creates.into_iter().map(Step::Call).collect();
                for change in changes {
                    let get = entity.get(old_key(entity, &change));
                    steps.extend([Step::Call(change), Step::Call(get)]);
                }
                steps.push(Step::CheckTables);
                steps
            })
            .boxed()
    })
}

fn index_consistency(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    case(entity, move |ids| {
        let operation = prop_oneof![
            6 => changes(entity, ids, SLOTS),
            2 => (0..SLOTS).prop_map(move |slot| entity.delete(key(entity, ids, slot))),
            2 => entity.list(&ids),
        ];
        (
            creates(entity, ids, SLOTS),
            proptest::collection::vec(operation, 0..9),
            proptest::collection::vec(entity.list(&ids), 1..4),
        )
            .prop_map(|(creates, operations, lists)| {
                let mut steps: Vec<Step> = creates
                    .into_iter()
                    .chain(operations)
                    .chain(lists)
                    .map(Step::Call)
                    .collect();
                steps.extend([Step::CheckIndexes, Step::CheckTables]);
                steps
            })
            .boxed()
    })
}

fn delete_removes(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    case(entity, move |ids| {
        let order = Just((0..6usize).rev().collect::<Vec<_>>());
        // Youngest first, so that most deletes meet no child; or any order.
        let order = prop_oneof![2 => order.clone(), 1 => order.prop_shuffle()];
        (
            creates(entity, ids, 6),
            order,
            1usize..=6,
            proptest::collection::vec(entity.list(&ids), 1..4),
        )
            .prop_map(move |(creates, order, count, lists)| {
                let mut steps: Vec<Step> = creates.into_iter().map(Step::Call).collect();
                for slot in order.into_iter().take(count) {
                    steps.push(Step::Call(entity.delete(key(entity, ids, slot))));
                    steps.push(Step::Call(entity.get(key(entity, ids, slot))));
                }
                steps.extend(lists.into_iter().map(Step::Call));
                steps.extend([Step::CheckIndexes, Step::CheckTables]);
                steps
            })
            .boxed()
    })
}

fn visibility(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    framed(entity, Just(Frame::Bare).boxed(), move |ids| {
        let round = move |slot: usize| {
            let get = move || Just(entity.get(key(entity, ids, slot)));
            (
                weave(),
                entity.create(&ids, slot),
                get(),
                proptest::collection::vec(
                    prop_oneof![3 => entity.change(&ids, slot, slot + 1), 2 => get(), 2 => entity.list(&ids)],
                    0..4,
                ),
                prop_oneof![3 => Just(None), 1 => Just(Some(entity.delete(key(entity, ids, slot))))],
                get(),
            )
                .prop_map(|(weave, create, get, middle, delete, last)| {
                    let mut calls = vec![create, get];
                    calls.extend(middle);
                    calls.extend(delete);
                    calls.push(last);
                    Step::Together { weave, calls }
                })
        };
        let savepoint = prop_oneof![Just(Step::RollbackTo), Just(Step::Release)];
        let end = prop_oneof![Just(Step::Commit), Just(Step::Rollback)];
        (
            isolation(),
            round(0),
            round(1),
            savepoint,
            round(2),
            entity.list(&ids),
            end,
        )
            .prop_map(
                move |(isolation, first, second, savepoint, third, list, end)| {
                    let get = |slot| Step::Call(entity.get(key(entity, ids, slot)));
                    vec![
                        Step::Begin(isolation),
                        first,
                        Step::Savepoint,
                        second,
                        savepoint,
                        get(1),
                        third,
                        get(0),
                        Step::Call(list),
                        Step::CheckTables,
                        end,
                        get(0),
                        get(2),
                        Step::CheckTables,
                    ]
                },
            )
            .boxed()
    })
}

fn timestamps(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    framed(entity, Just(Frame::Bare).boxed(), move |ids| {
        (
            isolation(),
            creates(entity, ids, 3),
            proptest::collection::vec(changes(entity, ids, 3), 1..4),
            proptest::collection::vec(changes(entity, ids, 3), 1..4),
        )
            .prop_map(move |(isolation, creates, apart, together)| {
                let mut steps = vec![Step::Begin(isolation)];
                for create in creates {
                    // The wall clock and the statement's start move on; the transaction's start does not.
                    steps.extend([Step::Pause(1), Step::Call(create)]);
                }
                steps.push(Step::Commit);
                steps.extend(apart.into_iter().map(Step::Call));
                steps.push(Step::Begin(isolation));
                for change in together {
                    steps.extend([Step::Pause(1), Step::Call(change)]);
                }
                steps.extend([Step::CheckTables, Step::Commit, Step::CheckTables]);
                steps
            })
            .boxed()
    })
}

fn errors(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    case(entity, move |ids| {
        (
            creates(entity, ids, 3),
            proptest::collection::vec(bad(entity, ids), 1..7),
        )
            .prop_map(move |(creates, bad)| {
                let mut steps: Vec<Step> = creates.into_iter().map(Step::Call).collect();
                for call in bad {
                    // The get shows that the session goes on.
                    steps.extend([
                        Step::Call(call),
                        Step::Call(entity.get(key(entity, ids, 0))),
                    ]);
                }
                steps.extend([Step::CheckTables, Step::CheckIndexes]);
                steps
            })
            .boxed()
    })
}

fn not_found(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    framed(entity, Just(Frame::Bare).boxed(), move |ids| {
        let questions = move |slot: usize| {
            let question = prop_oneof![
                2 => Just(entity.get(key(entity, ids, slot))),
                1 => Just(entity.get(Value::Null)),
                3 => entity.change(&ids, slot, 1),
                2 => Just(entity.delete(key(entity, ids, slot))),
                2 => entity.list(&ids),
            ];
            proptest::collection::vec(question, 1..4)
                .prop_map(|calls| calls.into_iter().map(Step::Call).collect::<Vec<_>>())
        };
        (
            isolation(),
            questions(ABSENT),
            entity.create(&ids, 0),
            questions(0),
            entity.create(&ids, 0),
            questions(0),
        )
            .prop_map(
                move |(isolation, never, create, deleted, again, rolled_back)| {
                    let mut steps = never;
                    // Created and deleted, committed.
                    steps.extend([
                        Step::Call(create),
                        Step::Call(entity.delete(key(entity, ids, 0))),
                    ]);
                    steps.extend(deleted);
                    // Created and rolled back to a savepoint.
                    steps.extend([
                        Step::Begin(isolation),
                        Step::Savepoint,
                        Step::Call(again),
                        Step::RollbackTo,
                    ]);
                    steps.extend(rolled_back);
                    steps.extend([Step::Commit, Step::CheckTables]);
                    steps
                },
            )
            .boxed()
    })
}

fn sequences(entity: &'static dyn Entity) -> BoxedStrategy<Plan> {
    case(entity, move |ids| {
        let create = prop_oneof![(0..SLOTS).prop_map(|slot| slot)]
            .prop_flat_map(move |slot| entity.create(&ids, slot));
        let call = move || {
            prop_oneof![
                6 => create.clone(),
                6 => changes(entity, ids, SLOTS),
                2 => (0..=SLOTS).prop_map(move |slot| entity.delete(key(entity, ids, slot))),
                3 => entity.list(&ids),
                2 => (0..=SLOTS).prop_map(move |slot| entity.get(key(entity, ids, slot))),
                1 => bad(entity, ids),
            ]
        };
        let step = prop_oneof![
            12 => call().prop_map(Step::Call),
            2 => (weave(), proptest::collection::vec(call(), 2..5))
                .prop_map(|(weave, calls)| Step::Together { weave, calls }),
            1 => Just(Step::CheckTables),
            1 => Just(Step::Savepoint),
            1 => Just(Step::RollbackTo),
            1 => Just(Step::Release),
        ];
        proptest::collection::vec(step, 1..30)
            .prop_map(|mut steps| {
                steps.extend([Step::CheckTables, Step::CheckIndexes]);
                steps
            })
            .boxed()
    })
}

fn weave() -> BoxedStrategy<Weave> {
    prop::sample::select(vec![
        Weave::TargetList,
        Weave::Cte,
        Weave::PlPgSql,
        Weave::Block,
    ])
    .boxed()
}

fn isolation() -> BoxedStrategy<Isolation> {
    prop_oneof![4 => Just(Isolation::ReadCommitted), 1 => Just(Isolation::RepeatableRead), 1 => Just(Isolation::Serializable)]
        .boxed()
}

/// The id that a create passes.
fn new_key(create: &Call) -> Value {
    create.given("id").cloned().unwrap_or(Value::Null)
}

/// The id of the row that a change names, or makes.
fn old_key(entity: &dyn Entity, change: &Call) -> Value {
    change
        .given(entity.table().key)
        .or_else(|| change.given("id"))
        .cloned()
        .unwrap_or(Value::Null)
}

fn key(entity: &dyn Entity, ids: Ids, slot: usize) -> Value {
    Value::Uuid(ids.of(entity.table().entity, slot))
}

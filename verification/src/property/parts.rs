//! What the generators of the properties are made of.

use super::{isolation, key};
use crate::entity::ids::{Ids, SLOTS};
use crate::entity::{self, Entity, Kind};
use crate::plan::{Call, Isolation, Plan, Step};
use crate::value::Value;
use proptest::prelude::*;

/// In which transactions the steps of a case run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Frame {
    /// Each step for itself, or as the steps say.
    Bare,
    /// All in one transaction that is committed and looked at again.
    Committed(Isolation),
    /// All in one transaction that is rolled back.
    RolledBack(Isolation),
}

fn frame() -> BoxedStrategy<Frame> {
    prop_oneof![
        3 => isolation().prop_map(Frame::RolledBack),
        1 => isolation().prop_map(Frame::Committed),
        1 => Just(Frame::Bare),
    ]
    .boxed()
}

/// A case in any frame.
pub(super) fn case(
    entity: &'static dyn Entity,
    body: impl Fn(Ids) -> BoxedStrategy<Vec<Step>> + 'static,
) -> BoxedStrategy<Plan> {
    framed(entity, frame(), body)
}

/// A case in a frame of the given kind: setup, body, and what belongs around them.
pub(super) fn framed(
    entity: &'static dyn Entity,
    frame: BoxedStrategy<Frame>,
    body: impl Fn(Ids) -> BoxedStrategy<Vec<Step>> + 'static,
) -> BoxedStrategy<Plan> {
    let salted = any::<u64>()
        .no_shrink()
        .prop_flat_map(move |salt| (Just(Ids::new(salt)), body(Ids::new(salt))));
    (
        frame,
        proptest::bool::weighted(0.15),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.05),
        salted,
    )
        .prop_map(
            move |(frame, savepoint_each, on_duplicate_return, amcheck, (ids, body))| {
                let mut steps = Vec::new();
                match frame {
                    Frame::Bare => {}
                    Frame::Committed(isolation) | Frame::RolledBack(isolation) => {
                        steps.push(Step::Begin(isolation))
                    }
                }
                steps.extend(entity.setup(&ids).into_iter().map(Step::Call));
                steps.extend(body);
                if let Frame::Committed(_) = frame {
                    steps.extend([Step::Commit, Step::CheckTables, Step::CheckIndexes]);
                }
                if amcheck {
                    steps.push(Step::Amcheck);
                }
                Plan {
                    property: String::new(),
                    entity: String::new(),
                    on_duplicate_return,
                    savepoint_each,
                    steps,
                }
            },
        )
        .boxed()
}

/// Creates of the first slots, at most `most` of them, at least one.
pub(super) fn creates(
    entity: &'static dyn Entity,
    ids: Ids,
    most: usize,
) -> BoxedStrategy<Vec<Call>> {
    let all: Vec<BoxedStrategy<Call>> = (0..most).map(|slot| entity.create(&ids, slot)).collect();
    (all, 1..=most)
        .prop_map(|(mut calls, count)| {
            calls.truncate(count);
            calls
        })
        .boxed()
}

/// A change of one of the first `rows` slots.
pub(super) fn changes(entity: &'static dyn Entity, ids: Ids, rows: usize) -> BoxedStrategy<Call> {
    proptest::strategy::Union::new((0..rows).map(|slot| entity.change(&ids, slot, rows))).boxed()
}

/// A call that must fail: a good call spoilt in one argument, or what the
/// entity says the table refuses.
pub(super) fn bad(entity: &'static dyn Entity, ids: Ids) -> BoxedStrategy<Call> {
    let spoilt = prop_oneof![
        2 => entity.create(&ids, SLOTS - 1),
        3 => entity.change(&ids, 0, 1),
        2 => entity.list(&ids),
        1 => Just(entity.delete(key(entity, ids, 0))),
    ]
    .prop_flat_map(|call| prop::sample::select(spoil(&call)));
    let mut bad = vec![
        (5, spoilt.boxed()),
        (2, entity.bad_create(&ids)),
        // A duplicate, more often than not.
        (1, entity.create(&ids, 0)),
    ];
    if let Some(updates) = entity.bad_updates(&ids) {
        let table = entity.table();
        let call = updates.prop_map(move |updates| {
            Call::new(&format!("caliber_{}_update", table.entity))
                .arg(table.key, key(entity, ids, 0))
                .arg("updates", Value::Json(updates))
        });
        bad.push((3, call.boxed()));
    }
    proptest::strategy::Union::new_weighted(bad).boxed()
}

/// Every way in which `api.md` §1.4 step 1 refuses one argument of a call. A
/// call without such an argument comes back as it is.
pub fn spoil(call: &Call) -> Vec<Call> {
    let mut spoilt = Vec::new();
    let Some((_, function)) = entity::function_named(&call.function) else {
        return vec![call.clone()];
    };
    for param in function.params {
        if param.not_null {
            spoilt.push(call.clone().with(param.name, Value::Null));
        }
        if param.not_empty {
            spoilt.push(call.clone().with(param.name, Value::Text(String::new())));
        }
        if !param.one_of.is_empty() {
            for text in ["", "nonsense", "ACTIVE", "active "] {
                spoilt.push(call.clone().with(param.name, Value::Text(text.to_owned())));
            }
        }
        match param.name {
            "max_rows" => {
                for n in [-1, i64::from(i32::MIN)] {
                    spoilt.push(call.clone().with(param.name, Value::Int(n)));
                }
            }
            "updates" => {
                for json in [
                    "null",
                    "[]",
                    "[{}]",
                    "3",
                    "\"name\"",
                    "true",
                    "{\"\": 1}",
                    "{\"no such key\": null}",
                ] {
                    spoilt.push(call.clone().with(param.name, Value::Json(json.to_owned())));
                }
            }
            "turns" | "artifacts" | "messages" => {
                for json in [
                    "null",
                    "{}",
                    "3",
                    "[3]",
                    "[null]",
                    "[[]]",
                    "[{\"no such key\": 1}]",
                ] {
                    spoilt.push(call.clone().with(param.name, Value::Json(json.to_owned())));
                }
            }
            _ => {}
        }
        for expression in param.refuses {
            spoilt.push(
                call.clone()
                    .with(param.name, Value::Sql((*expression).to_owned())),
            );
        }
    }
    if function.kind == Kind::Helper {
        spoilt.clear();
    }
    if spoilt.is_empty() {
        spoilt.push(call.clone());
    }
    spoilt
}

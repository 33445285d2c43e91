//! Conflict: two items that contradict or obstruct each other. `api.md` §2,
//! requirements R11.1 … R11.4.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::{agent, task};
use super::{scene, text, Entity, Function, Life, Table};
use crate::model::{Args, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, KIND, STRATEGY};

pub use table::{LIFE, TABLE};

/// The entity.
#[derive(Debug)]
pub struct Conflict;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("conflict", slot))
}

/// Items are plain ids: a few, so that many conflicts have one.
fn item(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("item", slot))
}

/// A create with nothing but what is required.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_conflict_create")
        .arg("conflict_type", Value::of("goal_conflict"))
        .arg("item_a_type", Value::of("note"))
        .arg("item_a_id", item(ids, 0))
        .arg("item_b_type", Value::of("note"))
        .arg("item_b_id", item(ids, 1))
        .arg("id", id(ids, slot))
}

/// A resolution: with the winner that its strategy needs.
fn resolution() -> BoxedStrategy<(Value, Option<Value>)> {
    let winner = || prop::sample::select(vec!["a", "b"]).prop_map(Value::of);
    prop_oneof![
        (prop::sample::select(&STRATEGY[..3]), winner())
            .prop_map(|(strategy, winner)| (Value::of(strategy), Some(winner))),
        (
            prop::sample::select(&STRATEGY[3..]),
            text::optional(winner())
        )
            .prop_map(|(strategy, winner)| (Value::of(strategy), winner)),
    ]
    .boxed()
}

impl Entity for Conflict {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn life(&self) -> Option<&'static Life> {
        Some(&LIFE)
    }

    fn setup(&self, ids: &Ids) -> Vec<Call> {
        let mut calls = scene::tasks(ids);
        calls.extend(scene::agents(ids));
        calls
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let items = move || (0usize..4).prop_map(move |slot| item(&ids, slot));
        let agents =
            move || text::optional((0..scene::AGENTS).prop_map(move |slot| agent(&ids, slot)));
        let tasks = text::optional((0..scene::TASKS).prop_map(move |slot| task(&ids, slot)));
        (
            prop::sample::select(KIND),
            (text::some_text(), items()),
            (text::some_text(), items()),
            agents(),
            agents(),
            tasks,
        )
            .prop_map(move |(kind, a, b, agent_a, agent_b, task)| {
                Call::new("caliber_conflict_create")
                    .arg("conflict_type", Value::of(kind))
                    .arg("item_a_type", a.0)
                    .arg("item_a_id", a.1)
                    .arg("item_b_type", b.0)
                    .arg("item_b_id", b.1)
                    .maybe("agent_a_id", agent_a)
                    .maybe("agent_b_id", agent_b)
                    .maybe("trajectory_id", task)
                    .arg("id", id(&ids, slot))
            })
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let someone = (0usize..3).prop_map(move |slot| agent(&ids, slot));
        let resolve = (
            resolution(),
            text::optional(text::any_text()),
            text::optional((0usize..3).prop_map(move |slot| item(&ids, slot))),
            text::optional(someone),
        )
            .prop_map(move |((strategy, winner), reason, merged, by)| {
                Call::new("caliber_conflict_resolve")
                    .arg("conflict_id", id(&ids, slot))
                    .arg("strategy", strategy)
                    .maybe("winner", winner)
                    .maybe("reason", reason)
                    .maybe("merged_result_id", merged)
                    .maybe("resolved_by", by)
            });
        let start = Call::new("caliber_conflict_start").arg("conflict_id", id(&ids, slot));
        prop_oneof![2 => resolve, 1 => Just(start)].boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let which = prop_oneof![
            Just(Call::new("caliber_conflict_list_pending")),
            (0usize..5).prop_map(move |slot| {
                Call::new("caliber_conflict_list_by_item").arg("item_id", item(&ids, slot))
            }),
        ];
        (which, text::page(keys))
            .prop_map(|(call, (max_rows, after))| {
                call.maybe("max_rows", max_rows).maybe("after", after)
            })
            .boxed()
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let resolve = |strategy: &str| {
            Call::new("caliber_conflict_resolve")
                .arg("conflict_id", id(&ids, 0))
                .arg("strategy", Value::of(strategy))
        };
        prop::sample::select(vec![
            plain(&ids, SLOTS).with("agent_a_id", agent(&ids, ABSENT)),
            plain(&ids, SLOTS).with("agent_b_id", agent(&ids, ABSENT)),
            plain(&ids, SLOTS).with("trajectory_id", task(&ids, ABSENT)),
            // A strategy that needs a winner.
            resolve("last_write_wins"),
            resolve("first_write_wins").arg("winner", Value::Null),
            resolve("highest_confidence"),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }
}

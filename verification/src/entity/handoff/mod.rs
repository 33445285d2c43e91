//! Handoff: a scope passes from one agent to another. `api.md` §2,
//! requirements R10.1 … R10.4.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::{agent, scope, task, TYPES};
use super::{scene, text, Entity, Function, Life, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, REASON, STATUS};

pub use table::{LIFE, TABLE};

/// The entity.
#[derive(Debug)]
pub struct Handoff;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("handoff", slot))
}

/// A create for any coder, with nothing but what is required.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_handoff_create")
        .arg("from_agent_id", agent(ids, 3))
        .arg("to_agent_id", Value::Null)
        .arg("to_agent_type", Value::of(TYPES[0]))
        .arg("trajectory_id", task(ids, slot % scene::SCOPES % 2))
        .arg("scope_id", scope(ids, slot % scene::SCOPES))
        .arg("context_snapshot_id", Value::Uuid(ids.of("snapshot", slot)))
        .arg("id", id(ids, slot))
}

fn target(ids: Ids) -> BoxedStrategy<(Value, Value)> {
    prop_oneof![
        3 => (0usize..3).prop_map(move |slot| (agent(&ids, slot), Value::Null)),
        3 => prop::sample::select(&TYPES[..]).prop_map(|name| (Value::Null, Value::of(name))),
        2 => Just((Value::Null, Value::of("*"))),
        1 => text::some_short_text().prop_map(|name| (Value::Null, name)),
    ]
    .boxed()
}

/// An agent that is there, mostly.
fn someone(ids: Ids) -> BoxedStrategy<Value> {
    prop_oneof![9 => 0..scene::AGENTS, 1 => Just(ABSENT)]
        .prop_map(move |slot| agent(&ids, slot))
        .boxed()
}

impl Entity for Handoff {
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
        calls.extend(scene::scopes(ids));
        calls.extend(scene::agents(ids));
        calls
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let list = || proptest::option::of(text::texts());
        (
            0..scene::AGENTS,
            target(ids),
            proptest::option::of(prop::sample::select(REASON).prop_map(Value::of)),
            proptest::option::of(text::any_text()),
            (list(), list(), list()),
        )
            .prop_map(
                move |(from, to, reason, notes, (steps, blockers, questions))| {
                    plain(&ids, slot)
                        .with("from_agent_id", agent(&ids, from))
                        .with("to_agent_id", to.0)
                        .with("to_agent_type", to.1)
                        .maybe("reason", reason)
                        .maybe("handoff_notes", notes)
                        .maybe("next_steps", steps)
                        .maybe("blockers", blockers)
                        .maybe("open_questions", questions)
                },
            )
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move |name: &str| {
            Call::new(&format!("caliber_handoff_{name}")).arg("handoff_id", id(&ids, slot))
        };
        let accept = someone(ids).prop_map(move |who| of("accept").arg("accepting_agent_id", who));
        let who = prop_oneof![3 => Just(None), 2 => someone(ids).prop_map(Some)];
        let complete = who.prop_map(move |who| of("complete").maybe("agent_id", who));
        prop_oneof![5 => accept, 3 => complete, 1 => Just(of("reject"))].boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let for_agent = (
            prop::sample::select(vec![0usize, 1, 2, 3, ABSENT]),
            proptest::option::of(prop::sample::select(STATUS).prop_map(Value::of)),
        )
            .prop_map(move |(slot, status)| {
                Call::new("caliber_handoff_list_for_agent")
                    .arg("agent_id", agent(&ids, slot))
                    .maybe("status", status)
            });
        let of_task = prop::sample::select(vec![0usize, 1, 2, ABSENT]).prop_map(move |slot| {
            Call::new("caliber_handoff_list_by_trajectory").arg("trajectory_id", task(&ids, slot))
        });
        (prop_oneof![3 => for_agent, 2 => of_task], text::page(keys))
            .prop_map(|(call, (max_rows, after))| {
                call.maybe("max_rows", max_rows).maybe("after", after)
            })
            .boxed()
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let plain = || plain(&ids, SLOTS);
        prop::sample::select(vec![
            plain().with("to_agent_id", agent(&ids, 0)),
            plain().with("to_agent_type", Value::Null),
            plain().with("from_agent_id", agent(&ids, ABSENT)),
            plain()
                .with("to_agent_type", Value::Null)
                .with("to_agent_id", agent(&ids, ABSENT)),
            plain().with("scope_id", scope(&ids, ABSENT)),
            // A scope of another task.
            plain().with("trajectory_id", task(&ids, 2)),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn checks(&self, row: &Row) -> bool {
        let agent = !row.cell(&TABLE, "to_agent_id").is_null();
        let name = !row.cell(&TABLE, "to_agent_type").is_null();
        match row.text(&TABLE, "status").as_str() {
            "initiated" | "rejected" => agent != name,
            _ => agent,
        }
    }
}

//! Delegation: work that one agent asks another, or any of a type, to do.
//! `api.md` §2, requirements R9.1 … R9.5.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::{agent, task, TYPES};
use super::{scene, text, Entity, Function, Life, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::FUNCTIONS;
use uuid::Uuid;

pub use model::{is_eligible, type_of};
pub use table::{LIFE, TABLE};

/// The entity.
#[derive(Debug)]
pub struct Delegation;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("delegation", slot))
}

/// A create for any coder, with nothing but what is required.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_delegation_create")
        .arg("delegator_agent_id", agent(ids, 3))
        .arg("delegatee_agent_id", Value::Null)
        .arg("delegatee_agent_type", Value::of(TYPES[0]))
        .arg("task_description", Value::Text(format!("work {slot}")))
        .arg("parent_trajectory_id", task(ids, slot % scene::TASKS))
        .arg("id", id(ids, slot))
}

/// An agent, a type that some have, any, or one that none has.
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

fn object() -> BoxedStrategy<Value> {
    prop_oneof![
        Just("{}".to_owned()),
        text::json().prop_map(|json| format!("{{\"value\": {json}}}")),
        text::json().prop_map(|json| format!("{{\"summary\": {json}, \"b\": 1.50}}")),
    ]
    .prop_map(Value::Json)
    .boxed()
}

/// Lines, as descriptions have them; the first names the child.
fn description() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => text::any_text(),
        1 => prop::sample::select(vec![
            "  build it\nand test it  ",
            "\nsecond line",
            "one\r\ntwo",
            "   ",
        ])
        .prop_map(Value::of),
    ]
    .boxed()
}

impl Entity for Delegation {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn life(&self) -> Option<&'static Life> {
        Some(&LIFE)
    }

    fn also_writes(&self) -> &'static [&'static str] {
        &["trajectory"]
    }

    fn setup(&self, ids: &Ids) -> Vec<Call> {
        let mut calls = scene::tasks(ids);
        calls.extend(scene::agents(ids));
        calls
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let shared = move |of: &str| {
            let known: Vec<Uuid> = (0..4).map(|slot| ids.of(of, slot)).collect();
            proptest::option::of(text::id_array(known))
        };
        (
            (0..scene::AGENTS, 0..scene::TASKS),
            target(ids),
            description(),
            shared("artifact"),
            shared("note"),
            text::optional(text::any_text()),
            proptest::option::of(text::json().prop_map(Value::Json)),
            text::optional(text::moment()),
        )
            .prop_map(
                move |(
                    (from, parent),
                    to,
                    description,
                    artifacts,
                    notes,
                    context,
                    limits,
                    deadline,
                )| {
                    plain(&ids, slot)
                        .with("delegator_agent_id", agent(&ids, from))
                        .with("delegatee_agent_id", to.0)
                        .with("delegatee_agent_type", to.1)
                        .with("task_description", description)
                        .with("parent_trajectory_id", task(&ids, parent))
                        .maybe("shared_artifacts", artifacts)
                        .maybe("shared_notes", notes)
                        .maybe("additional_context", context)
                        .maybe("constraints", limits)
                        .maybe("deadline", deadline)
                },
            )
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move |name: &str| {
            Call::new(&format!("caliber_delegation_{name}")).arg("delegation_id", id(&ids, slot))
        };
        let child = prop_oneof![
            4 => Just(None),
            1 => Just(Some(Value::Null)),
            2 => (0..scene::TASKS).prop_map(move |slot| Some(task(&ids, slot))),
            1 => Just(Some(task(&ids, ABSENT))),
        ];
        let accept = (someone(ids), child).prop_map(move |(who, child)| {
            of("accept")
                .arg("delegatee_agent_id", who)
                .maybe("child_trajectory_id", child)
        });
        let start =
            text::optional(someone(ids)).prop_map(move |who| of("start").maybe("agent_id", who));
        let complete = (
            proptest::bool::ANY,
            text::optional(text::any_text()),
            text::optional(object()),
            prop_oneof![3 => Just(None), 2 => someone(ids).prop_map(Some)],
        )
            .prop_map(move |(success, summary, result, who)| {
                of("complete")
                    .arg("success", Value::Bool(success))
                    .maybe("summary", summary)
                    .maybe("result", result)
                    .maybe("agent_id", who)
            });
        let reject = text::optional(text::any_text())
            .prop_map(move |reason| of("reject").maybe("reason", reason));
        let target = prop_oneof![
            2 => Just((None, None)),
            2 => target(ids).prop_map(|(agent, name)| (Some(agent), Some(name))),
        ];
        let reclaim = (text::interval(), target).prop_map(move |(after, (agent, name))| {
            of("reclaim")
                .arg("stale_after", after)
                .maybe("delegatee_agent_id", agent)
                .maybe("delegatee_agent_type", name)
        });
        let age = (0..scene::AGENTS).prop_map(move |slot| {
            Call::new("verification.age_agent").arg("agent_id", agent(&ids, slot))
        });
        prop_oneof![6 => accept, 2 => start, 3 => complete, 1 => reject, 2 => reclaim, 1 => age]
            .boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let pending = text::optional(prop::sample::select(&TYPES[..]).prop_map(Value::of))
            .prop_map(|name| {
                Call::new("caliber_delegation_list_pending").maybe("agent_type", name)
            });
        let of_agent = (
            prop::sample::select(vec!["list_for_agent", "list_by_delegator"]),
            prop::sample::select(vec![0usize, 1, 2, 3, ABSENT]),
        )
            .prop_map(move |(list, slot)| {
                Call::new(&format!("caliber_delegation_{list}")).arg("agent_id", agent(&ids, slot))
            });
        (prop_oneof![2 => pending, 3 => of_agent], text::page(keys))
            .prop_map(|(call, (max_rows, after))| {
                call.maybe("max_rows", max_rows).maybe("after", after)
            })
            .boxed()
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let plain = || plain(&ids, SLOTS);
        let reclaim = Call::new("caliber_delegation_reclaim")
            .arg("delegation_id", id(&ids, 0))
            .arg("stale_after", Value::Interval("01:00:00".to_owned()))
            .arg("delegatee_agent_id", agent(&ids, 0))
            .arg("delegatee_agent_type", Value::of("coder"));
        prop::sample::select(vec![
            plain().with("delegatee_agent_id", agent(&ids, 0)),
            plain().with("delegatee_agent_type", Value::Null),
            plain().with("delegator_agent_id", agent(&ids, ABSENT)),
            plain().with("parent_trajectory_id", task(&ids, ABSENT)),
            plain()
                .with("delegatee_agent_type", Value::Null)
                .with("delegatee_agent_id", agent(&ids, ABSENT)),
            // Both targets.
            reclaim,
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn checks(&self, row: &Row) -> bool {
        let agent = !row.cell(&TABLE, "delegatee_agent_id").is_null();
        let name = !row.cell(&TABLE, "delegatee_agent_type").is_null();
        match row.text(&TABLE, "status").as_str() {
            "pending" | "rejected" => agent != name,
            _ => agent,
        }
    }
}

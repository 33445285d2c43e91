//! Agent: who works, on what, and when it was last heard of. `api.md` §2,
//! requirements R8.1 … R8.5.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::{scope, task, TYPES};
use super::{scene, text, Entity, Function, Life, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, HELPERS, STATUS};

pub use table::{LIFE, TABLE};

/// The entity.
#[derive(Debug)]
pub struct Agent;

fn id(ids: &Ids, slot: usize) -> Value {
    scene::agent(ids, slot)
}

/// A register with nothing but a type, for rows that other entities refer to.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_agent_register")
        .arg("agent_type", Value::of(TYPES[slot % TYPES.len()]))
        .arg("id", id(ids, slot))
}

/// Types that agents have, and some more.
fn agent_type() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => prop::sample::select(&TYPES[..]).prop_map(Value::of),
        1 => Just(Value::of("x; DROP TABLE y --")),
        1 => "[a-z]{60,200}".prop_map(Value::Text),
        1 => text::some_short_text(),
    ]
    .boxed()
}

/// A task and a scope: of each other, of none, or at odds.
fn work(ids: Ids) -> BoxedStrategy<(Value, Value)> {
    prop_oneof![
        6 => (0usize..3).prop_map(move |slot| (task(&ids, slot % 2), scope(&ids, slot))),
        3 => (0usize..3).prop_map(move |slot| (task(&ids, slot), Value::Null)),
        1 => Just((Value::Null, Value::Null)),
        // Another task's scope, a scope without its task, and what is not there.
        1 => Just((task(&ids, 2), scope(&ids, 0))),
        1 => Just((Value::Null, scope(&ids, 0))),
        1 => Just((task(&ids, ABSENT), Value::Null)),
        1 => Just((task(&ids, 0), scope(&ids, ABSENT))),
    ]
    .boxed()
}

impl Entity for Agent {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn helpers(&self) -> &'static [Function] {
        HELPERS
    }

    fn life(&self) -> Option<&'static Life> {
        Some(&LIFE)
    }

    fn setup(&self, ids: &Ids) -> Vec<Call> {
        let mut calls = scene::tasks(ids);
        calls.extend(scene::scopes(ids));
        calls
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        // Itself is allowed: the key is checked after the insert.
        let reports_to = prop_oneof![
            3 => Just(None),
            1 => Just(Some(Value::Null)),
            4 => (0..=slot).prop_map(move |chief| Some(id(&ids, chief))),
        ];
        (
            agent_type(),
            proptest::option::of(text::texts()),
            proptest::option::of(text::json().prop_map(Value::Json)),
            proptest::option::of(text::texts()),
            reports_to,
        )
            .prop_map(
                move |(agent_type, capabilities, access, delegates, chief)| {
                    Call::new("caliber_agent_register")
                        .arg("agent_type", agent_type)
                        .maybe("capabilities", capabilities)
                        .maybe("memory_access", access)
                        .maybe("can_delegate_to", delegates)
                        .maybe("reports_to", chief)
                        .arg("id", id(&ids, slot))
                },
            )
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move |name: &str| Call::new(name).arg("agent_id", id(&ids, slot));
        let set_status = prop::sample::select(STATUS).prop_map(move |status| {
            of("caliber_agent_set_status").arg("status", Value::of(status))
        });
        let assign = work(ids).prop_map(move |(task, scope)| {
            of("caliber_agent_assign")
                .arg("trajectory_id", task)
                .arg("scope_id", scope)
        });
        prop_oneof![
            4 => Just(of("caliber_agent_heartbeat")),
            4 => set_status,
            4 => assign,
            2 => Just(of("caliber_agent_release")),
            1 => Just(of("verification.age_agent")),
        ]
        .boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let which = prop_oneof![
            3 => agent_type().prop_map(|agent_type| {
                Call::new("caliber_agent_list_by_type").arg("agent_type", agent_type)
            }),
            2 => text::interval().prop_map(|interval| {
                Call::new("caliber_agent_list_stale").arg("stale_after", interval)
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
        prop::sample::select(vec![
            plain(&ids, SLOTS).with("reports_to", id(&ids, ABSENT)),
            plain(&ids, SLOTS).with("agent_type", Value::of("*")),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn checks(&self, row: &Row) -> bool {
        row.cell(&TABLE, "current_scope_id").is_null()
            || !row.cell(&TABLE, "current_trajectory_id").is_null()
    }
}

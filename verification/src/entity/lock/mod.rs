//! Lock: of an agent on a resource. `api.md` §2, requirements R6.1 … R6.5.
//! Everything that one session can show; what two sessions do to each other is
//! the business of the suite `locks`.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::{agent, TYPES};
use super::{scene, text, Entity, Function, Table};
use crate::model::{Args, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, HELPERS, LEVEL, LONGEST, MODE};

pub use table::TABLE;

/// The entity.
#[derive(Debug)]
pub struct Lock;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("lock", slot))
}

/// A resource: its type and its id. Those of small numbers are shared.
fn resource(ids: &Ids, number: usize) -> (Value, Value) {
    (
        Value::of(TYPES[number % TYPES.len()]),
        Value::Uuid(ids.of("resource", number)),
    )
}

/// An acquire of a resource by an agent, with nothing but what is required.
fn acquire(ids: &Ids, holder: usize, number: usize, slot: usize) -> Call {
    let (kind, resource) = resource(ids, number);
    Call::new("caliber_lock_acquire")
        .arg("agent_id", agent(ids, holder))
        .arg("resource_type", kind)
        .arg("resource_id", resource)
        .arg("id", id(ids, slot))
}

/// An acquire that nothing stands in the way of.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    acquire(ids, slot % scene::AGENTS, 10 + slot, slot)
}

/// How long a lease lasts: an hour or more, or the default.
fn time() -> BoxedStrategy<Option<Value>> {
    prop::sample::select(vec![
        None,
        Some(3_600_000),
        Some(7_200_000),
        Some(86_400_000),
        Some(LONGEST),
    ])
    .prop_map(|ms| ms.map(Value::Int))
    .boxed()
}

fn level() -> BoxedStrategy<Option<Value>> {
    prop_oneof![
        2 => Just(None),
        4 => Just(Some(Value::of("lease"))),
        3 => prop::sample::select(LEVEL).prop_map(|level| Some(Value::of(level))),
    ]
    .boxed()
}

impl Entity for Lock {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn helpers(&self) -> &'static [Function] {
        HELPERS
    }

    fn setup(&self, ids: &Ids) -> Vec<Call> {
        scene::agents(ids)
    }

    /// Exclusively on a resource of its own, or shared with the slots around
    /// it, each of another agent.
    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let holder = slot % scene::AGENTS;
        let mode = proptest::option::of(prop::sample::select(MODE).prop_map(Value::of));
        let alone = mode.prop_map(move |mode| plain(&ids, slot).maybe("mode", mode));
        let shared =
            acquire(&ids, holder, slot / scene::AGENTS, slot).arg("mode", Value::of("shared"));
        (prop_oneof![1 => alone, 1 => Just(shared)], time(), level())
            .prop_map(|(call, time, level)| call.maybe("timeout_ms", time).maybe("level", level))
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move |name: &str| Call::new(name).arg("lock_id", id(&ids, slot));
        let mode = proptest::option::of(prop::sample::select(MODE).prop_map(Value::of));
        // The same again, a stronger one, or somebody else's.
        let again = (
            prop_oneof![4 => 0..scene::AGENTS, 4 => Just(slot % scene::AGENTS), 1 => Just(ABSENT)],
            prop_oneof![Just(slot / scene::AGENTS), Just(10 + slot), Just(0)],
            20usize..32,
            mode,
            time(),
            level(),
        )
            .prop_map(move |(holder, number, added, mode, time, level)| {
                acquire(&ids, holder, number, added)
                    .maybe("mode", mode)
                    .maybe("timeout_ms", time)
                    .maybe("level", level)
            });
        let extend = prop::sample::select(vec![600_000, 3_600_000, LONGEST - 86_400_000, LONGEST])
            .prop_map(move |ms| of("caliber_lock_extend").arg("additional_ms", Value::Int(ms)));
        prop_oneof![
            5 => again,
            3 => extend,
            2 => Just(of("caliber_lock_release")),
            2 => Just(of("caliber_lock_assert")),
            2 => Just(of("verification.expire_lock")),
            1 => Just(Call::new("caliber_lock_purge_expired")),
        ]
        .boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let numbers = vec![0usize, 0, 1, 10, 11, 12, ABSENT];
        let by_resource = prop::sample::select(numbers).prop_map(move |number| {
            let (kind, resource) = resource(&ids, number);
            Call::new("caliber_lock_list_by_resource")
                .arg("resource_type", kind)
                .arg("resource_id", resource)
        });
        let by_agent = prop::sample::select(vec![0usize, 1, 2, 3, ABSENT]).prop_map(move |slot| {
            Call::new("caliber_lock_list_by_agent").arg("agent_id", agent(&ids, slot))
        });
        (prop_oneof![by_resource, by_agent], text::page(keys))
            .prop_map(|(call, (max_rows, after))| {
                call.maybe("max_rows", max_rows).maybe("after", after)
            })
            .boxed()
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        prop::sample::select(vec![
            // An agent that is not there.
            acquire(&ids, ABSENT, 19, SLOTS),
            // The id of another lock.
            acquire(&ids, 0, 18, 0),
            acquire(&ids, 0, 19, SLOTS).with("timeout_ms", Value::Int(0)),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    /// Locks of the transaction end with it.
    fn commit(&self, world: &World) -> Option<(Vec<String>, World)> {
        model::commit(world)
    }

    fn delete(&self, id: Value) -> Call {
        Call::new("caliber_lock_release").arg("lock_id", id)
    }
}

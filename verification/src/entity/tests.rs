//! The descriptions themselves, without a server: what they generate is what
//! they say, and nothing that they describe is never called.

use super::ids::{Ids, SLOTS};
use super::{described, function_named, Entity};
use crate::judge;
use crate::model::{self, Expect, World};
use crate::plan::Call;
use crate::property;
use crate::value::Value;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

fn sample<T: std::fmt::Debug>(runner: &mut TestRunner, strategy: &BoxedStrategy<T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

fn carry_out(world: &mut World, call: &Call) -> Expect {
    let (entity, function) = function_named(&call.function).unwrap();
    let verdict = model::judge(entity, function, world, call);
    if let Some(after) = verdict.after {
        *world = after;
    }
    verdict.expect
}

/// Every argument has a parameter.
fn fits(call: &Call) {
    let (_, function) = function_named(&call.function).unwrap();
    for (name, _) in &call.args {
        let known = function.params.iter().any(|param| param.name == name);
        assert!(known, "{} has no parameter {name}", call.function);
    }
}

#[test]
fn creates_succeed() {
    let mut runner = TestRunner::deterministic();
    for entity in described() {
        for salt in 0..20 {
            let ids = Ids::new(salt);
            let mut world = World::new(false);
            let calls = entity.setup(&ids).into_iter();
            let creates = (0..SLOTS).map(|slot| sample(&mut runner, &entity.create(&ids, slot)));
            for call in calls.chain(creates) {
                fits(&call);
                let expect = carry_out(&mut world, &call);
                assert!(!matches!(expect, Expect::Error(_)), "{call:?}: {expect}");
            }
        }
    }
}

fn calls(runner: &mut TestRunner, entity: &dyn Entity) -> Vec<Call> {
    let ids = Ids::new(1);
    vec![
        sample(runner, &entity.create(&ids, 0)),
        sample(runner, &entity.change(&ids, 0, 1)),
        sample(runner, &entity.list(&ids)),
        sample(runner, &entity.bad_create(&ids)),
        entity.get(Value::Null),
        entity.delete(Value::Null),
    ]
}

#[test]
fn every_function_is_called() {
    let mut runner = TestRunner::deterministic();
    for entity in described() {
        let mut seen = BTreeSet::new();
        for _ in 0..250 {
            for call in calls(&mut runner, *entity) {
                fits(&call);
                for spoilt in property::spoil(&call) {
                    fits(&spoilt);
                }
                seen.insert(call.function);
            }
            if let Some(updates) = entity.bad_updates(&Ids::new(1)) {
                sample(&mut runner, &updates);
            }
        }
        for function in entity.functions().iter().chain(entity.helpers()) {
            assert!(seen.contains(function.name), "{}", function.name);
        }
    }
}

#[test]
fn what_is_spoilt_is_refused() {
    let mut runner = TestRunner::deterministic();
    for entity in described() {
        let ids = Ids::new(2);
        for _ in 0..15 {
            let mut world = World::new(false);
            for call in entity.setup(&ids) {
                carry_out(&mut world, &call);
            }
            for call in calls(&mut runner, *entity) {
                for spoilt in property::spoil(&call) {
                    if spoilt == call {
                        continue;
                    }
                    let expect = carry_out(&mut world.clone(), &spoilt);
                    assert!(matches!(expect, Expect::Error(_)), "{spoilt:?}: {expect}");
                }
            }
        }
    }
}

#[test]
fn plans_can_be_written_down() {
    let mut runner = TestRunner::deterministic();
    for entity in described() {
        for property in &property::ALL {
            let plans = property.plans(*entity);
            for _ in 0..4 {
                let plan = sample(&mut runner, &plans);
                let lines = judge::script(&plan);
                assert!(!lines.is_empty());
                let json = serde_json::to_string(&plan).unwrap();
                assert_eq!(plan, serde_json::from_str(&json).unwrap());
            }
        }
    }
}

/// A turn that is there takes no number, even where none is left.
#[test]
fn known_turns_are_not_numbered() {
    let ids = Ids::new(1);
    let mut world = World::new(true);
    let (entity, _) = function_named("caliber_turn_create").unwrap();
    for call in entity.setup(&ids) {
        carry_out(&mut world, &call);
    }
    let last = super::turn::plain(&ids, 0).with("sequence", Value::Int(i64::from(i32::MAX)));
    assert!(!matches!(carry_out(&mut world, &last), Expect::Error(_)));
    let known = super::text::object(&super::turn::plain(&ids, 0), &["scope_id"]);
    let fresh = super::text::object(&super::turn::plain(&ids, 2), &["scope_id"]);
    for (turns, refused) in [(&known, false), (&fresh, true)] {
        let scope = super::scene::scope(&ids, 0);
        let call = Call::new("caliber_turn_create_many")
            .arg("scope_id", scope)
            .arg("turns", Value::Json(format!("[{turns}]")));
        let expect = carry_out(&mut world.clone(), &call);
        assert_eq!(
            matches!(expect, Expect::Error("22003")),
            refused,
            "{expect}"
        );
    }
}

//! Turn: the conversation of a scope, append only. `api.md` §2, requirements
//! R5.1 … R5.3.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::scope;
use super::{scene, text, Entity, Function, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, ROLE};

pub use table::TABLE;

/// The entity.
#[derive(Debug)]
pub struct Turn;

/// Turns that changes add: beyond the slots of the creates.
const ADDED: std::ops::Range<usize> = 20..40;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("turn", slot))
}

/// A slot's scope.
fn scope_of(slot: usize) -> usize {
    slot % 2
}

/// A create with nothing but what is required.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_turn_create")
        .arg("scope_id", scope(ids, scope_of(slot)))
        .arg("sequence", Value::Null)
        .arg("role", Value::of("user"))
        .arg("content", Value::Text(format!("turn {slot}")))
        .arg("id", id(ids, slot))
}

/// A create of this turn with this sequence.
fn turn(ids: Ids, slot: usize, sequence: Value) -> BoxedStrategy<Call> {
    let tokens = prop_oneof![4 => 0i64..5000, 1 => Just(i64::from(i32::MAX))];
    (
        prop::sample::select(ROLE),
        text::any_text(),
        proptest::option::of(tokens.prop_map(Value::Int)),
        text::optional(text::json_value()),
        text::optional(text::json_value()),
        text::optional(text::json_value()),
    )
        .prop_map(move |(role, content, tokens, calls, results, metadata)| {
            plain(&ids, slot)
                .with("sequence", sequence.clone())
                .with("role", Value::of(role))
                .with("content", content)
                .maybe("token_count", tokens)
                .maybe("tool_calls", calls)
                .maybe("tool_results", results)
                .maybe("metadata", metadata)
        })
        .boxed()
}

/// A sequence that is free, or counted on, or taken now and then.
fn sequence(slot: usize) -> BoxedStrategy<Value> {
    let slot = i64::try_from(slot).unwrap_or(0);
    prop_oneof![
        6 => Just(Value::Null),
        4 => Just(Value::Int(100 * slot + 7)),
        1 => (0i64..4).prop_map(Value::Int),
        1 => Just(Value::Int(i64::from(i32::MAX))),
    ]
    .boxed()
}

/// Several turns at once, as JSON, with some that the table refuses.
fn many(ids: Ids, slot: usize) -> BoxedStrategy<Call> {
    let element = (ADDED, 0usize..4)
        .prop_flat_map(move |(slot, _)| sequence(slot).prop_flat_map(move |at| turn(ids, slot, at)))
        .prop_map(|call| text::object(&call, &["scope_id"]));
    proptest::collection::vec(element, 0..4)
        .prop_map(move |elements| {
            Call::new("caliber_turn_create_many")
                .arg("scope_id", scope(&ids, scope_of(slot)))
                .arg("turns", Value::Json(format!("[{}]", elements.join(", "))))
        })
        .boxed()
}

impl Entity for Turn {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn setup(&self, ids: &Ids) -> Vec<Call> {
        let mut calls = scene::tasks(ids);
        calls.extend(scene::scopes(ids));
        calls
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let slot_number = i64::try_from(slot).unwrap_or(0);
        // Ascending with the slots, so that none is taken.
        prop_oneof![2 => Just(Value::Null), 1 => Just(Value::Int(100 * slot_number + 7))]
            .prop_flat_map(move |sequence| turn(ids, slot, sequence))
            .boxed()
    }

    /// A turn never changes: others follow it, or its scope is closed.
    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let another = (ADDED, sequence(slot + 8)).prop_flat_map(move |(added, sequence)| {
            turn(ids, added, sequence)
                .prop_map(move |call| call.with("scope_id", scope(&ids, scope_of(slot))))
        });
        let close = Call::new("caliber_scope_close").arg("scope_id", scope(&ids, scope_of(slot)));
        prop_oneof![6 => another, 4 => many(ids, slot), 1 => Just(close)].boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move || {
            prop::sample::select(vec![0, 1, 2, ABSENT])
                .prop_map(move |slot| ("scope_id", scope(&ids, slot)))
        };
        let after = text::optional(
            prop_oneof![-1i64..4, Just(7), Just(107), Just(i64::from(i32::MAX))]
                .prop_map(Value::Int),
        );
        let all = (of(), text::max_rows(), after).prop_map(|((name, scope), max_rows, after)| {
            Call::new("caliber_turn_get_by_scope")
                .arg(name, scope)
                .maybe("max_rows", max_rows)
                .maybe("after_sequence", after)
        });
        let most = proptest::option::of(
            prop_oneof![0i64..4, Just(i64::from(i32::MAX))].prop_map(Value::Int),
        );
        let recent = (of(), most).prop_map(|((name, scope), most)| {
            Call::new("caliber_turn_get_recent")
                .arg(name, scope)
                .maybe("max_rows", most)
        });
        prop_oneof![3 => all, 2 => recent].boxed()
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let absent = plain(&ids, SLOTS).with("scope_id", scope(&ids, ABSENT));
        let element = |members: &str| {
            let turns = format!(
                r#"[{{"role": "user", "content": "x", "id": "{}"}}, {members}]"#,
                ids.of("turn", 50)
            );
            Call::new("caliber_turn_create_many")
                .arg("scope_id", scope(&ids, 0))
                .arg("turns", Value::Json(turns))
        };
        let second = format!(r#""content": "y", "id": "{}""#, ids.of("turn", 51));
        let role = r#""role": "tool""#;
        prop::sample::select(vec![
            absent.clone(),
            absent.with("sequence", Value::Int(3)),
            plain(&ids, SLOTS).with("sequence", Value::Int(-1)),
            plain(&ids, SLOTS).with("token_count", Value::Int(-1)),
            element("7"),
            element("{}"),
            element(&format!(r#"{{{second}}}"#)),
            element(&format!(r#"{{{second}, "role": "narrator"}}"#)),
            element(&format!(r#"{{{second}, {role}, "tokens": 1}}"#)),
            element(&format!(r#"{{{second}, {role}, "scope_id": null}}"#)),
            element(&format!(r#"{{{second}, {role}, "sequence": 1.5}}"#)),
            element(&format!(r#"{{{second}, {role}, "sequence": 2147483648}}"#)),
            element(&format!(r#"{{{second}, {role}, "token_count": null}}"#)),
            element(&format!(r#"{{{role}, "content": "y", "id": "no uuid"}}"#)),
            // What the table refuses.
            element(&format!(r#"{{{second}, {role}, "sequence": -1}}"#)),
            element(&format!(r#"{{{second}, {role}, "token_count": -1}}"#)),
            element(&format!(
                r#"{{{role}, "content": "twice", "id": "{}"}}"#,
                ids.of("turn", 50)
            )),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn checks(&self, row: &Row) -> bool {
        let counts = ["sequence", "token_count"];
        counts
            .iter()
            .all(|column| matches!(row.cell(&TABLE, column), Value::Int(count) if *count >= 0))
    }
}

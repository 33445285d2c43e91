//! Scope: a context window inside a trajectory. `api.md` §2, requirements R2.1 … R2.6.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::{scene, text, Entity, Function, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use scene::task;
use table::FUNCTIONS;

pub use table::TABLE;

/// The entity.
#[derive(Debug)]
pub struct Scope;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("scope", slot))
}

/// A slot's trajectory: fixed, so that a parent of the same one can be chosen.
fn task_of(slot: usize) -> usize {
    slot % 2
}

/// A create with nothing but what is required, for rows that other entities refer to.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_scope_create")
        .arg("trajectory_id", task(ids, task_of(slot)))
        .arg("name", Value::Text(format!("scope {slot}")))
        .arg("id", id(ids, slot))
}

fn tokens() -> BoxedStrategy<i64> {
    prop_oneof![4 => 0i64..20_000, 1 => Just(0), 1 => Just(i64::from(i32::MAX))].boxed()
}

impl Entity for Scope {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn setup(&self, ids: &Ids) -> Vec<Call> {
        scene::tasks(ids)
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        // Its own parent is allowed: the key is checked after the insert.
        let parent = prop_oneof![
            3 => Just(None),
            3 => (0..=slot / 2).prop_map(move |back| Some(slot - 2 * back)),
        ];
        (
            text::some_text(),
            text::optional(text::any_text()),
            proptest::option::of(tokens().prop_map(|budget| budget.max(1))),
            parent,
            text::optional(text::json_value()),
        )
            .prop_map(move |(name, purpose, budget, parent, metadata)| {
                Call::new("caliber_scope_create")
                    .arg("trajectory_id", task(&ids, task_of(slot)))
                    .arg("name", name)
                    .maybe("purpose", purpose)
                    .maybe("token_budget", budget.map(Value::Int))
                    .maybe("parent_scope_id", parent.map(|parent| id(&ids, parent)))
                    .maybe("metadata", metadata)
                    .arg("id", id(&ids, slot))
            })
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let update = text::updates(vec![
            text::some_text()
                .prop_map(|name| text::member("name", &name))
                .boxed(),
            prop_oneof![Just(Value::Null), text::any_text()]
                .prop_map(|text| text::member("purpose", &text))
                .boxed(),
            text::json_value()
                .prop_map(|json| text::member("checkpoint", &json))
                .boxed(),
            prop_oneof![Just("8"), Just("8.0"), Just("1e3"), Just("2147483647")]
                .prop_map(|number| format!("\"token_budget\": {number}"))
                .boxed(),
            text::json_value()
                .prop_map(|json| text::member("metadata", &json))
                .boxed(),
        ])
        .prop_map(move |updates| {
            Call::new("caliber_scope_update")
                .arg("scope_id", id(&ids, slot))
                .arg("updates", Value::Json(updates))
        });
        let use_tokens = tokens().prop_map(move |used| {
            Call::new("caliber_scope_update_tokens")
                .arg("scope_id", id(&ids, slot))
                .arg("tokens_used", Value::Int(used))
        });
        let close = Just(Call::new("caliber_scope_close").arg("scope_id", id(&ids, slot)));
        prop_oneof![4 => update, 4 => use_tokens, 1 => close].boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let tasks = prop::sample::select(vec![
            task(&ids, 0),
            task(&ids, 1),
            task(&ids, 2),
            task(&ids, ABSENT),
        ]);
        let list = (tasks.clone(), text::page(keys)).prop_map(|(task, (max_rows, after))| {
            Call::new("caliber_scope_list_by_trajectory")
                .arg("trajectory_id", task)
                .maybe("max_rows", max_rows)
                .maybe("after", after)
        });
        let current = tasks
            .prop_map(|task| Call::new("caliber_scope_get_current").arg("trajectory_id", task));
        prop_oneof![3 => list, 2 => current].boxed()
    }

    fn bad_updates(&self, _ids: &Ids) -> Option<BoxedStrategy<String>> {
        let updates = prop::sample::select(vec![
            r#"{"name": null}"#,
            r#"{"name": ""}"#,
            r#"{"name": false}"#,
            r#"{"purpose": 1}"#,
            r#"{"token_budget": null}"#,
            r#"{"token_budget": 0}"#,
            r#"{"token_budget": -5}"#,
            r#"{"token_budget": "8"}"#,
            r#"{"token_budget": 8.5}"#,
            r#"{"token_budget": 2147483648}"#,
            r#"{"token_budget": 1e400}"#,
            r#"{"is_active": false}"#,
            r#"{"tokens_used": 1}"#,
            r#"{"purpose": "kept out", "trajectory_id": null}"#,
        ])
        .prop_map(str::to_owned);
        Some(updates.boxed())
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        prop::sample::select(vec![
            plain(&ids, SLOTS).with("trajectory_id", task(&ids, ABSENT)),
            plain(&ids, SLOTS).with("parent_scope_id", id(&ids, ABSENT)),
            // A parent of another trajectory.
            plain(&ids, SLOTS).with("parent_scope_id", id(&ids, 1)),
            plain(&ids, SLOTS).with("token_budget", Value::Int(0)),
            plain(&ids, SLOTS).with("token_budget", Value::Int(-1)),
            plain(&ids, SLOTS).with("token_budget", Value::Null),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn checks(&self, row: &Row) -> bool {
        let positive =
            matches!(row.cell(&TABLE, "token_budget"), Value::Int(budget) if *budget > 0);
        positive && matches!(row.cell(&TABLE, "tokens_used"), Value::Int(used) if *used >= 0)
    }
}

//! Trajectory: a task. `api.md` §2, requirements R1.1 … R1.7.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::{text, Entity, Function, Life, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, STATUS};

pub use model::row_of;
pub use table::{LIFE, TABLE};

/// The entity.
#[derive(Debug)]
pub struct Trajectory;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("trajectory", slot))
}

/// Agents are plain ids here: no foreign key.
fn agent(ids: Ids) -> BoxedStrategy<Value> {
    (0usize..3)
        .prop_map(move |slot| Value::Uuid(ids.of("agent", slot)))
        .boxed()
}

/// A create with nothing but a name, for rows that other entities refer to.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_trajectory_create")
        .arg("name", Value::Text(format!("task {slot}")))
        .arg("id", id(ids, slot))
}

impl Entity for Trajectory {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn setup(&self, _ids: &Ids) -> Vec<Call> {
        Vec::new()
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let parent = if slot == 0 {
            Just(None).boxed()
        } else {
            // The row before, more often than not: deep trees.
            prop_oneof![
                2 => Just(None),
                2 => Just(Some(slot - 1)),
                1 => (0..slot).prop_map(Some),
            ]
            .boxed()
        };
        (
            text::some_text(),
            text::optional(text::any_text()),
            text::optional(agent(ids)),
            parent,
            text::optional(text::json_value()),
        )
            .prop_map(move |(name, description, agent, parent, metadata)| {
                Call::new("caliber_trajectory_create")
                    .arg("name", name)
                    .maybe("description", description)
                    .maybe("agent_id", agent)
                    .maybe(
                        "parent_trajectory_id",
                        parent.map(|parent| id(&ids, parent)),
                    )
                    .maybe("metadata", metadata)
                    .arg("id", id(&ids, slot))
            })
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let parent = prop_oneof![1 => Just(Value::Null), 3 => (0..rows.max(1)).prop_map(move |slot| id(&ids, slot))];
        let update = text::updates(vec![
            text::some_text()
                .prop_map(|name| text::member("name", &name))
                .boxed(),
            prop_oneof![Just(Value::Null), text::any_text()]
                .prop_map(|text| text::member("description", &text))
                .boxed(),
            prop_oneof![Just(Value::Null), agent(ids)]
                .prop_map(|agent| text::member("agent_id", &agent))
                .boxed(),
            parent
                .prop_map(|parent| text::member("parent_trajectory_id", &parent))
                .boxed(),
            text::json_value()
                .prop_map(|json| text::member("outcome", &json))
                .boxed(),
            text::json_value()
                .prop_map(|json| text::member("metadata", &json))
                .boxed(),
        ])
        .prop_map(move |updates| {
            Call::new("caliber_trajectory_update")
                .arg("trajectory_id", id(&ids, slot))
                .arg("updates", Value::Json(updates))
        });
        let set_status = (
            prop::sample::select(STATUS),
            text::optional(text::json_value()),
        )
            .prop_map(move |(status, outcome)| {
                Call::new("caliber_trajectory_set_status")
                    .arg("trajectory_id", id(&ids, slot))
                    .arg("status", Value::Text(status.to_owned()))
                    .maybe("outcome", outcome)
            });
        prop_oneof![3 => update, 2 => set_status].boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let which = prop_oneof![
            prop::sample::select(STATUS).prop_map(|status| {
                Call::new("caliber_trajectory_list_by_status")
                    .arg("status", Value::Text(status.to_owned()))
            }),
            prop::sample::select(keys.clone())
                .prop_map(
                    |key| Call::new("caliber_trajectory_list_children").arg("trajectory_id", key)
                ),
            (0usize..4).prop_map(move |slot| {
                Call::new("caliber_trajectory_list_by_agent")
                    .arg("agent_id", Value::Uuid(ids.of("agent", slot)))
            }),
        ];
        (which, text::page(keys))
            .prop_map(|(call, (max_rows, after))| {
                call.maybe("max_rows", max_rows).maybe("after", after)
            })
            .boxed()
    }

    fn bad_updates(&self, ids: &Ids) -> Option<BoxedStrategy<String>> {
        let absent = ids.of("trajectory", ABSENT);
        let updates = prop::sample::select(vec![
            r#"{"name": null}"#.to_owned(),
            r#"{"name": ""}"#.to_owned(),
            r#"{"name": 3}"#.to_owned(),
            r#"{"description": ["x"]}"#.to_owned(),
            r#"{"agent_id": "not a uuid"}"#.to_owned(),
            r#"{"agent_id": 7}"#.to_owned(),
            r#"{"parent_trajectory_id": {}}"#.to_owned(),
            format!(r#"{{"parent_trajectory_id": "{absent}"}}"#),
            r#"{"status": "failed"}"#.to_owned(),
            r#"{"created_at": "2020-01-01"}"#.to_owned(),
            r#"{"trajectory_id": null}"#.to_owned(),
            r#"{"name": "x", "root_trajectory_id": null}"#.to_owned(),
        ]);
        Some(updates.boxed())
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        prop_oneof![
            // A parent that does not exist.
            Just(plain(&ids, SLOTS).with("parent_trajectory_id", id(&ids, ABSENT))),
            // Its own parent.
            Just(plain(&ids, SLOTS).with("parent_trajectory_id", id(&ids, SLOTS))),
        ]
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn life(&self) -> Option<&'static Life> {
        Some(&LIFE)
    }

    fn checks(&self, row: &Row) -> bool {
        let parent = row.id(&TABLE, "parent_trajectory_id");
        parent.is_none() || parent != row.id(&TABLE, "trajectory_id")
    }
}

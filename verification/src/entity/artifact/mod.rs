//! Artifact: typed output that outlives its scope. `api.md` §2, requirements
//! R3.1 … R3.6.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::{scope, task};
use super::{embedding, scene, text, ttl, Entity, Function, Table};
use crate::model::{Args, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{EXTRACTION, FUNCTIONS, HELPERS, KIND};

pub use table::TABLE;

/// The entity.
#[derive(Debug)]
pub struct Artifact;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("artifact", slot))
}

/// A few types, so that many rows have one.
fn kind() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => prop::sample::select(&KIND[..2]),
        1 => prop::sample::select(KIND),
    ]
    .prop_map(Value::of)
    .boxed()
}

/// A slot's scope; scope n is of task n mod 2.
fn scope_of(slot: usize) -> usize {
    slot % scene::SCOPES
}

/// A create with nothing but what is required.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_artifact_create")
        .arg("trajectory_id", task(ids, scope_of(slot) % 2))
        .arg("scope_id", scope(ids, scope_of(slot)))
        .arg("artifact_type", Value::of("fact"))
        .arg("name", Value::Text(format!("artifact {slot}")))
        .arg("content", Value::of("content"))
        .arg("id", id(ids, slot))
}

fn confidence() -> BoxedStrategy<Value> {
    prop::sample::select(vec![
        "0", "1", "0.5", "0.1", "0.999999", "0.333333", "1e-10",
    ])
    .prop_map(|text| Value::Real(text.to_owned()))
    .boxed()
}

fn artifact(ids: Ids, slot: usize) -> BoxedStrategy<Call> {
    let source = (
        proptest::option::of(prop_oneof![
            Just(0i64),
            0i64..100,
            Just(i64::from(i32::MAX))
        ]),
        proptest::option::of(prop::sample::select(EXTRACTION).prop_map(Value::of)),
        text::optional(confidence()),
    );
    (
        kind(),
        text::some_text(),
        text::any_text(),
        source,
        proptest::option::of(ttl::of_artifact()),
        text::optional(embedding::of_row(slot)),
        text::optional(text::json_value()),
    )
        .prop_map(
            move |(kind, name, content, (turn, method, confidence), ttl, embedding, metadata)| {
                plain(&ids, slot)
                    .with("artifact_type", kind)
                    .with("name", name)
                    .with("content", content)
                    .maybe("source_turn", turn.map(Value::Int))
                    .maybe("extraction_method", method)
                    .maybe("confidence", confidence)
                    .maybe("ttl", ttl)
                    .maybe("embedding", embedding)
                    .maybe("metadata", metadata)
            },
        )
        .boxed()
}

/// Several at once, into the scope of `slot`.
fn many(ids: Ids, slot: usize) -> BoxedStrategy<Call> {
    let element = (20usize..32)
        .prop_flat_map(move |slot| artifact(ids, slot))
        .prop_map(|call| text::object(&call, &["trajectory_id", "scope_id"]));
    proptest::collection::vec(element, 0..4)
        .prop_map(move |elements| {
            let (name, json) = ("artifacts", format!("[{}]", elements.join(", ")));
            into_scope(ids, slot).arg(name, Value::Json(json))
        })
        .boxed()
}

fn into_scope(ids: Ids, slot: usize) -> Call {
    Call::new("caliber_artifact_create_many")
        .arg("trajectory_id", task(&ids, scope_of(slot) % 2))
        .arg("scope_id", scope(&ids, scope_of(slot)))
}

impl Entity for Artifact {
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
        let mut calls = scene::tasks(ids);
        calls.extend(scene::scopes(ids));
        calls
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        artifact(*ids, slot)
    }

    fn change(&self, ids: &Ids, slot: usize, rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move |name: &str| Call::new(name).arg("artifact_id", id(&ids, slot));
        let newer = prop_oneof![
            1 => Just(Value::Null),
            3 => (0..rows.max(1)).prop_map(move |slot| id(&ids, slot)),
        ];
        let update = text::updates(vec![
            text::some_text()
                .prop_map(|name| text::member("name", &name))
                .boxed(),
            text::any_text()
                .prop_map(|content| text::member("content", &content))
                .boxed(),
            text::embedding_member(embedding::of_row(slot)),
            newer
                .prop_map(|newer| text::member("superseded_by", &newer))
                .boxed(),
            ttl::of_artifact()
                .prop_map(|ttl| text::member("ttl", &ttl))
                .boxed(),
            text::json_value()
                .prop_map(|json| text::member("metadata", &json))
                .boxed(),
        ])
        .prop_map(move |updates| {
            of("caliber_artifact_update").arg("updates", Value::Json(updates))
        });
        let close = Call::new("caliber_scope_close").arg("scope_id", scope(&ids, scope_of(slot)));
        let spoil = ttl::unreadable()
            .prop_map(move |ttl| of("verification.put_ttl_artifact").arg("ttl", ttl));
        prop_oneof![
            8 => update,
            2 => many(ids, slot),
            1 => Just(of("verification.age_artifact")),
            1 => spoil,
            1 => Just(close),
        ]
        .boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let tasks =
            move || prop::sample::select(vec![0, 1, ABSENT]).prop_map(move |slot| task(&ids, slot));
        let by_type = (tasks(), kind()).prop_map(|(task, kind)| {
            Call::new("caliber_artifact_query_by_type")
                .arg("trajectory_id", task)
                .arg("artifact_type", kind)
        });
        let by_scope = prop::sample::select(vec![0, 1, 2, ABSENT]).prop_map(move |slot| {
            Call::new("caliber_artifact_query_by_scope").arg("scope_id", scope(&ids, slot))
        });
        let list = (prop_oneof![by_type, by_scope], text::page(keys)).prop_map(
            |(call, (max_rows, after))| call.maybe("max_rows", max_rows).maybe("after", after),
        );
        // The index is for three dimensions; within a task any will do.
        let search = prop_oneof![
            3 => embedding::query(3).prop_map(|query| (query, None)),
            1 => embedding::query(2).prop_map(|query| (query, None)),
            2 => (embedding::query(3), tasks()).prop_map(|(query, task)| (query, Some(task))),
            1 => (embedding::query(2), tasks()).prop_map(|(query, task)| (query, Some(task))),
        ];
        let search = (search, embedding::count()).prop_map(|((query, task), k)| {
            Call::new("caliber_artifact_search")
                .arg("query", query)
                .maybe("k", k)
                .maybe("trajectory_id", task)
        });
        prop_oneof![3 => list, 2 => search].boxed()
    }

    fn bad_updates(&self, ids: &Ids) -> Option<BoxedStrategy<String>> {
        let absent = ids.of("artifact", ABSENT);
        let updates = prop::sample::select(vec![
            r#"{"name": null}"#.to_owned(),
            r#"{"name": ""}"#.to_owned(),
            r#"{"content": null}"#.to_owned(),
            r#"{"content": 1}"#.to_owned(),
            r#"{"ttl": null}"#.to_owned(),
            r#"{"ttl": "duration:0"}"#.to_owned(),
            r#"{"ttl": ""}"#.to_owned(),
            r#"{"embedding": "no vector"}"#.to_owned(),
            r#"{"embedding": 3}"#.to_owned(),
            r#"{"embedding": ["1", "2"]}"#.to_owned(),
            r#"{"embedding": [1, null]}"#.to_owned(),
            r#"{"embedding": {}}"#.to_owned(),
            r#"{"superseded_by": "no uuid"}"#.to_owned(),
            format!(r#"{{"superseded_by": "{absent}"}}"#),
            r#"{"content_hash": "x"}"#.to_owned(),
            r#"{"provenance": {}}"#.to_owned(),
            r#"{"name": "x", "artifact_type": "plan"}"#.to_owned(),
        ]);
        Some(updates.boxed())
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let element = |members: &str| {
            let json = format!(
                r#"[{{"artifact_type": "plan", "name": "x", "content": "x", "id": "{}"}}, {{"id": "{}", {members}}}]"#,
                ids.of("artifact", 50),
                ids.of("artifact", 51)
            );
            into_scope(ids, 0).arg("artifacts", Value::Json(json))
        };
        let rest = r#""artifact_type": "fact", "name": "y", "content": "y""#;
        prop::sample::select(vec![
            plain(&ids, SLOTS).with("scope_id", scope(&ids, ABSENT)),
            // A scope of another task.
            plain(&ids, SLOTS).with("trajectory_id", task(&ids, 2)),
            element(r#""name": "y", "content": "y""#),
            element(r#""artifact_type": "fact", "name": "", "content": "y""#),
            element(r#""artifact_type": "poem", "name": "y", "content": "y""#),
            element(&format!(r#"{rest}, "ttl": "never""#)),
            element(&format!(r#"{rest}, "ttl": null"#)),
            element(&format!(r#"{rest}, "confidence": 2"#)),
            element(&format!(r#"{rest}, "confidence": "0.5""#)),
            element(&format!(r#"{rest}, "source_turn": -1"#)),
            element(&format!(r#"{rest}, "embedding": "x""#)),
            element(&format!(r#"{rest}, "trajectory_id": null"#)),
            element(&format!(r#"{rest}, "superseded_by": null"#)),
            into_scope(ids, 0)
                .with("scope_id", scope(&ids, ABSENT))
                .arg(
                    "artifacts",
                    Value::Json(format!(
                        "[{{{rest}, \"id\": \"{}\"}}]",
                        ids.of("artifact", 50)
                    )),
                ),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }
}

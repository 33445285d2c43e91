//! Note: knowledge across trajectories. `api.md` §2, requirements R4.1 … R4.5.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::{embedding, text, ttl, Entity, Function, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, HELPERS, KIND, LEVEL};
use uuid::Uuid;

pub use table::TABLE;

/// The entity.
#[derive(Debug)]
pub struct Note;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("note", slot))
}

/// A few ids of what a note comes from; nobody checks them.
fn sources(ids: &Ids, of: &str) -> Vec<Uuid> {
    (0..5).map(|slot| ids.of(of, slot)).collect()
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

/// A create with nothing but what is required.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_note_create")
        .arg("note_type", Value::of("fact"))
        .arg("title", Value::Text(format!("note {slot}")))
        .arg("content", Value::of("content"))
        .arg("id", id(ids, slot))
}

impl Entity for Note {
    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn helpers(&self) -> &'static [Function] {
        HELPERS
    }

    fn setup(&self, _ids: &Ids) -> Vec<Call> {
        Vec::new()
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let from = move |of: &str| proptest::option::of(text::id_array(sources(&ids, of)));
        (
            kind(),
            (text::some_text(), text::any_text()),
            from("trajectory"),
            from("artifact"),
            proptest::option::of(ttl::of_note()),
            text::optional(embedding::of_row(slot)),
            proptest::option::of(prop::sample::select(LEVEL).prop_map(Value::of)),
            from("note"),
            text::optional(text::json_value()),
        )
            .prop_map(
                move |(
                    kind,
                    (title, content),
                    tasks,
                    artifacts,
                    ttl,
                    embedding,
                    level,
                    notes,
                    metadata,
                )| {
                    plain(&ids, slot)
                        .with("note_type", kind)
                        .with("title", title)
                        .with("content", content)
                        .maybe("source_trajectory_ids", tasks)
                        .maybe("source_artifact_ids", artifacts)
                        .maybe("ttl", ttl)
                        .maybe("embedding", embedding)
                        .maybe("abstraction_level", level)
                        .maybe("source_note_ids", notes)
                        .maybe("metadata", metadata)
                },
            )
            .boxed()
    }

    fn change(&self, ids: &Ids, slot: usize, rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move |name: &str| Call::new(name).arg("note_id", id(&ids, slot));
        let newer = prop_oneof![
            1 => Just(Value::Null),
            3 => (0..rows.max(1)).prop_map(move |slot| id(&ids, slot)),
        ];
        let update = text::updates(vec![
            text::some_text()
                .prop_map(|title| text::member("title", &title))
                .boxed(),
            text::any_text()
                .prop_map(|content| text::member("content", &content))
                .boxed(),
            text::embedding_member(embedding::of_row(slot)),
            newer
                .prop_map(|newer| text::member("superseded_by", &newer))
                .boxed(),
            ttl::of_note()
                .prop_map(|ttl| text::member("ttl", &ttl))
                .boxed(),
            text::json_value()
                .prop_map(|json| text::member("metadata", &json))
                .boxed(),
        ])
        .prop_map(move |updates| of("caliber_note_update").arg("updates", Value::Json(updates)));
        let unreadable = prop_oneof![
            ttl::unreadable(),
            prop::sample::select(vec!["scope", "ephemeral"]).prop_map(Value::of),
        ];
        let spoil = unreadable.prop_map(move |ttl| of("verification.put_ttl_note").arg("ttl", ttl));
        prop_oneof![
            6 => update,
            3 => Just(of("caliber_note_touch")),
            1 => Just(of("verification.age_note")),
            1 => spoil,
        ]
        .boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let keys: Vec<Value> = (0..SLOTS)
            .chain([ABSENT])
            .map(|slot| id(&ids, slot))
            .collect();
        let by_source = (0usize..6).prop_map(move |slot| {
            Call::new("caliber_note_query_by_trajectory")
                .arg("trajectory_id", Value::Uuid(ids.of("trajectory", slot)))
        });
        let by_type =
            kind().prop_map(|kind| Call::new("caliber_note_list_by_type").arg("note_type", kind));
        let list = (prop_oneof![3 => by_source, 2 => by_type], text::page(keys)).prop_map(
            |(call, (max_rows, after))| call.maybe("max_rows", max_rows).maybe("after", after),
        );
        let query = prop_oneof![4 => embedding::query(3), 1 => embedding::query(2)];
        let search = (query, embedding::count()).prop_map(|(query, k)| {
            Call::new("caliber_note_search")
                .arg("query", query)
                .maybe("k", k)
        });
        prop_oneof![3 => list, 1 => search].boxed()
    }

    fn bad_updates(&self, ids: &Ids) -> Option<BoxedStrategy<String>> {
        let absent = ids.of("note", ABSENT);
        let updates = prop::sample::select(vec![
            r#"{"title": null}"#.to_owned(),
            r#"{"title": ""}"#.to_owned(),
            r#"{"content": null}"#.to_owned(),
            r#"{"content": false}"#.to_owned(),
            r#"{"ttl": null}"#.to_owned(),
            r#"{"ttl": "scope"}"#.to_owned(),
            r#"{"ttl": "ephemeral"}"#.to_owned(),
            r#"{"ttl": "max:0"}"#.to_owned(),
            r#"{"embedding": "[1,2"}"#.to_owned(),
            r#"{"embedding": true}"#.to_owned(),
            r#"{"superseded_by": 1}"#.to_owned(),
            format!(r#"{{"superseded_by": "{absent}"}}"#),
            r#"{"access_count": 1}"#.to_owned(),
            r#"{"source_trajectory_ids": []}"#.to_owned(),
            r#"{"title": "x", "abstraction_level": "raw"}"#.to_owned(),
        ]);
        Some(updates.boxed())
    }

    /// Step 4 refuses nothing that a create can give; so these are updates.
    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let absent = Value::Json(format!(
            r#"{{"superseded_by": "{}"}}"#,
            ids.of("note", ABSENT)
        ));
        prop::sample::select(vec![
            plain(&ids, SLOTS).with("ttl", Value::of("scope")),
            plain(&ids, SLOTS).with("ttl", Value::of("ephemeral")),
            Call::new("caliber_note_update")
                .arg("note_id", id(&ids, 0))
                .arg("updates", absent),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn checks(&self, row: &Row) -> bool {
        matches!(row.cell(&TABLE, "access_count"), Value::Int(count) if *count >= 0)
    }
}

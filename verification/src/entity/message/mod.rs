//! Message: to an agent, to any one agent of a type, or to everybody. `api.md`
//! §2, requirements R7.1 … R7.5.

mod model;
mod table;

use super::ids::{Ids, ABSENT, SLOTS};
use super::scene::{agent, scope, task, TYPES};
use super::{scene, text, Entity, Function, Table};
use crate::model::{Args, Row, Verdict, World};
use crate::plan::Call;
use crate::value::Value;
use proptest::prelude::*;
use table::{FUNCTIONS, HELPERS, KIND, PRIORITY};
use uuid::Uuid;

pub use table::TABLE;

/// The entity.
#[derive(Debug)]
pub struct Message;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("message", slot))
}

/// A send to an agent, with nothing but what is required.
#[must_use]
pub fn plain(ids: &Ids, slot: usize) -> Call {
    Call::new("caliber_message_send")
        .arg("from_agent_id", agent(ids, 0))
        .arg("to_agent_id", agent(ids, 1))
        .arg("to_agent_type", Value::Null)
        .arg("message_type", Value::of("interrupt"))
        .arg("payload", Value::Text(format!("message {slot}")))
        .arg("id", id(ids, slot))
}

/// An agent, a type, or everybody.
fn target(ids: Ids) -> BoxedStrategy<(Value, Value)> {
    prop_oneof![
        3 => (0usize..3).prop_map(move |slot| (agent(&ids, slot), Value::Null)),
        3 => prop::sample::select(&TYPES[..]).prop_map(|name| (Value::Null, Value::of(name))),
        1 => text::some_short_text().prop_map(|name| (Value::Null, name)),
        2 => Just((Value::Null, Value::Null)),
    ]
    .boxed()
}

/// What it is about: nothing, a task, or a scope of a task.
fn about(ids: Ids) -> BoxedStrategy<(Option<Value>, Option<Value>)> {
    prop_oneof![
        2 => Just((None, None)),
        1 => Just((Some(Value::Null), Some(Value::Null))),
        2 => (0usize..3).prop_map(move |slot| (Some(task(&ids, slot)), None)),
        2 => (0usize..3).prop_map(move |slot| (Some(task(&ids, slot % 2)), Some(scope(&ids, slot)))),
    ]
    .boxed()
}

fn message(ids: Ids, slot: usize) -> BoxedStrategy<Call> {
    let artifacts: Vec<Uuid> = (0..4).map(|slot| ids.of("artifact", slot)).collect();
    (
        (0..scene::AGENTS).prop_map(move |slot| agent(&ids, slot)),
        target(ids),
        prop::sample::select(KIND),
        text::any_text(),
        about(ids),
        proptest::option::of(text::id_array(artifacts)),
        proptest::option::of(prop::sample::select(PRIORITY).prop_map(Value::of)),
        text::optional(text::moment()),
    )
        .prop_map(
            move |(
                from,
                (to, to_type),
                kind,
                payload,
                (task, scope),
                artifacts,
                priority,
                expires,
            )| {
                Call::new("caliber_message_send")
                    .arg("from_agent_id", from)
                    .arg("to_agent_id", to)
                    .arg("to_agent_type", to_type)
                    .arg("message_type", Value::of(kind))
                    .arg("payload", payload)
                    .maybe("trajectory_id", task)
                    .maybe("scope_id", scope)
                    .maybe("artifact_ids", artifacts)
                    .maybe("priority", priority)
                    .maybe("expires_at", expires)
                    .arg("id", id(&ids, slot))
            },
        )
        .boxed()
}

fn many(ids: Ids) -> BoxedStrategy<Call> {
    let element = (20usize..32)
        .prop_flat_map(move |slot| message(ids, slot))
        .prop_map(|call| text::object(&call, &[]));
    proptest::collection::vec(element, 0..4)
        .prop_map(|elements| of_elements(&elements))
        .boxed()
}

fn of_elements(elements: &[String]) -> Call {
    let json = format!("[{}]", elements.join(", "));
    Call::new("caliber_message_send_many").arg("messages", Value::Json(json))
}

impl Entity for Message {
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
        calls.extend(scene::agents(ids));
        calls
    }

    fn create(&self, ids: &Ids, slot: usize) -> BoxedStrategy<Call> {
        message(*ids, slot)
    }

    /// It is acknowledged, received with others, or purged.
    fn change(&self, ids: &Ids, slot: usize, _rows: usize) -> BoxedStrategy<Call> {
        let ids = *ids;
        let of = move |name: &str| Call::new(name).arg("message_id", id(&ids, slot));
        let receive = (
            prop::sample::select(vec![0usize, 1, 2, 3, ABSENT]),
            proptest::option::of(prop_oneof![0i64..4, Just(i64::from(i32::MAX))]),
            text::optional(text::interval()),
        )
            .prop_map(move |(receiver, most, again)| {
                Call::new("caliber_message_receive")
                    .arg("agent_id", agent(&ids, receiver))
                    .maybe("max_rows", most.map(Value::Int))
                    .maybe("redeliver_after", again)
            });
        // Which ones it leaves, were there more than it may take, nobody says.
        let purge = (
            prop::sample::select(vec![
                "1998-01-01 00:00:00+00",
                "2001-01-01 00:00:00+00",
                "2050-01-01 00:00:00+00",
            ]),
            prop::sample::select(vec![None, Some(0), Some(10_000)]),
        )
            .prop_map(|(before, most)| {
                Call::new("caliber_message_purge")
                    .arg("before", Value::Time(before.to_owned()))
                    .maybe("max_rows", most.map(Value::Int))
            });
        prop_oneof![
            5 => Just(of("caliber_message_acknowledge")),
            5 => receive,
            2 => many(ids),
            1 => purge,
            1 => Just(of("verification.age_message")),
        ]
        .boxed()
    }

    fn list(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        (
            prop::sample::select(vec![0usize, 1, 2, 3, ABSENT]),
            proptest::option::of(proptest::bool::ANY.prop_map(Value::Bool)),
            text::max_rows(),
        )
            .prop_map(move |(reader, unacknowledged, max_rows)| {
                Call::new("caliber_message_list_for_agent")
                    .arg("agent_id", agent(&ids, reader))
                    .maybe("unacknowledged_only", unacknowledged)
                    .maybe("max_rows", max_rows)
            })
            .boxed()
    }

    fn bad_create(&self, ids: &Ids) -> BoxedStrategy<Call> {
        let ids = *ids;
        let plain = || plain(&ids, SLOTS);
        let element = |members: &str| {
            let good = text::object(&self::plain(&ids, 50), &[]);
            of_elements(&[
                good,
                format!(r#"{{"id": "{}", {members}}}"#, ids.of("message", 51)),
            ])
        };
        let from = format!(r#""from_agent_id": "{}""#, ids.of("agent", 0));
        let rest = format!(r#"{from}, "message_type": "heartbeat", "payload": "x""#);
        prop::sample::select(vec![
            plain().with("to_agent_type", Value::of("coder")),
            plain().with("from_agent_id", agent(&ids, ABSENT)),
            plain().with("to_agent_id", agent(&ids, ABSENT)),
            plain().with("trajectory_id", task(&ids, ABSENT)),
            plain().with("scope_id", scope(&ids, 0)),
            plain()
                .with("scope_id", scope(&ids, 0))
                .with("trajectory_id", task(&ids, 2)),
            element(r#""message_type": "heartbeat", "payload": "x""#),
            element(&from),
            element(&format!(r#"{rest}, "to_agent_type": """#)),
            element(&format!(r#"{rest}, "priority": "urgent""#)),
            element(&format!(r#"{rest}, "artifact_ids": "x""#)),
            element(&format!(r#"{rest}, "artifact_ids": [1]"#)),
            element(&format!(r#"{rest}, "artifact_ids": null"#)),
            element(&format!(r#"{rest}, "expires_at": 3"#)),
            element(&format!(r#"{rest}, "expires_at": "soon""#)),
            element(&format!(r#"{rest}, "received_by": null"#)),
            // What the table refuses.
            element(&format!(
                r#"{rest}, "to_agent_id": "{}", "to_agent_type": "coder""#,
                ids.of("agent", 1)
            )),
            element(&format!(
                r#"{rest}, "to_agent_id": "{}""#,
                ids.of("agent", ABSENT)
            )),
        ])
        .boxed()
    }

    fn judge(&self, world: &World, args: &Args<'_>) -> Verdict {
        model::judge(world, args)
    }

    fn checks(&self, row: &Row) -> bool {
        let null = |column| row.cell(&TABLE, column).is_null();
        (null("to_agent_id") || null("to_agent_type"))
            && (null("scope_id") || !null("trajectory_id"))
    }
}

//! Scope: a context window inside a trajectory. `api.md` §2, requirements R2.1 … R2.6.

use super::ids::{Ids, ABSENT, SLOTS};
use super::{
    btree, column, made, optional, required, text, trajectory, Entity, ForeignKey, Function, Index,
    Kind, Param, Shape, Table, PAGE,
};
use crate::model::{
    self, check_arguments, Answer, Args, Client, Expect, Refusal, Row, Updates, Verdict, World,
};
use crate::plan::Call;
use crate::value::{Type, Value};
use proptest::prelude::*;

const UPDATABLE: &[&str] = &["name", "purpose", "checkpoint", "token_budget", "metadata"];
const ID: Param = required("scope_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "scope",
    name: "caliber_scope",
    key: "scope_id",
    columns: &[
        column("scope_id", Type::Uuid).not_null(),
        column("trajectory_id", Type::Uuid).not_null(),
        column("parent_scope_id", Type::Uuid),
        column("name", Type::Text).not_null(),
        column("purpose", Type::Text),
        column("is_active", Type::Bool).not_null(),
        made("created_at").not_null(),
        made("closed_at"),
        column("checkpoint", Type::Json),
        column("token_budget", Type::Int).not_null(),
        column("tokens_used", Type::Int).not_null(),
        column("metadata", Type::Json),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        ForeignKey {
            columns: &["trajectory_id"],
            parent: "trajectory",
            parent_columns: &["trajectory_id"],
        },
        ForeignKey {
            columns: &["trajectory_id", "parent_scope_id"],
            parent: "scope",
            parent_columns: &["trajectory_id", "scope_id"],
        },
    ],
};

const INDEXES: &[Index] = &[
    btree(&["scope_id"]).unique(),
    btree(&["trajectory_id", "scope_id"]).unique(),
    btree(&["trajectory_id", "scope_id"]).only("is_active"),
    btree(&["parent_scope_id"]).only("parent_scope_id IS NOT NULL"),
];

static FUNCTIONS: &[Function] = &[
    Function {
        name: "caliber_scope_create",
        shape: Shape::Scalar,
        kind: Kind::Create,
        params: &[
            required("trajectory_id"),
            required("name").not_empty(),
            optional("purpose"),
            required("token_budget").default_int(8000),
            optional("parent_scope_id"),
            optional("metadata"),
            optional("id"),
        ],
    },
    Function {
        name: "caliber_scope_get",
        shape: Shape::Row,
        kind: Kind::Get,
        params: &[ID.or_null()],
    },
    Function {
        name: "caliber_scope_get_current",
        shape: Shape::Row,
        kind: Kind::List,
        params: &[required("trajectory_id")],
    },
    Function {
        name: "caliber_scope_close",
        shape: Shape::Scalar,
        kind: Kind::Verb,
        params: &[ID],
    },
    Function {
        name: "caliber_scope_list_by_trajectory",
        shape: Shape::Set,
        kind: Kind::List,
        params: &[required("trajectory_id"), PAGE[0], PAGE[1]],
    },
    Function {
        name: "caliber_scope_update_tokens",
        shape: Shape::Scalar,
        kind: Kind::Verb,
        params: &[ID, required("tokens_used")],
    },
    Function {
        name: "caliber_scope_update",
        shape: Shape::Scalar,
        kind: Kind::Update,
        params: &[ID, required("updates")],
    },
    Function {
        name: "caliber_scope_delete",
        shape: Shape::Scalar,
        kind: Kind::Delete,
        params: &[ID],
    },
];

/// Trajectories that [`Entity::setup`] makes.
const TRAJECTORIES: usize = 3;

/// The entity.
#[derive(Debug)]
pub struct Scope;

fn id(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("scope", slot))
}

fn task(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("trajectory", slot))
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
        (0..TRAJECTORIES)
            .map(|slot| trajectory::plain(ids, slot))
            .collect()
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

    fn bad_updates(&self, _ids: &Ids) -> BoxedStrategy<String> {
        prop::sample::select(vec![
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
        .prop_map(str::to_owned)
        .boxed()
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

    fn judge(&self, world: &World, call: &Call) -> Verdict {
        let Some((_, function)) = super::function(&call.function) else {
            return model::refused(Refusal::Checked("42883"));
        };
        let args = Args::new(function, call);
        match function.name {
            "caliber_scope_get" => return model::get(self, world, args.id("scope_id")),
            "caliber_scope_delete" => return model::delete(self, world, function, call),
            _ => {}
        }
        if let Err(sqlstate) = check_arguments(function, call) {
            return model::refused(Refusal::Checked(sqlstate));
        }
        match function.name {
            "caliber_scope_create" => create(world, &args),
            "caliber_scope_update" => update(world, &args),
            "caliber_scope_close" => close(world, &args),
            "caliber_scope_update_tokens" => update_tokens(world, &args),
            "caliber_scope_get_current" => current(world, &args),
            _ => {
                let task = args.value("trajectory_id");
                let condition = format!("trajectory_id = {}", task.sql());
                model::list(self, world, function, call, &condition, |row| {
                    *row.cell(&TABLE, "trajectory_id") == task
                })
            }
        }
    }

    fn checks(&self, row: &Row) -> bool {
        let positive =
            matches!(row.cell(&TABLE, "token_budget"), Value::Int(budget) if *budget > 0);
        positive && matches!(row.cell(&TABLE, "tokens_used"), Value::Int(used) if *used >= 0)
    }
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let row = Row::new(&TABLE)
        .with(&TABLE, "scope_id", args.value("id"))
        .with(&TABLE, "trajectory_id", args.value("trajectory_id"))
        .with(&TABLE, "parent_scope_id", args.value("parent_scope_id"))
        .with(&TABLE, "name", args.value("name"))
        .with(&TABLE, "purpose", args.value("purpose"))
        .with(&TABLE, "is_active", Value::Bool(true))
        .with(&TABLE, "created_at", world.now())
        .with(&TABLE, "token_budget", args.value("token_budget"))
        .with(&TABLE, "tokens_used", Value::Int(0))
        .with(&TABLE, "metadata", args.value("metadata"));
    model::insert(&Scope, world, row)
}

fn look(args: &Args<'_>) -> String {
    format!(
        "SELECT x FROM caliber_scope x WHERE scope_id = {}",
        args.value("scope_id").sql()
    )
}

fn update(world: &World, args: &Args<'_>) -> Verdict {
    let changes = match Updates::read(&TABLE, UPDATABLE, &["name"], &args.value("updates")) {
        Ok(updates) => updates.changes,
        Err(refusal) => return model::refused(refusal),
    };
    let Some(id) = args.id("scope_id") else {
        return model::refused(Refusal::Checked("22004"));
    };
    if changes.is_empty() {
        // No updated_at here: `{}` writes nothing and says whether the row exists.
        return model::present(vec![look(args)], world.row(&TABLE, id).is_some());
    }
    model::update(&Scope, world, id, &changes)
}

fn close(world: &World, args: &Args<'_>) -> Verdict {
    let Some(id) = args.id("scope_id") else {
        return model::refused(Refusal::Checked("22004"));
    };
    match world.row(&TABLE, id) {
        Some(row) if *row.cell(&TABLE, "is_active") == Value::Bool(true) => {
            let changes = [
                ("is_active", Value::Bool(false)),
                ("closed_at", world.now()),
            ];
            model::moved(&Scope, world, id, &["is_active"], &changes)
        }
        _ => model::present(vec![look(args)], false),
    }
}

fn update_tokens(world: &World, args: &Args<'_>) -> Verdict {
    let Some(id) = args.id("scope_id") else {
        return model::refused(Refusal::Checked("22004"));
    };
    match world.row(&TABLE, id) {
        None => model::present(vec![look(args)], false),
        Some(row) if *row.cell(&TABLE, "is_active") == Value::Bool(false) => {
            model::refused(Refusal::Checked("55000"))
        }
        Some(_) => {
            let changes = [("tokens_used", args.value("tokens_used"))];
            model::moved(&Scope, world, id, &["is_active"], &changes)
        }
    }
}

/// The greatest id among the active scopes of a trajectory.
fn current(world: &World, args: &Args<'_>) -> Verdict {
    let task = args.value("trajectory_id");
    let row = world
        .rows(&TABLE)
        .filter(|(_, row)| *row.cell(&TABLE, "trajectory_id") == task)
        .filter(|(_, row)| *row.cell(&TABLE, "is_active") == Value::Bool(true))
        .last()
        .map(|(_, row)| row.clone());
    let statement = format!(
        "SELECT x FROM caliber_scope x WHERE trajectory_id = {} AND is_active ORDER BY scope_id DESC LIMIT 1",
        task.sql()
    );
    Verdict {
        expect: Expect::Row(row),
        client: Client::Statements(vec![statement], Answer::Row),
        after: None,
    }
}

//! Trajectory: a task. `api.md` §2, requirements R1.1 … R1.7.

use super::ids::{Ids, ABSENT, SLOTS};
use super::{
    btree, column, made, optional, required, text, Entity, ForeignKey, Function, Index, Kind,
    Param, Shape, Table, PAGE,
};
use crate::model::{
    self, check_arguments, Args, Client, Expect, Refusal, Row, Updates, Verdict, World,
};
use crate::plan::Call;
use crate::value::{Type, Value};
use proptest::prelude::*;
use uuid::Uuid;

const STATUS: &[&str] = &["active", "completed", "failed", "suspended"];
const UPDATABLE: &[&str] = &[
    "name",
    "description",
    "agent_id",
    "parent_trajectory_id",
    "outcome",
    "metadata",
];
const ID: Param = required("trajectory_id");

/// The table.
pub static TABLE: Table = Table {
    entity: "trajectory",
    name: "caliber_trajectory",
    key: "trajectory_id",
    columns: &[
        column("trajectory_id", Type::Uuid).not_null(),
        column("name", Type::Text).not_null(),
        column("description", Type::Text),
        column("status", Type::Text).not_null(),
        column("parent_trajectory_id", Type::Uuid),
        column("root_trajectory_id", Type::Uuid),
        column("agent_id", Type::Uuid),
        made("created_at").not_null(),
        made("updated_at").not_null(),
        made("completed_at"),
        column("outcome", Type::Json),
        column("metadata", Type::Json),
    ],
    indexes: INDEXES,
    foreign_keys: &[
        ForeignKey {
            columns: &["parent_trajectory_id"],
            parent: "trajectory",
            parent_columns: &["trajectory_id"],
        },
        ForeignKey {
            columns: &["root_trajectory_id"],
            parent: "trajectory",
            parent_columns: &["trajectory_id"],
        },
    ],
};

const INDEXES: &[Index] = &[
    btree(&["trajectory_id"]).unique(),
    btree(&["status", "trajectory_id"]),
    btree(&["parent_trajectory_id", "trajectory_id"]).only("parent_trajectory_id IS NOT NULL"),
    btree(&["agent_id", "trajectory_id"]).only("agent_id IS NOT NULL"),
    btree(&["root_trajectory_id"]).only("root_trajectory_id IS NOT NULL"),
];

static FUNCTIONS: &[Function] = &[
    Function {
        name: "caliber_trajectory_create",
        shape: Shape::Scalar,
        kind: Kind::Create,
        params: &[
            required("name").not_empty(),
            optional("description"),
            optional("agent_id"),
            optional("parent_trajectory_id"),
            optional("metadata"),
            optional("id"),
        ],
    },
    Function {
        name: "caliber_trajectory_get",
        shape: Shape::Row,
        kind: Kind::Get,
        params: &[ID.or_null()],
    },
    Function {
        name: "caliber_trajectory_update",
        shape: Shape::Scalar,
        kind: Kind::Update,
        params: &[ID, required("updates")],
    },
    Function {
        name: "caliber_trajectory_set_status",
        shape: Shape::Scalar,
        kind: Kind::Verb,
        params: &[ID, required("status").one_of(STATUS), optional("outcome")],
    },
    Function {
        name: "caliber_trajectory_list_by_status",
        shape: Shape::Set,
        kind: Kind::List,
        params: &[required("status").one_of(STATUS), PAGE[0], PAGE[1]],
    },
    Function {
        name: "caliber_trajectory_list_children",
        shape: Shape::Set,
        kind: Kind::List,
        params: &[ID, PAGE[0], PAGE[1]],
    },
    Function {
        name: "caliber_trajectory_list_by_agent",
        shape: Shape::Set,
        kind: Kind::List,
        params: &[required("agent_id"), PAGE[0], PAGE[1]],
    },
    Function {
        name: "caliber_trajectory_delete",
        shape: Shape::Scalar,
        kind: Kind::Delete,
        params: &[ID],
    },
];

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

    fn bad_updates(&self, ids: &Ids) -> BoxedStrategy<String> {
        let absent = ids.of("trajectory", ABSENT);
        prop::sample::select(vec![
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
        ])
        .boxed()
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

    fn judge(&self, world: &World, call: &Call) -> Verdict {
        let Some((_, function)) = super::function(&call.function) else {
            return model::refused(Refusal::Checked("42883"));
        };
        let args = Args::new(function, call);
        let key = args.id("trajectory_id");
        match function.name {
            "caliber_trajectory_get" => return model::get(self, world, key),
            "caliber_trajectory_delete" => return model::delete(self, world, function, call),
            _ => {}
        }
        if let Err(sqlstate) = check_arguments(function, call) {
            return model::refused(Refusal::Checked(sqlstate));
        }
        match function.name {
            "caliber_trajectory_create" => create(world, &args),
            "caliber_trajectory_update" => update(world, &args),
            "caliber_trajectory_set_status" => set_status(world, &args),
            "caliber_trajectory_list_by_status" => {
                let status = args.value("status");
                let condition = format!("status = {}", status.sql());
                model::list(self, world, function, call, &condition, |row| {
                    *row.cell(&TABLE, "status") == status
                })
            }
            "caliber_trajectory_list_children" => {
                let parent = args.value("trajectory_id");
                let condition = format!("parent_trajectory_id = {}", parent.sql());
                model::list(self, world, function, call, &condition, |row| {
                    *row.cell(&TABLE, "parent_trajectory_id") == parent
                })
            }
            _ => {
                let agent = args.value("agent_id");
                let condition = format!("agent_id = {}", agent.sql());
                model::list(self, world, function, call, &condition, |row| {
                    *row.cell(&TABLE, "agent_id") == agent
                })
            }
        }
    }

    fn checks(&self, row: &Row) -> bool {
        let parent = row.id(&TABLE, "parent_trajectory_id");
        STATUS.contains(&row.text(&TABLE, "status").as_str())
            && (parent.is_none() || parent != row.id(&TABLE, "trajectory_id"))
    }
}

/// The parent's root, or the parent.
fn root_under(world: &World, parent: Option<Uuid>) -> Value {
    parent.map_or(Value::Null, |parent| {
        let root = world
            .row(&TABLE, parent)
            .and_then(|row| row.id(&TABLE, "root_trajectory_id"));
        Value::Uuid(root.unwrap_or(parent))
    })
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let parent = args.id("parent_trajectory_id");
    let row = Row::new(&TABLE)
        .with(&TABLE, "trajectory_id", args.value("id"))
        .with(&TABLE, "name", args.value("name"))
        .with(&TABLE, "description", args.value("description"))
        .with(&TABLE, "status", Value::Text("active".to_owned()))
        .with(
            &TABLE,
            "parent_trajectory_id",
            args.value("parent_trajectory_id"),
        )
        .with(&TABLE, "root_trajectory_id", root_under(world, parent))
        .with(&TABLE, "agent_id", args.value("agent_id"))
        .with(&TABLE, "created_at", world.now())
        .with(&TABLE, "updated_at", world.now())
        .with(&TABLE, "metadata", args.value("metadata"));
    model::insert(&Trajectory, world, row)
}

fn update(world: &World, args: &Args<'_>) -> Verdict {
    let mut changes = match Updates::read(&TABLE, UPDATABLE, &["name"], &args.value("updates")) {
        Ok(updates) => updates.changes,
        Err(refusal) => return model::refused(refusal),
    };
    let Some(id) = args.id("trajectory_id") else {
        return model::refused(Refusal::Checked("22004"));
    };
    let parent = changes
        .iter()
        .find(|(column, _)| *column == "parent_trajectory_id")
        .map(|(_, value)| value.clone());
    let Some(parent) = parent else {
        changes.push(("updated_at", world.now()));
        return model::update(&Trajectory, world, id, &changes);
    };
    let parent = match parent {
        Value::Uuid(parent) => Some(parent),
        _ => None,
    };
    if world.row(&TABLE, id).is_some() && parent != Some(id) && is_ancestor(world, id, parent) {
        return model::refused(Refusal::Checked("23514"));
    }
    let root = root_under(world, parent);
    changes.push(("root_trajectory_id", root.clone()));
    changes.push(("updated_at", world.now()));
    let verdict = model::update(&Trajectory, world, id, &changes);
    move_descendants(world, verdict, id, &root)
}

/// Whether `id` is `of` or one of its ancestors.
fn is_ancestor(world: &World, id: Uuid, of: Option<Uuid>) -> bool {
    let mut next = of;
    while let Some(current) = next {
        if current == id {
            return true;
        }
        next = world
            .row(&TABLE, current)
            .and_then(|row| row.id(&TABLE, "parent_trajectory_id"));
    }
    false
}

/// The second statement of a change of parent: the descendants get the new root.
fn move_descendants(world: &World, mut verdict: Verdict, id: Uuid, root: &Value) -> Verdict {
    let (Some(after), Some(old)) = (&mut verdict.after, world.row(&TABLE, id)) else {
        return verdict;
    };
    let root = if root.is_null() {
        Value::Uuid(id)
    } else {
        root.clone()
    };
    if old
        .id(&TABLE, "root_trajectory_id")
        .unwrap_or(id)
        .to_string()
        == root.text().unwrap_or_default()
    {
        return verdict;
    }
    let mut descendants = Vec::new();
    let mut seeds = vec![id];
    while let Some(seed) = seeds.pop() {
        let children: Vec<Uuid> = world
            .rows(&TABLE)
            .filter(|(_, row)| row.id(&TABLE, "parent_trajectory_id") == Some(seed))
            .map(|(child, _)| *child)
            .collect();
        seeds.extend(&children);
        descendants.extend(children);
    }
    if descendants.is_empty() {
        return verdict;
    }
    for descendant in &descendants {
        let changes = [
            ("root_trajectory_id", root.clone()),
            ("updated_at", world.now()),
        ];
        if let Err(sqlstate) = after.update(&Trajectory, *descendant, &changes) {
            verdict.expect = Expect::Error(sqlstate);
        }
    }
    if let Client::Statements(statements, _) = &mut verdict.client {
        let list: Vec<String> = descendants.iter().map(Uuid::to_string).collect();
        statements.push(format!(
            "UPDATE caliber_trajectory SET root_trajectory_id = {}, updated_at = now() WHERE trajectory_id = ANY ('{{{}}}'::uuid[])",
            root.sql(),
            list.join(",")
        ));
    }
    verdict
}

fn set_status(world: &World, args: &Args<'_>) -> Verdict {
    let Some(id) = args.id("trajectory_id") else {
        return model::refused(Refusal::Checked("22004"));
    };
    let (to, outcome) = (args.text("status"), args.value("outcome"));
    let look = format!("SELECT x FROM caliber_trajectory x WHERE trajectory_id = '{id}'");
    let Some(row) = world.row(&TABLE, id) else {
        return model::present(vec![look], false);
    };
    let from = row.text(&TABLE, "status");
    let is_final = |status: &str| status == "completed" || status == "failed";
    if from == to {
        if is_final(&to) && !outcome.is_null() {
            let changes = [("outcome", outcome), ("updated_at", world.now())];
            return model::moved(&Trajectory, world, id, &["status"], &changes);
        }
        return model::present(vec![look], true);
    }
    let allowed = match from.as_str() {
        "active" => true,
        "suspended" => matches!(to.as_str(), "active" | "failed"),
        _ => false,
    };
    if !allowed {
        return model::refused(Refusal::Checked("55000"));
    }
    let mut changes = vec![
        ("status", Value::Text(to.clone())),
        ("updated_at", world.now()),
    ];
    if is_final(&to) {
        changes.push(("completed_at", world.now()));
    }
    if !outcome.is_null() {
        changes.push(("outcome", outcome));
    }
    model::moved(&Trajectory, world, id, &["status"], &changes)
}

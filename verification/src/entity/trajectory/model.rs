//! What must come of Trajectory's calls.

use super::table::{TABLE, UPDATABLE};
use super::Trajectory;
use crate::model::{self, Args, Client, Expect, Refusal, Row, Updates, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_trajectory_create" => create(world, args),
        "caliber_trajectory_update" => update(world, args),
        "caliber_trajectory_set_status" => set_status(world, args),
        "caliber_trajectory_list_by_status" => {
            model::list_by(&Trajectory, world, args, "status", &args.value("status"))
        }
        "caliber_trajectory_list_children" => {
            let parent = args.value("trajectory_id");
            model::list_by(&Trajectory, world, args, "parent_trajectory_id", &parent)
        }
        _ => model::list_by(
            &Trajectory,
            world,
            args,
            "agent_id",
            &args.value("agent_id"),
        ),
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

/// A new row under a parent.
#[must_use]
pub fn row_of(world: &World, id: Value, name: Value, parent: Option<Uuid>) -> Row {
    Row::new(&TABLE)
        .with(&TABLE, "trajectory_id", id)
        .with(&TABLE, "name", name)
        .with(&TABLE, "status", Value::of("active"))
        .with(
            &TABLE,
            "parent_trajectory_id",
            parent.map_or(Value::Null, Value::Uuid),
        )
        .with(&TABLE, "root_trajectory_id", root_under(world, parent))
        .with(&TABLE, "created_at", world.now())
        .with(&TABLE, "updated_at", world.now())
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let parent = args.id("parent_trajectory_id");
    let row = row_of(world, args.value("id"), args.value("name"), parent)
        .with(&TABLE, "description", args.value("description"))
        .with(&TABLE, "agent_id", args.value("agent_id"))
        .with(&TABLE, "metadata", args.value("metadata"));
    let verdict = model::insert(&Trajectory, world, row);
    match parent {
        Some(parent) if !known(world, args) => {
            verdict.reading(vec![model::look(&Trajectory, parent)])
        }
        _ => verdict,
    }
}

/// Whether `on_duplicate = return` answers at once.
fn known(world: &World, args: &Args<'_>) -> bool {
    world.on_duplicate_return
        && args
            .id("id")
            .is_some_and(|id| world.row(&TABLE, id).is_some())
}

fn update(world: &World, args: &Args<'_>) -> Verdict {
    let mut changes = match Updates::read(
        &TABLE,
        UPDATABLE,
        model::not_empty(&["name"]),
        &args.value("updates"),
    ) {
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
    move_descendants(world, verdict, id, &root).reading(vec![model::look(&Trajectory, id)])
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

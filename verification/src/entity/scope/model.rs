//! What must come of Scope's calls.

use super::table::{TABLE, UPDATABLE};
use super::Scope;
use crate::model::{self, Answer, Args, Client, Expect, Refusal, Row, Updates, Verdict, World};
use crate::value::Value;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_scope_create" => create(world, args),
        "caliber_scope_update" => update(world, args),
        "caliber_scope_close" => close(world, args),
        "caliber_scope_update_tokens" => update_tokens(world, args),
        "caliber_scope_get_current" => current(world, args),
        _ => model::list_by(
            &Scope,
            world,
            args,
            "trajectory_id",
            &args.value("trajectory_id"),
        ),
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
    let changes = match Updates::read(
        &TABLE,
        UPDATABLE,
        model::not_empty(&["name"]),
        &args.value("updates"),
    ) {
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
    Verdict::new(
        Expect::Row(row),
        Client::Statements(vec![statement], Answer::Row),
    )
}

//! What must come of Conflict's calls.

use super::table::{LIFE, STRATEGY, TABLE};
use super::Conflict;
use crate::entity::text::member;
use crate::model::{self, Args, Row, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match (args.function.name, args.id("conflict_id")) {
        ("caliber_conflict_create", _) => create(world, args),
        ("caliber_conflict_resolve", Some(id)) => resolve(world, args, id),
        ("caliber_conflict_start", Some(id)) => advance(
            world,
            id,
            "resolving",
            &[("status", Value::of("resolving"))],
        ),
        ("caliber_conflict_list_pending", _) => {
            model::list(&Conflict, world, args, "status <> 'resolved'", |row| {
                row.text(&TABLE, "status") != "resolved"
            })
        }
        _ => by_item(world, args),
    }
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let mut row = Row::new(&TABLE)
        .with(&TABLE, "conflict_id", args.value("id"))
        .with(&TABLE, "status", Value::of("detected"))
        .with(&TABLE, "detected_at", world.now());
    for column in [
        "conflict_type",
        "item_a_type",
        "item_a_id",
        "item_b_type",
        "item_b_id",
        "agent_a_id",
        "agent_b_id",
        "trajectory_id",
    ] {
        row.set(&TABLE, column, args.value(column));
    }
    model::insert(&Conflict, world, row)
}

/// A move to a state: already there is false, from elsewhere it is refused.
fn advance(world: &World, id: Uuid, to: &str, changes: &[(&str, Value)]) -> Verdict {
    let look = vec![model::look(&Conflict, id)];
    let from = match world.row(&TABLE, id) {
        Some(row) => row.text(&TABLE, "status"),
        None => return model::present(look, false),
    };
    if from == to {
        return model::present(look, false);
    }
    if !LIFE.allows(&from, to) {
        return model::refuse("55000");
    }
    model::moved(&Conflict, world, id, &["status"], changes)
}

fn resolve(world: &World, args: &Args<'_>, id: Uuid) -> Verdict {
    let strategy = args.text("strategy");
    if STRATEGY[..3].contains(&strategy.as_str()) && args.value("winner").is_null() {
        return model::refuse("22023");
    }
    let members: Vec<String> = [
        "strategy",
        "winner",
        "reason",
        "merged_result_id",
        "resolved_by",
    ]
    .iter()
    .filter(|name| !args.value(name).is_null())
    .map(|name| member(name, &args.value(name)))
    .collect();
    let resolution = Value::Json(format!("{{{}}}", members.join(", ")));
    if strategy == "escalate" {
        let changes = [
            ("status", Value::of("escalated")),
            ("resolution", resolution),
        ];
        return advance(world, id, "escalated", &changes);
    }
    let changes = [
        ("status", Value::of("resolved")),
        ("resolution", resolution),
        ("resolved_at", world.now()),
    ];
    advance(world, id, "resolved", &changes)
}

fn by_item(world: &World, args: &Args<'_>) -> Verdict {
    let item = args.value("item_id");
    let condition = format!("(item_a_id = {0} OR item_b_id = {0})", item.sql());
    model::list(&Conflict, world, args, &condition, |row| {
        *row.cell(&TABLE, "item_a_id") == item || *row.cell(&TABLE, "item_b_id") == item
    })
}

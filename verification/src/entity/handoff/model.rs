//! What must come of Handoff's calls.

use super::table::{LIFE, TABLE};
use super::Handoff;
use crate::entity::agent::Agent;
use crate::entity::delegation::{is_eligible, type_of};
use crate::model::{self, Args, Row, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_handoff_create" => create(world, args),
        "caliber_handoff_list_for_agent" => list_for_agent(world, args),
        "caliber_handoff_list_by_trajectory" => {
            let task = args.value("trajectory_id");
            model::list_by(&Handoff, world, args, "trajectory_id", &task)
        }
        _ => {
            let Some(id) = args.id("handoff_id") else {
                return model::refuse("22004");
            };
            match world.row(&TABLE, id) {
                None => model::present(vec![model::look(&Handoff, id)], false),
                Some(row) => verb(world, args, id, row),
            }
        }
    }
}

fn verb(world: &World, args: &Args<'_>, id: Uuid, row: &Row) -> Verdict {
    match args.function.name {
        "caliber_handoff_accept" => accept(world, args, id, row),
        "caliber_handoff_complete" => {
            let changes = [
                ("status", Value::of("completed")),
                ("completed_at", world.now()),
            ];
            advance(world, args, id, row, &changes)
        }
        _ => advance(world, args, id, row, &[("status", Value::of("rejected"))]),
    }
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let mut row = Row::new(&TABLE)
        .with(&TABLE, "handoff_id", args.value("id"))
        .with(&TABLE, "status", Value::of("initiated"))
        .with(&TABLE, "initiated_at", world.now());
    for column in [
        "from_agent_id",
        "to_agent_id",
        "to_agent_type",
        "trajectory_id",
        "scope_id",
        "context_snapshot_id",
        "handoff_notes",
        "next_steps",
        "blockers",
        "open_questions",
        "reason",
    ] {
        row.set(&TABLE, column, args.value(column));
    }
    model::insert(&Handoff, world, row)
}

fn accept(world: &World, args: &Args<'_>, id: Uuid, row: &Row) -> Verdict {
    let Some(who) = args.id("accepting_agent_id") else {
        return model::refuse("22004");
    };
    let Some(its_type) = type_of(world, who) else {
        return model::refuse("23503");
    };
    let (from, to) = (
        row.id(&TABLE, "from_agent_id"),
        row.id(&TABLE, "to_agent_id"),
    );
    if !is_eligible(who, &its_type, from, to, row.cell(&TABLE, "to_agent_type")) {
        return model::refuse("42501");
    }
    let reads_agent = vec![model::look(&Agent, who)];
    match row.text(&TABLE, "status").as_str() {
        "initiated" => {
            let changes = [
                ("status", Value::of("accepted")),
                ("to_agent_id", Value::Uuid(who)),
                ("accepted_at", world.now()),
            ];
            let checked = ["status", "from_agent_id", "to_agent_id", "to_agent_type"];
            model::moved(&Handoff, world, id, &checked, &changes).reading(reads_agent)
        }
        "rejected" => model::refuse("55000"),
        _ => model::present(vec![model::look(&Handoff, id)], false).reading(reads_agent),
    }
}

/// A move to the state that `changes` begin with: an agent that is given must be
/// the recorded one, whatever the state; already there is false, from elsewhere
/// it is refused.
fn advance(
    world: &World,
    args: &Args<'_>,
    id: Uuid,
    row: &Row,
    changes: &[(&str, Value)],
) -> Verdict {
    let who = args.id("agent_id");
    if who.is_some() && who != row.id(&TABLE, "to_agent_id") {
        return model::refuse("42501");
    }
    let from = row.text(&TABLE, "status");
    let to = changes.first().and_then(|(_, state)| state.text());
    let to = to.unwrap_or_default();
    if from == to {
        return model::present(vec![model::look(&Handoff, id)], false);
    }
    if !LIFE.allows(&from, &to) {
        return model::refuse("55000");
    }
    model::moved(&Handoff, world, id, &["status", "to_agent_id"], changes)
}

fn list_for_agent(world: &World, args: &Args<'_>) -> Verdict {
    let (who, status) = (args.value("agent_id"), args.value("status"));
    let its_type = args.id("agent_id").and_then(|who| type_of(world, who));
    let initiated = status == Value::of("initiated");
    let of_type = if initiated {
        format!(
            " OR x.to_agent_type IN (a.agent_type, '*') AND x.from_agent_id <> {}",
            who.sql()
        )
    } else {
        String::new()
    };
    let condition = format!(
        "x.status = {1} AND EXISTS (SELECT FROM caliber_agent a WHERE a.agent_id = {0} AND a IS DISTINCT FROM NULL AND (x.to_agent_id = {0}{of_type}))",
        who.sql(),
        status.sql()
    );
    model::list(&Handoff, world, args, &condition, |row| {
        let Some(its_type) = &its_type else {
            return false;
        };
        let name = row.text(&TABLE, "to_agent_type");
        let addressed = *row.cell(&TABLE, "to_agent_id") == who
            || initiated
                && (name == "*" || name == *its_type)
                && *row.cell(&TABLE, "from_agent_id") != who;
        *row.cell(&TABLE, "status") == status && addressed
    })
}

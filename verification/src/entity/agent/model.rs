//! What must come of Agent's calls.

use super::table::{LIFE, TABLE};
use super::Agent;
use crate::model::{self, moment, Args, Row, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    let id = args.id("agent_id");
    match (args.function.name, id) {
        ("caliber_agent_register", _) => register(world, args),
        ("caliber_agent_list_by_type", _) => {
            model::list_by(&Agent, world, args, "agent_type", &args.value("agent_type"))
        }
        ("caliber_agent_list_stale", _) => stale(world, args),
        ("caliber_agent_heartbeat", Some(id)) => {
            model::moved(&Agent, world, id, &[], &[("last_heartbeat", world.wall())])
        }
        ("caliber_agent_set_status", Some(id)) => set_status(world, id, &args.text("status")),
        ("caliber_agent_assign", Some(id)) => assign(world, args, id),
        ("caliber_agent_release", Some(id)) => release(world, id),
        ("verification.age_agent", _) => {
            model::helper(&Agent, world, args, &[("last_heartbeat", moment::aged())])
        }
        _ => model::refuse("42883"),
    }
}

fn register(world: &World, args: &Args<'_>) -> Verdict {
    let row = Row::new(&TABLE)
        .with(&TABLE, "agent_id", args.value("id"))
        .with(&TABLE, "agent_type", args.value("agent_type"))
        .with(&TABLE, "capabilities", args.value("capabilities"))
        .with(&TABLE, "memory_access", args.value("memory_access"))
        .with(&TABLE, "status", Value::of("idle"))
        .with(&TABLE, "can_delegate_to", args.value("can_delegate_to"))
        .with(&TABLE, "reports_to", args.value("reports_to"))
        .with(&TABLE, "created_at", world.now())
        .with(&TABLE, "last_heartbeat", world.wall());
    model::insert(&Agent, world, row)
}

fn stale(world: &World, args: &Args<'_>) -> Verdict {
    let after = args.value("stale_after");
    let condition = format!("last_heartbeat < clock_timestamp() - {}", after.sql());
    model::list(&Agent, world, args, &condition, |row| {
        moment::is_older(row.cell(&TABLE, "last_heartbeat"), &after)
    })
}

fn set_status(world: &World, id: Uuid, to: &str) -> Verdict {
    let look = vec![model::look(&Agent, id)];
    let Some(row) = world.row(&TABLE, id) else {
        return model::present(look, false);
    };
    let from = row.text(&TABLE, "status");
    if from == to {
        return model::present(look, true);
    }
    if !LIFE.allows(&from, to) {
        return model::refuse("55000");
    }
    model::moved(&Agent, world, id, &["status"], &[("status", Value::of(to))])
}

fn assign(world: &World, args: &Args<'_>, id: Uuid) -> Verdict {
    let look = vec![model::look(&Agent, id)];
    let Some(row) = world.row(&TABLE, id) else {
        return model::present(look, false);
    };
    let (task, scope) = (args.value("trajectory_id"), args.value("scope_id"));
    match row.text(&TABLE, "status").as_str() {
        "idle" => {
            let changes = [
                ("status", Value::of("active")),
                ("current_trajectory_id", task),
                ("current_scope_id", scope),
            ];
            model::moved(&Agent, world, id, &["status"], &changes)
        }
        "active"
            if *row.cell(&TABLE, "current_trajectory_id") == task
                && *row.cell(&TABLE, "current_scope_id") == scope =>
        {
            model::present(look, false)
        }
        _ => model::refuse("55000"),
    }
}

fn release(world: &World, id: Uuid) -> Verdict {
    let look = vec![model::look(&Agent, id)];
    let Some(row) = world.row(&TABLE, id) else {
        return model::present(look, false);
    };
    let assigned = !row.cell(&TABLE, "current_trajectory_id").is_null()
        || !row.cell(&TABLE, "current_scope_id").is_null();
    match row.text(&TABLE, "status").as_str() {
        "failed" => model::refuse("55000"),
        "idle" if !assigned => model::present(look, false),
        _ => {
            let changes = [
                ("status", Value::of("idle")),
                ("current_trajectory_id", Value::Null),
                ("current_scope_id", Value::Null),
            ];
            model::moved(&Agent, world, id, &["status"], &changes)
        }
    }
}

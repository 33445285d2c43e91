//! What must come of Delegation's calls.

use super::table::{LIFE, TABLE};
use super::Delegation;
use crate::entity::text::member;
use crate::entity::{agent, trajectory};
use crate::model::{self, moment, Answer, Args, Client, Expect, Made, Row, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_delegation_create" => create(world, args),
        "caliber_delegation_list_pending" => list_pending(world, args),
        "caliber_delegation_list_for_agent" => list_for_agent(world, args),
        "caliber_delegation_list_by_delegator" => {
            let who = args.value("agent_id");
            model::list_by(&Delegation, world, args, "delegator_agent_id", &who)
        }
        _ => {
            let Some(id) = args.id("delegation_id") else {
                return model::refuse("22004");
            };
            if args.function.name == "caliber_delegation_reclaim" && both_targets(args) {
                return model::refuse("22023");
            }
            match world.row(&TABLE, id) {
                None => model::present(vec![model::look(&Delegation, id)], false),
                Some(row) => verb(world, args, id, row),
            }
        }
    }
}

fn both_targets(args: &Args<'_>) -> bool {
    !args.value("delegatee_agent_id").is_null() && !args.value("delegatee_agent_type").is_null()
}

fn verb(world: &World, args: &Args<'_>, id: Uuid, row: &Row) -> Verdict {
    match args.function.name {
        "caliber_delegation_accept" => accept(world, args, id, row),
        "caliber_delegation_start" => {
            let changes = [("status", Value::of("in_progress"))];
            advance(world, args, id, "in_progress", &changes)
        }
        "caliber_delegation_complete" => complete(world, args, id),
        "caliber_delegation_reject" => {
            let reason = args.value("reason");
            let result = if reason.is_null() {
                Value::Null
            } else {
                Value::Json(format!("{{{}}}", member("reason", &reason)))
            };
            let changes = [("status", Value::of("rejected")), ("result", result)];
            advance(world, args, id, "rejected", &changes)
        }
        _ => reclaim(world, args, id, row),
    }
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let mut row = Row::new(&TABLE)
        .with(&TABLE, "delegation_id", args.value("id"))
        .with(&TABLE, "status", Value::of("pending"))
        .with(&TABLE, "created_at", world.now());
    for column in [
        "delegator_agent_id",
        "delegatee_agent_id",
        "delegatee_agent_type",
        "task_description",
        "parent_trajectory_id",
        "shared_artifacts",
        "shared_notes",
        "additional_context",
        "constraints",
        "deadline",
    ] {
        row.set(&TABLE, column, args.value(column));
    }
    model::insert(&Delegation, world, row)
}

/// Whether an agent may accept: the named one, or one of the type, never the
/// delegator.
#[must_use]
pub fn is_eligible(
    agent: Uuid,
    its_type: &str,
    from: Option<Uuid>,
    to: Option<Uuid>,
    to_type: &Value,
) -> bool {
    let of_type = to_type
        .text()
        .is_some_and(|wanted| wanted == "*" || wanted == its_type);
    from != Some(agent) && (to == Some(agent) || of_type)
}

/// The type of an agent that is there.
#[must_use]
pub fn type_of(world: &World, agent: Uuid) -> Option<String> {
    let row = world.row(&agent::TABLE, agent)?;
    Some(row.text(&agent::TABLE, "agent_type"))
}

fn accept(world: &World, args: &Args<'_>, id: Uuid, row: &Row) -> Verdict {
    let Some(who) = args.id("delegatee_agent_id") else {
        return model::refuse("22004");
    };
    let Some(its_type) = type_of(world, who) else {
        return model::refuse("23503");
    };
    let (from, to) = (
        row.id(&TABLE, "delegator_agent_id"),
        row.id(&TABLE, "delegatee_agent_id"),
    );
    let to_type = row.cell(&TABLE, "delegatee_agent_type");
    if !is_eligible(who, &its_type, from, to, to_type) {
        return model::refuse("42501");
    }
    let look = vec![
        model::look(&Delegation, id),
        model::look(&agent::Agent, who),
    ];
    match row.text(&TABLE, "status").as_str() {
        "pending" => {}
        "rejected" => return model::refuse("55000"),
        _ => return model::present(look, false),
    }
    let mut changes = vec![
        ("status", Value::of("accepted")),
        ("delegatee_agent_id", Value::Uuid(who)),
        ("accepted_at", world.now()),
    ];
    let checked = [
        "status",
        "delegator_agent_id",
        "delegatee_agent_id",
        "delegatee_agent_type",
    ];
    let reads_agent = vec![model::look(&agent::Agent, who)];
    let child = args.value("child_trajectory_id");
    if !child.is_null() {
        changes.push(("child_trajectory_id", child));
    } else if row.cell(&TABLE, "child_trajectory_id").is_null() {
        return with_child(world, id, row, who, changes, &checked).reading(look);
    }
    model::moved(&Delegation, world, id, &checked, &changes).reading(reads_agent)
}

/// An accept that makes the child.
fn with_child(
    world: &World,
    id: Uuid,
    row: &Row,
    who: Uuid,
    mut changes: Vec<(&str, Value)>,
    checked: &[&str],
) -> Verdict {
    let number = u128::try_from(world.statement).unwrap_or_default();
    let child_id = Uuid::from_u128(id.as_u128() ^ (0x00c0_ffee << 64) ^ number);
    changes.push(("child_trajectory_id", Value::Uuid(child_id)));
    let parent = row.id(&TABLE, "parent_trajectory_id");
    let name = name_of(&row.text(&TABLE, "task_description"));
    let child = trajectory::row_of(world, Value::Uuid(child_id), name, parent)
        .with(&trajectory::TABLE, "agent_id", Value::Uuid(who))
        .with(
            &trajectory::TABLE,
            "metadata",
            Value::Json(format!("{{\"delegation_id\": \"{id}\"}}")),
        );
    let columns: Vec<&str> = trajectory::TABLE
        .columns
        .iter()
        .map(|column| column.name)
        .collect();
    let reads_parent = parent.map(|parent| model::look(&trajectory::Trajectory, parent));
    let statement = format!(
        "WITH u AS (UPDATE caliber_delegation SET {} WHERE delegation_id = '{id}'{} RETURNING 1) \
         INSERT INTO caliber_trajectory ({}) SELECT {} FROM u",
        model::set_list(&Delegation, &changes),
        model::repeat(&TABLE, row, checked),
        columns.join(", "),
        child.values_sql(&trajectory::TABLE)
    );
    let mut after = world.clone();
    // The child's key is checked at the end.
    let written = after
        .insert(&trajectory::Trajectory, child)
        .and_then(|()| after.update(&Delegation, id, &changes));
    let expect = match written {
        Ok(_) => Expect::Value(Some("t".to_owned())),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let client = Client::Statements(vec![statement], Answer::Moved(0));
    let mut verdict = Verdict::leaving(expect, client, after);
    verdict.made = Some(Made {
        id: child_id,
        query: format!(
            "SELECT trajectory_id FROM caliber_trajectory WHERE metadata ->> 'delegation_id' = '{id}'"
        ),
    });
    verdict.reading(reads_parent.into_iter().collect())
}

/// The name of a child: the first line of the task.
fn name_of(description: &str) -> Value {
    let line = description.split(['\r', '\n']).next().unwrap_or_default();
    let name: String = line.trim().chars().take(200).collect();
    let name = name.trim_end().to_owned();
    if name.is_empty() {
        return Value::of("delegation");
    }
    Value::Text(name)
}

/// A move to a state: an agent that is given must be the recorded one, whatever
/// the state; already there is false, from elsewhere it is refused.
fn advance(
    world: &World,
    args: &Args<'_>,
    id: Uuid,
    to: &str,
    changes: &[(&str, Value)],
) -> Verdict {
    let Some(row) = world.row(&TABLE, id) else {
        return model::refuse("22004");
    };
    let who = args.id("agent_id");
    if who.is_some() && who != row.id(&TABLE, "delegatee_agent_id") {
        return model::refuse("42501");
    }
    let from = row.text(&TABLE, "status");
    if from == to {
        return model::present(vec![model::look(&Delegation, id)], false);
    }
    if !LIFE.allows(&from, to) {
        return model::refuse("55000");
    }
    let checked = ["status", "delegatee_agent_id"];
    model::moved(&Delegation, world, id, &checked, changes)
}

fn complete(world: &World, args: &Args<'_>, id: Uuid) -> Verdict {
    let to = if args.flag("success") {
        "completed"
    } else {
        "failed"
    };
    let (result, summary) = (args.value("result"), args.value("summary"));
    let changes = [
        ("status", Value::of(to)),
        ("result", with_summary(result, &summary)),
        ("completed_at", world.now()),
    ];
    advance(world, args, id, to, &changes)
}

fn with_summary(result: Value, summary: &Value) -> Value {
    if summary.is_null() {
        return result;
    }
    let mut members = match result.text().map(|text| serde_json::from_str(&text)) {
        Some(Ok(serde_json::Value::Object(members))) => members,
        _ => serde_json::Map::new(),
    };
    members.insert(
        "summary".to_owned(),
        serde_json::Value::String(summary.text().unwrap_or_default()),
    );
    Value::Json(serde_json::Value::Object(members).to_string())
}

fn reclaim(world: &World, args: &Args<'_>, id: Uuid, row: &Row) -> Verdict {
    let who = row.id(&TABLE, "delegatee_agent_id");
    let look = || {
        let mut look = vec![model::look(&Delegation, id)];
        look.extend(who.map(|who| model::look(&agent::Agent, who)));
        look
    };
    let taken = matches!(
        row.text(&TABLE, "status").as_str(),
        "accepted" | "in_progress"
    );
    let stale = who
        .and_then(|who| world.row(&agent::TABLE, who))
        .is_some_and(|agent| {
            let heartbeat = agent.cell(&agent::TABLE, "last_heartbeat");
            moment::is_older(heartbeat, &args.value("stale_after"))
        });
    if !taken || !stale {
        return model::present(look(), false);
    }
    let (to, to_type) = (
        args.value("delegatee_agent_id"),
        args.value("delegatee_agent_type"),
    );
    let recorded = row.cell(&TABLE, "delegatee_agent_type").clone();
    let (agent, name) = match (to, to_type) {
        (Value::Null, Value::Null) if recorded.is_null() => {
            (row.cell(&TABLE, "delegatee_agent_id").clone(), Value::Null)
        }
        (Value::Null, Value::Null) => (Value::Null, recorded),
        given => given,
    };
    let changes = [
        ("status", Value::of("pending")),
        ("delegatee_agent_id", agent),
        ("delegatee_agent_type", name),
        ("accepted_at", Value::Null),
    ];
    let checked = ["status", "delegatee_agent_id", "delegatee_agent_type"];
    let reads = look().split_off(1);
    model::moved(&Delegation, world, id, &checked, &changes).reading(reads)
}

fn list_pending(world: &World, args: &Args<'_>) -> Verdict {
    let wanted = args.value("agent_type");
    let condition = match &wanted {
        Value::Null => "status = 'pending'".to_owned(),
        wanted => format!(
            "status = 'pending' AND delegatee_agent_type IN ({}, '*')",
            wanted.sql()
        ),
    };
    model::list(&Delegation, world, args, &condition, |row| {
        let name = row.cell(&TABLE, "delegatee_agent_type");
        row.text(&TABLE, "status") == "pending"
            && (wanted.is_null() || *name == wanted || *name == Value::of("*"))
    })
}

fn list_for_agent(world: &World, args: &Args<'_>) -> Verdict {
    let who = args.value("agent_id");
    let its_type = args.id("agent_id").and_then(|who| type_of(world, who));
    let condition = format!(
        "EXISTS (SELECT FROM caliber_agent a WHERE a.agent_id = {0} AND a IS DISTINCT FROM NULL AND (x.delegatee_agent_id = {0} \
         AND x.status IN ('pending', 'accepted', 'in_progress') OR x.status = 'pending' \
         AND x.delegatee_agent_type IN (a.agent_type, '*') AND x.delegator_agent_id <> {0}))",
        who.sql()
    );
    model::list(&Delegation, world, args, &condition, |row| {
        let Some(its_type) = &its_type else {
            return false;
        };
        let status = row.text(&TABLE, "status");
        let name = row.text(&TABLE, "delegatee_agent_type");
        let open = ["pending", "accepted", "in_progress"].contains(&status.as_str());
        let addressed = *row.cell(&TABLE, "delegatee_agent_id") == who && open;
        addressed
            || status == "pending"
                && (name == "*" || name == *its_type)
                && *row.cell(&TABLE, "delegator_agent_id") != who
    })
}

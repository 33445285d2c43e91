//! What must come of Message's calls.

use super::table::{types, PRIORITY, SEND, TABLE};
use super::Message;
use crate::entity::agent;
use crate::model::{self, moment, Answer, Args, Client, Expect, Row, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

/// The order of reading.
const RANK: &str = "CASE x.priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'normal' THEN 2 ELSE 3 END, x.message_id";
const UNEXPIRED: &str = "(x.expires_at IS NULL OR x.expires_at > clock_timestamp())";

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_message_send" => model::insert(&Message, world, row(world, args)),
        "caliber_message_send_many" => many(world, args),
        "caliber_message_list_for_agent" => list(world, args),
        "caliber_message_acknowledge" => acknowledge(world, args),
        "caliber_message_receive" => receive(world, args),
        "caliber_message_purge" => purge(world, args),
        _ => age(world, args),
    }
}

fn row(world: &World, args: &Args<'_>) -> Row {
    let mut row = Row::new(&TABLE)
        .with(&TABLE, "message_id", args.value("id"))
        .with(&TABLE, "created_at", world.now());
    for column in [
        "from_agent_id",
        "to_agent_id",
        "to_agent_type",
        "message_type",
        "payload",
        "trajectory_id",
        "scope_id",
        "artifact_ids",
        "priority",
        "expires_at",
    ] {
        row.set(&TABLE, column, args.value(column));
    }
    row
}

fn many(world: &World, args: &Args<'_>) -> Verdict {
    match model::read_many(&SEND, &[], types, args, "messages") {
        Ok(calls) => {
            let rows = calls.iter().map(|call| row(world, &Args::new(&SEND, call)));
            model::insert_all(&Message, world, rows.collect())
        }
        Err(refusal) => model::refused(refusal),
    }
}

/// The type of an agent that is there.
fn type_of(world: &World, id: Option<Uuid>) -> Option<Value> {
    let row = world.row(&agent::TABLE, id?)?;
    Some(row.cell(&agent::TABLE, "agent_type").clone())
}

fn is_unexpired(row: &Row) -> bool {
    !moment::is_past(row.cell(&TABLE, "expires_at"))
}

/// The messages of an agent that `wanted` accepts, in the order of reading.
fn in_order(world: &World, wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
    let mut rows: Vec<Row> = world
        .rows(&TABLE)
        .map(|(_, row)| row)
        .filter(|row| is_unexpired(row) && wanted(row))
        .cloned()
        .collect();
    let rank = |row: &Row| {
        let priority = row.text(&TABLE, "priority");
        PRIORITY.iter().rev().position(|known| *known == priority)
    };
    rows.sort_by_key(rank);
    rows
}

fn list(world: &World, args: &Args<'_>) -> Verdict {
    let (me, all) = (args.value("agent_id"), !args.flag("unacknowledged_only"));
    let mut found = Vec::new();
    if let Some(my_type) = type_of(world, args.id("agent_id")) {
        found = in_order(world, |row| {
            let cell = |column| row.cell(&TABLE, column);
            let addressed = match (cell("to_agent_id"), cell("to_agent_type")) {
                (Value::Null, Value::Null) => *cell("from_agent_id") != me,
                (Value::Null, to_type) => {
                    *to_type == my_type
                        && (cell("received_by").is_null() || *cell("received_by") == me)
                }
                (to, _) => *to == me,
            };
            addressed && (all || cell("acknowledged_at").is_null())
        });
    }
    let open = if all {
        ""
    } else {
        " AND x.acknowledged_at IS NULL"
    };
    let statement = format!(
        "SELECT x FROM caliber_message x, caliber_agent a WHERE a.agent_id = {0} AND a IS DISTINCT FROM NULL AND (x.to_agent_id = {0} \
         OR x.to_agent_type = a.agent_type AND coalesce(x.received_by, {0}) = {0} \
         OR x.to_agent_id IS NULL AND x.to_agent_type IS NULL AND x.from_agent_id <> {0}) \
         AND {UNEXPIRED}{open} ORDER BY {RANK}{1}",
        me.sql(),
        model::limit_sql(args)
    );
    model::rows(statement, model::limit(args, found))
}

fn acknowledge(world: &World, args: &Args<'_>) -> Verdict {
    let Some(id) = args.id("message_id") else {
        return model::refuse("22004");
    };
    let look = vec![model::look(&Message, id)];
    let Some(row) = world.row(&TABLE, id) else {
        return model::present(look, false);
    };
    let null = |column| row.cell(&TABLE, column).is_null();
    if null("to_agent_id") && null("to_agent_type") {
        return model::refuse("55000");
    }
    if !null("acknowledged_at") {
        return model::present(look, false);
    }
    let mut changes = vec![("acknowledged_at", world.now())];
    if null("delivered_at") {
        changes.push(("delivered_at", world.wall()));
    }
    model::moved(&Message, world, id, &["acknowledged_at"], &changes)
}

fn receive(world: &World, args: &Args<'_>) -> Verdict {
    let (me, again) = (args.value("agent_id"), args.value("redeliver_after"));
    let mut found = Vec::new();
    if let Some(my_type) = type_of(world, args.id("agent_id")) {
        found = in_order(world, |row| {
            let cell = |column| row.cell(&TABLE, column);
            let to_me = *cell("to_agent_id") == me || *cell("to_agent_type") == my_type;
            let due = cell("delivered_at").is_null()
                || !again.is_null() && moment::is_older(cell("delivered_at"), &again);
            to_me && due && cell("acknowledged_at").is_null()
        });
    }
    let mut after = world.clone();
    let mut received = Vec::new();
    for row in model::limit(args, found) {
        let changes = [("delivered_at", world.wall()), ("received_by", me.clone())];
        let Some(id) = row.id(&TABLE, "message_id") else {
            continue;
        };
        if let Err(sqlstate) = after.update(&Message, id, &changes) {
            return model::refuse(sqlstate);
        }
        received.extend(after.row(&TABLE, id).cloned());
    }
    let due = match &again {
        Value::Null => "x.delivered_at IS NULL".to_owned(),
        again => format!(
            "(x.delivered_at IS NULL OR x.delivered_at < clock_timestamp() - {})",
            again.sql()
        ),
    };
    let statement = format!(
        "WITH s AS MATERIALIZED (SELECT x.message_id FROM caliber_message x, caliber_agent a WHERE a.agent_id = {0} \
         AND a IS DISTINCT FROM NULL AND (x.to_agent_id = {0} OR x.to_agent_type = a.agent_type) AND x.acknowledged_at IS NULL AND {due} AND {UNEXPIRED} \
         ORDER BY {RANK}{1} FOR NO KEY UPDATE OF x SKIP LOCKED), \
         u AS (UPDATE caliber_message m SET delivered_at = clock_timestamp(), received_by = {0} FROM s \
         WHERE m.message_id = s.message_id RETURNING m.*) SELECT ROW(x.*) FROM u x ORDER BY {RANK}",
        me.sql(),
        model::limit_sql(args)
    );
    let client = Client::Statements(vec![statement], Answer::Rows);
    Verdict::leaving(Expect::Rows(received), client, after)
}

fn purge(world: &World, args: &Args<'_>) -> Verdict {
    let before = args.value("before");
    let passed = |row: &Row, column: &str| {
        let cell = row.cell(&TABLE, column);
        !cell.is_null() && moment::order(cell) < moment::order(&before)
    };
    let gone: Vec<Uuid> = world
        .rows(&TABLE)
        .filter(|(_, row)| passed(row, "acknowledged_at") || passed(row, "expires_at"))
        .map(|(id, _)| *id)
        .collect();
    let gone = model::limit(args, gone);
    let mut after = world.clone();
    for id in &gone {
        if let Err(sqlstate) = after.delete(&Message, *id) {
            return model::refuse(sqlstate);
        }
    }
    let statement = format!(
        "DELETE FROM caliber_message WHERE message_id IN (SELECT x.message_id FROM caliber_message x \
         WHERE x IS DISTINCT FROM NULL AND (x.acknowledged_at < {0} OR x.expires_at < {0}){1})",
        before.sql(),
        model::limit_sql(args)
    );
    let client = Client::Statements(vec![statement], Answer::Count);
    Verdict::leaving(Expect::Value(Some(gone.len().to_string())), client, after)
}

/// The helper ages only what was delivered.
fn age(world: &World, args: &Args<'_>) -> Verdict {
    let delivered = args
        .id("message_id")
        .and_then(|id| world.row(&TABLE, id))
        .is_some_and(|row| !row.cell(&TABLE, "delivered_at").is_null());
    if delivered {
        return model::helper(&Message, world, args, &[("delivered_at", moment::aged())]);
    }
    model::present(vec![format!("SELECT {}", args.sql())], false)
}

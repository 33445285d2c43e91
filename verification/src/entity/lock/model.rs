//! What must come of Lock's calls, in one session: every session lock is this
//! session's, and every row of a transaction is of the current one.

use super::table::{LONGEST, TABLE};
use super::Lock;
use crate::model::{self, moment, Answer, Args, Client, Expect, Row, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

/// `backend_pid`: each judge has its own.
const PID: &str = "pg_backend_pid()";

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match (args.function.name, args.id("lock_id")) {
        ("caliber_lock_acquire", _) => acquire(world, args),
        ("caliber_lock_release", Some(id)) => model::delete(&Lock, world, id),
        ("caliber_lock_extend", Some(id)) => extend(world, args, id),
        ("caliber_lock_assert", Some(id)) => assert(world, id),
        ("caliber_lock_purge_expired", _) => purge(world),
        ("verification.expire_lock", Some(id)) => expire(world, args, id),
        ("caliber_lock_list_by_resource", _) => {
            let (kind, resource) = (args.value("resource_type"), args.value("resource_id"));
            let condition = format!(
                "resource_type = {} AND resource_id = {}",
                kind.sql(),
                resource.sql()
            );
            live(world, args, &condition, |row| {
                *row.cell(&TABLE, "resource_type") == kind
                    && *row.cell(&TABLE, "resource_id") == resource
            })
        }
        _ => {
            let agent = args.value("agent_id");
            let condition = format!("holder_agent_id = {}", agent.sql());
            live(world, args, &condition, |row| {
                *row.cell(&TABLE, "holder_agent_id") == agent
            })
        }
    }
}

fn is_dead(row: &Row) -> bool {
    row.text(&TABLE, "level") == "lease" && moment::is_past(row.cell(&TABLE, "expires_at"))
}

fn live(world: &World, args: &Args<'_>, condition: &str, wanted: impl Fn(&Row) -> bool) -> Verdict {
    let condition = format!("{condition} AND expires_at > clock_timestamp()");
    model::list(&Lock, world, args, &condition, |row| {
        wanted(row) && !is_dead(row)
    })
}

fn acquire(world: &World, args: &Args<'_>) -> Verdict {
    let agent = args.value("agent_id");
    let (mode, level) = (args.text("mode"), args.text("level"));
    let is_own = |row: &Row| *row.cell(&TABLE, "holder_agent_id") == agent;
    let goes_with = |row: &Row| mode == "shared" && row.text(&TABLE, "mode") == "shared";
    let rows: Vec<&Row> = world
        .rows(&TABLE)
        .map(|(_, row)| row)
        .filter(|row| {
            *row.cell(&TABLE, "resource_type") == args.value("resource_type")
                && *row.cell(&TABLE, "resource_id") == args.value("resource_id")
        })
        .collect();
    let look = format!(
        "SELECT x FROM caliber_lock x WHERE resource_type = {} AND resource_id = {}",
        args.value("resource_type").sql(),
        args.value("resource_id").sql()
    );
    let (dead, alive): (Vec<&Row>, Vec<&Row>) = rows.into_iter().partition(|row| is_dead(row));
    if alive.iter().any(|row| !is_own(row) && !goes_with(row)) {
        let client = Client::Statements(vec![look], Answer::Fixed(None));
        return Verdict::new(Expect::Value(None), client);
    }
    // What would exclude it if it were alive, or is its own lease.
    let in_the_way: Vec<Uuid> = dead
        .into_iter()
        .filter(|row| !goes_with(row) || is_own(row) && level == "lease")
        .filter_map(|row| row.id(&TABLE, "lock_id"))
        .collect();
    match alive.into_iter().find(|row| is_own(row)) {
        Some(own) => renew(world, args, own, &in_the_way, look),
        None => write(world, args, &in_the_way, look),
    }
}

fn expires_at(world: &World, args: &Args<'_>) -> Value {
    match args.text("level").as_str() {
        "lease" => moment::later(&world.wall(), args.int("timeout_ms").unwrap_or_default()),
        _ => Value::Time("infinity".to_owned()),
    }
}

/// Deletes dead rows, on both sides.
fn sweep(after: &mut World, dead: &[Uuid], statements: &mut Vec<String>) {
    for id in dead {
        // Nothing refers to a lock.
        let _ = after.delete(&Lock, *id);
        statements.push(format!("DELETE FROM caliber_lock WHERE lock_id = '{id}'"));
    }
}

fn renew(world: &World, args: &Args<'_>, own: &Row, dead: &[Uuid], look: String) -> Verdict {
    let level = own.text(&TABLE, "level");
    if level != args.text("level") {
        return model::refuse("55000");
    }
    let Some(id) = own.id(&TABLE, "lock_id") else {
        return model::refuse("23502");
    };
    let mut statements = vec![look];
    let mut after = world.clone();
    let mut changes = Vec::new();
    if level == "lease" {
        changes.push(("expires_at", expires_at(world, args)));
    }
    if own.text(&TABLE, "mode") == "shared" && args.text("mode") == "exclusive" {
        sweep(&mut after, dead, &mut statements);
        changes.push(("mode", Value::of("exclusive")));
    }
    if !changes.is_empty() {
        statements.push(format!(
            "UPDATE caliber_lock SET {} WHERE lock_id = '{id}'",
            model::set_list(&Lock, &changes)
        ));
    }
    let answer = Some(id.to_string());
    let expect = match after.update(&Lock, id, &changes) {
        Ok(_) => Expect::Value(answer.clone()),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let client = Client::Statements(statements, Answer::Fixed(answer));
    Verdict::leaving(expect, client, after)
}

fn write(world: &World, args: &Args<'_>, dead: &[Uuid], look: String) -> Verdict {
    let row = Row::new(&TABLE)
        .with(&TABLE, "lock_id", args.value("id"))
        .with(&TABLE, "resource_type", args.value("resource_type"))
        .with(&TABLE, "resource_id", args.value("resource_id"))
        .with(&TABLE, "holder_agent_id", args.value("agent_id"))
        .with(&TABLE, "acquired_at", world.wall())
        .with(&TABLE, "expires_at", expires_at(world, args))
        .with(&TABLE, "mode", args.value("mode"))
        .with(&TABLE, "level", args.value("level"))
        .with(&TABLE, "backend_pid", Value::Sql(PID.to_owned()));
    let mut statements = vec![look];
    let mut after = world.clone();
    sweep(&mut after, dead, &mut statements);
    statements.push(row.insert_sql(&TABLE));
    let answer = args.id("id").map(|id| id.to_string());
    let expect = match after.insert(&Lock, row) {
        Ok(()) => Expect::Value(answer.clone()),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    let client = Client::Statements(statements, Answer::Fixed(answer));
    Verdict::leaving(expect, client, after)
}

fn extend(world: &World, args: &Args<'_>, id: Uuid) -> Verdict {
    let Some(row) = world.row(&TABLE, id) else {
        return model::present(vec![model::look(&Lock, id)], false);
    };
    let ms = args.int("additional_ms").unwrap_or_default();
    let ends = row.cell(&TABLE, "expires_at");
    if row.text(&TABLE, "level") != "lease" || moment::is_past(ends) {
        return model::refuse("55000");
    }
    let later = moment::later(ends, ms);
    let ahead = later.text().and_then(|symbol| moment::parts(&symbol));
    // What generators ask for leads to the latest end that is allowed, or beyond
    // it by more than the time that has passed since.
    if ahead.is_some_and(|(_, ahead)| ahead > LONGEST) {
        return model::refuse("22023");
    }
    let statement = format!(
        "UPDATE caliber_lock SET expires_at = expires_at + {ms} * interval '1 ms' WHERE lock_id = '{id}'"
    );
    let verdict = model::update(&Lock, world, id, &[("expires_at", later)]);
    let client = Client::Statements(vec![statement], Answer::Moved(0));
    Verdict { client, ..verdict }.reading(vec![model::look(&Lock, id)])
}

fn assert(world: &World, id: Uuid) -> Verdict {
    match world.row(&TABLE, id) {
        Some(row) if !is_dead(row) => {
            let statement =
                format!("SELECT x FROM caliber_lock x WHERE lock_id = '{id}' FOR KEY SHARE");
            model::present(vec![statement], true)
        }
        _ => model::refuse("55000"),
    }
}

fn purge(world: &World) -> Verdict {
    let dead: Vec<Uuid> = world
        .rows(&TABLE)
        .filter(|(_, row)| is_dead(row))
        .map(|(id, _)| *id)
        .collect();
    let count = Expect::Value(Some(dead.len().to_string()));
    let mut after = world.clone();
    sweep(&mut after, &dead, &mut Vec::new());
    let statement =
        "DELETE FROM caliber_lock WHERE level = 'lease' AND expires_at <= clock_timestamp()";
    let client = Client::Statements(vec![statement.to_owned()], Answer::Count);
    Verdict::leaving(count, client, after)
}

/// The helper ends leases only.
fn expire(world: &World, args: &Args<'_>, id: Uuid) -> Verdict {
    let lease = world
        .row(&TABLE, id)
        .is_some_and(|row| row.text(&TABLE, "level") == "lease");
    if lease {
        return model::helper(&Lock, world, args, &[("expires_at", moment::aged())]);
    }
    model::present(vec![format!("SELECT {}", args.sql())], false)
}

/// Rows of the transaction go before it commits.
pub(super) fn commit(world: &World) -> Option<(Vec<String>, World)> {
    let gone: Vec<Uuid> = world
        .rows(&TABLE)
        .filter(|(_, row)| row.text(&TABLE, "level") == "transaction")
        .map(|(id, _)| *id)
        .collect();
    if gone.is_empty() {
        return None;
    }
    let mut after = world.clone();
    let mut statements = Vec::new();
    sweep(&mut after, &gone, &mut statements);
    Some((statements, after))
}

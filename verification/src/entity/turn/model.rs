//! What must come of Turn's calls.

use super::table::{types, CREATE, TABLE};
use super::Turn;
use crate::entity::scope;
use crate::model::{self, Args, Refusal, Row, Verdict, World};
use crate::value::Value;
use uuid::Uuid;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_turn_create" => create(world, args),
        "caliber_turn_create_many" => many(world, args),
        "caliber_turn_get_by_scope" => by_scope(world, args),
        _ => recent(world, args),
    }
}

/// Whether the scope is there and closed.
fn is_closed(world: &World, id: Option<Uuid>) -> bool {
    id.and_then(|id| world.row(&scope::TABLE, id))
        .is_some_and(|row| *row.cell(&scope::TABLE, "is_active") == Value::Bool(false))
}

fn sequence(row: &Row) -> i64 {
    match row.cell(&TABLE, "sequence") {
        Value::Int(sequence) => *sequence,
        _ => -1,
    }
}

/// The turns of a scope by sequence.
fn of_scope(world: &World, scope: &Value) -> Vec<Row> {
    let mut rows: Vec<Row> = world
        .rows(&TABLE)
        .map(|(_, row)| row.clone())
        .filter(|row| row.cell(&TABLE, "scope_id") == scope)
        .collect();
    rows.sort_by_key(sequence);
    rows
}

/// The row of a create; a NULL sequence follows `greatest`.
fn row(world: &World, args: &Args<'_>, greatest: i64) -> Result<Row, Refusal> {
    let sequence = match args.value("sequence") {
        Value::Null if greatest >= i64::from(i32::MAX) => return Err(Refusal::Checked("22003")),
        Value::Null => Value::Int(greatest + 1),
        given => given,
    };
    Ok(Row::new(&TABLE)
        .with(&TABLE, "turn_id", args.value("id"))
        .with(&TABLE, "scope_id", args.value("scope_id"))
        .with(&TABLE, "sequence", sequence)
        .with(&TABLE, "role", args.value("role"))
        .with(&TABLE, "content", args.value("content"))
        .with(&TABLE, "token_count", args.value("token_count"))
        .with(&TABLE, "created_at", world.now())
        .with(&TABLE, "tool_calls", args.value("tool_calls"))
        .with(&TABLE, "tool_results", args.value("tool_results"))
        .with(&TABLE, "metadata", args.value("metadata")))
}

/// Whether a row of that id makes `on_duplicate = return` answer at once.
fn is_known(world: &World, id: Option<Uuid>) -> bool {
    world.on_duplicate_return && id.is_some_and(|id| world.row(&TABLE, id).is_some())
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let known = is_known(world, args.id("id"));
    if !known && is_closed(world, args.id("scope_id")) {
        return model::refuse("55000");
    }
    let turns = of_scope(world, &args.value("scope_id"));
    let greatest = if known {
        -1
    } else {
        turns.last().map_or(-1, sequence)
    };
    match row(world, args, greatest) {
        Ok(row) if known => model::insert(&Turn, world, row),
        Ok(row) => model::insert(&Turn, world, row).reading(reads(args)),
        Err(refusal) => model::refused(refusal),
    }
}

fn many(world: &World, args: &Args<'_>) -> Verdict {
    let calls = match model::read_many(&CREATE, &["scope_id"], types, args, "turns") {
        Ok(calls) => calls,
        Err(refusal) => return model::refused(refusal),
    };
    let elements: Vec<Args<'_>> = calls.iter().map(|call| Args::new(&CREATE, call)).collect();
    let fresh = |one: &&Args<'_>| !is_known(world, one.id("id"));
    if elements.iter().any(|one| fresh(&one)) && is_closed(world, args.id("scope_id")) {
        return model::refuse("55000");
    }
    let turns = of_scope(world, &args.value("scope_id"));
    let mut greatest = turns.last().map_or(-1, sequence);
    let mut rows = Vec::new();
    for one in &elements {
        // Only rows that are written take a number, or find none left.
        let new = fresh(&one);
        match row(world, one, if new { greatest } else { -1 }) {
            Ok(row) => {
                if new {
                    greatest = greatest.max(sequence(&row));
                }
                rows.push(row);
            }
            Err(refusal) => return model::refused(refusal),
        }
    }
    let calls = elements.iter().flat_map(reads);
    model::insert_all(&Turn, world, rows).reading(calls.collect())
}

/// What a create reads besides: its scope, and the turns if it has to count.
fn reads(args: &Args<'_>) -> Vec<String> {
    let scope = args.value("scope_id").sql();
    let mut reads = vec![format!(
        "SELECT x FROM caliber_scope x WHERE scope_id = {scope}"
    )];
    if args.value("sequence").is_null() {
        reads.push(format!(
            "SELECT x FROM caliber_turn x WHERE scope_id = {scope} ORDER BY sequence DESC LIMIT 1"
        ));
    }
    reads
}

fn by_scope(world: &World, args: &Args<'_>) -> Verdict {
    let scope = args.value("scope_id");
    let mut statement = format!(
        "SELECT x FROM caliber_turn x WHERE scope_id = {}",
        scope.sql()
    );
    let mut rows = of_scope(world, &scope);
    if let Some(after) = args.int("after_sequence") {
        statement += &format!(" AND sequence > {after}");
        rows.retain(|row| sequence(row) > after);
    }
    statement += &format!(" ORDER BY sequence{}", model::limit_sql(args));
    model::rows(statement, model::limit(args, rows))
}

fn recent(world: &World, args: &Args<'_>) -> Verdict {
    let scope = args.value("scope_id");
    let statement = format!(
        "SELECT x FROM (SELECT * FROM caliber_turn WHERE scope_id = {} ORDER BY sequence DESC{}) s, \
         caliber_turn x WHERE x.turn_id = s.turn_id ORDER BY x.sequence",
        scope.sql(),
        model::limit_sql(args)
    );
    let mut rows = of_scope(world, &scope);
    rows.reverse();
    let mut rows = model::limit(args, rows);
    rows.reverse();
    model::rows(statement, rows)
}

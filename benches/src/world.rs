//! Rows that are there before anything is measured, and the arguments of calls.

use crate::entity::{Entity, Operation, ENTITIES, SET};
use anyhow::{bail, Context, Result};
use verification::session::Session;

/// Parents of new rows: so many, in turn, as agents work in few scopes at a time.
const PARENTS: u32 = 500;

/// A prime that is no divisor of any number of rows: multiples of it, modulo the rows, meet each
/// row once, far from the one before.
pub const SCATTER: u32 = 7_368_787;

/// The first rows of an entity may be out of the ordinary: the first messages are broadcasts.
pub const APART: u32 = 5;

/// Makes the schema `bench` with, for each entity, the id of its n-th row: ascending, of
/// version 7, older than any that is made now.
///
/// # Errors
/// When a statement fails.
pub fn prepare(session: &mut Session) -> Result<()> {
    session.batch("CREATE SCHEMA bench")?;
    for (kind, entity) in ENTITIES.iter().enumerate() {
        session.batch(&format!(
            "CREATE FUNCTION bench.{}(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
             (lpad(to_hex(1735689600000 + n), 12, '0') || '7000' || '80{kind:02x}' || lpad(to_hex(n), 12, '0'))::uuid",
            entity.name
        ))?;
    }
    Ok(())
}

/// Adds the rows `from` … `to` − 1 of some entities, and leaves the tables as autovacuum would.
///
/// # Errors
/// When a statement fails.
pub fn fill(session: &mut Session, entities: &[&Entity], from: u32, to: u32) -> Result<()> {
    session.batch("SET session_replication_role = replica")?;
    for entity in entities {
        fill_one(session, entity, from, to)?;
    }
    session.batch("SET session_replication_role = origin")?;
    session.batch("VACUUM (FREEZE, ANALYZE)")?;
    session.batch("CHECKPOINT")
}

fn fill_one(session: &mut Session, entity: &Entity, from: u32, to: u32) -> Result<()> {
    let columns: Vec<&str> = entity.rows.iter().map(|row| row.0).collect();
    let values: Vec<&str> = entity.rows.iter().map(|row| row.1).collect();
    session
        .batch(&format!(
            "INSERT INTO {} ({}) SELECT {} FROM generate_series({from}, {}) n",
            entity.table,
            columns.join(", "),
            values.join(", "),
            to - 1
        ))
        .with_context(|| format!("rows of {}", entity.name))
}

/// The name of a table of arguments, for this session.
fn table(operation: &Operation) -> String {
    format!("args_{}", operation.identifier())
}

/// Makes the arguments of so many calls among so many rows, and returns their table.
///
/// # Errors
/// When there are not enough rows to give each call another one.
pub fn arguments(
    session: &mut Session,
    entity: &Entity,
    operation: &Operation,
    rows: u32,
    calls: u32,
) -> Result<String> {
    if calls > rows {
        bail!("{calls} calls among {rows} rows would meet a row twice");
    }
    let table = table(operation);
    let columns: Vec<String> = operation
        .arguments
        .iter()
        .map(|(name, kind, value)| format!("({value})::{kind} AS {name}"))
        .collect();
    // In an order that has nothing to do with that of the rows: the factor is a prime.
    session
        .batch(&format!(
            "DROP TABLE IF EXISTS {table};
             CREATE TEMP TABLE {table} AS
             SELECT {} FROM (
                 SELECT n, r, q, n % {PARENTS} AS h, r % {} AS g
                 FROM (
                     SELECT n, (n::bigint * {SCATTER} % {rows})::int AS r,
                         {APART} + (n::bigint * {SCATTER} % {})::int AS q
                     FROM generate_series(0, {calls} - 1) n
                 ) numbered
             ) x",
            columns.join(", "),
            (rows / SET).max(1),
            rows.saturating_sub(APART).max(1),
        ))
        .with_context(|| format!("arguments of {} ({})", operation.function, entity.name))?;
    session.batch(&format!("VACUUM ANALYZE {table}"))?;
    Ok(table)
}

/// A table's fillfactor.
///
/// # Errors
/// When it cannot be read.
pub fn fillfactor(session: &mut Session, table: &str) -> Result<u32> {
    let text = session.value(&format!(
        "SELECT coalesce(substring(array_to_string(reloptions, ',') from 'fillfactor=(\\d+)'), '100')
         FROM pg_class WHERE oid = '{table}'::regclass"
    ))?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(100))
}

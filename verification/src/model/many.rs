//! `*_many`: several rows by one INSERT.

use super::{Answer, Client, Expect, Row, Verdict, World};
use crate::entity::Entity;
use uuid::Uuid;

/// Many creates: one INSERT of all columns, ids out in the order in. Under
/// `on_duplicate = return` those that are there already are left out.
#[must_use]
pub fn insert_all(entity: &dyn Entity, world: &World, rows: Vec<Row>) -> Verdict {
    let table = entity.table();
    let ids: Vec<Uuid> = rows
        .iter()
        .filter_map(|row| row.id(table, table.key))
        .collect();
    let mut fresh: Vec<Row> = Vec::new();
    for row in rows {
        let id = row.id(table, table.key);
        let known = id.is_some_and(|id| world.row(table, id).is_some())
            || fresh.iter().any(|other| other.id(table, table.key) == id);
        if !(known && world.on_duplicate_return) {
            fresh.push(row);
        }
    }
    let mut statements = Vec::new();
    if !fresh.is_empty() {
        let conflict = if world.on_duplicate_return {
            format!(" ON CONFLICT ({}) DO NOTHING", table.key)
        } else {
            String::new()
        };
        let insert = Row::insert_all_sql(table, &fresh);
        statements.push(format!("{insert}{conflict} RETURNING {}", table.key));
    }
    let list: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    statements.push(format!("SELECT unnest('{{{}}}'::uuid[])", list.join(",")));
    let mut after = world.clone();
    let expect = match after.insert_all(entity, fresh) {
        Ok(()) => Expect::Values(list.into_iter().map(Some).collect()),
        Err(sqlstate) => Expect::Error(sqlstate),
    };
    Verdict::leaving(expect, Client::Statements(statements, Answer::Rows), after)
}

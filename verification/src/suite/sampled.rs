//! Calls of every function of every entity, each at a moment when it succeeds,
//! for topics that look at what a call meets: `entity::samples`, carried out in
//! order by the stage's administrator.

use super::bad_input::stage::Stage;
use crate::entity::{self, samples, Entity, Function, Table};
use crate::model::{self, Client, World};
use crate::plan::Call;
use crate::runner::Context;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;

/// A call to look at, and the client's statements for it.
pub(super) struct Case {
    /// The call.
    pub(super) call: Call,
    /// Its function.
    pub(super) function: &'static Function,
    /// What the client sends for it. (For a lock that only shows what it touches:
    /// the model, not a statement, is what an acquire is judged by.)
    pub(super) client: Vec<String>,
    /// The tables that these statements name.
    pub(super) tables: Vec<&'static Table>,
    /// Whether it writes.
    pub(super) changes: bool,
}

impl Case {
    /// The call as a statement.
    pub(super) fn sql(&self) -> String {
        format!("SELECT l FROM {} l", self.call.sql())
    }

    /// The client's statements, one after the other.
    pub(super) fn statements(&self) -> String {
        self.client.join("; ")
    }

    /// The first of the client's statements that writes.
    pub(super) fn first_write(&self) -> Option<&str> {
        let words = ["INSERT INTO ", "UPDATE caliber", "DELETE FROM "];
        let writes = |sql: &&str| words.iter().any(|word| sql.contains(word));
        self.client.iter().map(String::as_str).find(writes)
    }

    /// Whether the client's statements are the measure: not for a lock.
    pub(super) fn is_of_statements(&self) -> bool {
        !self.call.function.starts_with("caliber_lock_")
    }

    /// The tables that it has no business with.
    pub(super) fn others(&self) -> impl Iterator<Item = &'static Table> + '_ {
        tables().filter(|table| self.tables.iter().all(|own| own.name != table.name))
    }
}

/// The eleven tables.
pub(super) fn tables() -> impl Iterator<Item = &'static Table> {
    entity::all().iter().map(|entity| entity.table())
}

/// Carries the samples of an entity out, and has each chosen call whose place
/// is one of `own` looked at before it is its turn. How many there were.
///
/// # Errors
/// When a sampled call fails, or `look` does.
pub(super) fn walk(
    stage: &mut Stage,
    entity: &'static dyn Entity,
    own: impl Fn(Vec<usize>) -> Vec<usize>,
    mut look: impl FnMut(&mut Stage, &Case) -> Result<()>,
) -> Result<usize> {
    let calls = samples::of(entity);
    let mut chosen = choose(entity, &calls);
    let own = own(chosen.keys().copied().collect());
    chosen.retain(|at, _| own.contains(at));
    let count = chosen.len();
    for (at, (call, _)) in calls.iter().enumerate() {
        if let Some(case) = chosen.remove(&at) {
            look(stage, &case).with_context(|| case.call.sql())?;
        }
        if chosen.is_empty() {
            break;
        }
        let sql = format!("SELECT l FROM {} l", call.sql());
        stage.admin.batch(&sql)?;
    }
    Ok(count)
}

/// [`walk`] for one entity after the other, each from empty tables, by the
/// majors of a run between them.
///
/// # Errors
/// As [`walk`].
pub(super) fn walk_all(
    context: &Context,
    stage: &mut Stage,
    mut look: impl FnMut(&mut Stage, &Case) -> Result<()>,
) -> Result<usize> {
    let names: Vec<&str> = tables().map(|table| table.name).collect();
    let clear = format!("TRUNCATE {}", names.join(", "));
    // There are no other rows, and no call that always works.
    (stage.tables, stage.good) = (&[], None);
    let mut count = 0;
    for entity in entity::all() {
        stage.admin.batch(&clear)?;
        count += walk(stage, *entity, |all| context.share(all), &mut look)?;
    }
    Ok(count)
}

/// One call of each function for each set of tables that it touches. Of a
/// function of which a call writes, only such: another one may end early, and
/// its statements then show less than what it needs.
fn choose(entity: &'static dyn Entity, calls: &[(Call, World)]) -> BTreeMap<usize, Case> {
    let mut chosen: BTreeMap<(&str, Vec<&str>), (usize, Case)> = BTreeMap::new();
    for (at, (call, world)) in calls.iter().enumerate() {
        let own = entity
            .functions()
            .iter()
            .find(|known| known.name == call.function);
        let Some(function) = own else { continue };
        let verdict = model::judge(entity, function, world, call);
        let changes = verdict.changes();
        let Client::Statements(client, _) = verdict.client else {
            continue;
        };
        let touched: Vec<&Table> = tables()
            .filter(|table| client.iter().any(|sql| table.is_named_in(sql)))
            .collect();
        let key = (
            function.name,
            touched.iter().map(|table| table.name).collect(),
        );
        let writes = |case: &Case| case.changes && case.function.name == function.name;
        if !changes && chosen.values().any(|(_, case)| writes(case)) {
            continue;
        }
        if changes {
            chosen.retain(|_, (_, case)| case.changes || case.function.name != function.name);
        }
        chosen.entry(key).or_insert_with(|| {
            let case = Case {
                call: call.clone(),
                function,
                client,
                tables: touched,
                changes,
            };
            (at, case)
        });
    }
    chosen.into_values().collect()
}

/// SQL with the schemas of its names written out, where others come first.
pub(super) fn in_public(sql: &str) -> String {
    let mut sql = sql.to_owned();
    for (name, full) in [
        ("caliber_", "public.caliber_"),
        ("repeat(", "pg_catalog.repeat("),
        ("vector_dims(", "public.vector_dims("),
        (" <=> ", " OPERATOR(public.<=>) "),
        ("::uuid", "::pg_catalog.uuid"),
        ("::text", "::pg_catalog.text"),
        ("::jsonb", "::pg_catalog.jsonb"),
        ("::timestamptz", "::pg_catalog.timestamptz"),
        ("::vector", "::public.vector"),
    ] {
        sql = sql.replace(name, full);
    }
    sql
}

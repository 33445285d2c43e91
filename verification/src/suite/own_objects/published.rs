//! Tables published in part: a row filter or a list of columns that the replica
//! identity does not cover refuses updates and deletes, in SQL's words.

use super::functions::{carry_out, each, statements};
use crate::entity::{self, samples::Written, Kind};
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use anyhow::{Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "own_objects::published_in_part",
        "a row filter or a column list beyond the replica identity refuses updates and deletes, not inserts",
        published_in_part,
    )]
}

fn published_in_part(context: &Context) -> Result<Outcome> {
    let mut refused = 0;
    each(context, &desk::ALL, "", |desks, written| {
        for part in parts(written)? {
            for desk in desks.iter_mut() {
                desk.session
                    .batch(&format!("BEGIN; CREATE PUBLICATION part FOR TABLE {part}"))?;
            }
            if matches!(written.kind, Kind::Update | Kind::Verb | Kind::Delete) {
                let call = format!("SELECT {}", written.call.sql());
                desk::same_error(desks, &call, &written.statements.join("; "), "42P10")?;
                refused += 1;
            } else {
                for desk in desks.iter_mut() {
                    let sql = statements(desk, written).join("; ");
                    desk.session.batch(&sql).with_context(|| part.clone())?;
                }
            }
            for desk in desks.iter_mut() {
                desk.session.batch("ROLLBACK")?;
            }
        }
        desks
            .iter_mut()
            .try_for_each(|desk| carry_out(desk, written))
    })?;
    Ok(Outcome::Passed(format!("{refused} refused")))
}

/// The table of a call's function with a row filter, and with a list, that
/// both say nothing of the key.
fn parts(written: &Written) -> Result<[String; 2]> {
    let (entity, _) = entity::function_named(&written.call.function).context("whose function?")?;
    let table = entity.table();
    let mut columns = table.columns.iter().map(|column| column.name);
    let beyond = columns
        .find(|name| *name != table.key)
        .context("no column beside the key")?;
    Ok([
        format!("{} WHERE ({beyond} IS NOT NULL)", table.name),
        format!("{} ({beyond})", table.name),
    ])
}

//! Every function that writes, of every entity, beside the client's statements
//! for the same call: for what is to be looked at beyond rows.

use crate::entity::{
    self,
    samples::{self, Written},
};
use crate::judge::Engine;
use crate::runner::Context;
use crate::suite::desk::{self, Desk};
use anyhow::{ensure, Context as _, Result};

/// What a desk sends for a call.
pub(super) fn statements(desk: &Desk, written: &Written) -> Vec<String> {
    if desk.engine == Engine::Client {
        written.statements.clone()
    } else {
        vec![format!("SELECT {}", written.call.sql())]
    }
}

/// The call in a transaction of its own.
fn transaction(desk: &Desk, written: &Written) -> String {
    let mut all = statements(desk, written);
    if desk.engine == Engine::Client {
        all.extend(written.end.iter().cloned());
    }
    format!("BEGIN; {}; COMMIT;", all.join("; "))
}

/// Carries the call out.
pub(super) fn carry_out(desk: &mut Desk, written: &Written) -> Result<()> {
    let sql = transaction(desk, written);
    desk.session.batch(&sql)
}

/// Goes through all that [`samples`] has of each entity, with a desk for each
/// engine: `look` gets one call of each function, which it carries out. What it
/// finds is told at the end, so that one difference hides no other.
pub(super) fn each(
    context: &Context,
    engines: &[Engine],
    prepare: &str,
    mut look: impl FnMut(&mut [Desk], &Written) -> Result<()>,
) -> Result<usize> {
    let mut desks = desk::open(context, engines, prepare)?;
    let names: Vec<&str> = entity::all().iter().map(|e| e.table().name).collect();
    let empty = format!(
        "SELECT pg_advisory_unlock_all(); TRUNCATE {} CASCADE;",
        names.join(", ")
    );
    let mut problems = Vec::new();
    let mut count = 0;
    for entity in entity::all() {
        // What is not looked at is sent in one go.
        let mut before = vec![empty.clone(); desks.len()];
        for written in samples::written(*entity) {
            if !written.first {
                for (desk, before) in desks.iter().zip(&mut before) {
                    *before += &transaction(desk, &written);
                }
                continue;
            }
            for (desk, before) in desks.iter_mut().zip(&mut before) {
                desk.session
                    .batch(&std::mem::take(before))
                    .with_context(|| format!("{}, after {problems:#?}", desk.engine.name()))?;
            }
            count += 1;
            if let Err(problem) = look(&mut desks, &written) {
                problems.push(format!("{}: {problem:#}", written.call.sql()));
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    ensure!(count > 50, "only {count} functions");
    Ok(count)
}

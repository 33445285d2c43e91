//! UPDATE and INSERT as parts of one statement (a ModifyTable node over another
//! one in a CTE).

use super::insert::insert_row;
use super::statement::Statement;
use super::update::{statement_rights, update_row, Outcome};
use super::{find, stored, Heap};
use crate::engine::accept::{Accept, NewRow, Rule};
use crate::engine::{same, Changes, Table, Verdict, Written};
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::rights::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use pgrx::pg_sys;

impl Accept for Heap {
    fn accept(&self, table: &Table, key: Value, rule: &mut Rule<'_, '_>) -> CaliberResult<bool> {
        // As for a verb that is no more than an update.
        let mut vetoed = false;
        loop {
            let _snapshot = ActiveSnapshot::for_write();
            let Some(slot) = find(table, key)? else {
                return Ok(false);
            };
            // SAFETY: `find` returned a row. A copy of it is kept, so that the
            // page is not pinned while the rule waits.
            let seen = unsafe {
                pg_sys::ExecMaterializeSlot(slot.0);
                stored(table, slot.0)
            };
            let (verdict, new) = rule(&seen)?;
            let (changes, checked) = match verdict {
                Verdict::Answer(answer) => return Ok(answer),
                Verdict::Write { .. } if vetoed => return Ok(false),
                Verdict::Write { changes, checked } => (changes, checked),
            };
            crate::wait::at("accept.decided");
            let guard = seen.guard(table, &checked);
            match write(table, key, &changes, &guard, new.as_ref())? {
                Outcome::Done => return Ok(true),
                Outcome::Vetoed if crate::fault::active("veto_not_looked_at") => return Ok(false),
                Outcome::Vetoed => vetoed = true,
                // Somebody else changed it: from the start, with a new snapshot.
                Outcome::NoMatch => {}
            }
            crate::pg::check_for_interrupts();
        }
    }
}

/// UPDATE … WHERE key = `key` AND each column of `guard` has its value, and the
/// INSERT of `new`.
fn write(
    table: &Table,
    key: Value,
    changes: &Changes,
    guard: &[(usize, Value)],
    new: Option<&NewRow<'_>>,
) -> CaliberResult<Outcome> {
    let _snapshot = ActiveSnapshot::for_write();
    // SAFETY: `find` returned a row, pinned while the slot lives.
    let found =
        find(table, key)?.filter(|slot| same(table, &unsafe { stored(table, slot.0) }, guard));
    let update = statement_rights(table, changes);
    let moved = |statement: &Statement| match &found {
        None => Ok(Outcome::NoMatch),
        Some(old) => {
            let slot = statement.new_slot();
            update_row(table, statement, old, slot, key, changes, guard)
        }
    };
    let Some(new) = new else {
        let statement = Statement::begin(table, &update);
        let outcome = moved(&statement)?;
        statement.finish();
        return Ok(outcome);
    };
    let insert = Rights::insert();
    let [below, above] = Statement::parts([(table, &update), (new.table, &insert)]);
    // Each node fires its BEFORE STATEMENT triggers when it is first asked for
    // a row (ExecModifyTable, nodeModifyTable.c): the INSERT, which then asks
    // the UPDATE. The CTE gives its row before it has ended, so that the AFTER
    // STATEMENT triggers of both come behind both rows.
    if crate::fault::active("accept_trigger_order") {
        below.fire_before();
        above.fire_before();
    } else {
        above.fire_before();
        below.fire_before();
    }
    let mut outcome = moved(&below)?;
    let left_behind = outcome == Outcome::NoMatch && crate::fault::active("loser_leaves_child");
    if outcome == Outcome::Done || left_behind {
        crate::wait::at("accept.moved");
        let written = insert_row(new.table, &above, above.new_slot(), &new.values);
        if written != Written::Done {
            outcome = Outcome::Vetoed;
        }
    }
    Statement::finish_parts([below, above]);
    Ok(outcome)
}

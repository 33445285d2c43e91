//! Verbs, and the statement in which one also creates a row of another table.

use super::text::Text;
use super::{stored, Sql};
use crate::engine::accept::{Accept, NewRow, Rule};
use crate::engine::{same, Table, Verdict, Written};
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::snapshot::{is_current_transaction, ActiveSnapshot, Moment};
use crate::pg::spi::{self, Planning, View};

impl Accept for Sql {
    fn accept(&self, table: &Table, key: Value, rule: &mut Rule<'_, '_>) -> CaliberResult<bool> {
        // The values that a fruitless UPDATE was guarded by, and when, to tell a veto
        // from a concurrent change.
        let mut tried: Option<(Vec<(usize, Value)>, Moment)> = None;
        loop {
            let moment = Moment::now();
            // Where nobody can tell whose version a row is, it is locked the second time:
            // if the update is fruitless again, then by a veto.
            let locked = tried.is_some() && !table.relation.is_heap();
            let mut text = Text::get(table, key);
            if locked {
                text = text.followed_by(" FOR NO KEY UPDATE");
            }
            let Some(row) = self.read(table, &text, View::Fresh).into_iter().next() else {
                return Ok(false);
            };
            let stored = stored(table, row);
            if let Some((guard, before)) = &tried {
                if same(table, &stored, guard) && !self.is_newer(table, key, before)? {
                    return Ok(false);
                }
            }
            let (verdict, new) = rule(&stored)?;
            let (changes, checked) = match verdict {
                Verdict::Answer(answer) => return Ok(answer),
                // Nobody else can have changed what this transaction wrote: a trigger
                // vetoed the update, and changed the row itself.
                Verdict::Write { .. } if tried.is_some() && self.is_own(table, key)? => {
                    return Ok(false)
                }
                Verdict::Write { changes, checked } => (changes, checked),
            };
            let guard: Vec<(usize, Value)> = checked.iter().map(|&c| (c, stored.get(c))).collect();
            let update = Text::update(table, key, &changes, &guard);
            let written = match &new {
                None => self.write(&update),
                Some(new) => {
                    let both = Text::insert_with(update, new.table, &new.values);
                    self.beside(new).write(&both)
                }
            };
            if written == Written::Done || locked {
                return Ok(written == Written::Done);
            }
            tried = Some((guard, moment));
            crate::pg::check_for_interrupts();
        }
    }
}

impl Sql {
    /// Is the version of the row that is seen one of this transaction's?
    pub(super) fn is_own(&self, table: &Table, key: Value) -> CaliberResult<bool> {
        let written = self.written_by(table, key)?;
        Ok(written.is_some_and(is_current_transaction))
    }

    /// Is it one of a transaction that had not ended then? (Another row of the key may
    /// have the same values.)
    fn is_newer(&self, table: &Table, key: Value, moment: &Moment) -> CaliberResult<bool> {
        let written = self.written_by(table, key)?;
        Ok(written.is_some_and(|xid| !moment.knows(xid)))
    }

    /// The transaction that wrote the version of the row that is seen. Asked with the
    /// owner's rights: rights on columns do not reach those of the system.
    fn written_by(&self, table: &Table, key: Value) -> CaliberResult<Option<u32>> {
        // Only the heap has transaction ids that are this server's own.
        if !table.relation.is_heap() {
            return Ok(None);
        }
        let _snapshot = ActiveSnapshot::for_read_by_sql();
        let text = Text::xmin(table, key);
        let mut written = None;
        spi::as_owner(&table.relation, || {
            spi::each(&text.sql, &text.parameters, self.planning, &mut |values| {
                written = values
                    .first()
                    .and_then(Value::as_int4)
                    .map(|xid| xid as u32);
                Ok(())
            })
        })?;
        Ok(written)
    }

    /// The engine for a statement that also writes `new`: see
    /// [`Table::engine`] about rules.
    fn beside(&self, new: &NewRow<'_>) -> Self {
        let planning = if new.table.relation.has_rules() {
            Planning::OneShot
        } else {
            self.planning
        };
        Self { planning }
    }
}

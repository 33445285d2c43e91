//! Creates whose rows somebody wants to see as they are stored.
//!
//! A create needs INSERT only, so that it cannot ask for its row with RETURNING
//! unless the caller may SELECT it. It need not where no trigger can have
//! changed what was given.

use super::text::Text;
use super::{returned, rows_parameter, stored, Sql};
use crate::engine::{Rows, Stored, Table, Written};
use crate::error::{AgentError, CaliberError, CaliberResult};
use crate::pg::datum::Value;
use crate::pg::rights;
use crate::pg::spi::{self, View};
use uuid::Uuid;

impl Sql {
    /// INSERT of one row.
    pub(super) fn insert_row(&self, table: &Table, row: &[Value], if_new: bool) -> Written {
        let text = Text::insert(table, row, if_new);
        if !returns_rows(table) {
            let written = self.write(&text);
            if written == Written::Done {
                self.show(table, row);
            }
            return written;
        }
        let text = text.followed_by(" RETURNING *");
        let rows = self.read(table, &text, View::Fresh);
        let Some(row) = rows.into_iter().next() else {
            return Written::Absent;
        };
        table.show(&stored(table, row));
        Written::Done
    }

    /// INSERT of several rows: which of them were written.
    ///
    /// # Errors
    /// 55000 if triggers changed the keys of some rows and vetoed others, and it
    /// cannot be told which.
    pub(super) fn insert_rows(
        &self,
        table: &Table,
        rows: &Rows,
        if_new: bool,
    ) -> CaliberResult<Vec<bool>> {
        let text = Text::insert_many(table, rows_parameter(table, rows), if_new);
        let key = table.entity.key;
        let given: Vec<Option<Uuid>> = rows.iter().map(|row| row[key].as_uuid()).collect();
        if returns_rows(table) {
            let text = text.followed_by(", x.*");
            let written = self.read(table, &text, View::Fresh).into_iter();
            let returned: Vec<Option<Uuid>> = written
                .map(|row| {
                    let row = stored(table, row);
                    table.show(&row);
                    row.get(key).as_uuid()
                })
                .collect();
            return written_of(table, &given, &returned);
        }
        let returned = spi::ids(&text.sql, &text.parameters, self.planning);
        let written = written_of(table, &given, &returned)?;
        if table.is_watched() {
            for (row, _) in rows.iter().zip(&written).filter(|(_, &done)| done) {
                self.show(table, row);
            }
        }
        Ok(written)
    }

    /// Shows a row that was written from these values. If a trigger may have
    /// changed them, the row is read with the owner's rights: it is the
    /// caller's own. Under another key it is not found, and shown as given.
    fn show(&self, table: &Table, row: &[Value]) {
        if !table.is_watched() {
            return;
        }
        let key = table.entity.key;
        if let (true, Some(id)) = (table.relation.has_insert_triggers(), row[key].as_uuid()) {
            let text = Text::peek(table, key, id);
            let found = spi::as_owner(&table.relation, || self.read(table, &text, View::Fresh));
            if let Some(found) = found.into_iter().next() {
                return table.show(&stored(table, found));
            }
        }
        table.show(&Stored::of(row.to_vec()));
    }
}

fn written_of(
    table: &Table,
    given: &[Option<Uuid>],
    returned: &[Option<Uuid>],
) -> CaliberResult<Vec<bool>> {
    returned::written(given, returned).ok_or_else(|| {
        CaliberError::from(AgentError::State {
            message: format!(
                "triggers changed \"{}\" of some rows of a call, and vetoed others",
                table.entity.key_name()
            ),
            hint: Some("SQL cannot tell which: create these rows one by one.".into()),
        })
    })
}

/// Is the row to be asked for with RETURNING? Not under policies and rules,
/// which treat such an INSERT in ways of their own.
fn returns_rows(table: &Table) -> bool {
    table.is_watched()
        && table.relation.has_insert_triggers()
        && !table.relation.has_rules()
        && !table.has_policies()
        && rights::may_select(&table.relation)
}

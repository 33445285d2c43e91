//! Claiming and purging rows through SQL.

use super::text::Text;
use super::{stored, Sql};
use crate::engine::claim::{Claim, Claims};
use crate::engine::purge::Purge;
use crate::engine::Table;
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::rights;
use crate::pg::row::RowSink;
use crate::pg::spi::{self, View};
use crate::pg::test::Test;
use uuid::Uuid;

impl Claims for Sql {
    fn claim(&self, table: &Table, claim: &Claim<'_>, sink: &mut RowSink) -> CaliberResult<()> {
        let decides = || {
            let text = Text::get(claim.by, claim.key);
            let row = self.read(claim.by, &text, View::Fresh).into_iter().next();
            row.map(|row| stored(claim.by, row).get(claim.column))
        };
        let kind = claim.by.entity.shape.columns[claim.column].kind;
        let mut seen = decides();
        loop {
            let value = seen.unwrap_or(Value::NULL);
            let list = (claim.rows)(value);
            let text = Text::claim(table, claim, &list, value);
            let count = spi::fill(
                &table.relation,
                &text.sql,
                &text.parameters,
                self.planning,
                sink,
            );
            // The statement claims nothing if the value is another one in its
            // own snapshot.
            if count > 0 || seen.is_none() || list.max_rows == Some(0) {
                return Ok(());
            }
            let now = decides();
            if now.is_none_or(|now| now.same(&value, kind)) {
                return Ok(());
            }
            seen = now;
            crate::pg::check_for_interrupts();
        }
    }
}

impl Purge for Sql {
    fn purge(&self, table: &Table, any: &[(usize, Test)], max_rows: i64) -> CaliberResult<i64> {
        // SQL wants UPDATE of whoever locks rows.
        if rights::may_lock(&table.relation) {
            let text = Text::purge(table, any, max_rows);
            return Ok(spi::write(&text.sql, &text.parameters, self.planning) as i64);
        }
        let mut doomed: Vec<Uuid> = Vec::new();
        let mut after = None;
        loop {
            let left = max_rows - doomed.len() as i64;
            if left <= 0 {
                break;
            }
            // What the caller sees; then what of it nobody else has locked.
            let text = Text::passing(table, any, after, left);
            let seen: Vec<Uuid> = self.ids(&text);
            let Some(&last) = seen.last() else { break };
            after = Some(Value::uuid(last));
            let text = Text::lock_passing(table, any, &seen);
            doomed.extend(spi::as_owner(&table.relation, || self.ids(&text)));
            crate::pg::check_for_interrupts();
        }
        let text = Text::delete_each(table, &doomed);
        Ok(spi::write(&text.sql, &text.parameters, self.planning) as i64)
    }
}

impl Sql {
    fn ids(&self, text: &Text<'_>) -> Vec<Uuid> {
        let found = spi::ids(&text.sql, &text.parameters, self.planning);
        found.into_iter().flatten().collect()
    }
}

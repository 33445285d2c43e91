//! Rows as they are stored, for whoever must tell others about them: a BEFORE
//! trigger may have changed what the caller gave.

use super::{Stored, Table};
use std::fmt;

/// Who wants to see each row that a create stores.
pub(super) struct Watch(Box<dyn Fn(&Stored)>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Table {
    /// Shows each row that a create of this call stores, once, in the order in
    /// which they are written. The values are valid while `see` runs.
    pub fn watched(mut self, see: impl Fn(&Stored) + 'static) -> Self {
        self.watch = Some(Watch(Box::new(see)));
        self
    }

    /// Does anybody want to see the rows?
    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Shows a row, if anybody wants to see it.
    pub(super) fn show(&self, row: &Stored) {
        if let Some(Watch(see)) = &self.watch {
            see(row);
        }
    }
}

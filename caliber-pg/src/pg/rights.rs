//! Step 2 of every call: what the caller may do, in PostgreSQL's own order.

use super::attributes::live_attributes;
use super::backend::in_recovery;
use super::compat;
use super::relation::{Relation, READ_LOCK, WRITE_LOCK};
use crate::error::{CaliberError, CaliberResult, StorageError, TransactionCause};
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// The kind of statement that a call stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Reads only.
    Select,
    /// Writes a new row.
    Insert,
    /// Changes rows.
    Update,
    /// Locks rows, and changes them in the same statement.
    SelectForNoKeyUpdate,
    /// Deletes rows.
    Delete,
    /// Reads rows and keeps them from being deleted.
    SelectForKeyShare,
}

impl Command {
    /// The command tag that PostgreSQL's messages name.
    fn tag(self) -> &'static CStr {
        match self {
            Self::Select => c"SELECT",
            Self::Insert => c"INSERT",
            Self::Update => c"UPDATE",
            Self::SelectForNoKeyUpdate => c"SELECT FOR NO KEY UPDATE",
            Self::Delete => c"DELETE",
            Self::SelectForKeyShare => c"SELECT FOR KEY SHARE",
        }
    }

    /// The command type of a plan.
    pub(crate) fn cmd_type(self) -> pg_sys::CmdType::Type {
        match self {
            Self::Select | Self::SelectForKeyShare => pg_sys::CmdType::CMD_SELECT,
            Self::Insert => pg_sys::CmdType::CMD_INSERT,
            Self::Update | Self::SelectForNoKeyUpdate => pg_sys::CmdType::CMD_UPDATE,
            Self::Delete => pg_sys::CmdType::CMD_DELETE,
        }
    }
}

/// The rights that a call needs on one table, by known column.
#[derive(Debug, Clone)]
pub struct Rights {
    /// The statement.
    pub command: Command,
    /// SELECT on every column.
    pub select_all: bool,
    /// SELECT on these columns.
    pub select: Vec<usize>,
    /// INSERT of every column.
    pub insert: bool,
    /// UPDATE of these columns.
    pub update: Vec<usize>,
    /// DELETE.
    pub delete: bool,
}

impl Rights {
    /// SELECT on the table.
    pub fn select() -> Self {
        Self {
            command: Command::Select,
            select_all: true,
            select: Vec::new(),
            insert: false,
            update: Vec::new(),
            delete: false,
        }
    }

    /// INSERT of all columns.
    pub fn insert() -> Self {
        Self {
            command: Command::Insert,
            select_all: false,
            insert: true,
            ..Self::select()
        }
    }

    /// UPDATE of `columns`, and SELECT of `key`.
    pub fn update(key: usize, columns: Vec<usize>) -> Self {
        Self {
            command: Command::Update,
            select_all: false,
            select: vec![key],
            update: columns,
            ..Self::select()
        }
    }

    /// UPDATE of `columns` in a statement that locks the rows first, and SELECT
    /// on the table.
    pub fn claim(columns: Vec<usize>) -> Self {
        Self {
            command: Command::SelectForNoKeyUpdate,
            update: columns,
            ..Self::select()
        }
    }

    /// DELETE, and SELECT of `key`.
    pub fn delete(key: usize) -> Self {
        Self {
            command: Command::Delete,
            select_all: false,
            select: vec![key],
            delete: true,
            ..Self::select()
        }
    }

    /// SELECT on the table, and UPDATE of any column: SELECT … FOR KEY SHARE.
    pub fn select_for_key_share() -> Self {
        Self {
            command: Command::SelectForKeyShare,
            ..Self::select()
        }
    }

    /// And SELECT on the whole table.
    pub fn and_select(mut self) -> Self {
        self.select_all = true;
        self
    }

    /// And SELECT of one column.
    pub fn and_select_column(mut self, column: usize) -> Self {
        self.select.push(column);
        self
    }

    /// How the statement locks the table.
    pub fn relation_lock(&self) -> pg_sys::LOCKMODE {
        match self.command {
            Command::Select => READ_LOCK,
            Command::SelectForKeyShare => pg_sys::RowShareLock as pg_sys::LOCKMODE,
            Command::Insert | Command::Update | Command::SelectForNoKeyUpdate | Command::Delete => {
                WRITE_LOCK
            }
        }
    }

    /// Does the statement read the table, or find in it the rows that it writes? (An
    /// INSERT that returns the key does not.)
    pub fn reads(&self) -> bool {
        self.command != Command::Insert || self.select_all
    }

    /// Does the call write?
    pub fn writes(&self) -> bool {
        self.command != Command::Select
    }
}

/// USAGE on the schema of the called function (42501).
///
/// A kept plan does not check it again when the role changes, so both engines
/// check it here at each call.
pub fn check_schema_usage(schema: Oid) {
    compat::privileges::check_schema_right(schema, pg_sys::ACL_USAGE);
}

/// A write needs a transaction that may write (25006) and is not in parallel
/// mode (25000): standard_ExecutorStart and ExecCheckXactReadOnly (execMain.c).
pub fn check_may_write(command: Command) -> CaliberResult<()> {
    if command == Command::Select {
        return Ok(());
    }
    let tag = command.tag().to_string_lossy();
    // SAFETY: both read backend variables.
    let (read_only, parallel) = unsafe { (pg_sys::XactReadOnly, compat::in_parallel_mode()) };
    if read_only {
        return Err(transaction(
            TransactionCause::ReadOnly,
            format!("cannot execute {tag} in a read-only transaction"),
        ));
    }
    if parallel {
        return Err(transaction(
            TransactionCause::Parallel,
            format!("cannot execute {tag} during a parallel operation"),
        ));
    }
    Ok(())
}

/// A standby has no rows of a table that is not logged: get_relation_info
/// (plancat.c), which the planner asks for what a statement reads.
///
/// # Errors
/// 0A000 for such a table on a standby.
pub fn check_readable(class: &pg_sys::FormData_pg_class) -> CaliberResult<()> {
    if class.relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT || !in_recovery() {
        return Ok(());
    }
    Err(transaction(
        TransactionCause::Recovery,
        "cannot access temporary or unlogged relations during recovery".into(),
    ))
}

fn transaction(cause: TransactionCause, reason: String) -> CaliberError {
    CaliberError::from(StorageError::TransactionFailed { cause, reason })
}

/// Table and column rights, by PostgreSQL's own check (42501 in its words).
pub fn check_table(relation: &Relation, rights: &Rights) {
    if crate::fault::active("skip_privileges") {
        return;
    }
    let table = range_table(relation, rights);
    // SAFETY: a range table of one valid entry, as the executor builds it.
    unsafe { compat::check_permissions(&table) };
}

/// May the current user SELECT the whole table?
pub fn may_select(relation: &Relation) -> bool {
    // SAFETY: look-ups by OID.
    let result = unsafe {
        pg_sys::pg_class_aclcheck(
            relation.oid(),
            pg_sys::GetUserId(),
            pg_sys::ACL_SELECT as pg_sys::AclMode,
        )
    };
    result == pg_sys::AclResult::ACLCHECK_OK
}

/// What the table's owner needs so that a call may read with the owner's rights (42501):
/// PostgreSQL's key checks are refused too where owners have taken it from themselves
/// (ri_PerformCheck, ri_triggers.c).
pub fn check_owner_may_select(relation: &Relation) {
    super::spi::as_owner(relation, || {
        if !may_select(relation) {
            check_table(relation, &Rights::select());
        }
    });
}

/// May the current user lock rows, which takes UPDATE of any column?
pub fn may_lock(relation: &Relation) -> bool {
    let right = pg_sys::ACL_UPDATE as pg_sys::AclMode;
    // SAFETY: look-ups by OID.
    unsafe {
        let (table, user) = (relation.oid(), pg_sys::GetUserId());
        pg_sys::pg_class_aclcheck(table, user, right) == pg_sys::AclResult::ACLCHECK_OK
            || pg_sys::pg_attribute_aclcheck_all(
                table,
                user,
                right,
                pg_sys::AclMaskHow::ACLMASK_ANY,
            ) == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// A range table: what the executor and its error messages take privileges
/// and named columns from.
pub(crate) struct RangeTable {
    pub(crate) entries: *mut pg_sys::List,
    #[cfg_attr(feature = "pg15", allow(dead_code))]
    pub(crate) permissions: *mut pg_sys::List,
}

impl Default for RangeTable {
    /// One without relations.
    fn default() -> Self {
        Self {
            entries: std::ptr::null_mut(),
            permissions: std::ptr::null_mut(),
        }
    }
}

impl RangeTable {
    /// Adds the relation of another range table, which has one.
    pub(crate) fn append(&mut self, other: Self) {
        // SAFETY: both were built in the current memory context.
        unsafe { compat::append_range_table(self, other) };
    }
}

/// Builds the range table of a call in the current memory context.
pub(crate) fn range_table(relation: &Relation, rights: &Rights) -> RangeTable {
    let mut required = 0;
    for (wanted, bit) in [
        (
            rights.select_all || !rights.select.is_empty(),
            pg_sys::ACL_SELECT,
        ),
        (rights.insert, pg_sys::ACL_INSERT),
        (
            // Without named columns the right to update any of them is enough
            // (ExecCheckPermissionsModified, execMain.c).
            !rights.update.is_empty() || rights.command == Command::SelectForKeyShare,
            pg_sys::ACL_UPDATE,
        ),
        (rights.delete, pg_sys::ACL_DELETE),
    ] {
        if wanted {
            required |= bit;
        }
    }
    let offset = |attribute: i16| i32::from(attribute) - pg_sys::FirstLowInvalidHeapAttributeNumber;
    let columns = |numbers: &mut dyn Iterator<Item = i16>| {
        let mut set: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        for n in numbers {
            // SAFETY: `set` is NULL or a set made by the previous round.
            set = unsafe { pg_sys::bms_add_member(set, offset(n)) };
        }
        set
    };
    let selected = if rights.select_all {
        // Attribute 0 is the whole row: SELECT on every column.
        columns(&mut std::iter::once(0))
    } else {
        columns(&mut rights.select.iter().map(|&c| relation.attribute(c)))
    };
    let inserted = if rights.insert {
        // All columns, also those of later versions, which are written as NULL.
        let all = live_attributes(relation.descriptor());
        columns(&mut all.iter().map(|a| a.number))
    } else {
        std::ptr::null_mut()
    };
    let updated = columns(&mut rights.update.iter().map(|&c| relation.attribute(c)));
    let lock = rights.relation_lock();
    // SAFETY: the relation is open; the sets were made above in this context.
    unsafe { compat::range_table(relation, lock, required, selected, inserted, updated) }
}

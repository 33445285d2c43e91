//! A row of `caliber_lock` as the protocol sees it, and whether it is alive.

use super::{has_written, ledger::own_tag};
use crate::engine::{Stored, Table};
use crate::entity::lock::column::{
    EXPIRES_AT, HOLDER_AGENT_ID, LEVEL, LOCK_ID, MODE, RESOURCE_ID, RESOURCE_TYPE,
};
use crate::error::CaliberResult;
use crate::pg::advisory::{self, Mode};
use crate::pg::backend::in_recovery;
use crate::pg::datum::Value;
use uuid::Uuid;

/// What keeps a lock alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Its row, until it expires.
    Lease,
    /// The connection that took it.
    Session,
    /// The transaction that took it.
    Transaction,
}

impl Level {
    /// All of them by name; the first is the default.
    pub const NAMES: &'static [&'static str] = &["lease", "session", "transaction"];

    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Session => "session",
            Self::Transaction => "transaction",
        }
    }

    /// By its name. A name that no CHECK would let in lives as a lease does.
    pub fn named(name: &str) -> Self {
        match name {
            "session" => Self::Session,
            "transaction" => Self::Transaction,
            _ => Self::Lease,
        }
    }

    /// That of a stored row.
    fn read(stored: &Stored) -> Self {
        by_name(stored.get(LEVEL), Self::named)
    }
}

/// The names of modes; the first is the default.
pub const MODES: &[&str] = &["exclusive", "shared"];

/// A mode as it is stored.
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
    }
}

/// A mode by its name. A name that no CHECK would let in excludes everybody.
pub fn mode_named(name: &str) -> Mode {
    match name {
        "shared" => Mode::Shared,
        _ => Mode::Exclusive,
    }
}

/// What a stored name says; nothing, and bytes that are no UTF-8, say what the empty name does.
fn by_name<T>(name: Value, named: impl Fn(&str) -> T) -> T {
    let read = name.with_bytes(|name| named(std::str::from_utf8(name).unwrap_or_default()));
    read.unwrap_or_else(|| named(""))
}

/// A row of `caliber_lock`, copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRow {
    /// Key.
    pub id: Uuid,
    /// Type of the resource, in the server's encoding.
    pub resource_type: Vec<u8>,
    /// The resource.
    pub resource_id: Uuid,
    /// Whose lock it is.
    pub holder: Uuid,
    /// When a lease ends, in microseconds since 2000-01-01.
    pub expires_at: i64,
    /// Shared or exclusive.
    pub mode: Mode,
    /// What keeps it alive.
    pub level: Level,
}

impl LockRow {
    /// Copies a stored row.
    pub fn read(stored: &Stored) -> Self {
        let id = |column| stored.get(column).as_uuid().unwrap_or_default();
        Self {
            id: id(LOCK_ID),
            resource_type: stored.get(RESOURCE_TYPE).as_bytes().unwrap_or_default(),
            resource_id: id(RESOURCE_ID),
            holder: id(HOLDER_AGENT_ID),
            expires_at: end_of(stored),
            mode: by_name(stored.get(MODE), mode_named),
            level: Level::read(stored),
        }
    }

    /// Can both be held at once?
    pub fn goes_with(&self, mode: Mode) -> bool {
        self.mode == Mode::Shared && mode == Mode::Shared
    }

    /// Is it held at this moment, `now`? (See [`Life::goes_on`].)
    pub fn is_alive(&self, table: &Table, now: i64) -> CaliberResult<bool> {
        self.life().goes_on(table, now)
    }

    /// What decides whether it is alive.
    fn life(&self) -> Life {
        Life {
            id: self.id,
            level: self.level,
            expires_at: self.expires_at,
        }
    }

    /// Is it `agent`'s own, here: a lease of the agent, or one that the agent
    /// took on this connection or in this transaction?
    pub fn is_own(&self, table: &Table, agent: Uuid) -> CaliberResult<bool> {
        if self.holder != agent {
            return Ok(false);
        }
        match self.level {
            Level::Lease => Ok(true),
            Level::Session => Ok(advisory::held_by_me(own_tag(self.id), Mode::Exclusive)),
            Level::Transaction => {
                Ok(has_written(self.id) || table.locks().is_of_this_transaction(table, self.id)?)
            }
        }
    }
}

/// What decides whether a lock is held.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    id: Uuid,
    level: Level,
    expires_at: i64,
}

impl Life {
    /// That of a stored row, of which no more is read.
    pub fn read(stored: &Stored) -> Self {
        Self {
            id: stored.get(LOCK_ID).as_uuid().unwrap_or_default(),
            level: Level::read(stored),
            expires_at: end_of(stored),
        }
    }

    /// Is the lock held at this moment, `now`?
    ///
    /// Alive are: a lease until its time has passed; a session lock while
    /// anybody holds its own tag; a row of level transaction in the transaction
    /// that wrote it. Everything else is dead.
    pub fn goes_on(&self, table: &Table, now: i64) -> CaliberResult<bool> {
        match self.level {
            Level::Lease => Ok(self.expires_at > now),
            // The locks of the primary are not to be seen from a standby.
            Level::Session => Ok(in_recovery()
                || crate::fault::active("lock_immortal_session")
                || advisory::held_by_anybody(own_tag(self.id))),
            Level::Transaction => {
                Ok(has_written(self.id) || table.locks().is_of_this_transaction(table, self.id)?)
            }
        }
    }
}

/// When a stored lock ends; at once where a user allows that it has no end.
fn end_of(stored: &Stored) -> i64 {
    stored.get(EXPIRES_AT).as_int8().unwrap_or(i64::MIN)
}

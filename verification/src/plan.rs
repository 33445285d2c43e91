//! A plan: what a case does, as plain values. Properties generate plans, the
//! judges execute them, failures are stored as them and replayed from them.

use crate::value::Value;
use serde::{Deserialize, Serialize};

/// One call of a function of the extension, with named arguments. Arguments
/// that are left out take their default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The SQL function.
    pub function: String,
    /// Named arguments, in the order they are written.
    pub args: Vec<(String, Value)>,
}

impl Call {
    /// A call of `function` with no arguments yet.
    #[must_use]
    pub fn new(function: &str) -> Self {
        Self {
            function: function.to_owned(),
            args: Vec::new(),
        }
    }

    /// Adds a named argument.
    #[must_use]
    pub fn arg(mut self, name: &str, value: Value) -> Self {
        self.args.push((name.to_owned(), value));
        self
    }

    /// Adds a named argument unless it is `None`, which leaves the default.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.arg(name, value),
            None => self,
        }
    }

    /// The value given for an argument, if it was given.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.args
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// Replaces (or adds) one argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.args.retain(|(known, _)| known != name);
        self.arg(name, value)
    }

    /// The call as an SQL expression.
    #[must_use]
    pub fn sql(&self) -> String {
        let args: Vec<String> = self
            .args
            .iter()
            .map(|(name, value)| format!("{name} => {}", value.sql()))
            .collect();
        format!("{}({})", self.function, args.join(", "))
    }
}

/// How several calls are put into one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weave {
    /// Side by side in one target list.
    TargetList,
    /// A chain of materialized CTEs, each reading the one before.
    Cte,
    /// A PL/pgSQL function that runs one after the other.
    PlPgSql,
    /// A PL/pgSQL function that runs them inside a block with an exception handler.
    Block,
}

/// A transaction's isolation level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// PostgreSQL's default.
    #[default]
    ReadCommitted,
    /// One snapshot for the transaction.
    RepeatableRead,
    /// Serializable snapshot isolation.
    Serializable,
}

impl Isolation {
    /// The level in SQL.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }

    /// All levels.
    pub const ALL: [Self; 3] = [
        Self::ReadCommitted,
        Self::RepeatableRead,
        Self::Serializable,
    ];
}

/// One step of a case. Steps outside `Begin … Commit` are transactions of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A call, judged alone.
    Call(Call),
    /// Several calls in one statement; each must see those before it.
    Together {
        /// The statement's form.
        weave: Weave,
        /// The calls, in order.
        calls: Vec<Call>,
    },
    /// Starts a transaction.
    Begin(Isolation),
    /// Commits it.
    Commit,
    /// Rolls it back.
    Rollback,
    /// Sets a savepoint.
    Savepoint,
    /// Rolls back to the newest savepoint (which stays).
    RollbackTo,
    /// Releases the newest savepoint.
    Release,
    /// Lets the wall clock run on, so that it differs from the transaction's start.
    Pause(u32),
    /// Compares all tables with the model and with each other.
    CheckTables,
    /// Reads every index of every table in full and compares it with the table.
    CheckIndexes,
    /// Asks `caliber_check()`, and amcheck where the server has it.
    Amcheck,
}

/// A case: what property generated it, and its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The property's name.
    pub property: String,
    /// The entity the property was asked about.
    pub entity: String,
    /// `caliber.on_duplicate = return` for the whole case.
    #[serde(default)]
    pub on_duplicate_return: bool,
    /// Whether each call inside a transaction is wrapped in a savepoint (calls
    /// that must fail always are).
    #[serde(default)]
    pub savepoint_each: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

//! Every error of our own, and the one table that gives each its SQLSTATE.
//!
//! An ERROR that PostgreSQL raises is never caught or remade: it passes through
//! our functions unchanged. The types here exist for what our own code finds.

use crate::pg::error::{Report, SqlState};
use uuid::Uuid;

/// Result of anything in the extension that can find a mistake.
pub type CaliberResult<T> = Result<T, CaliberError>;

/// What our own code can find wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaliberError {
    /// The table, the transaction or a write.
    Storage(Box<StorageError>),
    /// An argument.
    Validation(Box<ValidationError>),
    /// The state of a row, or who may change it.
    Agent(Box<AgentError>),
}

/// Storage could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageError {
    /// No such row. Never leaves a function: it becomes NULL, false or nothing.
    NotFound {
        /// Entity name, for example `trajectory`.
        entity: &'static str,
        /// Key of the row.
        id: Uuid,
    },
    /// A row cannot be inserted.
    InsertFailed(WriteFailure),
    /// A row cannot be updated.
    UpdateFailed(WriteFailure),
    /// A row cannot be deleted.
    DeleteFailed(WriteFailure),
    /// The transaction may not, or can no longer, do this.
    TransactionFailed {
        /// Why.
        cause: TransactionCause,
        /// Message in PostgreSQL's words.
        reason: String,
    },
    /// The index that a read needs is not there.
    IndexError {
        /// Qualified table name.
        table: String,
        /// Columns that the index must have, in order.
        columns: String,
        /// How to make it again.
        repair: String,
    },
    /// A relation cannot be opened.
    SpiError(RelationProblem),
}

/// A write that our own code refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFailure {
    /// What kind of failure.
    pub cause: WriteCause,
    /// Primary message.
    pub reason: String,
    /// HINT.
    pub hint: Option<String>,
    /// Schema and table, and the constraint that stands for the rule.
    pub object: Option<ConstraintName>,
}

/// Schema, table and constraint of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstraintName {
    /// Schema name.
    pub schema: String,
    /// Table name.
    pub table: String,
    /// Constraint name.
    pub constraint: String,
}

/// Why our own code refuses a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCause {
    /// A rule that a CHECK stands for (a cycle of parents).
    Check,
    /// More than the product allows (depth of a tree).
    Limit,
    /// The row is not in a state that allows it.
    State,
    /// A trigger of the same command changed the row first.
    ChangedByTrigger,
    /// A policy forbids one of the rows.
    Forbidden,
}

/// Why the transaction cannot do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionCause {
    /// The transaction is read only, or the server is a standby.
    ReadOnly,
    /// The call runs in parallel mode.
    Parallel,
    /// The server is a standby, which has no rows of the table.
    Recovery,
    /// Another transaction changed the row since the snapshot.
    Serialization,
}

/// Why a relation cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationProblem {
    /// There is no such table.
    Missing {
        /// Qualified table name.
        table: String,
    },
    /// The relation is not what the library knows.
    WrongShape {
        /// Qualified table name.
        table: String,
        /// What differs.
        detail: String,
        /// How to repair it.
        hint: String,
    },
}

/// An argument that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationError {
    /// Which rule it breaks.
    pub rule: Rule,
    /// Primary message: what is wrong.
    pub message: String,
    /// What is allowed.
    pub hint: Option<String>,
}

/// The rules for arguments, one for each SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// NULL where a value is needed.
    NotNull,
    /// A value outside its set or range.
    Value,
    /// A negative number of rows.
    RowCount,
    /// A number too large for its column.
    Range,
    /// Text that is not of the type's form.
    Text,
    /// Text that is not a timestamp.
    Timestamp,
    /// A timestamp outside what can be stored.
    TimestampRange,
    /// Something this version does not do.
    Unsupported,
}

/// The state of a row, or the agent that acts on it, forbids the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentError {
    /// The row's state does not allow this.
    State {
        /// Primary message: entity, id, state.
        message: String,
        /// What must come first.
        hint: Option<String>,
    },
    /// This agent may not do this.
    NotEligible {
        /// Primary message.
        message: String,
    },
    /// No such agent.
    Unknown {
        /// Primary message.
        message: String,
        /// The foreign key that stands for the rule.
        object: ConstraintName,
    },
}

macro_rules! from_parts {
    ($($part:ident => $variant:ident),*) => {$(
        impl From<$part> for CaliberError {
            fn from(error: $part) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )*};
}

from_parts!(StorageError => Storage, ValidationError => Validation, AgentError => Agent);

impl CaliberError {
    /// The SQLSTATE of this error: the one table of the extension.
    ///
    /// ```
    /// # use caliber_pg::error::*;
    /// let e = CaliberError::from(AgentError::NotEligible { message: "no".into() });
    /// assert_eq!(e.sqlstate().as_str(), "42501");
    /// ```
    pub fn sqlstate(&self) -> SqlState {
        let code = match self {
            Self::Storage(e) => match &**e {
                StorageError::NotFound { .. } => "P0002",
                StorageError::InsertFailed(w)
                | StorageError::UpdateFailed(w)
                | StorageError::DeleteFailed(w) => match w.cause {
                    WriteCause::Check => "23514",
                    WriteCause::Limit => "54000",
                    WriteCause::State => "55000",
                    WriteCause::ChangedByTrigger => "27000",
                    WriteCause::Forbidden => "42501",
                },
                StorageError::TransactionFailed { cause, .. } => match cause {
                    TransactionCause::ReadOnly => "25006",
                    TransactionCause::Parallel => "25000",
                    TransactionCause::Recovery => "0A000",
                    TransactionCause::Serialization => "40001",
                },
                StorageError::IndexError { .. } => "55000",
                StorageError::SpiError(RelationProblem::Missing { .. }) => "42P01",
                StorageError::SpiError(RelationProblem::WrongShape { .. }) => "42804",
            },
            Self::Validation(e) => match e.rule {
                Rule::NotNull => "22004",
                Rule::Value => "22023",
                Rule::RowCount => "2201W",
                Rule::Range => "22003",
                Rule::Text => "22P02",
                Rule::Timestamp => "22007",
                Rule::TimestampRange => "22008",
                Rule::Unsupported => "0A000",
            },
            Self::Agent(e) => match &**e {
                AgentError::State { .. } => "55000",
                AgentError::NotEligible { .. } => "42501",
                AgentError::Unknown { .. } => "23503",
            },
        };
        SqlState::new(code)
    }

    /// The report that PostgreSQL will send.
    pub fn report(&self) -> Report {
        let mut report = Report::new(self.sqlstate());
        match self {
            Self::Storage(e) => match &**e {
                StorageError::NotFound { entity, id } => {
                    report.message = format!("{entity} {id} does not exist");
                }
                StorageError::InsertFailed(w)
                | StorageError::UpdateFailed(w)
                | StorageError::DeleteFailed(w) => {
                    report.message = w.reason.clone();
                    report.hint = w.hint.clone();
                    report.object = w.object.clone();
                }
                StorageError::TransactionFailed { reason, .. } => {
                    report.message = reason.clone();
                }
                StorageError::IndexError {
                    table,
                    columns,
                    repair,
                } => {
                    report.message = format!("no usable index on {table} ({columns})");
                    report.hint = Some(repair.clone());
                }
                StorageError::SpiError(RelationProblem::Missing { table }) => {
                    report.message = format!("relation \"{table}\" does not exist");
                    report.hint = Some("Run caliber_init() to create the tables.".into());
                }
                StorageError::SpiError(RelationProblem::WrongShape {
                    table,
                    detail,
                    hint,
                }) => {
                    report.message =
                        format!("relation \"{table}\" is not a table that caliber_pg can use");
                    report.detail = Some(detail.clone());
                    report.hint = Some(hint.clone());
                }
            },
            Self::Validation(e) => {
                report.message = e.message.clone();
                report.hint = e.hint.clone();
            }
            Self::Agent(e) => match &**e {
                AgentError::State { message, hint } => {
                    report.message = message.clone();
                    report.hint = hint.clone();
                }
                AgentError::NotEligible { message } => report.message = message.clone(),
                AgentError::Unknown { message, object } => {
                    report.message = message.clone();
                    report.object = Some(object.clone());
                }
            },
        }
        report
    }

    /// An argument broke `rule`.
    pub fn argument(rule: Rule, message: impl Into<String>, hint: Option<String>) -> Self {
        Self::from(ValidationError {
            rule,
            message: message.into(),
            hint,
        })
    }

    /// Another transaction changed the row since this transaction's snapshot.
    pub fn serialization(reason: &str) -> Self {
        Self::from(StorageError::TransactionFailed {
            cause: TransactionCause::Serialization,
            reason: reason.into(),
        })
    }
}

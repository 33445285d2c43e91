//! What a judge answered, and how two answers are compared.

use super::Engine;
use crate::session::{shorten, Failure, ServerError};
use serde::Serialize;
use std::fmt;

/// The answer of one judge to one step, with timestamps already replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Values: one for a scalar or a row (`None` for NULL), any number for a set.
    Values(Vec<Option<String>>),
    /// An ERROR.
    Error(Box<ServerError>),
    /// The connection is gone.
    Lost(String),
}

impl Outcome {
    /// An outcome from a failure, timestamps not yet replaced.
    #[must_use]
    pub fn from_failure(failure: Failure) -> Self {
        match failure {
            Failure::Error(error) => Self::Error(error),
            Failure::Lost(why) => Self::Lost(why),
        }
    }

    /// Values in the order of their text: rows in the order of their keys,
    /// those that were made up for comparison included.
    #[must_use]
    pub fn sorted(self) -> Self {
        match self {
            Self::Values(mut values) => {
                values.sort();
                Self::Values(values)
            }
            other => other,
        }
    }

    /// The SQLSTATE of an error.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Error(error) => Some(&error.sqlstate),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) if values.is_empty() => f.write_str("no rows"),
            Self::Values(values) => {
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        f.write_str("\n")?;
                    }
                    f.write_str(
                        &value
                            .as_deref()
                            .map_or_else(|| "NULL".to_owned(), |text| shorten(text, 2000)),
                    )?;
                }
                Ok(())
            }
            Self::Error(error) => write!(f, "ERROR {error}"),
            Self::Lost(why) => write!(f, "CONNECTION LOST: {why}"),
        }
    }
}

/// A step at which the judges, or the model, disagree.
#[derive(Clone, Debug, Serialize)]
pub struct Mismatch {
    /// Number of the step, from 0.
    pub step: usize,
    /// What was done.
    pub what: String,
    /// What is wrong.
    pub why: String,
    /// Who answered what.
    pub answers: Vec<(Engine, String)>,
    /// What the model expected.
    pub expected: Option<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {}", self.step, shorten(&self.what, 1500))?;
        writeln!(f, "{}", self.why)?;
        for (engine, answer) in &self.answers {
            writeln!(f, "--- {}\n{answer}", engine.name())?;
        }
        if let Some(expected) = &self.expected {
            writeln!(f, "--- expected\n{}", shorten(expected, 3000))?;
        }
        Ok(())
    }
}

impl std::error::Error for Mismatch {}

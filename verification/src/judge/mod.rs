//! The judges: databases cloned from one template, in which one plan is
//! carried out by the heap engine, by the sql engine, and by the client's own
//! statements. What they answer must be the same, field by field.

mod answers;
mod bench;
mod clock;
mod execute;
mod index;
mod outcome;
mod walk;

pub use bench::{Bench, Judge};
pub use clock::without_moments;
pub use execute::{execute, execute_watched, Done, Onlooker, Stats};
pub use outcome::{Mismatch, Outcome};
pub use walk::{script, ScriptLine};

use serde::{Deserialize, Serialize};

/// Who carries a plan out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// `caliber.engine = heap`.
    Heap,
    /// `caliber.engine = sql`.
    Sql,
    /// `caliber.engine = sql_oneshot`.
    SqlOneshot,
    /// The statements of `api.md` §1.5, sent by the client.
    Client,
}

impl Engine {
    /// The three judges of every property.
    pub const JUDGES: [Self; 3] = [Self::Heap, Self::Sql, Self::Client];

    /// The name, as in `caliber.engine`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Sql => "sql",
            Self::SqlOneshot => "sql_oneshot",
            Self::Client => "client",
        }
    }

    /// The engine of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Heap, Self::Sql, Self::SqlOneshot, Self::Client]
            .into_iter()
            .find(|engine| engine.name() == name)
    }
}

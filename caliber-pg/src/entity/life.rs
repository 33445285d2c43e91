//! Life cycles: which state may follow which, one table per entity.

use crate::error::{AgentError, CaliberError, CaliberResult};
use uuid::Uuid;

/// The states of an entity and the moves between them.
#[derive(Debug)]
pub struct LifeCycle {
    /// Entity name, for messages.
    pub entity: &'static str,
    /// All states; the first is that of a new row.
    pub states: &'static [&'static str],
    /// Allowed moves, from and to.
    pub moves: &'static [(&'static str, &'static str)],
}

impl LifeCycle {
    /// May `to` follow `from`?
    ///
    /// ```
    /// # use caliber_pg::entity::trajectory::LIFE;
    /// assert!(LIFE.allows("active", "completed"));
    /// assert!(!LIFE.allows("completed", "active"));
    /// ```
    pub fn allows(&self, from: &str, to: &str) -> bool {
        if crate::fault::active("illegal_transition") {
            return true;
        }
        self.moves.iter().any(|&(f, t)| f == from && t == to)
    }

    /// Is `state` one of the cycle, with no way out? What a dropped CHECK lets in is not.
    pub fn is_final(&self, state: &str) -> bool {
        let is_it = |other: &&str| *other == state;
        self.states.iter().any(is_it) && !self.moves.iter().any(|&(from, _)| from == state)
    }

    /// Does a verb move the row `id` from `from` to `to`? False if it is there
    /// already.
    ///
    /// # Errors
    /// 55000 if `to` may not follow.
    pub fn leads(&self, id: Uuid, from: &str, to: &str) -> CaliberResult<bool> {
        if from == to {
            Ok(false)
        } else if self.allows(from, to) {
            Ok(true)
        } else {
            Err(self.refuse(id, from, to))
        }
    }

    /// 55000: the row `id` is in `from`, which does not lead to `to`.
    pub fn refuse(&self, id: Uuid, from: &str, to: &str) -> CaliberError {
        let entity = self.entity;
        let before: Vec<&str> = self
            .moves
            .iter()
            .filter(|&&(_, t)| t == to)
            .map(|&(f, _)| f)
            .collect();
        let hint = if self.is_final(from) {
            format!("A {from} {entity} is final.")
        } else {
            format!("It must be {} first.", before.join(" or "))
        };
        CaliberError::from(AgentError::State {
            message: format!("{entity} {id} is {from} and cannot become {to}"),
            hint: Some(hint),
        })
    }
}

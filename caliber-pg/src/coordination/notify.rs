//! Announcing messages: which channel, and what is said there.

use crate::engine::{Stored, Table};
use crate::entity::message::column::{
    FROM_AGENT_ID, MESSAGE_ID, MESSAGE_TYPE, PRIORITY, TO_AGENT_ID, TO_AGENT_TYPE,
};
use crate::pg::datum::Value;
use crate::pg::hash::sha256;
use crate::pg::notify::notify;
use crate::settings;
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use uuid::Uuid;

/// Whom a message is for.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// One agent.
    Agent(Uuid),
    /// Any one agent of a type.
    Type(Value),
    /// Everybody.
    All,
}

impl Target {
    /// The channel on which its messages are announced. A name has at most 63
    /// bytes: of a type of more than 50 bytes it has the first 50 hexadecimal
    /// digits of its SHA-256.
    pub fn channel(self) -> String {
        const LONGEST: usize = 50;
        match self {
            Self::Agent(id) => format!("caliber_agent_{id}"),
            Self::Type(name) if name.as_bytes().is_some_and(|b| b.len() > LONGEST) => {
                let hash = sha256(name).as_bytes().unwrap_or_default();
                let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("caliber_type_{}", &digits[..LONGEST.min(digits.len())])
            }
            Self::Type(name) => format!("caliber_type_{}", name.as_text().unwrap_or_default()),
            Self::All => "caliber_broadcast".into(),
        }
    }

    fn of(message: &Stored) -> Self {
        let (agent, kind) = (message.get(TO_AGENT_ID), message.get(TO_AGENT_TYPE));
        match agent.as_uuid() {
            Some(id) => Self::Agent(id),
            None if kind.is_null() => Self::All,
            None => Self::Type(kind),
        }
    }
}

/// The announcements of one call: gathered from the rows as they are stored,
/// and made when the statement has been carried out.
#[derive(Debug, Clone, Default)]
pub struct Announcements(Rc<RefCell<Vec<(String, String)>>>);

impl Announcements {
    /// Gathers from the messages that this call will store in `table`, unless
    /// `caliber.notify` is off.
    pub fn from(&self, table: Table) -> Table {
        if !settings::notify() {
            return table;
        }
        let gathered = self.clone();
        table.watched(move |message| {
            let announcement = (Target::of(message).channel(), payload(message));
            gathered.0.borrow_mut().push(announcement);
        })
    }

    /// Makes them: listeners get them when the transaction commits.
    pub fn make(self) {
        for (channel, payload) in self.0.take() {
            notify(&channel, &payload);
        }
    }
}

/// What is said of a message. Its id makes it unlike any other: of equal
/// notifications in one transaction PostgreSQL delivers one.
fn payload(message: &Stored) -> String {
    let id = |column| json!(message.get(column).as_uuid().map(|id| id.to_string()));
    let text = |column| json!(message.get(column).as_text());
    format!(
        r#"{{"message_id":{},"message_type":{},"priority":{},"from_agent_id":{}}}"#,
        id(MESSAGE_ID),
        text(MESSAGE_TYPE),
        text(PRIORITY),
        id(FROM_AGENT_ID)
    )
}

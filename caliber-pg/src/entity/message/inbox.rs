//! What is in an agent's inbox, and what of it can be received.

use super::column::{
    ACKNOWLEDGED_AT, DELIVERED_AT, EXPIRES_AT, FROM_AGENT_ID, PRIORITY, RECEIVED_BY, TO_AGENT_ID,
    TO_AGENT_TYPE,
};
use crate::engine::list::{List, Range, Rank};
use crate::pg::datum::Value;
use crate::pg::test::Test;

/// The most urgent first.
const BY_PRIORITY: Rank = Rank {
    column: PRIORITY,
    values: &["critical", "high", "normal", "low"],
};

/// An agent and its type now, and the moment at which a message must not have
/// expired.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inbox {
    pub(super) agent: Value,
    pub(super) agent_type: Value,
    pub(super) now: Value,
}

impl Inbox {
    /// Messages to the agent, to its type (unless another agent has received
    /// them), and to all but their sender.
    pub(super) fn listed(self, unacknowledged: bool) -> List<'static> {
        let to_all = Range::default()
            .test(TO_AGENT_ID, Test::Null)
            .test(TO_AGENT_TYPE, Test::Null)
            .test(FROM_AGENT_ID, Test::IsNot(self.agent));
        let to_type = self.to_type().test(RECEIVED_BY, Test::NullOr(self.agent));
        let ranges = [self.to_agent(), to_type, to_all].map(|range| {
            let range = if unacknowledged {
                range.test(ACKNOWLEDGED_AT, Test::Null)
            } else {
                range
            };
            self.unexpired(range)
        });
        List::of(ranges).ranked(BY_PRIORITY)
    }

    /// Messages to the agent and to its type that nobody has received, or, with
    /// a moment, that were delivered before it and never acknowledged.
    pub(super) fn receivable(self, delivered_before: Option<Value>) -> List<'static> {
        let undelivered = delivered_before.map_or(Test::Null, Test::NullOrBefore);
        let ranges = [self.to_agent(), self.to_type()].map(|range| {
            let range = range
                .test(ACKNOWLEDGED_AT, Test::Null)
                .test(DELIVERED_AT, undelivered);
            self.unexpired(range)
        });
        List::of(ranges).ranked(BY_PRIORITY)
    }

    fn to_agent(self) -> Range {
        Range::of([(TO_AGENT_ID, self.agent)])
    }

    /// In a range NULL would be `IS NULL`, which no agent's type is.
    fn to_type(self) -> Range {
        Range::of([(TO_AGENT_TYPE, self.agent_type)]).test(TO_AGENT_TYPE, Test::NotNull)
    }

    fn unexpired(self, range: Range) -> Range {
        range.test(EXPIRES_AT, Test::NullOrAfter(self.now))
    }
}

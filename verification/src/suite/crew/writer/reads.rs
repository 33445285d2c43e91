//! What a writer reads: every get and list, each beside the query that means the same, in one
//! statement, so that both see the same rows while everybody writes.

use super::{yes, Changes, Deed, Writer};
use crate::session::Session;
use anyhow::anyhow;

/// A call, and its query over the table: rows in the order of the list. Ids are the writer's.
/// (Lists of locks leave out those whose holder is gone, which no query can say.)
const READS: [(&str, &str); 19] = [
    ("caliber_agent_get('@agent')", "caliber_agent t WHERE agent_id = '@agent'"),
    ("caliber_trajectory_get('@task')", "caliber_trajectory t WHERE trajectory_id = '@task'"),
    ("caliber_scope_get('@scope')", "caliber_scope t WHERE scope_id = '@scope'"),
    ("caliber_artifact_get('@artifact')", "caliber_artifact t WHERE artifact_id = '@artifact'"),
    ("caliber_note_get('@note')", "caliber_note t WHERE note_id = '@note'"),
    ("caliber_message_get('@message')", "caliber_message t WHERE message_id = '@message'"),
    ("caliber_delegation_get('@delegation')", "caliber_delegation t WHERE delegation_id = '@delegation'"),
    ("caliber_conflict_get('@conflict')", "caliber_conflict t WHERE conflict_id = '@conflict'"),
    ("caliber_agent_list_by_type('worker')", "caliber_agent t WHERE agent_type = 'worker' ORDER BY agent_id"),
    ("caliber_trajectory_list_children('@task')", "caliber_trajectory t WHERE parent_trajectory_id = '@task' ORDER BY trajectory_id"),
    ("caliber_trajectory_list_by_status('failed')", "caliber_trajectory t WHERE status = 'failed' ORDER BY trajectory_id"),
    ("caliber_scope_list_by_trajectory('@task')", "caliber_scope t WHERE trajectory_id = '@task' ORDER BY scope_id"),
    ("caliber_turn_get_by_scope('@scope')", "caliber_turn t WHERE scope_id = '@scope' ORDER BY sequence"),
    ("caliber_artifact_query_by_scope('@scope')", "caliber_artifact t WHERE scope_id = '@scope' ORDER BY artifact_id"),
    ("caliber_note_query_by_trajectory('@task')", "caliber_note t WHERE source_trajectory_ids @> '{@task}' ORDER BY note_id"),
    ("caliber_delegation_list_by_delegator('@agent')", "caliber_delegation t WHERE delegator_agent_id = '@agent' ORDER BY delegation_id"),
    ("caliber_delegation_list_pending('worker')", "caliber_delegation t WHERE delegatee_agent_type = 'worker' AND status = 'pending' ORDER BY delegation_id"),
    ("caliber_handoff_list_by_trajectory('@task')", "caliber_handoff t WHERE trajectory_id = '@task' ORDER BY handoff_id"),
    ("caliber_conflict_list_by_item('@conflict')", "caliber_conflict t WHERE item_a_id = '@conflict' OR item_b_id = '@conflict' ORDER BY conflict_id"),
];

impl Writer {
    /// Reads by a few of them.
    pub(super) fn read(&mut self, session: &mut Session) -> Deed {
        let own = self.some("scope", |_| true).unwrap_or(1);
        let agent = self.agent();
        let last = self.next.saturating_sub(1);
        for _ in 0..4 {
            let (call, query) = READS[self.dice.roll(READS.len() as u64) as usize];
            let fill = |text: &str| {
                ["task", "scope", "artifact", "note"]
                    .iter()
                    .fold(text.to_owned(), |text, kind| {
                        text.replace(&format!("@{kind}"), &self.id(kind, own))
                    })
                    .replace("@agent", &agent)
                    .replace("@message", &self.id("message", last * 10))
                    .replace("@delegation", &self.id("delegation", last * 2))
                    .replace("@conflict", &self.id("conflict", last))
            };
            let (call, query) = (fill(call), fill(query));
            let same = format!(
                "SELECT coalesce((SELECT array_agg(t::text) FROM {call} t WHERE NOT t IS NULL), '{{}}')
                      = coalesce((SELECT array_agg(q) FROM (SELECT t::text AS q FROM {query}) s), '{{}}')"
            );
            if !yes(session, &same)? {
                return Err(anyhow!("{call} is not {query}").into());
            }
        }
        Ok(Changes::new())
    }
}

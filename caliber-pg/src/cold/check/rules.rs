//! Life cycles: what the functions never leave behind in a row. Each rule is an SQL
//! condition that is true for a broken row; NULL is not broken, since NOT NULL is looked
//! at elsewhere, and nor is a state that no rule knows, since that is a CHECK's.
//!
//! Moments are never compared with each other: they come from clocks of different
//! transactions, and a transaction that began first may write last.

use crate::cold::definition::{Names, Table};
use crate::pg::verify::{self, Findings, Place, Subject};

/// A condition that is true for a broken row, and what is wrong with it.
type Rule = (&'static str, &'static str);

/// The rules of a table.
fn rules(table: &str) -> &'static [Rule] {
    match table {
        "caliber_trajectory" => TRAJECTORY,
        "caliber_scope" => SCOPE,
        "caliber_artifact" => ARTIFACT,
        "caliber_note" => NOTE,
        "caliber_agent" => AGENT,
        "caliber_lock" => LOCK,
        "caliber_message" => MESSAGE,
        "caliber_delegation" => DELEGATION,
        "caliber_handoff" => HANDOFF,
        "caliber_conflict" => CONFLICT,
        _ => &[],
    }
}

const TRAJECTORY: &[Rule] = &[
    (
        "status IN ('completed', 'failed') AND completed_at IS NULL",
        "status is final, but completed_at is not set",
    ),
    (
        "status IN ('active', 'suspended') AND completed_at IS NOT NULL",
        "completed_at is set, but status is not final",
    ),
    (
        "parent_trajectory_id IS NULL AND root_trajectory_id IS NOT NULL",
        "root_trajectory_id is set, but there is no parent",
    ),
];

const SCOPE: &[Rule] = &[
    (
        "is_active AND closed_at IS NOT NULL",
        "closed_at is set, but the scope is active",
    ),
    (
        "NOT is_active AND closed_at IS NULL",
        "the scope is closed, but closed_at is not set",
    ),
];

/// In a SQL_ASCII database the bytes are taken as they are.
const HASH: Rule = (
    "content_hash <> sha256(convert_to(content,
        CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END))",
    "content_hash is not that of content",
);

const ARTIFACT: &[Rule] = &[
    HASH,
    (
        "CASE WHEN ttl ~ '^duration:0*[1-9][0-9]{0,15}$'
              THEN ltrim(substr(ttl, 10), '0')::numeric > 1000000000000000
              ELSE ttl !~ '^(persistent|permanent|session|scope|ephemeral|short_term|medium_term|long_term|max:0*[1-9][0-9]*)$'
         END",
        "ttl cannot be read: it counts as persistent",
    ),
    (
        "NOT coalesce(CASE WHEN jsonb_typeof(provenance) = 'object' THEN
              CASE WHEN jsonb_typeof(provenance -> 'source_turn') = 'number'
                   THEN (provenance ->> 'source_turn')::numeric >= 0
                        AND (provenance ->> 'source_turn')::numeric % 1 = 0 END
              AND provenance ->> 'extraction_method' IN ('explicit', 'inferred', 'user_provided',
                  'llm_extraction', 'tool_extraction', 'memory_recall', 'external_api', 'unknown')
              AND CASE coalesce(jsonb_typeof(provenance -> 'confidence'), 'null')
                       WHEN 'null' THEN true
                       WHEN 'number' THEN (provenance ->> 'confidence')::numeric BETWEEN 0 AND 1 END
              END, provenance IS NULL)",
        "provenance is not {source_turn, extraction_method, confidence}",
    ),
];

const NOTE: &[Rule] = &[
    HASH,
    (
        "CASE WHEN ttl ~ '^duration:0*[1-9][0-9]{0,15}$'
              THEN ltrim(substr(ttl, 10), '0')::numeric > 1000000000000000
              ELSE ttl !~ '^(persistent|permanent|session|short_term|medium_term|long_term|max:0*[1-9][0-9]*)$'
         END",
        "ttl cannot be read: it counts as persistent",
    ),
];

const AGENT: &[Rule] = &[(
    "agent_type = '*'",
    "agent_type is '*', which stands for every type",
)];

const LOCK: &[Rule] = &[
    (
        "level = 'lease' AND NOT isfinite(expires_at)",
        "a lease, but expires_at is not finite",
    ),
    (
        "level IN ('session', 'transaction') AND expires_at <> 'infinity'",
        "not a lease, but expires_at is not infinity",
    ),
];

const MESSAGE: &[Rule] = &[
    (
        "acknowledged_at IS NOT NULL AND delivered_at IS NULL",
        "acknowledged, but delivered_at is not set",
    ),
    (
        "received_by IS NOT NULL AND delivered_at IS NULL",
        "received_by is set, but delivered_at is not",
    ),
    (
        "delivered_at IS NOT NULL AND received_by IS NULL AND acknowledged_at IS NULL",
        "delivered_at is set, but the message was neither received nor acknowledged",
    ),
    (
        "to_agent_id IS NULL AND to_agent_type IS NULL
         AND (delivered_at IS NOT NULL OR received_by IS NOT NULL OR acknowledged_at IS NOT NULL)",
        "a broadcast, but it was received or acknowledged",
    ),
    (
        "to_agent_id <> received_by",
        "received by another agent than the one that it is for",
    ),
];

const DELEGATION: &[Rule] = &[
    (
        "status IN ('pending', 'rejected') AND accepted_at IS NOT NULL",
        "accepted_at is set, but status is before that",
    ),
    (
        "status IN ('accepted', 'in_progress', 'completed', 'failed') AND accepted_at IS NULL",
        "status says accepted, but accepted_at is not set",
    ),
    (
        "status IN ('pending', 'rejected', 'accepted', 'in_progress') AND completed_at IS NOT NULL",
        "completed_at is set, but the work was not completed",
    ),
    (
        "status IN ('completed', 'failed') AND completed_at IS NULL",
        "status is final, but completed_at is not set",
    ),
    (
        "status IN ('pending', 'accepted', 'in_progress') AND result IS NOT NULL",
        "result is set, but status is not final",
    ),
    (
        "jsonb_typeof(result) <> 'object'",
        "result is not an object",
    ),
    (
        "status IN ('accepted', 'in_progress', 'completed', 'failed') AND child_trajectory_id IS NULL",
        "status says accepted, but child_trajectory_id is not set",
    ),
    (
        "status IN ('accepted', 'in_progress', 'completed', 'failed')
         AND delegatee_agent_id = delegator_agent_id",
        "accepted by the agent that asked for it",
    ),
];

const HANDOFF: &[Rule] = &[
    (
        "status IN ('initiated', 'rejected') AND accepted_at IS NOT NULL",
        "accepted_at is set, but status is before that",
    ),
    (
        "status IN ('accepted', 'completed') AND accepted_at IS NULL",
        "status says accepted, but accepted_at is not set",
    ),
    (
        "status IN ('initiated', 'rejected', 'accepted') AND completed_at IS NOT NULL",
        "completed_at is set, but the work was not completed",
    ),
    (
        "status = 'completed' AND completed_at IS NULL",
        "status is final, but completed_at is not set",
    ),
    (
        "status IN ('accepted', 'completed') AND to_agent_id = from_agent_id",
        "accepted by the agent that sent it",
    ),
];

const CONFLICT: &[Rule] = &[
    (
        "status = 'resolved' AND resolved_at IS NULL",
        "status is resolved, but resolved_at is not set",
    ),
    (
        "status IN ('detected', 'resolving', 'escalated') AND resolved_at IS NOT NULL",
        "resolved_at is set, but status is not resolved",
    ),
    (
        "status IN ('resolved', 'escalated') AND resolution IS NULL",
        "status says decided, but resolution is not set",
    ),
    (
        "status IN ('detected', 'resolving') AND resolution IS NOT NULL",
        "resolution is set, but status is before that",
    ),
    (
        "status IN ('resolved', 'escalated') AND jsonb_typeof(resolution) = 'object'
         AND NOT coalesce(CASE status WHEN 'escalated' THEN resolution ->> 'strategy' = 'escalate'
             ELSE resolution ->> 'strategy' IN ('last_write_wins', 'first_write_wins', 'highest_confidence',
                 'merge', 'reject_both') END, false)",
        "the strategy of the resolution is not one of this status",
    ),
    (
        "jsonb_typeof(resolution) <> 'object'",
        "resolution is not an object",
    ),
];

/// A root that is not what the parent says: the parent's root, or the parent. Only
/// where the parent's own root is right: one wrong root would otherwise be said of
/// all that is below it.
const ROOT: &str = "
SELECT t.trajectory_id::text, 'root_trajectory_id is not that of the parent'
  FROM ONLY @schema@.caliber_trajectory t
       JOIN ONLY @schema@.caliber_trajectory p ON p.trajectory_id = t.parent_trajectory_id
       LEFT JOIN ONLY @schema@.caliber_trajectory g ON g.trajectory_id = p.parent_trajectory_id
 WHERE t.root_trajectory_id IS DISTINCT FROM coalesce(p.root_trajectory_id, p.trajectory_id)
   AND CASE WHEN p.parent_trajectory_id IS NULL THEN p.root_trajectory_id IS NULL
            WHEN g.trajectory_id IS NULL THEN p.root_trajectory_id IS NOT NULL
            ELSE p.root_trajectory_id = coalesce(g.root_trajectory_id, g.trajectory_id) END";

/// The queries for a table's life cycle: key of the row, and what is wrong with it.
pub fn queries(table: &Table, names: &Names) -> Vec<String> {
    let mut queries = Vec::new();
    let rules = rules(table.name);
    if !rules.is_empty() {
        let values: Vec<String> = rules
            .iter()
            .map(|(broken, problem)| format!("({broken}, '{}')", problem.replace('\'', "''")))
            .collect();
        queries.push(names.fill(&format!(
            "SELECT t.{key}::text, r.problem FROM ONLY @schema@.{name} t
              CROSS JOIN LATERAL (VALUES {values}) r (broken, problem) WHERE r.broken",
            key = super::key_of(table),
            name = table.name,
            values = values.join(",\n")
        )));
    }
    if table.name == "caliber_trajectory" {
        queries.push(names.fill(ROOT));
    }
    queries
}

/// Locks of level transaction whose transaction has ended. Those of the running one
/// are its own affair until it commits.
pub fn left_behind(subject: &Subject, place: Place<'_>, findings: &mut Findings) {
    verify::rows_of_others(subject, "level", "transaction", &mut |item| {
        findings.add(place, Some(item), "a lock of a transaction that has ended");
    });
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::cold::{definition, TABLES};

    #[test]
    fn rules_name_columns_that_exist() {
        for name in TABLES {
            let table = definition::table(name).unwrap_or_else(|why| panic!("{why}"));
            let known = |word: &str| table.attributes.iter().any(|a| a.name == word);
            for (broken, _) in rules(name) {
                let first = broken.split(|c: char| !(c.is_alphanumeric() || c == '_'));
                assert!(first.into_iter().any(known), "{name}: {broken}");
            }
        }
    }

    #[test]
    fn problems_are_told_apart() {
        for name in TABLES {
            let mut problems: Vec<_> = rules(name).iter().map(|(_, problem)| problem).collect();
            problems.sort();
            problems.dedup();
            assert_eq!(problems.len(), rules(name).len(), "{name}");
        }
    }
}

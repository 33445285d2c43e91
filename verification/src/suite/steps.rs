//! A session of calls, each with the client's statements for it, and what both
//! answer: for topics that change a database and go through all ways of writing
//! and reading then.

use super::desk::{self, Desk};
use crate::judge::{without_moments, Engine};
use crate::session::{Failure, Session};
use anyhow::Result;
use std::collections::BTreeMap;

/// What a client learns from its own statement.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Says {
    /// An INSERT: the id of `@n`, or NULL.
    Id(char),
    /// An UPDATE or DELETE: whether the first statement reached a row.
    Moved,
    /// The rows themselves.
    Rows,
}
pub(super) use Says::{Id, Moved, Rows};

/// A call and the client's statements for it. `@1` is an id.
pub(super) struct Step(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Says,
);

/// Every way of writing and reading tasks and scopes.
pub(super) const SESSION: &[Step] = &[
    Step("caliber_trajectory_create('one', agent_id => '@a', id => '@1')",
        "INSERT INTO caliber_trajectory VALUES ('@1', 'one', NULL, 'active', NULL, NULL, '@a', now(), now(), NULL, NULL, NULL)", Id('1')),
    Step("caliber_trajectory_create('two', agent_id => '@b', id => '@2')",
        "INSERT INTO caliber_trajectory VALUES ('@2', 'two', NULL, 'active', NULL, NULL, '@b', now(), now(), NULL, NULL, NULL)", Id('2')),
    Step("caliber_trajectory_create('below', agent_id => '@a', parent_trajectory_id => '@8', id => '@3')",
        "INSERT INTO caliber_trajectory VALUES ('@3', 'below', NULL, 'active', '@8', '@8', '@a', now(), now(), NULL, NULL, NULL)", Id('3')),
    Step("caliber_trajectory_get('@8')", "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@8'", Rows),
    Step("caliber_trajectory_get('@9')", "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@9'", Rows),
    Step("caliber_trajectory_get('@c')", "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@c'", Rows),
    Step("caliber_trajectory_list_by_status('active')",
        "SELECT x FROM caliber_trajectory x WHERE status = 'active' ORDER BY trajectory_id", Rows),
    Step("caliber_trajectory_list_by_status('active', 1, '@2')",
        "SELECT x FROM caliber_trajectory x WHERE status = 'active' AND trajectory_id > '@2' ORDER BY trajectory_id LIMIT 1", Rows),
    Step("caliber_trajectory_list_children('@8')",
        "SELECT x FROM caliber_trajectory x WHERE parent_trajectory_id = '@8' ORDER BY trajectory_id", Rows),
    Step("caliber_trajectory_list_by_agent('@b')",
        "SELECT x FROM caliber_trajectory x WHERE agent_id = '@b' ORDER BY trajectory_id", Rows),
    Step("caliber_trajectory_update('@8', '{\"name\": \"new\"}')",
        "UPDATE caliber_trajectory SET name = 'new', updated_at = now() WHERE trajectory_id = '@8'", Moved),
    Step("caliber_trajectory_update('@9', '{\"name\": \"new\"}')",
        "UPDATE caliber_trajectory SET name = 'new', updated_at = now() WHERE trajectory_id = '@9'", Moved),
    Step("caliber_trajectory_update('@c', '{\"name\": \"new\"}')",
        "UPDATE caliber_trajectory SET name = 'new', updated_at = now() WHERE trajectory_id = '@c'", Moved),
    Step("caliber_trajectory_update('@8', '{\"agent_id\": \"@b\"}')",
        "UPDATE caliber_trajectory SET agent_id = '@b', updated_at = now() WHERE trajectory_id = '@8'", Moved),
    Step("caliber_trajectory_update('@d', '{\"parent_trajectory_id\": \"@8\"}')",
        "UPDATE caliber_trajectory SET parent_trajectory_id = '@8', root_trajectory_id = '@8', updated_at = now() WHERE trajectory_id = '@d';
        UPDATE caliber_trajectory SET root_trajectory_id = '@8', updated_at = now() WHERE trajectory_id = ANY ('{@e}')", Moved),
    Step("caliber_trajectory_set_status('@8', 'suspended')",
        "UPDATE caliber_trajectory SET status = 'suspended', updated_at = now()
        WHERE trajectory_id = '@8' AND status IS NOT DISTINCT FROM 'active'", Moved),
    Step("caliber_trajectory_set_status('@9', 'failed', '{}')",
        "UPDATE caliber_trajectory SET status = 'failed', updated_at = now(), completed_at = now(), outcome = '{}'
        WHERE trajectory_id = '@9' AND status IS NOT DISTINCT FROM 'active'", Moved),
    Step("caliber_trajectory_delete('@9')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'", Moved),
    Step("caliber_trajectory_delete('@c')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@c'", Moved),
    Step("caliber_trajectory_delete('@8')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@8'", Moved),
    Step("caliber_scope_create('@8', 'one', id => '@1')",
        "INSERT INTO caliber_scope VALUES ('@1', '@8', NULL, 'one', NULL, true, now(), NULL, NULL, 8000, 0, NULL)", Id('1')),
    Step("caliber_scope_create('@8', 'hidden', id => '@2')",
        "INSERT INTO caliber_scope VALUES ('@2', '@8', NULL, 'hidden', NULL, true, now(), NULL, NULL, 8000, 0, NULL)", Id('2')),
    Step("caliber_scope_get('@8')", "SELECT x FROM caliber_scope x WHERE scope_id = '@8'", Rows),
    Step("caliber_scope_get('@9')", "SELECT x FROM caliber_scope x WHERE scope_id = '@9'", Rows),
    Step("caliber_scope_get_current('@8')",
        "SELECT x FROM caliber_scope x WHERE trajectory_id = '@8' AND is_active ORDER BY scope_id DESC LIMIT 1", Rows),
    Step("caliber_scope_list_by_trajectory('@8')",
        "SELECT x FROM caliber_scope x WHERE trajectory_id = '@8' ORDER BY scope_id", Rows),
    Step("caliber_scope_update('@8', '{\"name\": \"hidden\"}')",
        "UPDATE caliber_scope SET name = 'hidden' WHERE scope_id = '@8'", Moved),
    Step("caliber_scope_update('@8', '{\"purpose\": \"p\"}')",
        "UPDATE caliber_scope SET purpose = 'p' WHERE scope_id = '@8'", Moved),
    Step("caliber_scope_update_tokens('@8', 5)",
        "UPDATE caliber_scope SET tokens_used = 5 WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true", Moved),
    Step("caliber_scope_update_tokens('@9', 5)",
        "UPDATE caliber_scope SET tokens_used = 5 WHERE scope_id = '@9' AND is_active IS NOT DISTINCT FROM true", Moved),
    Step("caliber_scope_close('@8')",
        "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true", Moved),
    Step("caliber_scope_close('@9')",
        "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@9' AND is_active IS NOT DISTINCT FROM true", Moved),
    Step("caliber_scope_delete('@9')", "DELETE FROM caliber_scope WHERE scope_id = '@9'", Moved),
];

/// `@8`: mine; `@9`: not mine; `@d` above `@e`: mine.
pub(super) const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name, agent_id, parent_trajectory_id, root_trajectory_id) VALUES
    ('@8', 'eight', '@a', NULL, NULL), ('@9', 'nine', '@b', NULL, NULL), ('@d', 'd', '@a', NULL, NULL), ('@e', 'e', '@a', '@d', '@d');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@8', '@8', 'eight', 5), ('@9', '@8', 'hidden', 5);
DO $$ BEGIN CREATE ROLE verify_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
GRANT ALL ON caliber_trajectory, caliber_scope TO verify_tenant;
";

/// `@1` is an id.
pub(super) fn ids(text: &str) -> String {
    text.replace('@', "00000000-0000-7000-8000-00000000000")
}

/// The counters of this backend.
pub(super) fn counters(session: &mut Session) -> Result<BTreeMap<String, i64>> {
    let rows = session
        .query("SELECT name, value FROM caliber_counters()")?
        .rows;
    Ok(rows
        .into_iter()
        .filter_map(|row| match &row[..] {
            [Some(name), Some(value)] => Some((name.clone(), value.parse().ok()?)),
            _ => None,
        })
        .collect())
}

/// What a desk answers to a step, comparable between desks.
pub(super) fn say(desk: &mut Desk, step: &Step) -> Vec<String> {
    let Step(call, client, says) = step;
    let call = ids(&format!("SELECT {call}"));
    let client = ids(client);
    let client_speaks = desk.engine == Engine::Client;
    let mut replies = match desk.session.run(desk.text(&call, &client)) {
        Ok(replies) => replies,
        Err(failure) => {
            return vec![match desk::answer(Err(failure)) {
                Err(error) => error.to_string(),
                Ok(_) => String::new(),
            }]
        }
    };
    let reached = replies.first().is_some_and(|reply| reply.count > 0);
    let values: Vec<Option<String>> = match says {
        Moved if client_speaks => vec![Some(if reached { "t" } else { "f" }.to_owned())],
        Id(id) if client_speaks => vec![reached.then(|| ids(&format!("@{id}")))],
        _ => replies.pop().unwrap_or_default().column(),
    };
    values
        .into_iter()
        // A get of nothing is NULL, the client's SELECT has no row.
        .flatten()
        .map(|value| without_moments(&value))
        .collect()
}

/// All tasks and scopes, and what `look` asks for.
pub(super) fn tables(desk: &mut Desk, look: &str) -> Result<Vec<String>, Failure> {
    let mut rows = Vec::new();
    for sql in [
        "SELECT x FROM caliber_trajectory x ORDER BY trajectory_id",
        "SELECT x FROM caliber_scope x ORDER BY scope_id",
        look,
    ] {
        let column = desk.session.query(sql)?.column();
        rows.extend(column.into_iter().flatten().map(|r| without_moments(&r)));
    }
    Ok(rows)
}

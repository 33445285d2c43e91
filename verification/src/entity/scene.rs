//! Rows that several entities refer to: agents of known types, tasks, scopes.

use super::ids::Ids;
use super::{agent, scope, trajectory};
use crate::plan::Call;
use crate::value::Value;

/// Tasks that [`tasks`] makes; their scopes are those of [`scope::plain`].
pub const TASKS: usize = 3;

/// Scopes that [`scopes`] makes: of tasks 0 and 1 in turn.
pub const SCOPES: usize = 3;

/// Types of the agents that [`agents`] makes; two of them have the first.
pub const TYPES: [&str; 4] = ["coder", "coder", "Coder", "tester \"x\", 日本"];

/// The id of a task.
#[must_use]
pub fn task(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("trajectory", slot))
}

/// The id of a scope.
#[must_use]
pub fn scope(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("scope", slot))
}

/// The id of an agent.
#[must_use]
pub fn agent(ids: &Ids, slot: usize) -> Value {
    Value::Uuid(ids.of("agent", slot))
}

/// The creates of the tasks.
#[must_use]
pub fn tasks(ids: &Ids) -> Vec<Call> {
    (0..TASKS)
        .map(|slot| trajectory::plain(ids, slot))
        .collect()
}

/// The creates of the scopes, which need the tasks.
#[must_use]
pub fn scopes(ids: &Ids) -> Vec<Call> {
    (0..SCOPES).map(|slot| scope::plain(ids, slot)).collect()
}

/// Agents that [`agents`] makes.
pub const AGENTS: usize = 4;

/// The registers of the agents.
#[must_use]
pub fn agents(ids: &Ids) -> Vec<Call> {
    (0..AGENTS).map(|slot| agent::plain(ids, slot)).collect()
}

/// The same by SQL, for tests that name their rows: `$task`, `$scope`, and the
/// agents `$boss` (a planner), `$coder` and `$other` (coders).
pub const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('$task', 'task');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('$scope', '$task', 'scope', 10);
INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('$boss', 'planner'), ('$coder', 'coder'), ('$other', 'coder');
";

/// Replaces the names of [`ROWS`] by ids.
#[must_use]
pub fn named(sql: &str) -> String {
    ["$task", "$scope", "$boss", "$coder", "$other"]
        .iter()
        .zip(1..)
        .fold(sql.to_owned(), |sql, (name, number)| {
            sql.replace(
                name,
                &format!("00000000-0000-7000-8000-00000000000{number}"),
            )
        })
}

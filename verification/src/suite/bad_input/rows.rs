//! Steps 3 and 4: what the rows forbid, in our words and in PostgreSQL's.

/// The moves of a trajectory's status that are allowed.
pub const MOVES: &[(&str, &str)] = &[
    ("active", "completed"),
    ("active", "failed"),
    ("active", "suspended"),
    ("suspended", "active"),
    ("suspended", "failed"),
];

/// All states; task 1 is in the first, task 2 in the second, …
pub const STATES: &[&str] = &["active", "completed", "failed", "suspended"];

/// The cycles: our message, and the constraint that stands for the rule.
#[rustfmt::skip]
pub const CYCLES: &[&str] = &[
    "caliber_trajectory_update('@1', '{\"parent_trajectory_id\": \"@5\"}')",
    "caliber_trajectory_update('@1', '{\"parent_trajectory_id\": \"@7\"}')",
    "caliber_trajectory_update('@5', '{\"name\": \"x\", \"parent_trajectory_id\": \"@7\"}')",
    "caliber_trajectory_update('@6', '{\"parent_trajectory_id\": \"@7\", \"metadata\": {}}')",
];

/// A closed scope refuses tokens, before a CHECK would.
#[rustfmt::skip]
pub const STATE: &[super::arguments::Case] = &[
    ("caliber_scope_update_tokens('@22', 1)", "55000", &["scope", "@22", "closed"]),
    ("caliber_scope_update_tokens('@22', 0)", "55000", &["scope", "@22", "closed"]),
    ("caliber_scope_update_tokens('@22', -1)", "55000", &["scope", "@22", "closed"]),
];

/// The client's INSERT of a trajectory.
#[must_use]
pub fn insert_trajectory(id: &str, name: &str, parent: &str, root: &str) -> String {
    format!(
        "INSERT INTO caliber_trajectory (trajectory_id, name, description, status, parent_trajectory_id, \
         root_trajectory_id, agent_id, created_at, updated_at, completed_at, outcome, metadata) VALUES \
         ('{id}', '{name}', NULL, 'active', {parent}, {root}, NULL, now(), now(), NULL, NULL, NULL)"
    )
}

/// The client's INSERT of a scope.
#[must_use]
pub fn insert_scope(id: &str, trajectory: &str, parent: &str, budget: i64) -> String {
    format!(
        "INSERT INTO caliber_scope (scope_id, trajectory_id, parent_scope_id, name, purpose, is_active, created_at, \
         closed_at, checkpoint, token_budget, tokens_used, metadata) VALUES ('{id}', '{trajectory}', {parent}, 'x', \
         NULL, true, now(), NULL, NULL, {budget}, 0, NULL)"
    )
}

fn update_trajectory(id: &str, set: &str) -> String {
    format!("UPDATE caliber_trajectory SET {set}, updated_at = now() WHERE trajectory_id = '{id}'")
}

fn update_scope(id: &str, set: &str) -> String {
    format!("UPDATE caliber_scope SET {set} WHERE scope_id = '{id}'")
}

fn delete_trajectory(id: &str) -> String {
    format!("DELETE FROM caliber_trajectory WHERE trajectory_id = '{id}'")
}

/// What PostgreSQL itself refuses: call, the client's statement, SQLSTATE.
#[must_use]
#[rustfmt::skip]
pub fn violations() -> Vec<(&'static str, String, &'static str)> {
    vec![
        // Text that is no uuid does not even become an argument.
        ("caliber_trajectory_get('no uuid')", "SELECT x FROM caliber_trajectory x WHERE trajectory_id = 'no uuid'".into(), "22P02"),
        ("caliber_scope_delete('@2x')", "DELETE FROM caliber_scope WHERE scope_id = '@2x'".into(), "22P02"),
        // Keys that exist.
        ("caliber_trajectory_create('x', id => '@1')", insert_trajectory("@1", "x", "NULL", "NULL"), "23505"),
        ("caliber_trajectory_create('x', id => '@1', parent_trajectory_id => '@5')", insert_trajectory("@1", "x", "'@5'", "'@1'"), "23505"),
        ("caliber_scope_create('@1', 'x', id => '@21')", insert_scope("@21", "@1", "NULL", 8000), "23505"),
        ("caliber_scope_create('@99', 'x', id => '@21')", insert_scope("@21", "@99", "NULL", 8000), "23505"),
        // Rows that do not exist.
        ("caliber_trajectory_create('x', id => '@50', parent_trajectory_id => '@99')", insert_trajectory("@50", "x", "'@99'", "'@99'"), "23503"),
        ("caliber_trajectory_update('@8', '{\"parent_trajectory_id\": \"@99\"}')", update_trajectory("@8", "parent_trajectory_id = '@99', root_trajectory_id = '@99'"), "23503"),
        ("caliber_trajectory_update('@5', '{\"parent_trajectory_id\": \"@99\"}')", update_trajectory("@5", "parent_trajectory_id = '@99', root_trajectory_id = '@99'"), "23503"),
        ("caliber_scope_create('@99', 'x', id => '@50')", insert_scope("@50", "@99", "NULL", 8000), "23503"),
        ("caliber_scope_create('@1', 'x', parent_scope_id => '@99', id => '@50')", insert_scope("@50", "@1", "'@99'", 8000), "23503"),
        // A parent scope of another trajectory.
        ("caliber_scope_create('@1', 'x', parent_scope_id => '@24', id => '@50')", insert_scope("@50", "@1", "'@24'", 8000), "23503"),
        // Rows that others refer to.
        ("caliber_trajectory_delete('@1')", delete_trajectory("@1"), "23503"),
        ("caliber_trajectory_delete('@2')", delete_trajectory("@2"), "23503"),
        ("caliber_trajectory_delete('@6')", delete_trajectory("@6"), "23503"),
        ("caliber_scope_delete('@21')", "DELETE FROM caliber_scope WHERE scope_id = '@21'".into(), "23503"),
        // JSON null for a column that is NOT NULL.
        ("caliber_trajectory_update('@1', '{\"name\": null}')", update_trajectory("@1", "name = NULL"), "23502"),
        ("caliber_scope_update('@21', '{\"name\": null}')", update_scope("@21", "name = NULL"), "23502"),
        ("caliber_scope_update('@21', '{\"token_budget\": null}')", update_scope("@21", "token_budget = NULL"), "23502"),
        ("caliber_scope_update('@22', '{\"token_budget\": null}')", update_scope("@22", "token_budget = NULL"), "23502"),
        // Numbers that a CHECK covers.
        ("caliber_scope_create('@1', 'x', token_budget => 0, id => '@50')", insert_scope("@50", "@1", "NULL", 0), "23514"),
        ("caliber_scope_create('@1', 'x', token_budget => -1, id => '@50')", insert_scope("@50", "@1", "NULL", -1), "23514"),
        ("caliber_scope_create('@99', 'x', token_budget => -2147483648, id => '@21')", insert_scope("@21", "@99", "NULL", -2_147_483_648), "23514"),
        ("caliber_scope_update('@21', '{\"token_budget\": 0}')", update_scope("@21", "token_budget = 0"), "23514"),
        ("caliber_scope_update('@21', '{\"token_budget\": -5}')", update_scope("@21", "token_budget = -5"), "23514"),
        ("caliber_scope_update_tokens('@21', -1)", update_scope("@21", "tokens_used = -1"), "23514"),
        // Itself as parent.
        ("caliber_trajectory_create('x', id => '@50', parent_trajectory_id => '@50')", insert_trajectory("@50", "x", "'@50'", "'@50'"), "23514"),
        ("caliber_trajectory_update('@8', '{\"parent_trajectory_id\": \"@8\"}')", update_trajectory("@8", "parent_trajectory_id = '@8', root_trajectory_id = '@8'"), "23514"),
        ("caliber_trajectory_update('@6', '{\"parent_trajectory_id\": \"@6\"}')", update_trajectory("@6", "parent_trajectory_id = '@6', root_trajectory_id = '@1'"), "23514"),
    ]
}

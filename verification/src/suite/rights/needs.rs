//! What each function needs: all of it suffices, and each part is needed, as
//! for the client's statement.

use super::super::bad_input::rows::{insert_scope, insert_trajectory};
use super::super::bad_input::stage::{Stage, ROWS};
use super::{roles, works, CALLER};
use crate::runner::{Context, Outcome, Test};
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "rights::each_is_needed",
            "the rights of a call's statement suffice, and without any of them it is the client's 42501",
            each_is_needed,
        ),
        Test::new(
            "rights::later_columns",
            "a create writes NULL to a column that a later version added, and needs INSERT on it too",
            later_columns,
        ),
        Test::new(
            "rights::read_only",
            "a write in a read-only transaction is the client's 25006, a read is not",
            read_only,
        ),
    ]
}

/// A call, the client's statement for it, and what it needs on one table.
pub(super) struct Need {
    pub(super) entity: &'static str,
    pub(super) call: &'static str,
    pub(super) client: String,
    rights: &'static [&'static str],
}

fn need(
    entity: &'static str,
    call: &'static str,
    client: impl Into<String>,
    rights: &'static [&'static str],
) -> Need {
    Need {
        entity,
        call,
        client: client.into(),
        rights,
    }
}

impl Need {
    fn writes(&self) -> bool {
        self.rights.iter().any(|right| !right.starts_with("SELECT"))
    }
}

/// The statements of the API's section 1.5.
#[rustfmt::skip]
pub(super) fn all() -> Vec<Need> {
    const T: &str = "trajectory";
    const S: &str = "scope";
    let read = |id: &str| format!("SELECT x FROM caliber_trajectory x WHERE trajectory_id = '{id}'");
    let look = |id: &str| format!("SELECT x FROM caliber_scope x WHERE scope_id = '{id}'");
    let key = "WHERE trajectory_id = '@8'";
    vec![
        need(T, "caliber_trajectory_create('x', id => '@50')", insert_trajectory("@50", "x", "NULL", "NULL"), &["INSERT"]),
        need(T, "caliber_trajectory_create('x', parent_trajectory_id => '@1', id => '@50')",
            format!("{}; {}", read("@1"), insert_trajectory("@50", "x", "'@1'", "'@1'")), &["INSERT", "SELECT"]),
        need(T, "(caliber_trajectory_get('@8')).name", read("@8"), &["SELECT"]),
        need(T, "caliber_trajectory_update('@8', '{\"name\": \"x\"}')",
            format!("UPDATE caliber_trajectory SET name = 'x', updated_at = now() {key}"),
            &["UPDATE (name)", "UPDATE (updated_at)", "SELECT (trajectory_id)"]),
        need(T, "caliber_trajectory_update('@8', '{\"agent_id\": null, \"metadata\": {}}')",
            format!("UPDATE caliber_trajectory SET agent_id = NULL, metadata = '{{}}', updated_at = now() {key}"),
            &["UPDATE (agent_id)", "UPDATE (metadata)", "UPDATE (updated_at)", "SELECT (trajectory_id)"]),
        need(T, "caliber_trajectory_update('@8', '{}')", format!("UPDATE caliber_trajectory SET updated_at = now() {key}"),
            &["UPDATE (updated_at)", "SELECT (trajectory_id)"]),
        need(T, "caliber_trajectory_update('@8', '{\"parent_trajectory_id\": \"@1\"}')",
            format!("{}; UPDATE caliber_trajectory SET parent_trajectory_id = '@1', root_trajectory_id = '@1', updated_at = now() {key}", read("@1")),
            &["SELECT", "UPDATE (parent_trajectory_id)", "UPDATE (root_trajectory_id)", "UPDATE (updated_at)"]),
        need(T, "caliber_trajectory_set_status('@8', 'suspended')",
            format!("{}; UPDATE caliber_trajectory SET status = 'suspended', updated_at = now() {key}", read("@8")),
            &["SELECT", "UPDATE (status)", "UPDATE (updated_at)"]),
        need(T, "caliber_trajectory_set_status('@8', 'failed', '{}')",
            format!("{}; UPDATE caliber_trajectory SET status = 'failed', outcome = '{{}}', completed_at = now(), updated_at = now() {key}", read("@8")),
            &["SELECT", "UPDATE (status)", "UPDATE (outcome)", "UPDATE (completed_at)", "UPDATE (updated_at)"]),
        need(T, "count(*) FROM caliber_trajectory_list_by_status('active')",
            "SELECT x FROM caliber_trajectory x WHERE status = 'active' ORDER BY trajectory_id", &["SELECT"]),
        need(T, "count(*) FROM caliber_trajectory_list_children('@1', 1)",
            "SELECT x FROM caliber_trajectory x WHERE parent_trajectory_id = '@1' ORDER BY trajectory_id", &["SELECT"]),
        need(T, "count(*) FROM caliber_trajectory_list_by_agent('@90', NULL, '@1')",
            "SELECT x FROM caliber_trajectory x WHERE agent_id = '@90' ORDER BY trajectory_id", &["SELECT"]),
        need(T, "caliber_trajectory_delete('@8')", format!("DELETE FROM caliber_trajectory {key}"), &["DELETE", "SELECT (trajectory_id)"]),
        // A foreign key is checked with the rights of its table's owner.
        need(S, "caliber_scope_create('@1', 'x', parent_scope_id => '@21', id => '@50')", insert_scope("@50", "@1", "'@21'", 8000), &["INSERT"]),
        need(S, "(caliber_scope_get('@23')).name", look("@23"), &["SELECT"]),
        need(S, "(caliber_scope_get_current('@1')).name",
            "SELECT x FROM caliber_scope x WHERE trajectory_id = '@1' AND is_active ORDER BY scope_id DESC LIMIT 1", &["SELECT"]),
        need(S, "caliber_scope_close('@23')",
            format!("{}; UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@23'", look("@23")),
            &["SELECT", "UPDATE (is_active)", "UPDATE (closed_at)"]),
        need(S, "caliber_scope_update_tokens('@23', 5)",
            format!("{}; UPDATE caliber_scope SET tokens_used = 5 WHERE scope_id = '@23'", look("@23")), &["SELECT", "UPDATE (tokens_used)"]),
        need(S, "caliber_scope_update('@23', '{\"name\": \"x\", \"token_budget\": 9}')",
            "UPDATE caliber_scope SET name = 'x', token_budget = 9 WHERE scope_id = '@23'",
            &["UPDATE (name)", "UPDATE (token_budget)", "SELECT (scope_id)"]),
        need(S, "count(*) FROM caliber_scope_list_by_trajectory('@1')",
            "SELECT x FROM caliber_scope x WHERE trajectory_id = '@1' ORDER BY scope_id", &["SELECT"]),
        need(S, "caliber_scope_delete('@23')", "DELETE FROM caliber_scope WHERE scope_id = '@23'", &["DELETE", "SELECT (scope_id)"]),
    ]
}

/// Exactly these rights of the caller on both tables.
fn grant(stage: &mut Stage, entity: &str, rights: &[&str]) -> Result<()> {
    let mut sql = format!("REVOKE ALL ON caliber_trajectory, caliber_scope FROM {CALLER}");
    for right in rights {
        sql += &format!("; GRANT {right} ON caliber_{entity} TO {CALLER}");
    }
    stage.admin(&sql)
}

fn each_is_needed(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    roles(&mut stage, &[CALLER])?;
    for setting in ["error", "return"] {
        stage.before =
            format!("BEGIN; SET LOCAL caliber.on_duplicate = {setting}; SET LOCAL ROLE {CALLER}");
        for need in all() {
            let creates = need.call.contains("_create(");
            if setting == "return" && !creates {
                continue;
            }
            let mut rights = need.rights.to_vec();
            let mut client = need.client.clone();
            if setting == "return" {
                // The row is looked for, so its key is read.
                let key = if need.entity == "scope" {
                    "scope_id"
                } else {
                    "trajectory_id"
                };
                let right = if key == "scope_id" {
                    "SELECT (scope_id)"
                } else {
                    "SELECT (trajectory_id)"
                };
                if !rights.contains(&"SELECT") {
                    rights.push(right);
                }
                client = format!("{client} ON CONFLICT ({key}) DO NOTHING");
            }
            let call = format!("SELECT {}", need.call);
            for left_out in 0..rights.len() {
                let mut others = rights.clone();
                others.remove(left_out);
                grant(&mut stage, need.entity, &others)?;
                let table = format!("caliber_{}", need.entity);
                stage.refused(
                    &call,
                    Some(&client),
                    "42501",
                    &["permission denied", &table],
                )?;
            }
            grant(&mut stage, need.entity, &rights)?;
            works(&mut stage, &call)?;
        }
    }
    stage.before = format!("BEGIN; SET LOCAL ROLE {CALLER}");
    column_by_column(&mut stage)?;
    stage.verdict()
}

/// The columns of `caliber_scope`.
fn columns(stage: &mut Stage) -> Result<Vec<String>> {
    let sql = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute \
        WHERE attrelid = 'caliber_scope'::regclass AND attnum > 0";
    let names = stage.admin.value(sql)?.unwrap_or_default();
    Ok(names.split(',').map(str::to_owned).collect())
}

fn later_columns(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    roles(&mut stage, &[CALLER])?;
    let known = columns(&mut stage)?.join(", ");
    stage.admin("ALTER TYPE caliber_scope_row ADD ATTRIBUTE later text CASCADE")?;
    stage.before = format!("BEGIN; SET LOCAL ROLE {CALLER}");
    let call = "SELECT caliber_scope_create('@1', 'x', id => '@50')";
    let client = insert_scope("@50", "@1", "NULL", 8000)
        .replacen(") VALUES", ", later) VALUES", 1)
        .replacen(", 0, NULL)", ", 0, NULL, NULL)", 1);
    grant(&mut stage, "scope", &[&format!("INSERT ({known})")])?;
    stage.refused(call, Some(&client), "42501", &["permission denied"])?;
    grant(&mut stage, "scope", &[&format!("INSERT ({known}, later)")])?;
    works(&mut stage, call)?;
    // A read returns the whole row.
    let call = "SELECT (caliber_scope_get('@21')).name";
    let client = "SELECT x FROM caliber_scope x WHERE scope_id = '@21'";
    grant(&mut stage, "scope", &[&format!("SELECT ({known})")])?;
    stage.refused(call, Some(client), "42501", &["permission denied"])?;
    grant(&mut stage, "scope", &[&format!("SELECT ({known}, later)")])?;
    works(&mut stage, call)?;
    stage.verdict()
}

/// A right on every column is a right on the table; on all but one it is none.
fn column_by_column(stage: &mut Stage) -> Result<()> {
    for (kind, call, client) in [
        (
            "INSERT",
            "caliber_scope_create('@1', 'x', id => '@50')",
            insert_scope("@50", "@1", "NULL", 8000),
        ),
        (
            "SELECT",
            "(caliber_scope_get('@23')).name",
            "SELECT x FROM caliber_scope x WHERE scope_id = '@23'".to_owned(),
        ),
    ] {
        let columns = columns(stage)?;
        for left_out in 0..=columns.len() {
            let granted: Vec<&str> = columns
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != left_out)
                .map(|(_, name)| name.as_str())
                .collect();
            grant(
                stage,
                "scope",
                &[&format!("{kind} ({})", granted.join(", "))],
            )?;
            let call = format!("SELECT {call}");
            if left_out < columns.len() {
                stage.refused(&call, Some(&client), "42501", &["permission denied"])?;
            } else {
                works(stage, &call)?;
            }
        }
    }
    Ok(())
}

fn read_only(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    for before in [
        "BEGIN READ ONLY",
        "BEGIN; SET TRANSACTION READ ONLY",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
    ] {
        stage.before = before.to_owned();
        for need in all() {
            let call = format!("SELECT {}", need.call);
            if need.writes() {
                let says = ["read-only transaction"];
                stage.refused(&call, Some(&need.client), "25006", &says)?;
            } else {
                works(&mut stage, &call)?;
            }
        }
        // Before the row is looked at: what would write nothing is refused too.
        for call in [
            "caliber_trajectory_set_status('@1', 'active')",
            "caliber_trajectory_set_status('@2', 'active')",
            "caliber_trajectory_update('@99', '{}')",
            "caliber_trajectory_delete('@99')",
            "caliber_scope_close('@22')",
            "caliber_scope_update_tokens('@22', -1)",
        ] {
            stage.refused(&format!("SELECT {call}"), None, "25006", &["read-only"])?;
        }
        stage.refused(
            "SELECT caliber_init()",
            None,
            "25006",
            &["caliber_init()", "read-only transaction"],
        )?;
        for call in [
            "caliber_version()",
            "caliber_new_id()",
            "caliber_schema_exists()",
            "count(*) FROM caliber_counters()",
        ] {
            works(&mut stage, &format!("SELECT {call}"))?;
        }
    }
    stage.verdict()
}

//! Rows that only a child table has, or that a policy hides, where a call of another
//! table's depends on them.

use crate::entity::ttl::LIVE_IN_SCOPE;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk::{self, Desk};
use crate::suite::steps::ids;
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "takeover::rows_that_a_call_reads",
        "an acquire, a number, an acceptor and the scope of a list are those of child tables and policies too",
        rows_that_a_call_reads,
    )]
}

/// `@8` is a task with an open scope `@8`; in children: a lease of `@b`, turn 41 of the
/// scope, the worker `@c`, and a scope that is open and one that is closed, each with an
/// artifact that lives as long.
const ROWS: &str = "
    INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@8', 'task');
    INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@8', '@8', 'scope', 5);
    INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@a', 'worker'), ('@b', 'worker');
    INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_type, task_description, parent_trajectory_id, shared_artifacts, shared_notes)
        VALUES ('@3', '@a', 'worker', 'do', '@8', '{}', '{}');
    CREATE TABLE lock_child () INHERITS (caliber_lock);
    INSERT INTO lock_child VALUES ('@1', 'file', '@1', '@b', now(), 'infinity', 'exclusive', 'lease', 1);
    CREATE TABLE turn_child () INHERITS (caliber_turn);
    INSERT INTO turn_child (turn_id, scope_id, sequence, role, content, token_count) VALUES ('@1', '@8', 41, 'user', 'c', 0);
    CREATE TABLE agent_child () INHERITS (caliber_agent);
    INSERT INTO agent_child (agent_id, agent_type) VALUES ('@c', 'worker');
    CREATE TABLE scope_child () INHERITS (caliber_scope);
    INSERT INTO scope_child (scope_id, trajectory_id, name, token_budget, is_active) VALUES ('@5', '@8', 'open', 5, true), ('@6', '@8', 'closed', 5, false);
    SELECT caliber_artifact_create('@8', '@8', 'fact', 'n', 'c', ttl => 'ephemeral', id => '@8');
    CREATE TABLE artifact_child () INHERITS (caliber_artifact);
    INSERT INTO artifact_child (artifact_id, scope_id, trajectory_id, artifact_type, name, content, content_hash, provenance, ttl)
        SELECT id, id, '@8', artifact_type, name, content, content_hash, provenance, ttl FROM caliber_artifact, unnest('{@5,@6}'::uuid[]) id;
    DO $$ BEGIN CREATE ROLE verify_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
    GRANT SELECT ON caliber_artifact, caliber_scope TO verify_tenant";

/// What a desk says to the call, or to the client's statement for it.
fn value(desk: &mut Desk, call: &str, client: &str) -> Result<String> {
    let sql = ids(desk.text(call, client));
    Ok(desk.session.value(&sql)?.unwrap_or_default())
}

fn rows_that_a_call_reads(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &desk::ALL, &ids(ROWS))?;
    // The client alone cannot say who gets a lock.
    for desk in desks
        .iter_mut()
        .filter(|desk| desk.engine != Engine::Client)
    {
        for (resource, busy) in [("@1", "t"), ("@2", "f")] {
            let call = format!("SELECT caliber_lock_acquire('@a', 'file', '{resource}') IS NULL");
            let seen = value(desk, &call, "")?;
            ensure!(seen == busy, "{}: {call}: {seen}", desk.engine.name());
        }
    }
    for desk in &mut desks {
        value(
            desk,
            "SELECT caliber_turn_create('@8', NULL, 'user', 'c', id => '@2')",
            "INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count)
             SELECT '@2', '@8', max(sequence) + 1, 'user', 'c', 0 FROM caliber_turn WHERE scope_id = '@8'",
        )?;
        let number = "SELECT sequence FROM caliber_turn WHERE turn_id = '@2'";
        let seen = value(desk, number, number)?;
        ensure!(seen == "42", "{}: turn {seen}", desk.engine.name());
    }
    // It may accept, but no key can refer to it: not 42501, nor unknown to the call.
    desk::same_error(
        &mut desks,
        &ids("SELECT caliber_delegation_accept('@3', '@c', '@8')"),
        &ids("UPDATE caliber_delegation SET status = 'accepted', delegatee_agent_id = '@c', accepted_at = now(), child_trajectory_id = '@8' WHERE delegation_id = '@3'"),
        "23503",
    )?;
    let list = "SELECT string_agg(right(artifact_id::text, 1), ' ') FROM caliber_artifact_query_by_type('@8', 'fact')";
    let client = format!(
        "SELECT string_agg(right(x.artifact_id::text, 1), ' ' ORDER BY artifact_id) FROM caliber_artifact x
         WHERE trajectory_id = '@8' AND artifact_type = 'fact' AND {LIVE_IN_SCOPE}"
    );
    for desk in &mut desks {
        let name = desk.engine.name();
        let seen = value(desk, list, &client)?;
        ensure!(seen == "5 8", "{name}: of the children's scopes {seen}");
        desk.session.batch(&ids(
            "ALTER TABLE caliber_scope ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON caliber_scope USING (scope_id NOT IN ('@6', '@8')); SET ROLE verify_tenant",
        ))?;
        let seen = value(desk, list, &client)?;
        // One that it may not see is not seen to be closed.
        ensure!(seen == "5 6 8", "{name}: of the scopes it may see {seen}");
        desk.session.batch(
            "RESET ROLE; DROP TABLE artifact_child, scope_child, lock_child, turn_child, agent_child;
             UPDATE caliber_scope SET is_active = false, closed_at = now()",
        )?;
        let seen = value(desk, list, &client)?;
        ensure!(seen.is_empty(), "{name}: of a closed scope {seen}");
        desk.session.batch("SET ROLE verify_tenant")?;
        let seen = value(desk, list, &client)?;
        ensure!(seen == "8", "{name}: under the policy alone {seen}");
        desk.session.batch("RESET ROLE")?;
    }
    Ok(Outcome::Passed(format!("{} desks", desks.len())))
}

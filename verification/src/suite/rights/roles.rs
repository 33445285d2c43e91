//! Roles that come and go in one session with kept plans: owner, definer, stranger.

use super::super::bad_input::rows::insert_scope;
use super::super::bad_input::stage::{expand, Stage, ROWS};
use super::super::bad_input::CALLS;
use super::{away, qualified, roles, works, IN_CALIBER};
use crate::runner::{Context, Outcome, Test};
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "rights::kept_plans",
            "schema USAGE and table rights are checked at each call, whoever made the plan",
            kept_plans,
        ),
        Test::new(
            "rights::owner",
            "an owner needs no grants, but can lose rights; keys are checked with its rights",
            owner,
        ),
        Test::new(
            "rights::read_as_owner",
            "what a call reads with the owner's rights is refused where the owner has none, as in key checks",
            read_as_owner,
        ),
        Test::new(
            "rights::definer",
            "SECURITY DEFINER gives the definer's rights, and only these",
            definer,
        ),
        Test::new(
            "rights::stranger",
            "a role with nothing, and one with USAGE only, can do nothing",
            stranger,
        ),
    ]
}

/// Each call as a prepared statement `p0`, `p1`, … made by a superuser.
fn prepare_all(stage: &mut Stage) -> Result<()> {
    for (number, (_, call)) in CALLS.iter().enumerate() {
        for at in 0..3 {
            let sql = expand(&qualified(&format!("PREPARE p{number} AS SELECT {call}")));
            stage.sessions[at].1.batch(&sql)?;
        }
    }
    Ok(())
}

fn kept_plans(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(
        context.server.empty_database()?,
        &format!("{IN_CALIBER}{ROWS}"),
    )?;
    roles(&mut stage, &["verify_full", "verify_blind", "verify_bare"])?;
    stage.admin(
        "GRANT USAGE ON SCHEMA caliber TO verify_full, verify_bare;
         GRANT ALL ON ALL TABLES IN SCHEMA caliber TO verify_full, verify_blind",
    )?;
    away(&mut stage)?;
    prepare_all(&mut stage)?;
    let table = |entity: &str| format!("permission denied for table caliber_{entity}");
    // Round after round in the same sessions, without anything that would make
    // PostgreSQL plan again.
    for _ in 0..2 {
        for (number, (entity, _)) in CALLS.iter().enumerate() {
            let call = format!("EXECUTE p{number}");
            stage.before = "BEGIN; SET LOCAL ROLE verify_full".to_owned();
            works(&mut stage, &call)?;
            stage.before = "BEGIN; SET LOCAL ROLE verify_blind".to_owned();
            stage.refused(
                &call,
                None,
                "42501",
                &["permission denied for schema caliber"],
            )?;
            stage.before = "BEGIN; SET LOCAL ROLE verify_bare".to_owned();
            stage.refused(&call, None, "42501", &[&table(entity)])?;
        }
    }
    // Given and taken between calls.
    for (give, says) in [
        ("REVOKE", Some("permission denied for schema caliber")),
        ("GRANT", None),
    ] {
        let to = if give == "GRANT" { "TO" } else { "FROM" };
        stage.admin(&format!("{give} USAGE ON SCHEMA caliber {to} verify_full"))?;
        stage.before = "BEGIN; SET LOCAL ROLE verify_full".to_owned();
        for number in 0..CALLS.len() {
            let call = format!("EXECUTE p{number}");
            match says {
                Some(says) => drop(stage.refused(&call, None, "42501", &[says])?),
                None => works(&mut stage, &call)?,
            }
        }
    }
    stage.verdict()
}

fn owner(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    roles(&mut stage, &["verify_owner"])?;
    stage.admin(
        "ALTER TABLE caliber_trajectory OWNER TO verify_owner; ALTER TABLE caliber_scope OWNER TO verify_owner",
    )?;
    stage.before = "BEGIN; SET LOCAL ROLE verify_owner".to_owned();
    for (_, call) in CALLS {
        works(&mut stage, &format!("SELECT {call}"))?;
    }
    // The key's check runs as the owner of the table that it refers to.
    stage.before = "BEGIN".to_owned();
    stage.admin("REVOKE SELECT ON caliber_trajectory FROM verify_owner")?;
    stage.refused(
        "SELECT caliber_scope_create('@1', 'x', id => '@50')",
        Some(&insert_scope("@50", "@1", "NULL", 8000)),
        "42501",
        &["permission denied for table caliber_trajectory"],
    )?;
    stage.admin("REVOKE ALL ON caliber_trajectory FROM verify_owner")?;
    stage.before = "BEGIN; SET LOCAL ROLE verify_owner".to_owned();
    for need in super::needs::all() {
        if need.entity == "trajectory" {
            let call = format!("SELECT {}", need.call);
            stage.refused(&call, Some(&need.client), "42501", &["permission denied"])?;
        }
    }
    stage.verdict()
}

fn read_as_owner(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    roles(&mut stage, &["verify_owner"])?;
    stage.admin(
        "INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@70', 'worker');
         ALTER TABLE caliber_lock OWNER TO verify_owner; ALTER TABLE caliber_trajectory OWNER TO verify_owner",
    )?;
    let calls = [
        ("caliber_lock_acquire('@70', 'file', '@1')", "caliber_lock"),
        (
            "caliber_trajectory_create('x', parent_trajectory_id => '@1')",
            "caliber_trajectory",
        ),
    ];
    stage.before = "BEGIN".to_owned();
    for (call, _) in calls {
        works(&mut stage, &format!("SELECT {call}"))?;
    }
    // Whoever calls has all rights.
    stage.admin("REVOKE SELECT ON caliber_lock, caliber_trajectory FROM verify_owner")?;
    for (call, table) in calls {
        let says = format!("permission denied for table {table}");
        stage.refused(&format!("SELECT {call}"), None, "42501", &[&says])?;
    }
    stage.admin(
        "GRANT SELECT ON caliber_lock, caliber_trajectory TO verify_owner; REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    )?;
    for (call, _) in calls {
        let says = "permission denied for schema public";
        stage.refused(&format!("SELECT {call}"), None, "42501", &[says])?;
    }
    stage.verdict()
}

/// Functions of the owner and of a stranger, for each call.
fn definer(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    roles(&mut stage, &["verify_owner", "verify_stranger"])?;
    stage.admin(
        "ALTER TABLE caliber_trajectory OWNER TO verify_owner; ALTER TABLE caliber_scope OWNER TO verify_owner;
         GRANT CREATE ON SCHEMA public TO verify_owner, verify_stranger",
    )?;
    for (number, (_, call)) in CALLS.iter().enumerate() {
        for (role, language, body) in [
            ("owner", "sql", format!("SELECT ({call})::text")),
            (
                "stranger",
                "plpgsql",
                format!("BEGIN RETURN (SELECT ({call})::text); END"),
            ),
        ] {
            // `x FROM f()` cannot be cast as a whole.
            let body = if call.contains(" FROM ") {
                body.replace(
                    &format!("({call})::text"),
                    &call.replace("count(*)", "count(*)::text"),
                )
            } else {
                body
            };
            stage.admin(&format!(
                "CREATE FUNCTION {role}_{number}() RETURNS text LANGUAGE {language} SECURITY DEFINER
                    SET search_path = pg_catalog, public AS $f$ {body} $f$;
                 ALTER FUNCTION {role}_{number}() OWNER TO verify_{role}"
            ))?;
        }
    }
    for (number, (entity, _)) in CALLS.iter().enumerate() {
        stage.before = "BEGIN; SET LOCAL ROLE verify_stranger".to_owned();
        works(&mut stage, &format!("SELECT owner_{number}()"))?;
        // Even a superuser has only the stranger's rights in there.
        for role in ["postgres", "verify_owner"] {
            stage.before = format!("BEGIN; SET LOCAL ROLE {role}");
            let says = format!("permission denied for table caliber_{entity}");
            stage.refused(
                &format!("SELECT stranger_{number}()"),
                None,
                "42501",
                &[&says],
            )?;
        }
        // And the caller's own rights are back afterwards.
        stage.before = "BEGIN; SET LOCAL ROLE verify_stranger".to_owned();
        stage.refused(
            &format!("SELECT owner_{number}(); SELECT {}", CALLS[number].1),
            None,
            "42501",
            &["permission denied for table"],
        )?;
    }
    stage.verdict()
}

fn stranger(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(
        context.server.empty_database()?,
        &format!("{IN_CALIBER}{ROWS}"),
    )?;
    roles(&mut stage, &["verify_stranger"])?;
    stage.before = "BEGIN; SET LOCAL ROLE verify_stranger".to_owned();
    for usage in [false, true] {
        if usage {
            stage.admin("GRANT USAGE ON SCHEMA caliber TO verify_stranger")?;
        }
        for need in super::needs::all() {
            let call = qualified(&format!("SELECT {}", need.call));
            let says = if usage {
                format!("permission denied for table caliber_{}", need.entity)
            } else {
                "permission denied for schema caliber".to_owned()
            };
            let client = qualified(&need.client);
            stage.refused(&call, Some(&client), "42501", &[&says])?;
        }
        if usage {
            for call in [
                "caliber_version()",
                "caliber_new_id()",
                "caliber_schema_exists()",
                "count(*) FROM caliber_counters()",
            ] {
                works(&mut stage, &format!("SELECT {call}"))?;
            }
            stage.refused(
                "SELECT caliber_init()",
                None,
                "42501",
                &["permission denied for schema caliber"],
            )?;
        }
    }
    stage.verdict()
}

//! The error boundary: twelve kinds of ERROR, raised under our functions on
//! every engine, are in every field what the same plain SQL raises.

use super::desk::{self, Desk};
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Context as _, Result};

/// One test per error, and what belongs to them.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = BOUNDARY
        .iter()
        .map(|case| {
            Test::new(
                &format!("error_boundary::{}", case.name),
                "an ERROR passes through Rust unchanged",
                |context| boundary(context, case),
            )
        })
        .collect();
    tests.push(Test::new(
        "error_boundary::detail_without_select",
        "a role without SELECT gets the DETAIL that SQL gives it",
        without_select,
    ));
    tests.push(Test::new(
        "error_boundary::ten_thousand_errors",
        "10,000 caught errors leave the backend as large as plain SQL's do",
        ten_thousand,
    ));
    tests
}

const T: &str = "00000000-0000-7000-8000-000000000001";
const U: &str = "00000000-0000-7000-8000-000000000002";

/// Two tasks, a scope, and roles.
const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name, created_at, updated_at) VALUES
    ('00000000-0000-7000-8000-000000000001', 'one', '2020-01-01', '2020-01-01'),
    ('00000000-0000-7000-8000-000000000002', 'two', '2020-01-01', '2020-01-01');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget, created_at) VALUES
    ('00000000-0000-7000-8000-000000000003', '00000000-0000-7000-8000-000000000001', 'scope', 10, '2020-01-01');
";

struct Case {
    name: &'static str,
    sqlstate: &'static str,
    /// DDL in each database.
    prepare: &'static str,
    /// On the session, before.
    before: &'static str,
    /// On another session of the same database, between before and call. It
    /// stays open until the call is over.
    meanwhile: &'static str,
    call: &'static str,
    client: &'static str,
}

const PLAIN: Case = Case {
    name: "",
    sqlstate: "",
    prepare: "",
    before: "",
    meanwhile: "",
    call: "",
    client: "",
};

/// Replaces the name of a task in both calls, which is what triggers look at.
const RENAME: &str =
    r#"SELECT caliber_trajectory_update('00000000-0000-7000-8000-000000000001', '{"name": "x"}')"#;
const RENAME_CLIENT: &str = "UPDATE caliber_trajectory SET name = 'x', updated_at = now() \
    WHERE trajectory_id = '00000000-0000-7000-8000-000000000001'";

static BOUNDARY: [Case; 13] = [
    Case {
        name: "unique_violation_23505",
        sqlstate: "23505",
        call: "SELECT caliber_trajectory_create('dup', id => '00000000-0000-7000-8000-000000000001')",
        client: "INSERT INTO caliber_trajectory (trajectory_id, name, status, created_at, updated_at) \
            VALUES ('00000000-0000-7000-8000-000000000001', 'dup', 'active', now(), now())",
        ..PLAIN
    },
    Case {
        name: "check_violation_23514",
        sqlstate: "23514",
        call: "SELECT caliber_scope_update_tokens('00000000-0000-7000-8000-000000000003', -1)",
        client: "UPDATE caliber_scope SET tokens_used = -1 WHERE scope_id = '00000000-0000-7000-8000-000000000003'",
        ..PLAIN
    },
    Case {
        name: "not_null_violation_23502",
        sqlstate: "23502",
        prepare: "CREATE FUNCTION still() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.updated_at := OLD.updated_at; RETURN NEW; END $$;
            CREATE TRIGGER still BEFORE UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION still()",
        call: r#"SELECT caliber_trajectory_update('00000000-0000-7000-8000-000000000001', '{"name": null}')"#,
        client: "UPDATE caliber_trajectory SET name = NULL, updated_at = now() \
            WHERE trajectory_id = '00000000-0000-7000-8000-000000000001'",
        ..PLAIN
    },
    Case {
        name: "foreign_key_violation_23503",
        sqlstate: "23503",
        call: "SELECT caliber_scope_create('00000000-0000-7000-8000-0000000000ff', 'orphan', \
            id => '00000000-0000-7000-8000-000000000004')",
        client: "INSERT INTO caliber_scope (scope_id, trajectory_id, name, is_active, created_at, token_budget, tokens_used) \
            VALUES ('00000000-0000-7000-8000-000000000004', '00000000-0000-7000-8000-0000000000ff', 'orphan', true, now(), 8000, 0)",
        ..PLAIN
    },
    Case {
        name: "foreign_key_violation_by_delete_23503",
        sqlstate: "23503",
        call: "SELECT caliber_trajectory_delete('00000000-0000-7000-8000-000000000001')",
        client: "DELETE FROM caliber_trajectory WHERE trajectory_id = '00000000-0000-7000-8000-000000000001'",
        ..PLAIN
    },
    Case {
        name: "serialization_failure_40001",
        sqlstate: "40001",
        before: "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM caliber_trajectory",
        meanwhile: "UPDATE caliber_trajectory SET description = 'elsewhere'",
        call: RENAME,
        client: RENAME_CLIENT,
        ..PLAIN
    },
    Case {
        name: "query_canceled_57014",
        sqlstate: "57014",
        before: "SET statement_timeout = '300ms'",
        meanwhile: "BEGIN; UPDATE caliber_trajectory SET description = 'held'",
        call: RENAME,
        client: RENAME_CLIENT,
        ..PLAIN
    },
    Case {
        name: "invalid_text_22P02",
        sqlstate: "22P02",
        prepare: "CREATE FUNCTION cast_it() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.agent_id := 'no uuid'::text::uuid; RETURN NEW; END $$;
            CREATE TRIGGER cast_it BEFORE UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION cast_it()",
        call: RENAME,
        client: RENAME_CLIENT,
        ..PLAIN
    },
    Case {
        name: "user_error_45000",
        sqlstate: "45000",
        prepare: "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE 'refused for %', NEW.name USING ERRCODE = '45000', DETAIL = 'a detail', HINT = 'a hint',
                    COLUMN = 'a column', CONSTRAINT = 'a constraint', DATATYPE = 'a type', TABLE = 'a table', SCHEMA = 'a schema';
            END $$;
            CREATE TRIGGER refuse AFTER UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION refuse()",
        call: RENAME,
        client: RENAME_CLIENT,
        ..PLAIN
    },
    Case {
        name: "domain_violation_23514",
        sqlstate: "23514",
        prepare: "CREATE DOMAIN short AS text CONSTRAINT not_long CHECK (length(VALUE) < 3);
            CREATE FUNCTION to_domain() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.description := 'far too long'::short; RETURN NEW; END $$;
            CREATE TRIGGER to_domain BEFORE UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION to_domain()",
        call: RENAME,
        client: RENAME_CLIENT,
        ..PLAIN
    },
    Case {
        name: "exclusion_violation_23P01",
        sqlstate: "23P01",
        prepare: "ALTER TABLE caliber_trajectory ADD CONSTRAINT one_name EXCLUDE USING btree (name WITH =)",
        call: "SELECT caliber_trajectory_create('two', id => '00000000-0000-7000-8000-000000000004')",
        client: "INSERT INTO caliber_trajectory (trajectory_id, name, status, created_at, updated_at) \
            VALUES ('00000000-0000-7000-8000-000000000004', 'two', 'active', now(), now())",
        ..PLAIN
    },
    Case {
        name: "insufficient_privilege_42501",
        sqlstate: "42501",
        prepare: "DO $$ BEGIN CREATE ROLE verify_stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$",
        before: "SET ROLE verify_stranger",
        call: RENAME,
        client: RENAME_CLIENT,
        ..PLAIN
    },
    Case {
        name: "read_only_25006",
        sqlstate: "25006",
        before: "BEGIN READ ONLY",
        call: RENAME,
        client: RENAME_CLIENT,
        ..PLAIN
    },
];

fn boundary(context: &Context, case: &Case) -> Result<Outcome> {
    let mut desks = desk::open(context, &desk::ALL, &format!("{ROWS}{}", case.prepare))?;
    let mut others = Vec::new();
    for desk in &mut desks {
        if !case.before.is_empty() {
            desk.session.batch(case.before)?;
        }
        if !case.meanwhile.is_empty() {
            let mut other = desk.database.connect()?;
            other.batch(case.meanwhile)?;
            others.push(other);
        }
    }
    let error = desk::same_error(&mut desks, case.call, case.client, case.sqlstate)?;
    for other in &mut others {
        other.batch("ROLLBACK")?;
    }
    for desk in &mut desks {
        still_works(desk)?;
    }
    Ok(Outcome::Passed(error.message))
}

/// The session goes on, and nothing was changed.
fn still_works(desk: &mut Desk) -> Result<()> {
    desk.session
        .batch("ROLLBACK; RESET ROLE; SET statement_timeout = 0")?;
    let names = desk
        .session
        .value("SELECT string_agg(name, ',' ORDER BY trajectory_id) FROM caliber_trajectory")?;
    ensure!(
        names.as_deref() == Some("one,two"),
        "{}: changed to {names:?}",
        desk.engine.name()
    );
    let call = format!("SELECT caliber_trajectory_get('{T}')");
    let client = format!("SELECT x FROM caliber_trajectory x WHERE trajectory_id = '{T}'");
    ensure!(
        desk.session.value(desk.text(&call, &client))?.is_some(),
        "{}: nothing to read",
        desk.engine.name()
    );
    Ok(())
}

/// Rights that let a role write, but not read what it collides with.
fn without_select(context: &Context) -> Result<Outcome> {
    let grants = "
        DO $$ BEGIN CREATE ROLE verify_writer; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
        GRANT INSERT ON caliber_scope TO verify_writer;
        GRANT SELECT (name) ON caliber_scope TO verify_writer;";
    let mut desks = desk::open(context, &desk::ALL, &format!("{ROWS}{grants}"))?;
    for desk in &mut desks {
        desk.session.batch("SET ROLE verify_writer")?;
    }
    let insert = |id: &str, trajectory: &str, budget: i32| {
        (
            format!(
                "SELECT caliber_scope_create('{trajectory}', 'a name', token_budget => {budget}, id => '{id}')"
            ),
            format!(
                "INSERT INTO caliber_scope (scope_id, trajectory_id, parent_scope_id, name, purpose, is_active, \
                 created_at, closed_at, checkpoint, token_budget, tokens_used, metadata) VALUES ('{id}', \
                 '{trajectory}', NULL, 'a name', NULL, true, '2020-01-01', NULL, NULL, {budget}, 0, NULL)"
            ),
        )
    };
    let mut seen = Vec::new();
    for (id, trajectory, budget, sqlstate) in [
        (U, T, 0, "23514"),
        ("00000000-0000-7000-8000-000000000003", T, 1, "23505"),
        (U, "00000000-0000-7000-8000-0000000000ff", 1, "23503"),
    ] {
        let (call, client) = insert(id, trajectory, budget);
        let error = desk::same_error(&mut desks, &call, &client, sqlstate)?;
        seen.push(error.detail.unwrap_or_else(|| "no DETAIL".to_owned()));
    }
    Ok(Outcome::Passed(seen.join(" · ")))
}

/// The backend's size, in kB, after so many caught errors of each kind.
fn ten_thousand(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &desk::ALL, ROWS)?;
    let mut growths = Vec::new();
    for desk in &mut desks {
        let mut loops = String::new();
        for case in BOUNDARY.iter().filter(|case| {
            case.prepare.is_empty() && case.before.is_empty() && case.meanwhile.is_empty()
        }) {
            let sql = desk
                .text(case.call, case.client)
                .replace("SELECT ", "PERFORM ");
            loops += &format!("BEGIN {sql}; RAISE 'no error'; EXCEPTION WHEN integrity_constraint_violation THEN END;\n");
        }
        let run = |times: u32| {
            format!("DO $do$ BEGIN FOR i IN 1..{times} LOOP {loops} END LOOP; END $do$")
        };
        // What is built once is not growth.
        desk.session.batch(&run(250))?;
        let before = resident(desk)?;
        desk.session.batch(&run(2500))?;
        let growth = resident(desk)? - before;
        still_works(desk).with_context(|| "after 10,000 errors")?;
        growths.push((desk.engine, growth));
    }
    let plain = growths.last().map_or(0, |(_, growth)| *growth);
    let shown: Vec<String> = growths
        .iter()
        .map(|(engine, growth)| format!("{} {growth:+} kB", engine.name()))
        .collect();
    for (engine, growth) in &growths {
        ensure!(
            *growth <= plain.max(0) + 1024,
            "{} grows: {}",
            engine.name(),
            shown.join(", ")
        );
    }
    Ok(Outcome::Passed(shown.join(", ")))
}

/// Resident memory of the backend, in kB, without what it shares.
fn resident(desk: &mut Desk) -> Result<i64> {
    // statm: total, resident, shared … in pages of 4 kB.
    let text = desk
        .session
        .value("SELECT pg_read_file('/proc/self/statm', 0, 200)")?
        .unwrap_or_default();
    let pages: Vec<i64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match pages[..] {
        [_, resident, shared, ..] => Ok((resident - shared) * 4),
        _ => anyhow::bail!("cannot read {text}"),
    }
}

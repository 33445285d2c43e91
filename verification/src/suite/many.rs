//! Many at once: a JSON array becomes one INSERT, with all that belongs to one.

mod duplicates;
mod elements;
mod keys;
mod kinds;

use super::bad_input::stage::expand;
use super::desk::{self, Desk};
use crate::judge::{without_moments, Engine};
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::session::{Failure, Session};
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "many::order",
            "ids come out in the order of the elements, and the rows are those of one INSERT",
            order,
        ),
        Test::new(
            "many::all_or_nothing",
            "an error while rows are written is SQL's, names its element with the heap engine, and leaves nothing",
            elements::all_or_nothing,
        ),
        Test::new(
            "many::elements",
            "a wrong element is refused before anything is looked at, naming element and key",
            elements::elements,
        ),
        Test::new(
            "many::triggers",
            "statement triggers fire once, row triggers for each row; a veto is a NULL in its place",
            triggers,
        ),
        Test::new(
            "many::changed_keys",
            "a trigger that changes keys beside vetoes: the ids that went in come out, or nothing is written",
            keys::changed,
        ),
        Test::new(
            "many::nothing",
            "an empty array writes nothing and fires nothing",
            nothing,
        ),
        Test::new(
            "many::duplicates",
            "with on_duplicate = return a retry gives the same ids and writes what is missing",
            duplicates::duplicates,
        ).with_takeovers(),
        Test::new(
            "many::duplicates_in_flight",
            "two sessions that send the same ids wait for each other and get the same ids",
            duplicates::in_flight,
        ),
        Test::new(
            "many::every_function",
            "turns, artifacts and messages: order, vetoes, unknown keys, refusals, duplicates",
            kinds::every_function,
        ).with_takeovers(),
        Test::new(
            "many::ten_thousand",
            "10,000 elements in one call, and the backend stays as large as before",
            ten_thousand,
        ),
        Test::new(
            "many::rights",
            "INSERT, SELECT of the key, and what numbering and the scope's state need",
            rights,
        ),
    ]
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// A task, an open scope 21, a closed scope 22, and a turn in each.
pub(super) const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@1', 'task');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, is_active, closed_at, token_budget) VALUES
    ('@21', '@1', 'open', true, NULL, 10), ('@22', '@1', 'closed', false, now(), 10);
INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count) VALUES
    ('@31', '@21', 5, 'user', 'stored', 0), ('@32', '@22', 0, 'user', 'stored', 0);
";

fn desks(context: &Context, engines: &[Engine], more: &str) -> Result<Vec<Desk>> {
    desk::open(context, engines, &expand(&format!("{ROWS}{more}")))
}

fn call(scope: u32, turns: &str) -> String {
    expand(&format!(
        "SELECT caliber_turn_create_many('@{scope}', '{turns}')"
    ))
}

/// The statement that the call stands for, where nothing is left to number.
fn client(scope: u32, turns: &str) -> String {
    expand(&format!(
        "INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count, created_at, tool_calls, tool_results, metadata)
        SELECT r.id, '@{scope}', r.sequence, r.role, r.content, coalesce(r.token_count, 0), now(), r.tool_calls, r.tool_results, r.metadata
        FROM ROWS FROM (jsonb_to_recordset('{turns}') AS (id uuid, sequence int, role text, content text, token_count int,
            tool_calls jsonb, tool_results jsonb, metadata jsonb)) WITH ORDINALITY AS r
        ORDER BY r.ordinality RETURNING turn_id"
    ))
}

fn rows(session: &mut Session) -> Result<String> {
    let all = "SELECT string_agg(x::text, E'\\n' ORDER BY turn_id) FROM caliber_turn x";
    Ok(without_moments(&session.value(all)?.unwrap_or_default()))
}

/// The ids of an answer, as their numbers; `-` for NULL.
fn numbers(ids: &[Option<String>]) -> String {
    let number = |id: &Option<String>| match id {
        None => "-".to_owned(),
        Some(id) => id[id.len() - 8..].trim_start_matches('0').to_owned(),
    };
    ids.iter().map(number).collect::<Vec<_>>().join(" ")
}

fn order(context: &Context) -> Result<Outcome> {
    let given = r#"[
        {"id": "@109", "sequence": 9, "role": "user", "content": ""},
        {"id": "@101", "sequence": 1, "role": "tool", "content": "ä\u0001 \"q\"", "token_count": 3e1, "metadata": {"a": [1.50]}},
        {"id": "@105", "sequence": 0, "role": "system", "content": "x", "tool_calls": "t", "tool_results": null, "metadata": 7}]"#;
    let mut known: Option<String> = None;
    for mut desk in desks(context, &desk::ALL, "")? {
        let name = desk.engine.name();
        let sql = desk.text(&call(21, given), &client(21, given)).to_owned();
        let ids = desk.session.query(&sql)?.column();
        ensure!(numbers(&ids) == "109 101 105", "{name}: {ids:?}");
        let written = rows(&mut desk.session)?;
        let known = known.get_or_insert_with(|| written.clone());
        ensure!(*known == written, "{name}:\n{written}\nnot\n{known}");
        if desk.engine == Engine::Client {
            continue;
        }
        // What is missing is numbered after the stored and the earlier ones.
        let mixed = r#"[{"role": "user", "content": "a"}, {"role": "user", "content": "b", "sequence": 20},
            {"role": "user", "content": "c", "sequence": null}, {"role": "user", "content": "d", "sequence": 3},
            {"role": "user", "content": "e"}]"#;
        let ids = desk.session.query(&call(21, mixed))?.column();
        ensure!(
            ids.is_sorted() && ids.len() == 5,
            "{name}: not ascending: {ids:?}"
        );
        let ids: Vec<String> = ids.into_iter().flatten().collect();
        let numbered = desk.session.value(&format!(
            "SELECT string_agg(format('%s=%s', content, sequence), ' ' ORDER BY turn_id) FROM caliber_turn WHERE turn_id = ANY ('{{{}}}')",
            ids.join(",")
        ))?;
        ensure!(
            numbered.as_deref() == Some("a=10 b=20 c=21 d=3 e=22"),
            "{name}: {numbered:?}"
        );
        // A set in FROM, in a list with LIMIT, and twice in one statement.
        let count = desk.session.value(&expand(
            r#"SELECT count(*) FROM (SELECT caliber_turn_create_many('@21', '[{"role": "user", "content": "f"}, {"role": "user", "content": "g"}]')
            FROM generate_series(1, 2) LIMIT 1) s,
            caliber_turn_create_many('@21', '[{"role": "user", "content": "h"}]') WITH ORDINALITY AS t (id, n)"#,
        ))?;
        ensure!(count.as_deref() == Some("1"), "{name}: {count:?}");
        let there = desk.session.value(
            "SELECT string_agg(content, '' ORDER BY content) FROM caliber_turn WHERE content BETWEEN 'f' AND 'h'",
        )?;
        ensure!(there.as_deref() == Some("fgh"), "{name}: {there:?}");
    }
    Ok(PASSED)
}

/// Writes down what fires, with the rows of the statement.
const WATCHED: &str = "
CREATE TABLE fired (n serial, what text);
CREATE FUNCTION statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_WHEN = 'AFTER' THEN
        INSERT INTO fired (what) SELECT format('%s %s %s', TG_WHEN, TG_OP, string_agg(content, ',' ORDER BY turn_id)) FROM written;
    ELSE
        INSERT INTO fired (what) VALUES (format('%s %s', TG_WHEN, TG_OP));
    END IF; RETURN NULL; END $$;
CREATE FUNCTION each() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fired (what) VALUES (format('%s row %s', TG_WHEN, NEW.content));
    IF TG_WHEN = 'BEFORE' AND NEW.content LIKE '%veto%' THEN RETURN NULL; END IF;
    IF TG_WHEN = 'BEFORE' THEN NEW.content = upper(NEW.content); END IF;
    RETURN NEW; END $$;
CREATE TRIGGER s1 BEFORE INSERT ON caliber_turn FOR EACH STATEMENT EXECUTE FUNCTION statement();
CREATE TRIGGER s2 AFTER INSERT ON caliber_turn REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION statement();
CREATE TRIGGER r1 BEFORE INSERT ON caliber_turn FOR EACH ROW EXECUTE FUNCTION each();
CREATE TRIGGER r2 AFTER INSERT ON caliber_turn FOR EACH ROW EXECUTE FUNCTION each();
";

const FIRED: &str = "SELECT string_agg(what, ' / ' ORDER BY n) FROM fired";

fn triggers(context: &Context) -> Result<Outcome> {
    let turns = r#"[{"id": "@104", "sequence": 1, "role": "user", "content": "veto one"}, {"id": "@103", "sequence": 1, "role": "user", "content": "two"},
        {"id": "@102", "sequence": 2, "role": "user", "content": "veto three"}, {"id": "@101", "sequence": 2, "role": "user", "content": "four"}]"#;
    let mut known: Option<(String, String)> = None;
    for mut desk in desks(context, &desk::ALL, WATCHED)? {
        let name = desk.engine.name();
        let sql = desk.text(&call(21, turns), &client(21, turns)).to_owned();
        let ids = numbers(&desk.session.query(&sql)?.column());
        let expected = desk.text("- 103 - 101", "103 101");
        ensure!(ids == expected, "{name}: {ids}");
        let fired = desk.session.value(FIRED)?.unwrap_or_default();
        let told = (fired, rows(&mut desk.session)?);
        let known = known.get_or_insert_with(|| told.clone());
        ensure!(*known == told, "{name}:\n{told:#?}\nnot\n{known:#?}");
    }
    let (fired, _) = known.unwrap_or_default();
    let once = fired.matches("BEFORE INSERT").count() == 1
        && fired.matches("AFTER INSERT FOUR,TWO").count() == 1;
    ensure!(once, "{fired}");
    Ok(PASSED)
}

fn nothing(context: &Context) -> Result<Outcome> {
    for mut desk in desks(context, &ENGINES, WATCHED)? {
        let name = desk.engine.name();
        let sql = "SELECT caliber_turn_create_many('@21', '[]'), 1 UNION ALL SELECT caliber_turn_create_many('@22', '[]'), 2";
        let reply = desk.session.query(&expand(sql))?;
        ensure!(reply.rows.is_empty(), "{name}: {reply:?}");
        let fired = desk.session.value(FIRED)?;
        ensure!(fired.is_none(), "{name}: {fired:?}");
    }
    Ok(PASSED)
}

fn ten_thousand(context: &Context) -> Result<Outcome> {
    let elements = "SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', repeat('c', i % 90), 'token_count', i) ORDER BY i) FROM generate_series(0, 9999) i";
    for mut desk in desks(context, &ENGINES, "")? {
        let name = desk.engine.name();
        let session = &mut desk.session;
        session
            .batch("CREATE SCHEMA verify; CREATE TABLE verify.sizes (n serial, bytes bigint)")?;
        for round in 0..4 {
            let wrong = session.value(&expand(&format!(
                "WITH made AS MATERIALIZED (SELECT id, n FROM caliber_turn_create_many('@21', ({elements})) WITH ORDINALITY AS m (id, n))
                SELECT count(id) FROM made"
            )))?;
            ensure!(wrong.as_deref() == Some("10000"), "{name}: {wrong:?}");
            let right = session.value(&expand(&format!(
                "SELECT count(*) FROM caliber_turn WHERE scope_id = '@21' AND sequence - 6 - 10000 * {round} = token_count AND content = repeat('c', token_count % 90)"
            )))?;
            ensure!(right.as_deref() == Some("10000"), "{name}: {right:?}");
            session.batch("INSERT INTO verify.sizes (bytes) SELECT sum(total_bytes) FROM pg_backend_memory_contexts")?;
        }
        let grown = session.value(
            "SELECT max(bytes) FILTER (WHERE n = 4) - max(bytes) FILTER (WHERE n = 2) FROM verify.sizes",
        )?;
        let grown: i64 = grown.unwrap_or_default().parse()?;
        ensure!(
            grown < 500_000,
            "{name}: {grown} bytes more after two calls"
        );
        let taken = session.value(&expand(
            "SELECT count(DISTINCT sequence) || ' ' || max(sequence) FROM caliber_turn WHERE scope_id = '@21'",
        ))?;
        ensure!(taken.as_deref() == Some("40001 40005"), "{name}: {taken:?}");
    }
    Ok(PASSED)
}

/// What a role is granted, the elements, and whether that is enough.
static GRANTS: [(&str, &str, Option<&str>); 6] = [
    ("", NUMBERED, Some("caliber_turn")),
    (
        "GRANT INSERT ON caliber_turn TO verify_many",
        EXPLICIT,
        Some("caliber_turn"),
    ),
    (
        "GRANT SELECT (turn_id) ON caliber_turn TO verify_many",
        EXPLICIT,
        Some("caliber_scope"),
    ),
    (
        "GRANT SELECT ON caliber_scope TO verify_many",
        EXPLICIT,
        None,
    ),
    ("", NUMBERED, Some("caliber_turn")),
    (
        "GRANT SELECT ON caliber_turn TO verify_many",
        NUMBERED,
        None,
    ),
];

const NUMBERED: &str =
    r#"[{"role": "user", "content": "c", "sequence": 77}, {"role": "user", "content": "c"}]"#;
const EXPLICIT: &str = r#"[{"role": "user", "content": "c", "sequence": 78}]"#;

fn rights(context: &Context) -> Result<Outcome> {
    // Roles belong to the server: the role may be there.
    let role = "DO $$ BEGIN CREATE ROLE verify_many; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$";
    for mut desk in desks(context, &ENGINES, role)? {
        let name = desk.engine.name();
        let session = &mut desk.session;
        for (grant, turns, missing) in &GRANTS {
            session.batch(grant)?;
            session.batch("BEGIN; SET LOCAL ROLE verify_many")?;
            let answer = session.run(&call(21, turns));
            session.batch("ROLLBACK")?;
            let fits = match (&answer, missing) {
                (Ok(_), None) => true,
                (Err(Failure::Error(error)), Some(table)) => {
                    error.sqlstate == "42501"
                        && error.message == format!("permission denied for table {table}")
                }
                _ => false,
            };
            ensure!(
                fits,
                "{name}: after {grant:?}: {answer:?}, not {missing:?} for {turns}"
            );
        }
    }
    Ok(PASSED)
}

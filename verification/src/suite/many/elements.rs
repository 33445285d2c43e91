//! What is wrong with an element: before anything is looked at, and while rows
//! are written.

use super::{call, client, desks, rows, ENGINES};
use crate::judge::Engine;
use crate::runner::{Context, Outcome};
use crate::session::ServerError;
use crate::suite::bad_input::stage::expand;
use crate::suite::desk;
use anyhow::{bail, ensure, Context as _, Result};

/// A user's trigger that raises for some contents, before or after the row.
const RAISING: &str = "
CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.content = TG_ARGV[0] THEN RAISE EXCEPTION 'no %', NEW.content USING ERRCODE = '45000'; END IF; RETURN NEW; END $$;
CREATE TRIGGER b BEFORE INSERT ON caliber_turn FOR EACH ROW EXECUTE FUNCTION raising('before');
CREATE TRIGGER a AFTER INSERT ON caliber_turn FOR EACH ROW EXECUTE FUNCTION raising('after');
";

/// A case of [`all_or_nothing`]: scope, elements, SQLSTATE, and the element
/// that the heap engine names.
type Failing = (u32, &'static str, &'static str, Option<u32>);

static FAILING: [Failing; 8] = [
    (
        21,
        r#"{"sequence": -1, "role": "user", "content": "check"}"#,
        "23514",
        Some(2),
    ),
    (
        21,
        r#"{"sequence": 3, "role": "user", "content": "check", "token_count": -7}"#,
        "23514",
        Some(2),
    ),
    (
        21,
        r#"{"sequence": 5, "role": "user", "content": "stored already"}"#,
        "23505",
        Some(2),
    ),
    (
        21,
        r#"{"sequence": 2, "role": "user", "content": "in this call"}"#,
        "23505",
        Some(2),
    ),
    (
        21,
        r#"{"sequence": 3, "role": "user", "content": "id of this call", "id": "@100"}"#,
        "23505",
        Some(2),
    ),
    (
        99,
        r#"{"sequence": 3, "role": "user", "content": "no such scope"}"#,
        "23503",
        None,
    ),
    (
        21,
        r#"{"sequence": 3, "role": "user", "content": "before"}"#,
        "45000",
        Some(2),
    ),
    (
        21,
        r#"{"sequence": 3, "role": "user", "content": "after"}"#,
        "45000",
        None,
    ),
];

pub(super) fn all_or_nothing(context: &Context) -> Result<Outcome> {
    let mut desks = desks(context, &desk::ALL, RAISING)?;
    for (scope, last, sqlstate, element) in &FAILING {
        let last = last.replacen(
            '{',
            r#"{"id": "@102", "#,
            usize::from(!last.contains("\"id\"")),
        );
        let turns = format!(
            r#"[{{"id": "@100", "sequence": 1, "role": "user", "content": "one"}}, {{"id": "@101", "sequence": 2, "role": "user", "content": "two"}}, {last}]"#
        );
        let mut told: Vec<(Engine, ServerError)> = Vec::new();
        for desk in &mut desks {
            let before = rows(&mut desk.session)?;
            let (call, client) = (call(*scope, &turns), client(*scope, &turns));
            let error = match desk::answer(desk.session.run(desk.text(&call, &client))) {
                Err(error) => *error,
                Ok(rows) => bail!("{}: {last}: no error, but {rows:?}", desk.engine.name()),
            };
            ensure!(
                rows(&mut desk.session)? == before,
                "{}: {last} left something",
                desk.engine.name()
            );
            told.push((desk.engine, error));
        }
        let (_, reference) = told.last().context("the client")?.clone();
        for (engine, error) in &told {
            let mut expected = reference.clone();
            if let (Engine::Heap, Some(n)) = (engine, element) {
                let line = format!("element {n}");
                expected.context = Some(match expected.context {
                    Some(context) => format!("{context}\n{line}"),
                    None => line,
                });
            }
            ensure!(
                *error == expected && error.sqlstate == *sqlstate,
                "{last}\n--- {}\n{error}\n--- expected {sqlstate}\n{expected}",
                engine.name()
            );
        }
    }
    Ok(Outcome::Passed(format!("{} errors", FAILING.len())))
}

/// Argument, SQLSTATE, CONTEXT, and what the message says.
type Wrong = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
);

static WRONG: [Wrong; 24] = [
    ("NULL", "22004", None, "\"turns\" must not be null"),
    ("'{}'", "22023", None, "\"turns\" must be a JSON array"),
    ("'null'", "22023", None, "\"turns\" must be a JSON array"),
    ("'\"x\"'", "22023", None, "\"turns\" must be a JSON array"),
    (
        "'[*, 7]'",
        "22023",
        Some("element 1"),
        "element 1 of \"turns\" must be a JSON object",
    ),
    (
        "'[*, null]'",
        "22023",
        Some("element 1"),
        "element 1 of \"turns\" must be a JSON object",
    ),
    (
        "'[*, [*]]'",
        "22023",
        Some("element 1"),
        "element 1 of \"turns\" must be a JSON object",
    ),
    (
        r#"'[*, *, {"role": "user", "content": "c", "colour": 1}]'"#,
        "22023",
        Some("element 2"),
        "unknown key \"colour\" in element 2 of \"turns\"",
    ),
    (
        r#"'[{"Role": "user", "content": "c"}]'"#,
        "22023",
        Some("element 0"),
        "unknown key \"Role\" in element 0 of \"turns\"",
    ),
    (
        r#"'[{"turn_id": "@7", "role": "user", "content": "c"}]'"#,
        "22023",
        Some("element 0"),
        "unknown key \"turn_id\" in element 0",
    ),
    (
        r#"'[{"created_at": "2020-01-01", "role": "user", "content": "c"}]'"#,
        "22023",
        Some("element 0"),
        "unknown key \"created_at\" in element 0",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "scope_id": "@21"}]'"#,
        "22023",
        Some("element 1"),
        "\"scope_id\" in element 1 of \"turns\" is given outside already",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "scope_id": null}]'"#,
        "22023",
        Some("element 1"),
        "\"scope_id\" in element 1 of \"turns\" is given outside already",
    ),
    (
        r#"'[*, {"role": "nobody", "content": "c"}]'"#,
        "22023",
        Some("element 1"),
        "invalid turn role: \"nobody\"",
    ),
    (
        r#"'[*, {"content": "c"}]'"#,
        "22004",
        Some("element 1"),
        "\"role\" must not be null",
    ),
    (
        r#"'[*, {"role": null, "content": "c"}]'"#,
        "22004",
        Some("element 1"),
        "\"role\" must not be null",
    ),
    (
        r#"'[*, {"role": "user"}]'"#,
        "22004",
        Some("element 1"),
        "\"content\" must not be null",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "token_count": null}]'"#,
        "22004",
        Some("element 1"),
        "\"token_count\" must not be null",
    ),
    (
        r#"'[*, {"role": "user", "content": 7}]'"#,
        "22023",
        Some("element 1"),
        "\"content\" in \"turns\" must be a string",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "sequence": 1.5}]'"#,
        "22023",
        Some("element 1"),
        "\"sequence\" in \"turns\" must be a whole number",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "sequence": "1"}]'"#,
        "22023",
        Some("element 1"),
        "\"sequence\" in \"turns\" must be a whole number",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "sequence": 2147483648}]'"#,
        "22003",
        Some("element 1"),
        "integer out of range",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "id": "@"}]'"#,
        "22P02",
        Some("element 1"),
        "invalid input syntax for type uuid",
    ),
    (
        r#"'[*, {"role": "user", "content": "c", "id": 7}]'"#,
        "22023",
        Some("element 1"),
        "\"id\" in \"turns\" must be a string with a uuid",
    ),
];

pub(super) fn elements(context: &Context) -> Result<Outcome> {
    let mut desks = desks(context, &ENGINES, "")?;
    for (turns, sqlstate, line, message) in &WRONG {
        let turns = turns.replace('*', r#"{"role": "user", "content": "good"}"#);
        let call = expand(&format!("SELECT caliber_turn_create_many('@21', {turns})"));
        for desk in &mut desks {
            let name = desk.engine.name();
            // Wherever the table is: the arguments come first.
            for lead in ["", "ALTER TABLE caliber_turn RENAME TO gone; "] {
                desk.session.batch(&format!("BEGIN; {lead}"))?;
                let error = desk.session.error(&call)?;
                desk.session.batch("ROLLBACK")?;
                ensure!(
                    error.sqlstate == *sqlstate
                        && error.context.as_deref() == *line
                        && error.message.contains(&expand(message)),
                    "{name}: {turns}\n{error}\nexpected {sqlstate}: {message}\n  CONTEXT: {line:?}"
                );
            }
        }
    }
    for desk in &mut desks {
        let count = desk.session.value("SELECT count(*) FROM caliber_turn")?;
        ensure!(count.as_deref() == Some("2"), "{count:?} turns");
        for (scope, sqlstate) in [("'@22'", "55000"), ("NULL", "22004")] {
            let sql =
                r#"SELECT caliber_turn_create_many(@scope, '[{"role": "user", "content": "c"}]')"#;
            let error = desk.session.error(&expand(&sql.replace("@scope", scope)))?;
            ensure!(
                error.sqlstate == sqlstate && error.context.is_none(),
                "{}: {scope}: {error}",
                desk.engine.name()
            );
        }
        // There is no number after the greatest.
        let last = r#"[{"role": "user", "content": "c", "sequence": 2147483647}, {"role": "user", "content": "c"}]"#;
        let error = desk.session.error(&call(21, last))?;
        ensure!(
            error.sqlstate == "22003" && error.context.as_deref() == Some("element 1"),
            "{}: {error}",
            desk.engine.name()
        );
    }
    Ok(Outcome::Passed(format!("{} arguments", WRONG.len())))
}

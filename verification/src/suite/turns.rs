//! Turns: numbers that sessions take from one scope at a time, closed scopes,
//! and the lists by sequence.

use super::bad_input::stage::{expand, id};
use super::desk;
use super::many::ROWS;
use crate::isolation::{run, Options, Script, Transcript};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::session::{Failure, Session};
use anyhow::{bail, ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "turns::numbers_of_two_sessions",
            "two sessions that append to one scope get numbers one after the other, at each isolation level",
            two_sessions,
        ),
        Test::new(
            "turns::numbers_of_many_sessions",
            "eight sessions append at each isolation level: no number twice, none left out",
            many_sessions,
        ),
        Test::new(
            "turns::lock",
            "numbering takes the scope's internal lock, to the end of the transaction or savepoint",
            lock,
        ),
        Test::new(
            "turns::closed_scope",
            "a closed scope takes no turns, a missing one is left to the key",
            closed,
        ),
        Test::new(
            "turns::lists",
            "all, a page and the last of a scope's turns, by sequence, as SQL gives them",
            lists,
        ),
        Test::new(
            "turns::rights",
            "SELECT on the scope, and on the turns where a number is looked for",
            rights,
        ),
    ]
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// Appends to scope 21 and returns the number; NULL takes the next one.
fn append(sequence: &str) -> String {
    expand(&format!(
        "SELECT sequence FROM caliber_turn_get(caliber_turn_create('@21', {sequence}, 'user', 'c'))"
    ))
}

/// Two turns at once, of which the second is numbered.
const BOTH: &str = r#"SELECT string_agg(t.sequence::text, ' ' ORDER BY n) FROM caliber_turn_create_many('@21',
    '[{"role": "user", "content": "c", "sequence": 40}, {"role": "user", "content": "c"}]') WITH ORDINALITY AS m (id, n), LATERAL caliber_turn_get(m.id) t"#;

/// What sessions 0 and 1 do in a transaction each, and what comes of it.
struct Case {
    name: &'static str,
    /// Session 0, before session 1.
    first: &'static str,
    /// Session 1, while session 0 is in its transaction.
    second: &'static str,
    /// How session 0 ends.
    end: &'static str,
    /// Does session 1 wait for that?
    waits: bool,
    /// What session 1 gets: a number, or an SQLSTATE.
    gets: &'static str,
}

/// `*` is the next number. Scope 21 has one turn, number 5.
static CASES: [Case; 9] = [
    Case {
        name: "both next",
        first: "*",
        second: "*",
        end: "COMMIT",
        waits: true,
        gets: "7",
    },
    Case {
        name: "both next, rolled back",
        first: "*",
        second: "*",
        end: "ROLLBACK",
        waits: true,
        gets: "6",
    },
    Case {
        name: "explicit, the one in flight",
        first: "*",
        second: "6",
        end: "COMMIT",
        waits: true,
        gets: "23505",
    },
    Case {
        name: "explicit, rolled back",
        first: "*",
        second: "6",
        end: "ROLLBACK",
        waits: true,
        gets: "6",
    },
    Case {
        name: "explicit, another",
        first: "*",
        second: "8",
        end: "COMMIT",
        waits: false,
        gets: "8",
    },
    Case {
        name: "next after an explicit one in flight",
        first: "6",
        second: "*",
        end: "COMMIT",
        waits: true,
        gets: "23505",
    },
    Case {
        name: "next after an explicit one rolled back",
        first: "6",
        second: "*",
        end: "ROLLBACK",
        waits: true,
        gets: "6",
    },
    Case {
        name: "many after next",
        first: "*",
        second: "many",
        end: "COMMIT",
        waits: true,
        gets: "40 41",
    },
    Case {
        name: "next after many",
        first: "many",
        second: "*",
        end: "COMMIT",
        waits: true,
        gets: "42",
    },
];

fn sent(what: &str) -> String {
    match what {
        "many" => expand(BOTH),
        "*" => append("NULL"),
        number => append(number),
    }
}

fn two_sessions(context: &Context) -> Result<Outcome> {
    let mut count = 0;
    for engine in ENGINES {
        let mut database = context.server.database()?;
        let setup = desk::setup(engine);
        let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
        let mut script = Script::new(3, &setup);
        let mut runs: Vec<(&Case, Isolation, usize)> = Vec::new();
        for case in &CASES {
            for isolation in Isolation::ALL {
                let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1", isolation.sql());
                script = script
                    .step(2, &expand(ROWS))
                    .step(0, &begin)
                    .step(1, &begin);
                runs.push((case, isolation, script.steps.len()));
                script = script
                    .step(0, &sent(case.first))
                    .step(1, &sent(case.second))
                    .step(0, case.end)
                    .step(1, "COMMIT")
                    .step(2, "TRUNCATE caliber_trajectory CASCADE");
            }
        }
        let transcript = run(&database.target, &script, Options::default())?;
        for (case, isolation, first) in runs {
            judge(case, isolation, first, &transcript).with_context(|| {
                let mut shown = transcript.clone();
                shown
                    .events
                    .retain(|event| (first..first + 4).contains(&event.step));
                format!(
                    "{}: {}, {}\n{shown}",
                    engine.name(),
                    case.name,
                    isolation.sql()
                )
            })?;
            count += 1;
        }
        database.mark_clean();
    }
    Ok(Outcome::Passed(format!("{count} schedules")))
}

fn judge(case: &Case, isolation: Isolation, first: usize, told: &Transcript) -> Result<()> {
    let answer = told.answer(first + 1).context("no answer")?;
    let gets = answer.value().or(answer.sqlstate()).unwrap_or_default();
    ensure!(
        told.answer(first).and_then(|a| a.value()).is_some(),
        "the first session got nothing"
    );
    ensure!(
        told.waited(first + 1) == case.waits,
        "waits: {}",
        case.waits
    );
    // At SERIALIZABLE, PostgreSQL prefers 40001 where it can tell that the
    // number was looked for before.
    let serialization = isolation == Isolation::Serializable && gets == "40001";
    ensure!(
        gets == case.gets || (serialization && case.gets == "23505"),
        "expected {}, got {gets}",
        case.gets
    );
    let ended = told.answer(first + 3).context("no end")?;
    ensure!(
        ended.sqlstate().is_none(),
        "the second session could not commit"
    );
    Ok(())
}

const SESSIONS: usize = 8;
const EACH: usize = 12;

fn many_sessions(context: &Context) -> Result<Outcome> {
    let mut retries = 0;
    for engine in ENGINES {
        for isolation in Isolation::ALL {
            let mut database = context.server.database()?;
            let mut admin = database.connect()?;
            admin.batch(&expand(ROWS))?;
            let told = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..SESSIONS)
                    .map(|_| scope.spawn(|| appends(database.connect()?, engine, isolation)))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| {
                        thread
                            .join()
                            .unwrap_or_else(|_| bail!("a session panicked"))
                    })
                    .collect::<Result<Vec<usize>>>()
            })?;
            retries += told.iter().sum::<usize>();
            let numbers = admin.value(&expand(
                "SELECT count(*) || ' ' || min(sequence) || ' ' || max(sequence) FROM caliber_turn WHERE scope_id = '@21'",
            ))?;
            let all = SESSIONS * EACH * 3 + 1;
            ensure!(
                numbers.as_deref() == Some(&format!("{all} 5 {}", all + 4)),
                "{} {}: {numbers:?}",
                engine.name(),
                isolation.sql()
            );
            admin.batch("TRUNCATE caliber_trajectory CASCADE")?;
            database.mark_clean();
        }
    }
    Ok(Outcome::Passed(format!(
        "{SESSIONS} sessions, {retries} retries"
    )))
}

/// Appends one turn and two at once, again and again; what could not be
/// serialized is tried again. Returns how often that was.
fn appends(mut session: Session, engine: Engine, isolation: Isolation) -> Result<usize> {
    for sql in desk::setup(engine) {
        session.batch(&sql)?;
    }
    session.batch(&format!(
        "SET default_transaction_isolation = '{}'",
        isolation.sql().to_lowercase()
    ))?;
    let two = expand(
        r#"SELECT caliber_turn_create_many('@21', '[{"role": "user", "content": "c"}, {"role": "tool", "content": "d"}]')"#,
    );
    let mut retries = 0;
    for round in 0..EACH * 2 {
        let sql = if round % 2 == 0 {
            append("NULL")
        } else {
            two.clone()
        };
        loop {
            match session.run(&sql) {
                Ok(_) => break,
                Err(Failure::Error(error)) if error.sqlstate == "40001" => retries += 1,
                Err(other) => bail!("{other}"),
            }
        }
    }
    Ok(retries)
}

/// FNV-1a-64 over `scope`, a zero byte and the id's bytes.
fn key_of_scope(number: u32) -> u64 {
    let hex = id(number).replace('-', "");
    let bytes = (0..16).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap_or_default());
    b"scope\0"
        .iter()
        .copied()
        .chain(bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

fn lock(context: &Context) -> Result<Outcome> {
    let held = "SELECT string_agg(format('%s %s %s', (classid::bigint << 32) | objid::bigint, mode, granted), ', ')
        FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 3 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    #[allow(clippy::cast_possible_wrap)]
    let expected = format!("{} ExclusiveLock t", key_of_scope(21) as i64);
    for mut desk in desk::open(context, &ENGINES, &expand(ROWS))? {
        let name = desk.engine.name();
        let mut other = desk.another()?;
        for (sql, locks) in [
            ("SELECT 1".to_owned(), false),
            (append("7"), false),
            (append("NULL"), true),
            ("SAVEPOINT s; ROLLBACK TO s".to_owned(), true),
            ("ROLLBACK; BEGIN; SAVEPOINT s".to_owned(), false),
            (append("NULL"), true),
            ("ROLLBACK TO s".to_owned(), false),
            (expand(BOTH), true),
            ("COMMIT; BEGIN".to_owned(), false),
        ] {
            let lead = if sql == "SELECT 1" { "BEGIN; " } else { "" };
            desk.session.batch(&format!("{lead}{sql}"))?;
            let held = other.value(held)?;
            let fits = if locks {
                held.as_deref() == Some(&expected)
            } else {
                held.is_none()
            };
            ensure!(fits, "{name}: after {sql}: {held:?}, not {expected}");
        }
        // Another scope is another lock.
        desk.session.batch("COMMIT")?;
        desk.session.batch(&expand(
            "SELECT caliber_scope_create('@1', 'other', id => '@23')",
        ))?;
        desk.session.batch("BEGIN")?;
        desk.session.batch(&append("NULL"))?;
        other.batch(&append("NULL").replace(&id(21), &id(23)))?;
    }
    Ok(PASSED)
}

const REOPEN: &str =
    "UPDATE caliber_scope SET is_active = true, closed_at = NULL WHERE scope_id = '@21'";

fn closed(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &desk::ALL, &expand(ROWS))?;
    // What the key says of a scope that is not there.
    for sequence in ["0", "NULL"] {
        desk::same_error(
            &mut desks,
            &append(sequence).replace(&id(21), &id(99)),
            &expand("INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count) VALUES ('@99', 0, 'user', 'c', 0)"),
            "23503",
        )?;
    }
    for desk in &mut desks {
        if desk.engine == Engine::Client {
            continue;
        }
        let name = desk.engine.name();
        let mut other = desk.another()?;
        for sequence in ["7", "NULL"] {
            let error = desk
                .session
                .error(&append(sequence).replace(&id(21), &id(22)))?;
            ensure!(
                error.sqlstate == "55000" && error.message == format!("scope {} is closed", id(22)),
                "{name}: {error}"
            );
        }
        // A turn whose transaction overlaps the closing one commits after it.
        desk.session.batch("BEGIN")?;
        desk.session.batch(&append("NULL"))?;
        let shut = other.value(&expand("SELECT caliber_scope_close('@21')"))?;
        ensure!(shut.as_deref() == Some("t"), "{name}: {shut:?}");
        let error = other.error(&append("NULL"))?;
        ensure!(error.sqlstate == "55000", "{name}: {error}");
        desk.session.batch("COMMIT")?;
        // A transaction that saw it open may go on appending.
        other.batch(&expand(REOPEN))?;
        other.batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
        desk.session
            .batch(&expand("SELECT caliber_scope_close('@21')"))?;
        let number = other.value(&append("NULL"))?;
        ensure!(number.as_deref() == Some("7"), "{name}: {number:?}");
        other.batch("COMMIT")?;
        // In one statement: closed before the turn.
        other.batch(&expand(REOPEN))?;
        let error = other.error(&expand(
            "SELECT CASE WHEN caliber_scope_close('@21') THEN caliber_turn_create('@21', NULL, 'user', 'c') END",
        ))?;
        ensure!(error.sqlstate == "55000", "{name}: {error}");
    }
    Ok(PASSED)
}

/// A call, and the client's query for it.
static LISTS: [(&str, &str); 12] = [
    ("get_by_scope('@21')", "ORDER BY sequence"),
    ("get_by_scope('@21', NULL, NULL)", "ORDER BY sequence"),
    ("get_by_scope('@21', 0)", "ORDER BY sequence LIMIT 0"),
    ("get_by_scope('@21', 3)", "ORDER BY sequence LIMIT 3"),
    ("get_by_scope('@21', 3, 9)", "AND sequence > 9 ORDER BY sequence LIMIT 3"),
    ("get_by_scope('@21', after_sequence => 2147483647)", "AND false"),
    ("get_by_scope('@21', after_sequence => -5)", "ORDER BY sequence"),
    ("get_recent('@21')", "AND sequence > (SELECT sequence FROM caliber_turn WHERE scope_id = '@21' ORDER BY sequence DESC OFFSET 20 LIMIT 1) ORDER BY sequence"),
    ("get_recent('@21', 0)", "AND false"),
    ("get_recent('@21', 1)", "ORDER BY sequence DESC LIMIT 1"),
    ("get_recent('@21', 1000000)", "ORDER BY sequence"),
    ("get_recent('@21', 4)", "AND sequence >= (SELECT sequence FROM caliber_turn WHERE scope_id = '@21' ORDER BY sequence DESC OFFSET 3 LIMIT 1) ORDER BY sequence"),
];

fn lists(context: &Context) -> Result<Outcome> {
    // Their order by id is not that by sequence, and there are gaps.
    let turns = "INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count)
        SELECT md5(i::text)::uuid, '@21', i * 3 % 101, 'user', 'c', i FROM generate_series(1, 60) i WHERE i * 3 % 101 <> 5;
        DELETE FROM caliber_turn WHERE token_count % 7 = 3;
        UPDATE caliber_turn SET content = 'd' WHERE token_count % 5 = 0";
    for mut desk in desk::open(context, &ENGINES, &expand(&format!("{ROWS}{turns}")))? {
        let name = desk.engine.name();
        for (call, query) in &LISTS {
            let list = |from: &str| {
                expand(&format!(
                    "SELECT string_agg(x::text, ' ' ORDER BY n) FROM {from} AS l (x, n)"
                ))
            };
            let ours = desk.session.value(&list(&format!(
                "(SELECT t, n FROM (SELECT t, row_number() OVER () AS n FROM caliber_turn_{call} t) s)"
            )))?;
            let theirs = desk.session.value(&list(&format!(
                "(SELECT t, row_number() OVER () FROM (SELECT t FROM caliber_turn t WHERE scope_id = '@21' {query}) s)"
            )))?;
            ensure!(ours == theirs, "{name}: {call}:\n{ours:?}\nnot\n{theirs:?}");
        }
        for (call, sqlstate) in [
            ("get_by_scope(NULL)", "22004"),
            ("get_by_scope('@21', -1)", "2201W"),
            ("get_recent(NULL)", "22004"),
            ("get_recent('@21', NULL)", "22004"),
            ("get_recent('@21', -1)", "2201W"),
        ] {
            let error = desk
                .session
                .error(&expand(&format!("SELECT caliber_turn_{call}")))?;
            ensure!(error.sqlstate == sqlstate, "{name}: {call}: {error}");
        }
        // A list sees the turn that its own statement appended.
        let seen = desk.session.value(&expand(
            "SELECT (SELECT t.turn_id = made FROM caliber_turn_get_recent(CASE WHEN made IS NOT NULL THEN '@21'::uuid END, 1) t)
            FROM (SELECT caliber_turn_create('@21', NULL, 'tool', 'last') AS made OFFSET 0) s",
        ))?;
        ensure!(seen.as_deref() == Some("t"), "{name}: {seen:?}");
    }
    Ok(Outcome::Passed(format!("{} lists", LISTS.len())))
}

/// What a role is granted, which call, and which table it then lacks.
static GRANTS: [(&str, &str, Option<&str>); 6] = [
    ("", "7", Some("caliber_turn")),
    (
        "GRANT INSERT ON caliber_turn TO verify_turns",
        "7",
        Some("caliber_scope"),
    ),
    ("GRANT SELECT ON caliber_scope TO verify_turns", "7", None),
    ("", "NULL", Some("caliber_turn")),
    (
        "GRANT SELECT (sequence, scope_id, turn_id) ON caliber_turn TO verify_turns",
        "NULL",
        Some("caliber_turn"),
    ),
    ("GRANT SELECT ON caliber_turn TO verify_turns", "NULL", None),
];

fn rights(context: &Context) -> Result<Outcome> {
    let role = "DO $$ BEGIN CREATE ROLE verify_turns; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$";
    for mut desk in desk::open(context, &ENGINES, &expand(&format!("{ROWS}{role}")))? {
        let name = desk.engine.name();
        for (grant, sequence, missing) in &GRANTS {
            desk.session.batch(grant)?;
            desk.session.batch("BEGIN; SET LOCAL ROLE verify_turns")?;
            let call = format!("SELECT caliber_turn_create('@21', {sequence}, 'user', 'c')");
            let answer = desk.session.run(&expand(&call));
            desk.session.batch("ROLLBACK")?;
            let fits = match (&answer, missing) {
                (Ok(_), None) => true,
                (Err(Failure::Error(error)), Some(table)) => {
                    error.sqlstate == "42501"
                        && error.message == format!("permission denied for table {table}")
                }
                _ => false,
            };
            ensure!(fits, "{name}: after {grant:?}: {answer:?}, not {missing:?}");
        }
    }
    Ok(PASSED)
}

//! Artifacts and notes come to an end: each form of `ttl` as time passes, scopes
//! that close, and what lists, searches and gets show of it.

use super::desk;
use crate::isolation::{run, Options, Script};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "expiry::forms",
            "each form of ttl ends when its time has passed since created_at, and not before",
            forms,
        ),
        Test::new(
            "expiry::closed_scope",
            "ephemeral and scope end with their scope, at once and for the statement that closes it",
            closed_scope,
        ),
        Test::new(
            "expiry::wall_clock",
            "the wall clock decides, not the transaction's start",
            wall_clock,
        ),
        Test::new(
            "expiry::pages",
            "max_rows counts live rows, after skips what has ended",
            pages,
        ),
        Test::new(
            "expiry::rights",
            "lists and searches of artifacts read scopes with the caller's rights and policies; get does not",
            rights,
        ).with_takeovers(),
        Test::new(
            "expiry::scope_closed_after_another_change",
            "a scope that our statement closed over a concurrent change is closed",
            closed_over,
        ),
    ]
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// One task, a scope that stays open, and one that is closed.
const SCENE: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'task');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget, is_active) VALUES
    ('00000000-0000-7000-8000-000000000011', '00000000-0000-7000-8000-000000000001', 'open', 9, true),
    ('00000000-0000-7000-8000-000000000012', '00000000-0000-7000-8000-000000000001', 'closed', 9, false);
";
const TASK: &str = "'00000000-0000-7000-8000-000000000001'";
const OPEN: &str = "'00000000-0000-7000-8000-000000000011'";
const CLOSED: &str = "'00000000-0000-7000-8000-000000000012'";

/// A ttl, when the row was made, in which scope, and whether it is live. Notes
/// have no scope.
type Case = (&'static str, &'static str, &'static str, bool);

static CASES: &[Case] = &[
    ("persistent", "'-infinity'", CLOSED, true),
    ("permanent", "'-infinity'", CLOSED, true),
    ("session", "'-infinity'", CLOSED, true),
    ("max:1", "'-infinity'", CLOSED, true),
    ("duration:60000", "now() - interval '50 s'", OPEN, true),
    ("duration:60000", "now() - interval '61 s'", OPEN, false),
    ("duration:60000", "now() + interval '1 day'", OPEN, true),
    ("duration:1", "'infinity'", OPEN, true),
    ("duration:1", "'-infinity'", OPEN, false),
    ("duration:1000000000000000", "'4713-01-01 BC'", OPEN, true),
    ("duration:1000000000000000", "'-infinity'", OPEN, false),
    ("short_term", "now() - interval '59 min 50 s'", OPEN, true),
    ("short_term", "now() - interval '60 min 1 s'", OPEN, false),
    ("medium_term", "now() - interval '23 h 59 min'", OPEN, true),
    ("medium_term", "now() - interval '24 h 1 s'", OPEN, false),
    ("long_term", "now() - interval '167 h 59 min'", OPEN, true),
    ("long_term", "now() - interval '168 h 1 s'", OPEN, false),
    ("short_term", "now()", CLOSED, true),
    // What cannot be read counts as persistent.
    ("", "'-infinity'", CLOSED, true),
    ("forever", "'-infinity'", CLOSED, true),
    ("duration:0", "'-infinity'", CLOSED, true),
    ("duration:5 ", "'-infinity'", CLOSED, true),
    ("duration:1000000000000001", "'-infinity'", CLOSED, true),
    ("Short_term", "'-infinity'", CLOSED, true),
    ("scope:1", "'-infinity'", CLOSED, true),
];

static OF_SCOPES: &[Case] = &[
    ("scope", "'-infinity'", OPEN, true),
    ("scope", "now()", CLOSED, false),
    ("ephemeral", "'-infinity'", OPEN, true),
    ("ephemeral", "now()", CLOSED, false),
];

/// Writes one artifact and one note for each case, with its number as their
/// name and title.
fn write(session: &mut Session) -> Result<Vec<String>> {
    let mut live = Vec::new();
    for (n, (ttl, created_at, scope, lives)) in CASES.iter().chain(OF_SCOPES).enumerate() {
        session.batch(&format!(
            "INSERT INTO caliber_artifact (trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance, embedding, ttl, created_at)
                 VALUES ({TASK}, {scope}, 'fact', '{n}', '', '', '{{}}', '[1,{n},0]', '{ttl}', {created_at});
             INSERT INTO caliber_note (note_type, title, content, content_hash, source_trajectory_ids, embedding, ttl, created_at)
                 VALUES ('fact', '{n}', '', '', ARRAY[{TASK}]::uuid[], '[1,{n},0]', '{ttl}', {created_at})",
        ))?;
        if *lives {
            live.push(n.to_string());
        }
    }
    Ok(live)
}

fn forms(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let live = write(&mut desk.session)?;
        // A note of these forms, which only SQL can write, has no scope to end.
        let of_scopes = (CASES.len()..CASES.len() + OF_SCOPES.len()).map(|n| n.to_string());
        let mut live_notes: Vec<String> = live
            .iter()
            .filter(|n| n.parse().is_ok_and(|n: usize| n < CASES.len()))
            .cloned()
            .collect();
        live_notes.extend(of_scopes);
        let both = format!(
            "(SELECT name FROM caliber_artifact_query_by_scope({OPEN}) UNION ALL SELECT name FROM caliber_artifact_query_by_scope({CLOSED})) x"
        );
        for (what, wanted) in [
            (
                format!("name FROM caliber_artifact_query_by_type({TASK}, 'fact')"),
                &live,
            ),
            (format!("name FROM {both}"), &live),
            (
                format!("(item).name FROM caliber_artifact_search('[1,1,0]', 100, {TASK})"),
                &live,
            ),
            (
                "(item).name FROM caliber_artifact_search('[1,1,0]', 100)".to_owned(),
                &live,
            ),
            (
                "title AS name FROM caliber_note_list_by_type('fact')".to_owned(),
                &live_notes,
            ),
            (
                format!("title AS name FROM caliber_note_query_by_trajectory({TASK})"),
                &live_notes,
            ),
            (
                "(item).title AS name FROM caliber_note_search('[1,1,0]', 100)".to_owned(),
                &live_notes,
            ),
        ] {
            let found = desk
                .session
                .value(&format!(
                    "SELECT string_agg(name, ',' ORDER BY name::int) FROM (SELECT {what}) x"
                ))?
                .unwrap_or_default();
            ensure!(
                found == wanted.join(","),
                "{}: {what}\nfound  {found}\nwanted {}",
                desk.engine.name(),
                wanted.join(",")
            );
        }
        // A get shows every row.
        let got = desk.session.value(
            "SELECT count((caliber_artifact_get(artifact_id)).name) || ' ' || count(*) FROM caliber_artifact",
        )?;
        let all = CASES.len() + OF_SCOPES.len();
        ensure!(got == Some(format!("{all} {all}")), "{got:?} artifacts");
        let got = desk.session.value(
            "SELECT count((caliber_note_get(note_id)).title) || ' ' || count(*) FROM caliber_note",
        )?;
        ensure!(got == Some(format!("{all} {all}")), "{got:?} notes");
    }
    Ok(Outcome::Passed(format!(
        "{} rows",
        CASES.len() + OF_SCOPES.len()
    )))
}

/// Makes an artifact with each ttl in the open scope.
const IN_SCOPE: &str = "SELECT caliber_artifact_create('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000011',
    'plan', t, '', ttl => t, embedding => '[1,2,3]') FROM unnest('{persistent,scope,ephemeral,short_term}'::text[]) t";

/// What leaves out artifacts that have ended. `@task`, `@scope` and `@k` are
/// arguments.
const READS: [&str; 4] = [
    "SELECT name FROM caliber_artifact_query_by_type(@task, 'plan')",
    "SELECT name FROM caliber_artifact_query_by_scope(@scope)",
    "SELECT (item).name FROM caliber_artifact_search('[1,2,3]', @k, @task)",
    "SELECT (item).name FROM caliber_artifact_search('[1,2,3]', @k)",
];

/// The names that a read returns, as an expression; with `ok`, it cannot be
/// evaluated before that column is there.
fn names(read: &str, ok: bool) -> String {
    let argument = |text: &str| match ok {
        true => format!("CASE WHEN ok THEN {text} END"),
        false => text.to_owned(),
    };
    let read = read
        .replace("@task", &argument(&format!("{TASK}::uuid")))
        .replace("@scope", &argument(&format!("{OPEN}::uuid")))
        .replace("@k", &argument("9"));
    format!("(SELECT string_agg(name, ',' ORDER BY name) FROM ({read}) x)")
}

fn closed_scope(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let engine = desk.engine.name();
        let session = &mut desk.session;
        session.batch(IN_SCOPE)?;
        let check = |session: &mut Session, read: &str, sql: &str, wanted: &str| {
            let found = session.value(sql)?.unwrap_or_default();
            ensure!(
                found == wanted,
                "{engine}: {read}: {found} instead of {wanted}"
            );
            Ok(())
        };
        let (all, lasting) = (
            "ephemeral,persistent,scope,short_term",
            "persistent,short_term",
        );
        for read in READS {
            let now = format!("SELECT {}", names(read, false));
            let at_once = format!(
                "WITH closed AS MATERIALIZED (SELECT caliber_scope_close({OPEN}) AS ok) SELECT {} FROM closed",
                names(read, true)
            );
            check(session, read, &now, all)?;
            session.batch("BEGIN")?;
            check(session, read, &at_once, lasting)?;
            check(session, read, &now, lasting)?;
            session.batch("ROLLBACK")?;
            check(session, read, &now, all)?;
        }
        session.batch(&format!("SELECT caliber_scope_close({OPEN})"))?;
        for read in READS {
            check(
                session,
                read,
                &format!("SELECT {}", names(read, false)),
                lasting,
            )?;
        }
    }
    Ok(Outcome::Passed(format!("{} reads", READS.len())))
}

fn wall_clock(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let name = desk.engine.name();
        let session = &mut desk.session;
        session.batch(&format!(
            "BEGIN;
             SELECT caliber_artifact_create({TASK}, {OPEN}, 'fact', 'a', '', ttl => 'duration:2000', embedding => '[1,0,0]');
             SELECT caliber_note_create('fact', 'n', '', ttl => 'duration:2000', embedding => '[1,0,0]', source_trajectory_ids => ARRAY[{TASK}]::uuid[])"
        ))?;
        let count = format!(
            "SELECT concat_ws(' ', (SELECT count(*) FROM caliber_artifact_query_by_type({TASK}, 'fact')),
                (SELECT count(*) FROM caliber_artifact_search('[1,0,0]')), (SELECT count(*) FROM caliber_note_list_by_type('fact')),
                (SELECT count(*) FROM caliber_note_query_by_trajectory({TASK})), (SELECT count(*) FROM caliber_note_search('[1,0,0]')))"
        );
        let before = session.value(&count)?.unwrap_or_default();
        session.batch("SELECT pg_sleep(2.1)")?;
        let after = session.value(&count)?.unwrap_or_default();
        session.batch("COMMIT")?;
        ensure!(before == "1 1 1 1 1", "{name}: fresh: {before}");
        ensure!(
            after == "0 0 0 0 0",
            "{name}: in the same transaction, later: {after}"
        );
    }
    Ok(Outcome::Passed("5 reads".to_owned()))
}

fn pages(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let session = &mut desk.session;
        // Of nine rows every third is live.
        session.batch(&format!(
            "INSERT INTO caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance, ttl, created_at)
                 SELECT ('00000000-0000-7000-8000-00000000010' || i)::uuid, {TASK}, {OPEN}, 'fact', i, '', '', '{{}}',
                     CASE WHEN i % 3 = 0 THEN 'persistent' ELSE 'short_term' END, '2020-01-01' FROM generate_series(1, 9) i;
             INSERT INTO caliber_note (note_id, note_type, title, content, content_hash, source_trajectory_ids, ttl, created_at)
                 SELECT ('00000000-0000-7000-8000-00000000010' || i)::uuid, 'fact', i, '', '', ARRAY[{TASK}]::uuid[],
                     CASE WHEN i % 3 = 0 THEN 'persistent' ELSE 'short_term' END, '2020-01-01' FROM generate_series(1, 9) i"
        ))?;
        for (page, wanted) in [
            ("NULL, NULL", "3,6,9"),
            ("2, NULL", "3,6"),
            ("0, NULL", ""),
            ("2, '00000000-0000-7000-8000-000000000103'", "6,9"),
            ("1, '00000000-0000-7000-8000-000000000104'", "6"),
            ("9, '00000000-0000-7000-8000-000000000109'", ""),
        ] {
            for read in [
                format!("name FROM caliber_artifact_query_by_type({TASK}, 'fact', {page})"),
                format!("name FROM caliber_artifact_query_by_scope({OPEN}, {page})"),
                format!("title FROM caliber_note_list_by_type('fact', {page})"),
                format!("title FROM caliber_note_query_by_trajectory({TASK}, {page})"),
            ] {
                // As the rows come: they are ordered.
                let reply = session.query(&format!("SELECT {read}"))?.column();
                let found: Vec<String> = reply.into_iter().flatten().collect();
                ensure!(
                    found.join(",") == wanted,
                    "{}: {read}: {found:?} instead of {wanted}",
                    desk.engine.name()
                );
            }
        }
    }
    Ok(Outcome::Passed("6 pages of 4 lists".to_owned()))
}

fn rights(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{SCENE} DO $$ BEGIN CREATE ROLE verify_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
         GRANT SELECT ON caliber_artifact TO verify_reader;
         INSERT INTO caliber_artifact (trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance, ttl, embedding)
             VALUES ({TASK}, {CLOSED}, 'fact', 'x', '', '', '{{}}', 'scope', '[1,2,3]')"
    );
    let mut desks = desk::open(context, &ENGINES, &prepare)?;
    let reads = [
        format!("caliber_artifact_query_by_type({TASK}, 'fact')"),
        format!("caliber_artifact_query_by_scope({CLOSED})"),
        "caliber_artifact_search('[1,2,3]')".to_owned(),
        format!("caliber_artifact_search('[1,2,3]', 10, {TASK})"),
    ];
    for read in &reads {
        // SQL that reads scopes as well is the client's statement.
        let call = format!("SET ROLE verify_reader; SELECT count(*) FROM {read}");
        let error = desk::same_error(&mut desks, &call, "", "42501")?;
        ensure!(
            error.message == "permission denied for table caliber_scope",
            "{read}: {error}"
        );
    }
    for desk in &mut desks {
        let name = desk.engine.name();
        let session = &mut desk.session;
        session.batch("SET ROLE verify_reader")?;
        let got = session.value(
            "SELECT count((caliber_artifact_get(artifact_id)).name) FROM caliber_artifact",
        )?;
        ensure!(got.as_deref() == Some("1"), "{name}: get: {got:?}");
        // A scope that a policy hides is not seen to be closed.
        session.batch(
            "RESET ROLE; GRANT SELECT ON caliber_scope TO verify_reader; ALTER TABLE caliber_scope ENABLE ROW LEVEL SECURITY;
             SET ROLE verify_reader",
        )?;
        for read in &reads {
            let found = session.value(&format!("SELECT count(*) FROM {read}"))?;
            ensure!(
                found.as_deref() == Some("1"),
                "{name}: hidden: {read}: {found:?}"
            );
        }
        session.batch(
            "RESET ROLE; CREATE POLICY every ON caliber_scope FOR SELECT USING (true); SET ROLE verify_reader",
        )?;
        for read in &reads {
            let found = session.value(&format!("SELECT count(*) FROM {read}"))?;
            ensure!(
                found.as_deref() == Some("0"),
                "{name}: shown: {read}: {found:?}"
            );
        }
        session.batch("RESET ROLE")?;
    }
    Ok(Outcome::Passed(format!("{} reads", reads.len())))
}

fn closed_over(context: &Context) -> Result<Outcome> {
    // As own_writes: SPI cannot be given what the heap engine sees.
    let setup = desk::setup(Engine::Heap);
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    session.batch(SCENE)?;
    session.batch(IN_SCOPE)?;
    // The statement waits, closes the scope, and reads.
    let statement = format!(
        "WITH waited AS MATERIALIZED (SELECT pg_advisory_xact_lock(7)),
            closed AS MATERIALIZED (SELECT caliber_scope_close({OPEN}) AS ok FROM waited)
         SELECT concat_ws(' ', {}) FROM closed",
        READS.map(|read| names(read, true)).join(", ")
    );
    let lasting = ["persistent,short_term"; READS.len()].join(" ");
    // The other session's change is HOT, or is not.
    session.batch("CREATE INDEX ON caliber_scope (purpose)")?;
    for change in [
        format!("SELECT caliber_scope_update_tokens({OPEN}, 5)"),
        format!("UPDATE caliber_scope SET purpose = 'another' WHERE scope_id = {OPEN}"),
    ] {
        let script = Script::new(2, &setup)
            .step(1, "BEGIN; SELECT pg_advisory_xact_lock(7)")
            .step(0, &format!("BEGIN; {statement}"))
            .step(1, &change)
            .step(1, "COMMIT")
            .step(0, "ROLLBACK");
        let transcript = run(&database.target, &script, Options::default())?;
        ensure!(
            transcript.waited(1)
                && transcript.answer(1).and_then(|answer| answer.value()) == Some(&*lasting),
            "{change}\n{transcript}"
        );
    }
    Ok(Outcome::Passed("2 schedules".to_owned()))
}

//! Memory: a backend that has made many calls of every kind is as large as it
//! was, holds no lock, and has no file or buffer left open.

use super::{crew, desk};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = kinds().into_iter().map(of_kind).collect();
    tests.extend([
        Test::new(
            "memory::one_statement",
            "a statement of many calls uses no more memory at its end than near its beginning",
            one_statement,
        ),
        Test::new(
            "memory::rows_of_one_call",
            "what a call of many rows needs for a row is free again at the next",
            rows_of_one_call,
        ),
        Test::new(
            "memory::long_words",
            "a list that asks each row for a long text needs no more memory than for one of them",
            long_words,
        ),
        Test::new(
            "memory::caches_discarded",
            "calls of each kind hold on to nothing of a cache, which may be thrown away at any time",
            caches_discarded,
        )
        // Creates under `caliber.on_duplicate` are among the kinds.
        .with_takeovers(),
    ]);
    tests
}

/// The test of a kind, by itself: with a million calls each takes minutes.
fn of_kind(kind: Kind) -> Test {
    Test::new(
        &format!("memory::many_calls::{}", kind.name),
        "many calls of each kind leave the backend as large as before: memory, files, locks, pins",
        move |context| many_calls(context, &kind),
    )
}

const ROWS: &str = include_str!("memory/rows.sql");
const KINDS: &str = include_str!("memory/kinds.sql");

/// Calls before the first look: what is built once is not growth.
const WARM: u32 = 100;
/// After so many rounds another session vacuums: what was deleted goes.
const CHUNK: u32 = 2000;

/// A kind of operation, and a body of a PL/pgSQL loop that does it.
struct Kind {
    name: &'static str,
    /// What it does, in words.
    words: &'static str,
    body: String,
    /// How many calls of ours it makes.
    calls: u32,
}

fn kinds() -> Vec<Kind> {
    let parts = KINDS.split("\n--- ").skip(1);
    parts
        .filter_map(|part| {
            let (title, body) = part.split_once('\n')?;
            let (name, words) = title.split_once(": ")?;
            Some((name, words, body))
        })
        .map(|(name, words, body)| Kind {
            name,
            words,
            calls: body.matches("caliber_").count().max(1) as u32,
            body: filled(body, |id| format!("'{id}'::uuid")),
        })
        .collect()
}

/// Writes out each `@a1` as `shape` says.
fn filled(text: &str, shape: impl Fn(&str) -> String) -> String {
    let mut parts = text.split('@');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (short, rest) = part.split_at(part.len().min(2));
        filled += &shape(&format!("00000000-0000-7000-8000-0000000000{short}"));
        filled += rest;
    }
    filled
}

/// What a backend holds.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Resident memory that it does not share, in kB.
    resident: i64,
    /// Bytes in use in its memory contexts.
    used: i64,
    /// Open files.
    files: i64,
    /// Locks, but for those of the statement that looks.
    locks: i64,
}

fn look(session: &mut Session) -> Result<Size> {
    // statm: total, resident, shared … in pages of 4 kB.
    let reply = session.query(
        "SELECT (SELECT (p[2]::int - p[3]::int) * 4 FROM string_to_array(pg_read_file('/proc/self/statm', 0, 200), ' ') p),
                (SELECT sum(used_bytes) FROM pg_backend_memory_contexts),
                (SELECT count(*) FROM pg_ls_dir('/proc/self/fd')),
                (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid())",
    )?;
    let numbers: Vec<i64> = reply
        .rows
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect();
    match numbers[..] {
        [resident, used, files, locks] => Ok(Size {
            resident,
            used,
            files,
            locks,
        }),
        _ => anyhow::bail!("cannot read {numbers:?}"),
    }
}

fn many_calls(context: &Context, kind: &Kind) -> Result<Outcome> {
    let desk = desk::open(context, &[Engine::Heap], ROWS)?
        .pop()
        .context("a desk")?;
    let mut broom = desk.another()?;
    let (mut session, warnings) = Session::connect_and_hear(&desk.database.target)?;
    session.batch(FIRST_WRITE_OUT)?;
    let first = look(&mut session)?;
    let mut calls = 0;
    let mut wanted = context.config.calls.div_ceil(kind.calls);
    // A cache that is filled anew, since somebody changed the catalog, is no
    // growth: what leaks does so each time, and the more the longer.
    let mut tries: i64 = 0;
    let (used, resident) = loop {
        tries += 1;
        let (before, after) =
            grow(&mut session, &mut broom, kind, wanted).with_context(|| kind.words)?;
        calls += wanted * kind.calls;
        let used = after.used - before.used;
        let resident = after.resident - before.resident;
        let flat = used <= 2048 * tries + i64::from(wanted) / 64
            && resident <= 128 + i64::from(wanted) / 256
            && after.files <= before.files + 12
            && after.locks == first.locks;
        if flat {
            break (used, resident);
        }
        ensure!(
            tries < 6,
            "{}: {wanted} times, {before:?} becomes {after:?}, and so {tries} times over",
            kind.words
        );
        wanted = wanted.max((2 * wanted).min(5000));
    };
    // A pin, a relation or a file that nobody gave back is a WARNING.
    let heard = warnings
        .lock()
        .map(|heard| heard.clone())
        .unwrap_or_default();
    ensure!(
        heard.is_empty(),
        "{} warnings: {:?}",
        heard.len(),
        heard.first()
    );
    Ok(Outcome::Passed(format!(
        "{calls} calls (VERIFY_CALLS={}): {used} bytes more, {resident} kB resident",
        context.config.calls
    )))
}

/// A statement that does a kind of operation so many times.
fn times(kind: &Kind, times: u32) -> String {
    format!(
        "DO $do$ DECLARE x uuid; y uuid; r record; BEGIN FOR i IN 1..{times} LOOP\n{}\n\
         IF i % 20 = 0 THEN COMMIT; END IF; END LOOP; END $do$",
        kind.body
    )
}

/// The sizes before and after.
fn grow(
    session: &mut Session,
    broom: &mut Session,
    kind: &Kind,
    mut wanted: u32,
) -> Result<(Size, Size)> {
    session.batch(&times(kind, WARM))?;
    if wanted > CHUNK {
        // It also empties caches, here as later.
        broom.batch("VACUUM")?;
        session.batch(&times(kind, WARM))?;
    }
    // Twice: what the first looks up is not growth either.
    look(session)?;
    let before = look(session)?;
    while wanted > 0 {
        let chunk = wanted.min(CHUNK);
        session.batch(&times(kind, chunk))?;
        wanted -= chunk;
        if wanted > 0 {
            broom.batch("VACUUM")?;
        }
    }
    Ok((before, look(session)?))
}

/// A backend that writes out a page for the first time, since the cache is full, keeps room
/// for a copy of one (PageSetChecksumCopy, bufpage.c): more than a bulk write's own ring of
/// buffers makes it do so before we look.
const FIRST_WRITE_OUT: &str = "
    CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 30000);
    DROP TABLE ballast";

/// Calls whose memory nothing else makes grow: PostgreSQL itself remembers each
/// pending NOTIFY, each lock, and each row changed twice, until commit.
const IN_ONE: [(&str, &str); 14] = [
    ("get", "caliber_agent_get(@a1)"),
    ("get, long", "caliber_artifact_get(@e1)"),
    ("get, absent", "caliber_note_get(@f1)"),
    (
        "list",
        "(SELECT count(t.*) FROM caliber_turn_get_by_scope(@c1) t)",
    ),
    (
        "list, in part",
        "(SELECT t FROM caliber_trajectory_list_by_status('active') t WHERE i > 0 LIMIT 1)",
    ),
    (
        "list, gin",
        "(SELECT count(n.*) FROM caliber_note_query_by_trajectory(@b1) n)",
    ),
    (
        "list, long",
        "(SELECT count(a.*) FROM caliber_artifact_query_by_scope(@c1) a)",
    ),
    (
        "inbox",
        "(SELECT count(m.*) FROM caliber_message_list_for_agent(@a1) m)",
    ),
    (
        "pending",
        "(SELECT count(d.*) FROM caliber_delegation_list_for_agent(@a1) d)",
    ),
    (
        "locks",
        "(SELECT count(l.*) FROM caliber_lock_list_by_resource('file', @f1) l)",
    ),
    (
        "search",
        "(SELECT count(s.*) FROM caliber_artifact_search('[1,2,3]', 2, @b1) s)",
    ),
    ("busy", "caliber_lock_acquire(@a1, 'file', @f1)"),
    ("create", "caliber_turn_create(@c1, NULL, 'user', 'x')"),
    ("key", "caliber_lock_key(i::text, @f1)"),
];

fn one_statement(context: &Context) -> Result<Outcome> {
    let mut desk = desk::open(context, &[Engine::Heap], ROWS)?
        .pop()
        .context("a desk")?;
    desk.session.batch(FIRST_WRITE_OUT)?;
    let last = WARM + context.config.calls;
    let mut most = 0;
    for (name, call) in IN_ONE {
        // Not constant: the planner would call it once.
        let call = filled(call, |id| {
            format!("(CASE WHEN i > 0 THEN '{id}'::uuid END)")
        });
        desk.session.batch("BEGIN")?;
        // What a look holds itself, it holds each time once there is an earlier one.
        desk.session.batch("SELECT grown(), grown()")?;
        let text = desk.session.value(&format!(
            "SELECT count(r::text) || ' ' || string_agg(CASE WHEN i IN ({WARM}, {last}) THEN grown() END, '#')
             FROM (SELECT i, {call} AS r FROM generate_series(1, {last}) i OFFSET 0) s"
        ))?;
        desk.session.batch("ROLLBACK")?;
        let text = text.unwrap_or_default();
        let (more, by) = text
            .split_once('#')
            .and_then(|(_, grown)| grown.split_once(' '))
            .and_then(|(more, by)| Some((more.parse::<i64>().ok()?, by)))
            .with_context(|| format!("{name}: {text}"))?;
        most = most.max(more);
        ensure!(more <= 4096, "{name}: {more} bytes more ({by})");
    }
    Ok(Outcome::Passed(format!(
        "{} calls a statement; at most {most} bytes",
        context.config.calls
    )))
}

/// Weighs the backend at these rows of a call, each of which a trigger makes a kilobyte long.
const WEIGH: &str = "
    CREATE SEQUENCE rows;
    CREATE TABLE weights (grown text);
    CREATE FUNCTION weigh() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE n int := nextval('rows');
    BEGIN
        IF n IN (1, 400, 1400) THEN INSERT INTO weights VALUES (grown()); END IF;
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        NEW.payload := repeat('x', 1000);
        RETURN NEW;
    END $$;
    CREATE TRIGGER weigh BEFORE INSERT OR UPDATE OR DELETE ON caliber_message FOR EACH ROW EXECUTE FUNCTION weigh();
    CREATE INDEX ON caliber_message (md5(repeat(payload, 10)))";

/// What is kept of a row until the end: its id, its events for triggers and keys.
const KEPT: i64 = 200;

fn rows_of_one_call(context: &Context) -> Result<Outcome> {
    let mut desk = desk::open(context, &[Engine::Heap], &format!("{ROWS} {WEIGH}"))?
        .pop()
        .context("a desk")?;
    let row = r#"{"from_agent_id": "@a1", "to_agent_id": "@a2", "message_type": "heartbeat", "payload": "p"}"#;
    let row = filled(row, |id| id.to_owned());
    let calls = [
        format!("SELECT count(m) FROM caliber_message_send_many((SELECT jsonb_agg('{row}'::jsonb) FROM generate_series(1, 1500))) m"),
        filled("SELECT count(m.*) FROM caliber_message_receive(@a2, 1500) m", |id| format!("'{id}'")),
        "UPDATE caliber_message SET acknowledged_at = '2001-01-01'".to_owned(),
        "SELECT caliber_message_purge('2020-01-01', 1500)".to_owned(),
    ];
    let mut grown = Vec::new();
    for call in calls {
        desk.session
            .batch("TRUNCATE weights; ALTER SEQUENCE rows RESTART")?;
        let done = desk.session.value(&call)?;
        if call.starts_with("UPDATE") {
            continue;
        }
        ensure!(done.as_deref() == Some("1500"), "{done:?} rows: {call}");
        let text = desk
            .session
            .value("SELECT grown FROM weights OFFSET 2")?
            .unwrap_or_default();
        let more: Option<i64> = text.split(' ').next().and_then(|more| more.parse().ok());
        let more = more.with_context(|| text.clone())?;
        ensure!(more <= 1000 * KEPT, "{call}: {text}");
        grown.push(more / 1000);
    }
    Ok(Outcome::Passed(format!("{grown:?} bytes a row")))
}

/// Messages whose priority, which a list is ordered by, is none of the usual words and long:
/// 75 MB of them, of which a hundredth is stored.
const LONG_WORDS: &str = "
    ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check;
    SELECT count(caliber_message_send('@a1', '@a2', NULL, 'heartbeat', 'p')) FROM generate_series(1, 500);
    UPDATE caliber_message SET priority = repeat('x', 150000) WHERE to_agent_id = '@a2'";

fn long_words(context: &Context) -> Result<Outcome> {
    let mut desk = desk::open(context, &[Engine::Heap], ROWS)?
        .pop()
        .context("a desk")?;
    desk.session
        .batch(&filled(LONG_WORDS, |id| id.to_owned()))?;
    let list = |agent: &str, rows: u32| {
        let list = format!(
            "SELECT count(m.*) FROM caliber_message_list_for_agent('{agent}', true, {rows}) m"
        );
        filled(&list, |id| id.to_owned())
    };
    let most_of = |rows: u32| -> Result<i64> {
        // A backend of its own: what is measured is the most that it ever had. Whatever
        // it shares, and the call itself, it has looked at before, but at no long text in a call.
        let mut session = desk.another()?;
        session.value("SELECT sum(length(m::text)) FROM caliber_message m")?;
        session.value(&list("@a1", 1))?;
        let before = high_water(&mut session)?;
        let found = session.value(&list("@a2", rows))?;
        ensure!(
            found == Some(rows.to_string()),
            "{found:?} of {rows} messages"
        );
        Ok(high_water(&mut session)? - before)
    };
    let (few, many) = (most_of(10)?, most_of(490)?);
    ensure!(
        many <= few + 4096,
        "{few} kB more for ten messages, {many} for 490"
    );
    Ok(Outcome::Passed(format!(
        "{few} kB more for ten messages, {many} for 490"
    )))
}

/// The most memory that a backend ever had, in kB.
fn high_water(session: &mut Session) -> Result<i64> {
    let most = session.value(
        "SELECT substring(pg_read_file('/proc/self/status', 0, 4000) FROM 'VmHWM:\\s+(\\d+) kB')",
    )?;
    most.and_then(|most| most.parse().ok()).context("VmHWM")
}

/// Whatever a call keeps of the relation cache or a plan across something that
/// may look into the catalog is gone here, and overwritten.
fn caches_discarded(context: &Context) -> Result<Outcome> {
    let mut desk = desk::open(context, &[Engine::Heap], ROWS)?
        .pop()
        .context("a desk")?;
    if desk.session.value("SHOW debug_assertions")?.as_deref() != Some("on") {
        return Ok(Outcome::NotCovered(
            "caches are thrown away at every chance only where assertions are on (make test-assert)"
                .to_owned(),
        ));
    }
    for kind in kinds() {
        desk.session.batch("SET debug_discard_caches = 1")?;
        desk.session
            .batch(&times(&kind, 1))
            .with_context(|| kind.name)?;
        desk.session.batch("RESET debug_discard_caches")?;
    }
    crew::truth(&mut desk.session)?;
    Ok(Outcome::Passed(format!("{} kinds", kinds().len())))
}

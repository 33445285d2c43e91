//! Indexes and keys of a user's: what they refuse, when, and in which words;
//! functions inside them.

use super::{same, same_tables, ENGINES};
use crate::isolation::{run, Options, Script};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk::{self, Desk};
use crate::suite::steps::{ids, Id, Moved, Rows, Step, ROWS};
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "own_objects::unique_keys",
            "each kind of unique and exclusion key refuses what SQL refuses, in its words, and lets the rest pass",
            unique_keys,
        ),
        Test::new(
            "own_objects::deferred_keys",
            "deferrable keys are checked at the end of the statement, at SET CONSTRAINTS, or at commit",
            deferred_keys,
        ),
        Test::new(
            "own_objects::functions_in_indexes",
            "an expression, predicate or CHECK may call our functions on its own table, or raise",
            functions,
        ),
        Test::new(
            "own_objects::index_of_another_collation",
            "a list finds exactly its rows beside indexes of a user's with other collations",
            collation,
        ),
        Test::new(
            "own_objects::our_indexes_changed",
            "an index that was renamed, rebuilt or replaced serves as before",
            ours_changed,
        ),
        Test::new(
            "own_objects::index_under_construction",
            "rows written while an index is built CONCURRENTLY are in it",
            under_construction,
        )
        // Its sessions are those of a schedule, which say by themselves who served.
        .with_takeovers(),
    ]
}

const CREATE: Step = Step(
    "caliber_scope_create('@8', 'EIGHT', token_budget => 5, id => '@1')",
    "INSERT INTO caliber_scope VALUES ('@1', '@8', NULL, 'EIGHT', NULL, true, now(), NULL, NULL, 5, 0, NULL)",
    Id('1'),
);
const OTHER: Step = Step(
    "caliber_scope_create('@8', 'other', 'p', 100, id => '@2')",
    "INSERT INTO caliber_scope VALUES ('@2', '@8', NULL, 'other', 'p', true, now(), NULL, NULL, 100, 0, NULL)",
    Id('2'),
);
const RENAME: Step = Step(
    "caliber_scope_update('@9', '{\"name\": \"eight\"}')",
    "UPDATE caliber_scope SET name = 'eight' WHERE scope_id = '@9'",
    Moved,
);
const BACK: Step = Step(
    "caliber_scope_update('@8', '{\"name\": \"hidden\"}')",
    "UPDATE caliber_scope SET name = 'hidden' WHERE scope_id = '@8'",
    Moved,
);
const LATE: Step = Step(
    "caliber_scope_update('@1', '{\"name\": \"late\"}')",
    "UPDATE caliber_scope SET name = 'late' WHERE scope_id = '@1'",
    Moved,
);
const CLOSE: Step = Step(
    "caliber_scope_close('@8')",
    "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true",
    Moved,
);
const TOKENS: Step = Step(
    "caliber_scope_update_tokens('@9', 7)",
    "UPDATE caliber_scope SET tokens_used = 7 WHERE scope_id = '@9' AND is_active IS NOT DISTINCT FROM true",
    Moved,
);
const BOTH: Step = Step(
    "caliber_scope_list_by_trajectory('@8')",
    "SELECT x FROM caliber_scope x WHERE trajectory_id = '@8' ORDER BY scope_id",
    Rows,
);

/// A key, and whether `CREATE`, `RENAME` and the first close are refused.
static KEYS: [(&str, &str); 10] = [
    ("CREATE UNIQUE INDEX own ON caliber_scope (name)", "23505 RENAME"),
    ("CREATE UNIQUE INDEX own ON caliber_scope (lower(name)) INCLUDE (purpose)", "23505 CREATE RENAME"),
    ("CREATE UNIQUE INDEX own ON caliber_scope (name) WHERE is_active", "23505 RENAME"),
    ("CREATE UNIQUE INDEX own ON caliber_scope (closed_at) NULLS NOT DISTINCT WHERE name NOT IN ('hidden', 'other')", "23505 CREATE RENAME"),
    ("CREATE UNIQUE INDEX own ON caliber_scope (purpose, closed_at)", ""),
    ("ALTER TABLE caliber_scope ADD CONSTRAINT own UNIQUE (trajectory_id, name)", "23505 RENAME"),
    ("ALTER TABLE caliber_scope ADD CONSTRAINT own UNIQUE (name) DEFERRABLE", "23505 RENAME"),
    ("ALTER TABLE caliber_scope ADD CONSTRAINT own EXCLUDE USING gist (int4range(token_budget, token_budget + 2) WITH &&) WHERE (name <> 'hidden')", "23P01 CREATE RENAME"),
    ("ALTER TABLE caliber_scope ADD CONSTRAINT own EXCLUDE USING btree (lower(name) WITH =) DEFERRABLE", "23P01 CREATE RENAME"),
    ("ALTER TABLE caliber_scope ADD CONSTRAINT own EXCLUDE USING hash (name WITH =) WHERE (is_active)", "23P01 RENAME"),
];

/// Desks with indexes of every access method beside what is tried.
fn desks(context: &Context) -> Result<Vec<Desk>> {
    let make =
        "CREATE INDEX own_brin ON caliber_scope USING brin (name) WITH (pages_per_range = 1);
        CREATE INDEX own_hash ON caliber_scope USING hash (name);
        CREATE INDEX own_gin ON caliber_scope USING gin ((ARRAY[name, purpose]));
        CREATE INDEX own_partial ON caliber_scope (tokens_used) WHERE tokens_used > 5;
        CREATE INDEX own_expression ON caliber_scope ((tokens_used % 3), name)";
    desk::open(context, &ENGINES, &ids(&format!("{ROWS}{make}")))
}

fn nothing_found(desks: &mut [Desk]) -> Result<()> {
    for desk in desks.iter_mut().take(1) {
        let found = desk
            .session
            .query("SELECT f::text FROM caliber_check() f")?
            .column();
        ensure!(found.is_empty(), "{}: {found:?}", desk.engine.name());
    }
    Ok(())
}

fn unique_keys(context: &Context) -> Result<Outcome> {
    let mut desks = desks(context)?;
    for (key, refused) in &KEYS {
        for desk in &mut desks {
            desk.session.batch(key).context(*key)?;
            desk.await_indexes()?;
        }
        for (name, step) in [
            ("CREATE", &CREATE),
            ("RENAME", &RENAME),
            ("OTHER", &OTHER),
            ("TOKENS", &TOKENS),
            ("CLOSE", &CLOSE),
            ("AFTERWARDS", &RENAME),
            ("BOTH", &BOTH),
        ] {
            let answer = same(&mut desks, step).with_context(|| (*key).to_owned())?;
            let sqlstate = refused.split(' ').next().unwrap_or_default();
            if refused.contains(name) {
                ensure!(
                    answer
                        .first()
                        .is_some_and(|text| text.starts_with(sqlstate)),
                    "{key}: {name} is not refused: {answer:?}"
                );
            } else if ["CREATE", "RENAME", "TOKENS"].contains(&name) {
                ensure!(
                    answer.iter().all(|text| !text.starts_with("23")),
                    "{key}: {name} is refused: {answer:?}"
                );
            }
        }
        same_tables(&mut desks, "SELECT 1")?;
        nothing_found(&mut desks).context(*key)?;
        for desk in &mut desks {
            desk.session.batch(&ids(
                "ALTER TABLE caliber_scope DROP CONSTRAINT IF EXISTS own; DROP INDEX IF EXISTS own;
                DELETE FROM caliber_scope WHERE scope_id IN ('@1', '@2');
                UPDATE caliber_scope SET name = CASE scope_id WHEN '@8' THEN 'eight' ELSE 'hidden' END, is_active = true, closed_at = NULL, tokens_used = 0",
            ))?;
        }
    }
    Ok(Outcome::Passed(format!("{} keys", KEYS.len())))
}

fn deferred_keys(context: &Context) -> Result<Outcome> {
    let mut tried = 0;
    for key in [
        "UNIQUE (name) DEFERRABLE INITIALLY DEFERRED",
        "EXCLUDE USING btree (name WITH =) DEFERRABLE INITIALLY DEFERRED",
    ] {
        let mut desks = desks(context)?;
        for desk in &mut desks {
            desk.session.batch(&format!(
                "ALTER TABLE caliber_scope ADD CONSTRAINT own {key}"
            ))?;
        }
        // One row takes another's name, which is refused at the end, or when
        // asked for; two rows swap their names, which is fine in the end.
        for (steps, end, refused) in [
            (&[BACK, OTHER, TOKENS] as &[Step], "COMMIT", true),
            (&[BACK], "SET CONSTRAINTS own IMMEDIATE", true),
            (
                &[RENAME, BACK, BOTH],
                "SET CONSTRAINTS own IMMEDIATE",
                false,
            ),
            (&[RENAME, BACK, BOTH], "COMMIT", false),
        ] {
            for desk in &mut desks {
                desk.session.batch("BEGIN")?;
            }
            for step in steps {
                same(&mut desks, step)?;
                tried += 1;
            }
            let mut ends = Vec::new();
            for desk in &mut desks {
                ends.push(match desk::answer(desk.session.run(end)) {
                    Ok(_) => "fine".to_owned(),
                    Err(error) => error.to_string(),
                });
                desk.session.batch("ROLLBACK")?;
            }
            ensure!(
                ends.iter().all(|text| *text == ends[0]) && (ends[0] != "fine") == refused,
                "{key}: {end}: {ends:#?}"
            );
        }
        same_tables(&mut desks, "SELECT 1")?;
        nothing_found(&mut desks)?;
    }
    Ok(Outcome::Passed(format!("{tried} steps")))
}

fn functions(context: &Context) -> Result<Outcome> {
    // What is IMMUTABLE in name only: it looks at the table that it indexes.
    // (While an index is being built nothing can look, in SQL neither; and rows that were
    // deleted are indexed as long as a session that just starts may see them.)
    let make = "CREATE FUNCTION siblings(t uuid) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('own.building', true) = 'on' THEN RETURN 2; END IF;
            RETURN (SELECT count(*) FROM caliber_scope_list_by_trajectory(t)); END $$;
        CREATE FUNCTION siblings_by_sql(t uuid) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('own.building', true) = 'on' THEN RETURN 2; END IF;
            RETURN (SELECT count(*) FROM caliber_scope WHERE trajectory_id = t); END $$;
        CREATE FUNCTION fussy(n text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
            IF n = 'other' AND current_setting('own.building', true) IS DISTINCT FROM 'on' THEN RAISE 'fussy about %', n USING ERRCODE = '45002'; END IF; RETURN n; END $$;";
    let mut desks = desk::open(context, &ENGINES, &ids(&format!("{ROWS}{make}")))?;
    let mut refused = 0;
    for object in [
        "CREATE INDEX own ON caliber_scope (name, SIBLINGS(trajectory_id))",
        "CREATE INDEX own ON caliber_scope (name) WHERE SIBLINGS(trajectory_id) > 1",
        "ALTER TABLE caliber_scope ADD CONSTRAINT own CHECK (SIBLINGS(trajectory_id) < 3)",
        "CREATE INDEX own ON caliber_scope (fussy(name))",
        "CREATE INDEX own ON caliber_scope (name) WHERE fussy(name) > ''",
        "ALTER TABLE caliber_scope ADD CONSTRAINT own CHECK (fussy(name) > '')",
    ] {
        for desk in &mut desks {
            let own = desk.text("siblings", "siblings_by_sql").to_owned();
            desk.session.batch(&format!(
                "SET own.building = on; {}; SET own.building = off",
                object.replace("SIBLINGS", &own)
            ))?;
            desk.await_indexes()?;
        }
        for step in [&CREATE, &OTHER, &RENAME, &TOKENS, &BOTH, &CLOSE] {
            let answer = same(&mut desks, step).with_context(|| object.to_owned())?;
            refused += usize::from(answer.iter().any(|text| text.contains("45002: fussy")));
        }
        same_tables(&mut desks, "SELECT 1")?;
        for desk in &mut desks {
            desk.session.batch(&ids(
                "ALTER TABLE caliber_scope DROP CONSTRAINT IF EXISTS own; DROP INDEX IF EXISTS own;
                DELETE FROM caliber_scope WHERE scope_id IN ('@1', '@2');
                UPDATE caliber_scope SET name = 'hidden', is_active = true, closed_at = NULL",
            ))?;
        }
    }
    ensure!(refused >= 3, "only {refused} steps were refused");
    Ok(Outcome::Passed(format!("{refused} refused")))
}

fn collation(context: &Context) -> Result<Outcome> {
    let make = "INSERT INTO caliber_agent (agent_id, agent_type)
            SELECT md5(i::text)::uuid, (ARRAY['coder', 'Coder', 'CODER', 'cöder', 'coder ', 'z', 'Z', 'ä'])[i % 8 + 1] FROM generate_series(1, 200) i";
    let mut desks = desk::open(context, &ENGINES, make)?;
    let icu = desks[0]
        .session
        .value("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'")?
        .is_some();
    let mut collations = vec!["\"C\"", "\"POSIX\""];
    if icu {
        collations.extend(["\"und-x-icu\"", "same_case"]);
    }
    for desk in &mut desks {
        if icu {
            desk.session.batch(
                "CREATE COLLATION same_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            )?;
        }
        // Ours comes last, so that the first that looks right is not it.
        desk.session.batch(
            "DO $$ DECLARE i text; d text; BEGIN
                SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) INTO i, d FROM pg_index
                WHERE indrelid = 'caliber_agent'::regclass AND pg_get_indexdef(indexrelid) LIKE '%(agent_type, agent_id)';
                EXECUTE 'DROP INDEX ' || i;
                IF EXISTS (SELECT FROM pg_collation WHERE collname = 'same_case') THEN
                    CREATE INDEX ON caliber_agent (agent_type COLLATE same_case, agent_id);
                    CREATE INDEX ON caliber_agent (agent_type COLLATE \"und-x-icu\", agent_id);
                END IF;
                CREATE INDEX ON caliber_agent (agent_type COLLATE \"C\", agent_id);
                CREATE INDEX ON caliber_agent (agent_type COLLATE \"POSIX\", agent_id);
                EXECUTE replace(d, 'caliber_agent_agent_type_agent_id_idx', 'ours'); END $$",
        )?;
    }
    for (kind, rows) in [
        ("coder", 25),
        ("Coder", 25),
        ("cöder", 25),
        ("ä", 25),
        ("nobody", 0),
    ] {
        let mut answers = Vec::new();
        for desk in &mut desks {
            let sql = desk.text(
                "SELECT l.agent_id FROM caliber_agent_list_by_type('*', 200) l",
                "SELECT agent_id FROM caliber_agent WHERE agent_type = '*' ORDER BY agent_id",
            );
            let sql = sql.replace('*', kind);
            answers.push(desk.session.query(&sql)?.column());
        }
        ensure!(
            answers[0].len() == rows && answers.iter().all(|answer| *answer == answers[0]),
            "{kind}: {:?} rows",
            answers.iter().map(Vec::len).collect::<Vec<_>>()
        );
    }
    Ok(Outcome::Passed(collations.join(", ")))
}

/// What a list of ours may be served by, after a user changed our indexes.
fn ours_changed(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, &ids(ROWS))?;
    let index =
        "(SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'caliber_scope'::regclass
        AND pg_get_indexdef(indexrelid) LIKE '%(trajectory_id, scope_id)')";
    let lists = [
        BOTH,
        Step(
            "caliber_scope_get_current('@8')",
            "SELECT x FROM caliber_scope x WHERE trajectory_id = '@8' AND is_active ORDER BY scope_id DESC LIMIT 1",
            Rows,
        ),
    ];
    for change in [
        format!("DO $$ BEGIN EXECUTE format('ALTER INDEX %s RENAME TO renamed', {index}); END $$"),
        "REINDEX TABLE caliber_scope".to_owned(),
        "REINDEX TABLE CONCURRENTLY caliber_scope".to_owned(),
        "ALTER TABLE caliber_scope DROP CONSTRAINT renamed CASCADE; CREATE INDEX other_name ON caliber_scope (trajectory_id, scope_id) INCLUDE (name)".to_owned(),
        "CREATE INDEX CONCURRENTLY rows_of_few ON caliber_scope (trajectory_id, scope_id) WHERE name = 'nobody'".to_owned(),
        "VACUUM FULL caliber_scope".to_owned(),
        "CLUSTER caliber_scope USING caliber_scope_pkey".to_owned(),
    ] {
        for desk in &mut desks {
            desk.session.batch(&change)?;
            desk.await_indexes()?;
        }
        for step in lists.iter().chain([&TOKENS]) {
            let answer = same(&mut desks, step).context(change.clone())?;
            ensure!(
                answer.iter().all(|text| !text.contains("55000")),
                "{change}: {}: {answer:?}",
                step.0
            );
        }
    }
    same_tables(&mut desks, "SELECT 1")?;
    Ok(Outcome::Passed(String::new()))
}

/// How many calls of a session were the heap engine's.
const SERVED: &str = "SELECT sum(value) FILTER (WHERE name = 'calls.heap') || ' of ' || sum(value)
    FROM caliber_counters() WHERE name LIKE 'calls.%'";

/// Says yes when the build has looked at the table for the last time. What was written before, it
/// has added by itself; what is written from here on is in the index only by its writer.
const LOOKED_TWICE: &str = "SELECT count(*) = 1 FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND phase = 'waiting for old snapshots'";

/// The same, as a step of a script: waits for it.
fn until_looked_twice() -> String {
    format!(
        "DO $$ BEGIN
            FOR n IN 1 .. 6000 LOOP
                IF ({LOOKED_TWICE}) THEN RETURN; END IF;
                PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
            END LOOP;
            RAISE 'the build never waits for old snapshots';
        END $$"
    )
}

/// An index that is built, and what is found by it afterwards.
const BUILT: [(&str, &str, &str); 4] = [
    (
        "UNIQUE INDEX CONCURRENTLY own ON caliber_scope ((name || scope_id::text))",
        "name || scope_id::text = ANY (ARRAY['late@1', 'new@2', 'new@3', 'hidden@8', 'eight@9'])",
        "5",
    ),
    (
        "INDEX CONCURRENTLY own ON caliber_scope (token_budget) WHERE name IN ('new', 'eight', 'late')",
        "name IN ('new', 'eight', 'late') AND token_budget > 0",
        "4",
    ),
    (
        "UNIQUE INDEX CONCURRENTLY own ON caliber_scope (name, scope_id) INCLUDE (purpose)",
        "name IN ('new', 'hidden', 'eight', 'late')",
        "5",
    ),
    (
        "INDEX CONCURRENTLY own ON caliber_scope USING gin ((ARRAY[name]))",
        "ARRAY[name] && ARRAY['new', 'hidden', 'eight', 'late']",
        "5",
    ),
];

/// An index is built CONCURRENTLY while others write: before it is ready, before it is
/// validated, and when nobody but they can fill it.
fn under_construction(context: &Context) -> Result<Outcome> {
    for mut desk in desk::open(context, &ENGINES, &ids(ROWS))? {
        for (index, found, count) in BUILT {
            built(&mut desk, index, &ids(found), count).with_context(|| index.to_owned())?;
            desk.session.batch(&ids(
                "DROP INDEX own; DELETE FROM caliber_scope WHERE scope_id IN ('@1', '@2', '@3');
                UPDATE caliber_scope SET name = CASE scope_id WHEN '@8' THEN 'eight' ELSE 'hidden' END",
            ))?;
        }
    }
    Ok(Outcome::Passed(format!("{} indexes", BUILT.len())))
}

fn built(desk: &mut Desk, index: &str, found: &str, count: &str) -> Result<()> {
    let say = |step: &Step| ids(desk.text(&format!("SELECT {}", step.0), step.1));
    let scope = |id: char| {
        ids(&desk
            .text(
                "SELECT caliber_scope_create('@8', 'new', id => '@#')",
                "INSERT INTO caliber_scope VALUES ('@#', '@8', NULL, 'new', NULL, true, now(), NULL, NULL, 8000, 0, NULL)",
            )
            .replace('#', &id.to_string()))
    };
    let setup = desk::setup(desk.engine);
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let hold = |id: char| {
        ids(&format!(
            "BEGIN; UPDATE caliber_scope SET purpose = 'held' WHERE scope_id = '@{id}'"
        ))
    };
    let script = Script::new(5, &setup)
        .step(4, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .step(0, &hold('9'))
        .step(1, &format!("CREATE {index}"))
        .step(2, &say(&BACK))
        .step(2, &scope('1'))
        .step(3, &hold('8'))
        .step(0, "COMMIT")
        .step(2, &say(&RENAME))
        .step(2, &scope('2'))
        .step(3, "COMMIT")
        .step(2, &until_looked_twice())
        .step(2, &scope('3'))
        .step(2, &say(&LATE))
        .step(2, SERVED)
        .step(4, "COMMIT");
    let transcript = run(&desk.database.target, &script, Options::default())?;
    ensure!(transcript.waited(2), "the index did not wait\n{transcript}");
    let served = transcript.answer(13).and_then(|answer| answer.value());
    ensure!(
        desk.engine != Engine::Heap || served == Some("6 of 6"),
        "the heap engine did not serve: {served:?}\n{transcript}"
    );
    let name = desk.engine.name();
    let seen = desk.session.value(
        "SELECT indisvalid::text || (SELECT count(*) FROM caliber_check()) ||
            (SELECT string_agg(name, ' ' ORDER BY scope_id) FROM caliber_scope)
        FROM pg_index WHERE indexrelid = 'own'::regclass",
    )?;
    ensure!(
        seen.as_deref() == Some("true0late new new hidden eight"),
        "{name}: {seen:?}\n{transcript}"
    );
    // By this index and no other: the rest lead nowhere.
    let query = format!("SELECT count(*) FROM caliber_scope WHERE {found}");
    let settings = "BEGIN; SET LOCAL enable_seqscan = off";
    desk.session.batch(settings)?;
    let plan = desk
        .session
        .query(&format!("EXPLAIN (COSTS OFF) {query}"))?
        .column();
    let by_it = plan
        .iter()
        .flatten()
        .any(|line| line.contains(" own on ") || line.ends_with(" on own"));
    let rows = desk.session.value(&query)?;
    desk.session.batch("COMMIT")?;
    ensure!(by_it, "{name}: {plan:?}");
    ensure!(rows.as_deref() == Some(count), "{name}: {rows:?} rows");
    Ok(())
}

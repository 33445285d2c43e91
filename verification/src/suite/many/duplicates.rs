//! Ids that are there already, under `caliber.on_duplicate = return`.

use super::{call, desks, numbers, ENGINES, FIRED, ROWS, WATCHED};
use crate::isolation::{run, Options, Script};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, PASSED};
use crate::suite::bad_input::stage::expand;
use crate::suite::desk;
use anyhow::{ensure, Result};

/// How many calls of this session SQL took over.
const TAKEN: &str = "SELECT value FROM caliber_counters() WHERE name = 'takeover.on_duplicate'";

pub(super) fn duplicates(context: &Context) -> Result<Outcome> {
    let turns = r#"[{"id": "@101", "role": "user", "content": "one"}, {"role": "user", "content": "any"}, {"id": "@102", "role": "user", "content": "two"}]"#;
    let more = r#"[{"id": "@102", "role": "user", "content": "not written"}, {"id": "@103", "role": "user", "content": "three"},
        {"id": "@103", "role": "user", "content": "not written"}, {"id": "@101", "sequence": -1, "role": "user", "content": "not even checked"},
        {"id": "@104", "role": "user", "content": "veto"}]"#;
    for mut desk in desks(context, &ENGINES, WATCHED)? {
        let heap = desk.engine == Engine::Heap;
        let name = desk.engine.name();
        let session = &mut desk.session;
        session.batch(&call(21, turns))?;
        let error = session.error(&call(21, turns))?;
        ensure!(
            error.sqlstate == "23505" && error.constraint.as_deref() == Some("caliber_turn_pkey"),
            "{name}: {error}"
        );
        session.batch("SET caliber.on_duplicate = return; TRUNCATE fired")?;
        let ids = numbers(&session.query(&call(21, more))?.column());
        ensure!(ids == "102 103 103 101 -", "{name}: {ids}");
        let taken = session.value(TAKEN)?;
        let expected = if heap { "1" } else { "0" };
        ensure!(taken.as_deref() == Some(expected), "{name}: {taken:?}");
        let written = session.value(
            "SELECT string_agg(format('%s %s', sequence, content), ', ' ORDER BY sequence) FROM caliber_turn WHERE scope_id::text LIKE '%21'",
        )?;
        ensure!(
            written.as_deref() == Some("5 stored, 6 ONE, 7 ANY, 8 TWO, 9 THREE"),
            "{name}: {written:?}"
        );
        // A row that is there takes no number, even where there is none left.
        let last = r#"[{"sequence": 2147483647, "role": "user", "content": "last"}]"#;
        let there = r#"[{"id": "@101", "role": "user", "content": "not numbered"}]"#;
        session.batch("BEGIN")?;
        session.batch(&call(21, last))?;
        let ids = numbers(&session.query(&call(21, there))?.column());
        ensure!(ids == "101", "{name}: {ids}");
        session.batch("ROLLBACK")?;
        // Nothing is written, so that nothing fires and nothing is asked of the scope.
        session.batch(&expand("TRUNCATE fired; SELECT caliber_scope_close('@21')"))?;
        let again = r#"[{"id": "@103", "role": "user", "content": "not written"}, {"id": "@102", "role": "user", "content": "not written"}]"#;
        let ids = numbers(&session.query(&call(21, again))?.column());
        ensure!(ids == "103 102", "{name}: {ids}");
        let fired = session.value(FIRED)?;
        ensure!(fired.is_none(), "{name}: {fired:?}");
        let error = session.error(&call(21, &again.replace("@102", "@105")))?;
        ensure!(error.sqlstate == "55000", "{name}: {error}");
        // Without an id there is nothing to look for.
        let without = r#"[{"role": "user", "content": "x"}]"#;
        let error = session.error(&call(21, without))?;
        ensure!(error.sqlstate == "55000", "{name}: {error}");
        let taken = session.value(TAKEN)?;
        let expected = if heap { "4" } else { "0" };
        ensure!(taken.as_deref() == Some(expected), "{name}: {taken:?}");
    }
    Ok(PASSED)
}

pub(super) fn in_flight(context: &Context) -> Result<Outcome> {
    let turns = |ids: [u32; 3]| {
        let element =
            |id| format!(r#"{{"id": "@{id}", "sequence": {id}, "role": "user", "content": "x"}}"#);
        let elements = ids.map(element).join(", ");
        expand(&format!(
            "SELECT string_agg(coalesce(right(id::text, 3), '-'), ' ') FROM caliber_turn_create_many('@21', '[{elements}]') id"
        ))
    };
    for engine in ENGINES {
        let mut setup = desk::setup(engine);
        setup.push("SET caliber.on_duplicate = return".to_owned());
        let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
        let database = context.server.fresh_database()?;
        database.connect()?.batch(&expand(ROWS))?;
        for (end, left) in [("ROLLBACK", "101 102 104"), ("COMMIT", "101 102 103 104")] {
            let script = Script::new(2, &setup)
                .step(0, "BEGIN")
                .step(0, &turns([101, 102, 103]))
                .step(1, &turns([102, 104, 101]))
                .step(0, end)
                .step(
                    1,
                    "WITH d AS (DELETE FROM caliber_turn WHERE sequence > 100 RETURNING sequence)
                    SELECT string_agg(sequence::text, ' ' ORDER BY sequence) FROM d",
                );
            let transcript = run(&database.target, &script, Options::default())?;
            let value = |step| transcript.answer(step).and_then(|answer| answer.value());
            ensure!(
                transcript.waited(2)
                    && value(1) == Some("101 102 103")
                    && value(2) == Some("102 104 101")
                    && value(4) == Some(left),
                "{} {end}\n{transcript}",
                engine.name()
            );
        }
    }
    Ok(PASSED)
}

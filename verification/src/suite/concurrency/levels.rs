//! What depends on the isolation level: write skew at SERIALIZABLE, and an id
//! that two sessions use at once under `caliber.on_duplicate = return`.

use super::super::desk;
use super::cases::{Do, ROWS};
use super::{ids, text};
use crate::isolation::{run, Answer, Options, Script, Transcript};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::suite::steps::{Moved, Step};
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "concurrency::two_rows_of_a_key",
            "where a snapshot sees two rows of a key, ours and one that is gone, a write by key is 40001",
            two_rows,
        ),
        Test::new(
            "concurrency::another_row_of_the_key",
            "a verb that waited for a row finds another one of its key, whose values are the same: it is no veto",
            another_row,
        ),
        Test::new(
            "concurrency::write_skew",
            "at SERIALIZABLE reads are remembered, and write skew is 40001",
            write_skew,
        ),
        Test::new(
            "concurrency::on_duplicate",
            "of two creates with one id the second returns it, or fails as SQL does",
            on_duplicate,
        )
        .with_takeovers(),
    ]
}

/// What each session reads, and what it writes: into what the other has read.
struct Skew {
    name: &'static str,
    reads: [(&'static str, &'static str); 2],
    writes: [(&'static str, &'static str); 2],
}

const CLOSES: [(&str, &str); 2] = [
    (
        "caliber_scope_close('@8')",
        "UPDATE caliber_scope SET is_active = false WHERE scope_id = '@8' AND is_active",
    ),
    (
        "caliber_scope_close('@9')",
        "UPDATE caliber_scope SET is_active = false WHERE scope_id = '@9' AND is_active",
    ),
];
const CREATES: [(&str, &str); 2] = [
    ("caliber_scope_create('@2', 'x', id => '@5')", "INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@5', '@2', 'x', 8)"),
    ("caliber_scope_create('@2', 'x', id => '@6')", "INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@6', '@2', 'x', 8)"),
];
const FAILS: [(&str, &str); 2] = [
    ("caliber_trajectory_set_status('@1', 'failed')", "UPDATE caliber_trajectory SET status = 'failed' WHERE trajectory_id = '@1' AND status = 'active'"),
    ("caliber_trajectory_set_status('@2', 'failed')", "UPDATE caliber_trajectory SET status = 'failed' WHERE trajectory_id = '@2' AND status = 'active'"),
];

const fn both(read: (&'static str, &'static str)) -> [(&'static str, &'static str); 2] {
    [read, read]
}

const SKEWS: [Skew; 8] = [
    Skew {
        name: "rows read by key",
        reads: [
            ("caliber_scope_get('@9')", "SELECT x FROM caliber_scope x WHERE scope_id = '@9'"),
            ("caliber_scope_get('@8')", "SELECT x FROM caliber_scope x WHERE scope_id = '@8'"),
        ],
        writes: CLOSES,
    },
    Skew {
        name: "rows of a list",
        reads: both(("caliber_scope_list_by_trajectory('@1')", "SELECT x FROM caliber_scope x WHERE trajectory_id = '@1'")),
        writes: CLOSES,
    },
    Skew {
        name: "a list that was empty",
        reads: both(("caliber_scope_list_by_trajectory('@2')", "SELECT x FROM caliber_scope x WHERE trajectory_id = '@2'")),
        writes: CREATES,
    },
    Skew {
        name: "no current scope",
        reads: both(("caliber_scope_get_current('@2')", "SELECT x FROM caliber_scope x WHERE trajectory_id = '@2' AND is_active ORDER BY scope_id DESC LIMIT 1")),
        writes: CREATES,
    },
    Skew {
        name: "keys that were not there",
        reads: [
            ("caliber_scope_get('@6')", "SELECT x FROM caliber_scope x WHERE scope_id = '@6'"),
            ("caliber_scope_get('@5')", "SELECT x FROM caliber_scope x WHERE scope_id = '@5'"),
        ],
        writes: CREATES,
    },
    Skew {
        name: "updates that found nothing",
        reads: [
            ("caliber_scope_update('@6', '{\"name\": \"n\"}')", "UPDATE caliber_scope SET name = 'n' WHERE scope_id = '@6'"),
            ("caliber_scope_delete('@5')", "DELETE FROM caliber_scope WHERE scope_id = '@5'"),
        ],
        writes: CREATES,
    },
    Skew {
        name: "verbs that had nothing to do",
        reads: [
            ("caliber_trajectory_set_status('@2', 'active')", "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@2'"),
            ("caliber_trajectory_set_status('@1', 'active')", "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@1'"),
        ],
        writes: FAILS,
    },
    Skew {
        name: "a status that nobody had",
        reads: both(("caliber_trajectory_list_by_status('failed')", "SELECT x FROM caliber_trajectory x WHERE status = 'failed'")),
        writes: FAILS,
    },
];

fn setup(engine: Engine) -> Script {
    let setup = desk::setup(engine);
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    Script::new(3, &setup)
}

fn write_skew(context: &Context) -> Result<Outcome> {
    for engine in super::ENGINES {
        let mut database = context.server.database()?;
        let mut script = setup(engine);
        let mut firsts = Vec::new();
        for (number, skew) in SKEWS.iter().enumerate() {
            let call = |session: usize, (call, client)| {
                let step: Do = (session, call, client);
                text(engine, number, &step)
            };
            script = script.step(2, &ids(number, ROWS));
            firsts.push(script.steps.len());
            for session in [0, 1] {
                script = script.step(session, "BEGIN ISOLATION LEVEL SERIALIZABLE");
            }
            for session in [0, 1] {
                script = script.step(session, &call(session, skew.reads[session]));
            }
            for session in [0, 1] {
                script = script.step(session, &call(session, skew.writes[session]));
            }
            for session in [0, 1] {
                script = script.step(session, "COMMIT");
            }
        }
        let transcript = run(&database.target, &script, Options::default())?;
        for (skew, first) in SKEWS.iter().zip(firsts) {
            let failed = (first..first + 8)
                .filter(|step| transcript.answer(*step).and_then(Answer::sqlstate) == Some("40001"))
                .count();
            ensure!(
                failed == 1,
                "{}: {}: {failed} of two failed, steps from {first}\n{transcript}",
                engine.name(),
                skew.name
            );
        }
        database
            .connect()?
            .batch("TRUNCATE caliber_trajectory CASCADE")?;
        database.mark_clean();
    }
    Ok(Outcome::Passed(format!("{} kinds", SKEWS.len())))
}

/// The row of a verb goes while the verb waits, and another one has its key. A verb that
/// was fruitless begins anew (`api.md`, 1.5).
fn another_row(context: &Context) -> Result<Outcome> {
    const ROWS: &str = "
        SELECT caliber_note_create('fact', 'old', 'c', id => '@7');
        SELECT caliber_agent_register('coder', id => '@a');
        SELECT caliber_message_send('@a', '@a', NULL, 'heartbeat', 'p', id => id::uuid) FROM unnest('{@1,@2}'::text[]) id";
    const CASES: [(&str, &str, &str); 2] = [
        (
            "DELETE FROM caliber_note WHERE note_id = '@7'; SELECT caliber_note_create('fact', 'new', 'c', id => '@7')",
            "SELECT caliber_note_touch('@7')",
            "SELECT title = 'new' AND access_count = 1 FROM caliber_note",
        ),
        (
            "UPDATE caliber_message SET message_id = '@3' WHERE message_id = '@1'; UPDATE caliber_message SET message_id = '@1' WHERE message_id = '@2'",
            "SELECT caliber_message_acknowledge('@1')",
            "SELECT acknowledged_at IS NOT NULL FROM caliber_message WHERE message_id = '@1'",
        ),
    ];
    const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for engine in ENGINES {
        let database = context.server.fresh_database()?;
        let mut script = setup(engine).step(2, &ids(0, ROWS));
        let mut calls = Vec::new();
        for (change, call, look) in CASES {
            calls.push(script.steps.len() + 1);
            script = script
                .step(0, &format!("BEGIN; {}", ids(0, change)))
                .step(1, &ids(0, call))
                .step(0, "COMMIT")
                .step(2, &ids(0, look));
        }
        let transcript = run(&database.target, &script, Options::default())?;
        for call in calls {
            let told = || format!("{}, step {call}\n{transcript}", engine.name());
            ensure!(transcript.waited(call), "no wait: {}", told());
            for step in [call, call + 2] {
                let answer = transcript.answer(step).and_then(Answer::value);
                ensure!(answer == Some("t"), "{answer:?}: {}", told());
            }
        }
    }
    Ok(Outcome::Passed(format!("{} engines", ENGINES.len())))
}

/// What is written by key where a transaction sees two rows of it: its own, and one that
/// another has deleted, or given another key, since the snapshot was taken.
fn two_rows(context: &Context) -> Result<Outcome> {
    const OURS: &str = "INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@8', 'ours')";
    let steps = [
        Step(
            "caliber_trajectory_update('@8', '{\"name\": \"new\"}')",
            "UPDATE caliber_trajectory SET name = 'new', updated_at = now() WHERE trajectory_id = '@8'",
            Moved,
        ),
        Step(
            "caliber_trajectory_set_status('@8', 'suspended')",
            "UPDATE caliber_trajectory SET status = 'suspended', updated_at = now()
             WHERE trajectory_id = '@8' AND status IS NOT DISTINCT FROM 'active'",
            Moved,
        ),
        Step(
            "caliber_trajectory_delete('@8')",
            "DELETE FROM caliber_trajectory WHERE trajectory_id = '@8'",
            Moved,
        ),
    ];
    let theirs = [
        "DELETE FROM caliber_trajectory WHERE trajectory_id = '@8'",
        "UPDATE caliber_trajectory SET trajectory_id = '@7' WHERE trajectory_id = '@8'",
    ];
    let mut desks = desk::open(context, &super::ENGINES, "")?;
    let mut count = 0;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for (step, their) in steps.iter().flat_map(|s| theirs.map(|t| (s, t))) {
            // Free space before the row, or none: ours comes first, or last.
            for vacuum in ["VACUUM caliber_trajectory", "SELECT 1"] {
                let mut answers = Vec::new();
                for desk in &mut desks {
                    let mut other = desk.another()?;
                    other.batch(&ids(
                        0,
                        "TRUNCATE caliber_trajectory CASCADE;
                         INSERT INTO caliber_trajectory (name) SELECT 'filler' FROM generate_series(1, 20);
                         INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@8', 'theirs');
                         DELETE FROM caliber_trajectory WHERE name = 'filler'",
                    ))?;
                    other.batch(vacuum)?;
                    desk.session.batch(&format!(
                        "SET enable_seqscan = off; BEGIN ISOLATION LEVEL {level}; SELECT 1"
                    ))?;
                    other.batch(&ids(0, their))?;
                    desk.session.batch(&ids(0, OURS))?;
                    let text = desk.text(step.0, step.1);
                    let call = if text == step.0 { "SELECT " } else { "" };
                    answers.push(desk.session.error(&ids(0, &format!("{call}{text}")))?);
                    desk.session.batch("ROLLBACK")?;
                }
                ensure!(
                    answers
                        .iter()
                        .all(|error| error.sqlstate == "40001"
                            && error.message == answers[0].message),
                    "{level}: {their}, {vacuum}, {}: {answers:#?}",
                    step.0
                );
                count += 1;
            }
        }
    }
    Ok(Outcome::Passed(format!("{count} schedules")))
}

fn on_duplicate(context: &Context) -> Result<Outcome> {
    const INSERT: &str = "INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@5', '@2', 'x', 8)";
    const CONFLICT: &str = "INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@5', '@2', 'x', 8) ON CONFLICT (scope_id) DO NOTHING";
    const CREATE: &str = "caliber_scope_create('@2', 'x', id => '@5')";
    let judge = |transcript: &Transcript, step: usize| match transcript.answer(step) {
        Some(Answer::Error(error)) => error.sqlstate.clone(),
        Some(answer) => answer.value().unwrap_or("nothing").to_owned(),
        None => "no answer".to_owned(),
    };
    for engine in super::ENGINES {
        let mut database = context.server.database()?;
        let mut script = setup(engine);
        for setup in &mut script.setup {
            if engine != Engine::Client {
                setup.push("SET caliber.on_duplicate = return".to_owned());
            }
        }
        let mut runs = Vec::new();
        for isolation in Isolation::ALL {
            for end in ["COMMIT", "ROLLBACK"] {
                let number = runs.len();
                let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1", isolation.sql());
                script = script
                    .step(2, &ids(number, ROWS))
                    .step(0, &begin)
                    .step(1, &begin);
                runs.push((isolation, end, script.steps.len()));
                script = script
                    .step(0, &text(engine, number, &(0, CREATE, INSERT)))
                    .step(1, &text(engine, number, &(1, CREATE, CONFLICT)))
                    .step(0, end)
                    .step(1, "COMMIT")
                    .step(
                        2,
                        &ids(
                            number,
                            "SELECT count(*) FROM caliber_scope WHERE scope_id = '@5'",
                        ),
                    );
            }
        }
        let transcript = run(&database.target, &script, Options::default())?;
        for (number, (isolation, end, first)) in runs.into_iter().enumerate() {
            let told = || {
                format!(
                    "{}, {}, {end}, steps from {first}\n{transcript}",
                    engine.name(),
                    isolation.sql()
                )
            };
            let answer = judge(&transcript, first + 1);
            let expected = match (isolation, end) {
                (Isolation::ReadCommitted, _) | (_, "ROLLBACK") if engine == Engine::Client => {
                    "nothing".to_owned()
                }
                (Isolation::ReadCommitted, _) | (_, "ROLLBACK") => ids(number, "@5"),
                _ => "40001".to_owned(),
            };
            ensure!(answer == expected, "{answer}, not {expected}: {}", told());
            ensure!(transcript.waited(first + 1), "no wait: {}", told());
            ensure!(
                judge(&transcript, first + 4) == "1",
                "not one row: {}",
                told()
            );
        }
        database
            .connect()?
            .batch("TRUNCATE caliber_trajectory CASCADE")?;
        database.mark_clean();
    }
    // A row that a policy hides is neither shown nor written.
    let prepare = ids(0, &format!(
        "{ROWS}; DO $$ BEGIN CREATE ROLE verify_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
         GRANT ALL ON caliber_scope, caliber_trajectory TO verify_tenant; ALTER TABLE caliber_scope ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON caliber_scope USING (name <> 'eight'); SET ROLE verify_tenant"
    ));
    let mut desks = desk::open(
        context,
        &[Engine::Heap, Engine::Sql, Engine::SqlOneshot],
        &prepare,
    )?;
    for desk in &mut desks {
        desk.session.batch("SET caliber.on_duplicate = return")?;
        for (id, seen) in [("@8", None), ("@9", Some(ids(0, "@9")))] {
            let answer = desk.session.value(&ids(
                0,
                &format!("SELECT caliber_scope_create('@1', 'x', id => '{id}')"),
            ))?;
            ensure!(answer == seen, "{}: {id}: {answer:?}", desk.engine.name());
        }
    }
    Ok(Outcome::Passed(String::new()))
}

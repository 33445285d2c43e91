//! Two sessions at work on one tree of tasks, at each isolation level: never a
//! cycle, never a wrong root, and no lock that outlives its reason.

use super::super::desk;
use super::cases::{Case, CASES};
use super::{fnv, WRONG};
use crate::isolation::{run, Options, Script, Transcript};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Context as _, Result};
use std::fmt::Write as _;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = [Engine::Heap, Engine::Sql]
        .into_iter()
        .map(|engine| {
            Test::new(
                &format!("trees::schedules::{}", engine.name()),
                "two sessions never make a cycle or a wrong root",
                move |context| schedules(context, engine),
            )
        })
        .collect();
    tests.push(Test::new(
        "trees::locks",
        "tree locks have the documented tags, modes, order and end",
        locks,
    ));
    tests
}

/// Ids of one run.
fn ids(run: usize, text: &str) -> String {
    text.replace('@', &format!("00000000-0000-7000-8{run:03x}-00000000000"))
}

fn sql(run: usize, step: &str) -> String {
    let words: Vec<&str> = step.split(' ').collect();
    ids(run, &match words[..] {
        ["mv", id, parent] => format!(
            "SELECT caliber_trajectory_update('@{id}', '{{\"parent_trajectory_id\": \"@{parent}\"}}')"
        ),
        ["child", id, parent] => format!(
            "SELECT caliber_trajectory_create('task {id}', parent_trajectory_id => '@{parent}', id => '@{id}')"
        ),
        _ => step.to_owned(),
    })
}

/// Rows of a tree, with their roots.
fn plant(run: usize, rows: &str) -> String {
    let mut text = String::new();
    for row in rows.split(' ') {
        let (id, parent) = row.split_once('<').unwrap_or((row, ""));
        let parent = if parent.is_empty() {
            "NULL".to_owned()
        } else {
            format!("'@{parent}'")
        };
        let _ = write!(
            text,
            "INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id)
             SELECT '@{id}', 'task', {parent}, (SELECT coalesce(root_trajectory_id, trajectory_id)
                FROM caliber_trajectory WHERE trajectory_id = {parent});"
        );
    }
    ids(run, &text)
}

/// One run of a case: where its steps are in the long script.
struct Run {
    case: &'static Case,
    isolation: Isolation,
    early: bool,
    number: usize,
    first: usize,
}

fn schedules(context: &Context, engine: Engine) -> Result<Outcome> {
    let mut database = context.server.database()?;
    let mut script = script(engine, "SELECT 1", 3);
    let mut runs = Vec::new();
    for case in CASES {
        for isolation in Isolation::ALL {
            for early in [true, false] {
                // Below REPEATABLE READ every statement has its own snapshot.
                let differs = case.late && isolation == Isolation::RepeatableRead;
                if early || differs {
                    let number = runs.len() + 1;
                    let mut begin = format!("BEGIN ISOLATION LEVEL {}", isolation.sql());
                    if early {
                        begin += "; SELECT 1";
                    }
                    script = script
                        .step(2, &plant(number, case.rows))
                        .step(0, &begin)
                        .step(1, &begin);
                    let first = script.steps.len();
                    for (session, step) in case.steps {
                        script = script.step(*session, &sql(number, step));
                    }
                    for session in [0, 1] {
                        script = script.step(session, "ROLLBACK");
                    }
                    script = script.step(2, WRONG);
                    runs.push(Run {
                        case,
                        isolation,
                        early,
                        number,
                        first,
                    });
                }
            }
        }
    }
    // All in three sessions: connecting is what takes the time.
    let transcript = run(&database.target, &script, Options::default())?;
    for one in &runs {
        one.judge(&transcript).with_context(|| {
            let (from, to) = (one.first, one.first + one.case.steps.len() + 3);
            let mut part = transcript.clone();
            part.events.retain(|event| (from..to).contains(&event.step));
            format!(
                "{}, {}, early snapshot: {}, steps from {from}\n{part}",
                one.case.name,
                one.isolation.sql(),
                one.early
            )
        })?;
    }
    let mut control = database.connect()?;
    let left = control.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 3 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")?;
    ensure!(left.as_deref() == Some("0"), "{left:?} tree locks are left");
    control.batch("TRUNCATE caliber_trajectory CASCADE")?;
    database.mark_clean();
    Ok(Outcome::Passed(format!("{} schedules", runs.len())))
}

impl Run {
    fn judge(&self, transcript: &Transcript) -> Result<()> {
        let expected = match self.isolation {
            Isolation::ReadCommitted => self.case.committed,
            _ => self.case.repeatable,
        };
        for (step, allowed) in expected {
            let answer = answer(transcript, self.first + step);
            let allowed = ids(self.number, allowed);
            ensure!(
                allowed.split(' ').any(|allowed| allowed == answer)
                    // SERIALIZABLE may always refuse.
                    || (self.isolation == Isolation::Serializable && answer == "40001"),
                "step {step} gave {answer}, not {allowed}"
            );
        }
        for step in 0..self.case.steps.len() {
            ensure!(
                transcript.waited(self.first + step) == self.case.waits.contains(&step),
                "step {step} waited, or should have"
            );
        }
        let wrong = answer(transcript, self.first + self.case.steps.len() + 2);
        ensure!(wrong == "nothing", "wrong in the end: {wrong}");
        Ok(())
    }
}

fn script(engine: Engine, begin: &str, sessions: usize) -> Script {
    let mut setup = desk::setup(engine);
    setup.push("SET deadlock_timeout = '100ms'".to_owned());
    setup.push(begin.to_owned());
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    Script::new(sessions, &setup)
}

fn answer(transcript: &Transcript, step: usize) -> String {
    match transcript.answer(step) {
        Some(answer) => answer
            .sqlstate()
            .or(answer.value())
            .unwrap_or("nothing")
            .to_owned(),
        None => "no answer".to_owned(),
    }
}

/// What a session holds or waits for, as `key mode granted`.
fn held(session: usize) -> String {
    format!(
        "SELECT coalesce(string_agg(format('%s %s %s', (classid::bigint << 32 | objid::bigint)::text, mode, granted), ','
            ORDER BY classid::bigint << 32 | objid::bigint), '') FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND objsubid = 3 AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND application_name = 'tree {session}'"
    )
}

fn locks(context: &Context) -> Result<Outcome> {
    let mut database = context.server.database()?;
    let mut control = database.connect()?;
    // Two roots in the order of their keys, as unsigned numbers.
    let run_number = 0xfff;
    let mut roots: Vec<(u64, &str)> = ["1", "2"]
        .iter()
        .map(|id| Ok((fnv("tree", &ids(run_number, &format!("@{id}")))?, *id)))
        .collect::<Result<_>>()?;
    roots.sort_unstable();
    let [(small_key, small), (big_key, big)] = roots[..] else {
        anyhow::bail!("two roots")
    };
    let show = |key: u64, mode: &str, granted: &str| {
        format!("{} {mode} {granted}", i64::from_ne_bytes(key.to_ne_bytes()))
    };
    let both = |small: Option<String>, big: Option<String>| {
        let mut shown: Vec<(i64, String)> = [(small_key, small), (big_key, big)]
            .into_iter()
            .filter_map(|(key, text)| Some((i64::from_ne_bytes(key.to_ne_bytes()), text?)))
            .collect();
        shown.sort_unstable();
        let shown: Vec<String> = shown.into_iter().map(|(_, text)| text).collect();
        shown.join(",")
    };
    for engine in [Engine::Heap, Engine::Sql] {
        control.batch("TRUNCATE caliber_trajectory CASCADE")?;
        control.batch(&plant(run_number, "1 2"))?;
        let name = |session: usize| format!("SET application_name = 'tree {session}'; BEGIN");
        let mover = format!("mv {big} {small}");
        // Session 0 keeps a tree; session 1 needs both.
        for (kept, key, waits_at) in [(big, big_key, "big"), (small, small_key, "small")] {
            let steps = [
                (0, name(0)),
                (1, name(1)),
                (0, format!("child 3 {kept}")),
                (2, held(0)),
                (1, mover.clone()),
                (2, held(1)),
                (0, "ROLLBACK".to_owned()),
                (2, held(1)),
                (1, "ROLLBACK".to_owned()),
                (2, format!("SELECT ({}) || ({})", held(0), held(1))),
            ];
            let mut script = script(engine, "SELECT 1", 3);
            for (session, step) in &steps {
                script = script.step(*session, &sql(run_number, step));
            }
            let transcript = run(&database.target, &script, Options::default())?;
            let exclusive = |key, granted| Some(show(key, "ExclusiveLock", granted));
            let while_waiting = if waits_at == "big" {
                both(exclusive(small_key, "t"), exclusive(big_key, "f"))
            } else {
                // Nothing of the bigger key before the smaller is there.
                both(exclusive(small_key, "f"), None)
            };
            for (step, expected) in [
                (3, show(key, "ShareLock", "t")),
                (5, while_waiting),
                (7, both(exclusive(small_key, "t"), exclusive(big_key, "t"))),
                (9, String::new()),
            ] {
                let answer = answer(&transcript, step);
                ensure!(
                    answer == expected,
                    "{}, kept {waits_at}, step {step}: {answer}, not {expected}\n{transcript}",
                    engine.name()
                );
            }
            ensure!(transcript.waited(4), "{transcript}");
        }
    }
    control.batch("TRUNCATE caliber_trajectory CASCADE")?;
    database.mark_clean();
    Ok(Outcome::Passed(String::new()))
}

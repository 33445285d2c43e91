//! Two sessions on the same rows: who waits, who wins, what is left behind.

mod cases;
mod hermitage;
mod levels;

use super::desk::{self, Desk};
use crate::isolation::{run, Answer, Options, Script, Transcript};
use crate::judge::{without_moments, Engine};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::session::Failure;
use anyhow::{bail, ensure, Context as _, Result};
use cases::{Case, Do, CASES, ROWS};
use std::fmt::Write as _;
use std::time::Duration;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "concurrency::schedules",
            "two sessions wait, win and fail as they do with plain SQL",
            schedules,
        ),
        Test::new(
            "concurrency::terminated",
            "a backend that is terminated while it waits leaves nothing behind",
            terminated,
        ),
        Test::new(
            "concurrency::uncommitted_rows_block_ddl",
            "an uncommitted write blocks what it blocks for SQL, a read too",
            ddl,
        ),
        Test::new(
            "concurrency::changed_by_a_trigger",
            "a BEFORE trigger that changes the row itself is 27000",
            self_modified,
        ),
    ];
    tests.extend(levels::tests());
    tests.extend(hermitage::tests());
    tests
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::Client];
const LEVELS: [Isolation; 2] = [Isolation::ReadCommitted, Isolation::RepeatableRead];

/// Ids of one run.
fn ids(run: usize, text: &str) -> String {
    text.replace('@', &format!("00000000-0000-7000-8{run:03x}-00000000000"))
}

fn text(engine: Engine, run: usize, (_, call, client): &Do) -> String {
    let sql = match (client.is_empty(), engine) {
        (true, _) => (*call).to_owned(),
        (false, Engine::Client) => (*client).to_owned(),
        (false, _) => format!("SELECT {call}"),
    };
    ids(run, &sql)
}

/// One run of a case, and where it is in the long script.
struct Run {
    case: &'static Case,
    isolation: Isolation,
    first: usize,
}

/// The rows of a run, and what no key allows.
const LOOK: &str = "SELECT string_agg(line, E'\\n') FROM (
    SELECT x::text AS line FROM caliber_trajectory x WHERE trajectory_id BETWEEN '@0' AND '@f'
    UNION ALL SELECT x::text FROM caliber_scope x WHERE scope_id BETWEEN '@0' AND '@f'
    UNION ALL SELECT 'orphan' FROM caliber_scope s WHERE NOT EXISTS (SELECT FROM caliber_trajectory t WHERE t.trajectory_id = s.trajectory_id)
    ORDER BY 1) lines";

fn script(engine: Engine) -> (Script, Vec<Run>) {
    let setup = desk::setup(engine);
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let mut script = Script::new(3, &setup);
    for (session, setup) in script.setup.iter_mut().enumerate() {
        setup.push(format!("SET application_name = 'worker {session}'"));
        // So that it is always session 1 that finds a deadlock.
        let patience = if session == 1 { "20ms" } else { "20s" };
        setup.push(format!("SET deadlock_timeout = '{patience}'"));
    }
    let mut runs = Vec::new();
    for case in CASES {
        for isolation in LEVELS {
            let number = runs.len() + 1;
            let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1", isolation.sql());
            script = script
                .step(2, &ids(number, ROWS))
                .step(0, &begin)
                .step(1, &begin);
            let first = script.steps.len();
            for step in case.steps {
                script = script.step(step.0, &text(engine, number, step));
            }
            for session in [0, 1] {
                script = script.step(session, "ROLLBACK");
            }
            script = script.step(2, &ids(number, LOOK));
            runs.push(Run {
                case,
                isolation,
                first,
            });
        }
    }
    (script, runs)
}

fn schedules(context: &Context) -> Result<Outcome> {
    let (_, runs) = script(Engine::Heap);
    // One engine beside the other: most of the time is waiting.
    let told = std::thread::scope(|scope| {
        let threads = ENGINES.map(|engine| scope.spawn(move || tell(context, engine)));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a driver panicked")))
            .collect::<Result<Vec<_>>>()
    })?;
    for run in &runs {
        run.judge(&told).with_context(|| {
            let range = run.first..run.first + run.case.steps.len() + 3;
            let mut shown = format!("{}, {}\n", run.case.name, run.isolation.sql());
            for (engine, transcript) in &told {
                let mut part = transcript.clone();
                part.events.retain(|event| range.contains(&event.step));
                let _ = write!(shown, "--- {}\n{part}", engine.name());
            }
            shown
        })?;
    }
    Ok(Outcome::Passed(format!("{} schedules", runs.len())))
}

fn tell(context: &Context, engine: Engine) -> Result<(Engine, Transcript)> {
    let mut database = context.server.database()?;
    let transcript = run(&database.target, &script(engine).0, Options::default())?;
    database
        .connect()?
        .batch("TRUNCATE caliber_trajectory CASCADE")?;
    database.mark_clean();
    Ok((engine, transcript))
}

impl Run {
    fn judge(&self, told: &[(Engine, Transcript)]) -> Result<()> {
        let expected = match self.isolation {
            Isolation::ReadCommitted => self.case.committed,
            _ => self.case.repeatable,
        };
        let steps = self.case.steps.len();
        for (engine, transcript) in told {
            for step in 0..steps {
                let waited = transcript.waited(self.first + step);
                ensure!(
                    waited == self.case.waits.contains(&step),
                    "{}: step {step} waited: {waited}",
                    engine.name()
                );
                let ours = self.case.ours.contains(&step);
                if ours && *engine == Engine::Client {
                    continue;
                }
                if let Some((_, allowed)) = expected.iter().find(|(known, _)| *known == step) {
                    let answer = self.answer(*engine, transcript, step);
                    let answer = answer.split(':').next().unwrap_or_default();
                    ensure!(
                        answer == *allowed,
                        "{}: step {step} gave {answer}, not {allowed}",
                        engine.name()
                    );
                }
            }
        }
        let [(first, reference), others @ ..] = told else {
            bail!("nobody told anything")
        };
        for (engine, transcript) in others {
            // The last steps: two rollbacks, and a look at the rows.
            for step in 0..steps + 3 {
                let ours =
                    self.case.ours.contains(&step) || (step >= steps && !self.case.ours.is_empty());
                if ours && *engine == Engine::Client {
                    continue;
                }
                let (left, right) = (
                    self.answer(*first, reference, step),
                    self.answer(*engine, transcript, step),
                );
                ensure!(
                    left == right,
                    "step {step}: {} says {left}\n{} says {right}",
                    first.name(),
                    engine.name()
                );
            }
        }
        Ok(())
    }

    /// The answer in a form that is the same for a call and for the client's
    /// statement: `t`, `f`, rows without moments, or an error without numbers.
    fn answer(&self, engine: Engine, transcript: &Transcript, step: usize) -> String {
        let called = self
            .case
            .steps
            .get(step)
            .is_some_and(|step| !step.2.is_empty());
        match transcript.answer(self.first + step) {
            None => "no answer".to_owned(),
            Some(Answer::Lost(why)) => format!("lost: {why}"),
            Some(Answer::Error(error)) => {
                let told = desk::answer(Err(Failure::Error(error.clone())));
                told.map_or_else(
                    |error| without_numbers(&error.to_string()),
                    |_| String::new(),
                )
            }
            Some(answer @ Answer::Replies(replies)) => match (called, engine) {
                (true, Engine::Client) => {
                    let reached = replies.iter().any(|reply| reply.count > 0);
                    if reached { "t" } else { "f" }.to_owned()
                }
                (true, _) => match answer.value() {
                    None | Some("f") => "f".to_owned(),
                    Some(_) => "t".to_owned(),
                },
                _ => without_moments(answer.value().unwrap_or_default()),
            },
        }
    }
}

/// Process ids, transaction ids and places of rows differ; SQLSTATEs do not.
pub(in crate::suite) fn without_numbers(error: &str) -> String {
    let (first, rest) = error.split_once('\n').unwrap_or((error, ""));
    let mut shown = first.to_owned();
    for line in rest.lines() {
        let line = line.trim_start();
        let numbered =
            line.contains("tuple (") || line.contains("Process ") || line.contains("Process:");
        shown.push('\n');
        if numbered {
            shown.extend(
                line.chars()
                    .map(|c| if c.is_ascii_digit() { '#' } else { c }),
            );
            while let Some(at) = shown.find("##") {
                shown.remove(at);
            }
        } else {
            shown += line;
        }
    }
    shown
}

fn desks(context: &Context, more: &str) -> Result<Vec<Desk>> {
    desk::open(context, &ENGINES, &format!("{}; {more}", ids(0, ROWS)))
}

fn terminated(context: &Context) -> Result<Outcome> {
    let mut desks = desks(context, "")?;
    let calls: [Do; 4] = [
        (0, "caliber_scope_update('@8', '{\"purpose\": \"b\"}')", "UPDATE caliber_scope SET purpose = 'b' WHERE scope_id = '@8'"),
        (0, "caliber_scope_close('@8')", "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8'"),
        (0, "caliber_scope_delete('@8')", "DELETE FROM caliber_scope WHERE scope_id = '@8'"),
        (0, "caliber_scope_create('@1', 'x', id => '@5')", "INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@5', '@1', 'x', 8)"),
    ];
    for desk in &mut desks {
        for call in &calls {
            let mut other = desk.another()?;
            let pid = other.pid()?;
            desk.session.batch(&ids(0, "BEGIN; UPDATE caliber_scope SET name = 'kept' WHERE scope_id = '@8'; DELETE FROM caliber_scope WHERE scope_id = '@9'; DELETE FROM caliber_scope; DELETE FROM caliber_trajectory"))?;
            let sql = text(desk.engine, 0, call);
            let waiting = std::thread::spawn(move || other.run(&sql).map(drop));
            desk::until(
                &mut desk.session,
                &format!("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted)"),
                Duration::from_secs(10),
            )?;
            desk.session
                .batch(&format!("SELECT pg_terminate_backend({pid}, 10000)"))?;
            match waiting.join() {
                Ok(Err(Failure::Lost(why))) => ensure!(
                    why.contains("terminating connection") || why.contains("closed"),
                    "{why}"
                ),
                other => bail!("{}: {}: {other:?}", desk.engine.name(), call.1),
            }
            let left = desk
                .session
                .value(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid}"))?;
            ensure!(left.as_deref() == Some("0"), "{left:?} locks are left");
            desk.session.batch("ROLLBACK")?;
            let rows = desk.session.value("SELECT string_agg(format('%s %s %s', name, purpose, is_active), ',' ORDER BY scope_id) FROM caliber_scope")?;
            ensure!(
                rows.as_deref() == Some("eight  t,nine  t"),
                "{}: {rows:?}",
                call.1
            );
        }
    }
    Ok(Outcome::Passed(String::new()))
}

fn ddl(context: &Context) -> Result<Outcome> {
    let mut desks = desks(
        context,
        "CREATE ROLE verify_blocker; DROP ROLE verify_blocker",
    )?;
    let calls: [Do; 7] = [
        (0, "caliber_scope_create('@1', 'x', id => '@5')", "INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@5', '@1', 'x', 8)"),
        (0, "caliber_scope_update('@8', '{\"name\": \"n\"}')", "UPDATE caliber_scope SET name = 'n' WHERE scope_id = '@8'"),
        (0, "caliber_scope_update('@e', '{\"name\": \"n\"}')", "UPDATE caliber_scope SET name = 'n' WHERE scope_id = '@e'"),
        (0, "caliber_scope_close('@8')", "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active"),
        (0, "caliber_scope_delete('@9')", "DELETE FROM caliber_scope WHERE scope_id = '@9'"),
        (0, "caliber_scope_get('@8')", "SELECT x FROM caliber_scope x WHERE scope_id = '@8'"),
        (0, "caliber_scope_list_by_trajectory('@1')", "SELECT x FROM caliber_scope x WHERE trajectory_id = '@1' ORDER BY scope_id"),
    ];
    let statements = [
        "TRUNCATE caliber_scope CASCADE",
        "ALTER TABLE caliber_scope ALTER name SET STATISTICS 10",
        "ALTER TABLE caliber_scope ADD CHECK (name <> 'z')",
        "DROP TABLE caliber_scope CASCADE",
        "CREATE INDEX ON caliber_scope (name)",
        "LOCK TABLE caliber_scope IN SHARE MODE",
        "LOCK TABLE caliber_scope IN ROW EXCLUSIVE MODE",
        "VACUUM FULL caliber_scope",
        "DELETE FROM caliber_trajectory WHERE trajectory_id = '@1'",
    ];
    let mut told: Vec<Vec<String>> = Vec::new();
    for desk in &mut desks {
        let mut other = desk.another()?;
        other.batch("SET lock_timeout = '15ms'")?;
        let mut answers = Vec::new();
        for call in &calls {
            desk.session.batch("BEGIN")?;
            desk.session.batch(&text(desk.engine, 0, call))?;
            for statement in &statements {
                let sql = ids(0, statement);
                let alone = statement.starts_with("VACUUM");
                if !alone {
                    other.batch("BEGIN")?;
                }
                let answer = match other.run(&sql) {
                    Ok(_) => "done".to_owned(),
                    Err(Failure::Error(error)) => error.sqlstate,
                    Err(lost) => bail!("{lost}"),
                };
                if !alone {
                    other.batch("ROLLBACK")?;
                }
                answers.push(format!("{} and {statement}: {answer}", call.1));
            }
            desk.session.batch("ROLLBACK")?;
        }
        told.push(answers);
    }
    for (heap, others) in told[0].iter().enumerate().map(|(i, heap)| {
        let others: Vec<&String> = told[1..].iter().map(|answers| &answers[i]).collect();
        (heap, others)
    }) {
        ensure!(
            others.iter().all(|other| *other == heap),
            "heap, sql, client: {heap} / {others:?}"
        );
    }
    let blocked = told[0]
        .iter()
        .filter(|line| line.ends_with("55P03"))
        .count();
    ensure!(blocked > 30, "only {blocked} were blocked: {:#?}", told[0]);
    Ok(Outcome::Passed(format!(
        "{blocked} of {} blocked",
        told[0].len()
    )))
}

fn self_modified(context: &Context) -> Result<Outcome> {
    let prepare = "
        CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF pg_trigger_depth() = 1 THEN EXECUTE format(TG_ARGV[0], OLD.scope_id); END IF;
            IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$;";
    let mut desks = desks(context, prepare)?;
    let update = (
        "caliber_scope_update('@8', '{\"name\": \"n\"}')",
        "UPDATE caliber_scope SET name = 'n' WHERE scope_id = '@8'",
    );
    let close = ("caliber_scope_close('@8')", "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active");
    let delete = (
        "caliber_scope_delete('@8')",
        "DELETE FROM caliber_scope WHERE scope_id = '@8'",
    );
    let mut messages = Vec::new();
    for (event, meddling, (call, client)) in [
        (
            "UPDATE",
            "UPDATE caliber_scope SET purpose = ''x'' WHERE scope_id = %L",
            update,
        ),
        (
            "UPDATE",
            "UPDATE caliber_scope SET purpose = ''x'' WHERE scope_id = %L",
            close,
        ),
        (
            "UPDATE",
            "DELETE FROM caliber_scope WHERE scope_id = %L",
            update,
        ),
        (
            "DELETE",
            "UPDATE caliber_scope SET purpose = ''x'' WHERE scope_id = %L",
            delete,
        ),
        (
            "DELETE",
            "DELETE FROM caliber_scope WHERE scope_id = %L",
            delete,
        ),
    ] {
        for desk in &mut desks {
            desk.session.batch(&format!("CREATE TRIGGER meddle BEFORE {event} ON caliber_scope FOR EACH ROW EXECUTE FUNCTION meddle('{meddling}')"))?;
        }
        let error = desk::same_error(
            &mut desks,
            &ids(0, &format!("SELECT {call}")),
            &ids(0, client),
            "27000",
        )?;
        messages.push(error.message);
        for desk in &mut desks {
            desk.session.batch("DROP TRIGGER meddle ON caliber_scope")?;
            let rows = desk.session.value("SELECT string_agg(format('%s %s %s', name, purpose, is_active), ',' ORDER BY scope_id) FROM caliber_scope")?;
            ensure!(
                rows.as_deref() == Some("eight  t,nine  t"),
                "{}: {call}: {rows:?}",
                desk.engine.name()
            );
        }
    }
    Ok(Outcome::Passed(messages.join("; ")))
}

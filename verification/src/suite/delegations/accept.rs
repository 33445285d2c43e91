//! The trajectory that comes with the work: its name and place, rights and
//! policies, and what is left when a transaction goes back.

use super::super::desk;
use super::super::trees::WRONG;
use super::super::work::{ids, outcome, told, undone, DELEGATION, ENGINES, PEOPLE};
use super::ORPHANS;
use crate::isolation::{run, Options, Script};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "delegations::child",
            "the new trajectory has its name, place and agent; a given one must exist",
            child,
        ),
        Test::new(
            "delegations::undone",
            "a savepoint or an exception takes move and child back together",
            taken_back,
        ),
        Test::new(
            "delegations::nested",
            "a trigger of the child that accepts another delegation",
            nested,
        ),
        Test::new(
            "delegations::trees",
            "a child that is made while its parent moves gets the right root",
            trees,
        ),
        Test::new(
            "delegations::rights",
            "each right that accepting needs, and a read-only transaction",
            rights,
        ),
        Test::new(
            "delegations::policies",
            "under row policies: hidden is not there, a forbidden child undoes the move",
            policies,
        )
        .with_takeovers(),
    ]
}

/// A task, and the name of the trajectory for it, as SQL text.
const NAMES: [(&str, &str); 12] = [
    ("'Mend the roof'", "'Mend the roof'"),
    ("E'  Mend the roof \\t\\nand the door'", "'Mend the roof'"),
    ("E'one\\rtwo'", "'one'"),
    ("E'one\\r\\ntwo'", "'one'"),
    ("''", "'delegation'"),
    ("E' \\t '", "'delegation'"),
    ("E'\\nsecond line'", "'delegation'"),
    ("repeat('a', 200)", "repeat('a', 200)"),
    ("repeat('a', 201)", "repeat('a', 200)"),
    ("repeat('a', 199) || ' b'", "repeat('a', 199)"),
    ("repeat('ü', 300) || E'\\n'", "repeat('ü', 200)"),
    ("repeat('x', 1000000)", "repeat('x', 200)"),
];

fn child(context: &Context) -> Result<Outcome> {
    let mut desks = DELEGATION.desks(context, &desk::ALL, "")?;
    for desk in desks.iter_mut().filter(|d| d.engine != Engine::Client) {
        for (task, name) in NAMES {
            for (parent, root) in [("@1", "@1"), ("@2", "@1")] {
                undone(&mut desk.session, |session| {
                    session.batch(&ids(&format!(
                        "SELECT caliber_delegation_create('@a', '@b', NULL, {task}, '{parent}', id => '@9')"
                    )))?;
                    ensure!(told(session, &DELEGATION.accept("@9", "@b"))? == "t");
                    let fits = session.value(&ids(&format!(
                        "SELECT t.name = {name} AND t.description IS NULL AND t.status = 'active' AND t.parent_trajectory_id = '{parent}'
                            AND t.root_trajectory_id = '{root}' AND t.agent_id = '@b' AND t.created_at = now() AND t.updated_at = now()
                            AND t.completed_at IS NULL AND t.outcome IS NULL AND t.metadata = '{{\"delegation_id\": \"@9\"}}'
                         FROM caliber_delegation JOIN caliber_trajectory t ON trajectory_id = child_trajectory_id"
                    )))?;
                    ensure!(fits.as_deref() == Some("t"), "{fits:?}");
                    Ok(())
                })
                .with_context(|| format!("{}: {task} under {parent}", desk.engine.name()))?;
            }
        }
    }
    for desk in &mut desks {
        desk.session
            .batch(&DELEGATION.put("@9", "worker", "pending"))?;
    }
    let call = ids("SELECT caliber_delegation_accept('@9', '@b', '@f')");
    let client = ids("UPDATE caliber_delegation SET delegatee_agent_id = '@b', status = 'accepted', accepted_at = now(), child_trajectory_id = '@f' WHERE delegation_id = '@9'");
    desk::same_error(&mut desks, &call, &client, "23503")?;
    for desk in desks.iter_mut().filter(|d| d.engine != Engine::Client) {
        let given = told(
            &mut desk.session,
            &ids("SELECT caliber_delegation_accept('@9', '@b', '@1')"),
        )?;
        let left = desk.session.value(
            "SELECT concat_ws(' ', right(child_trajectory_id::text, 1), (SELECT count(*) FROM caliber_trajectory)) FROM caliber_delegation",
        )?;
        ensure!(given == "t" && left.as_deref() == Some("1 2"), "{left:?}");
    }
    // The heap engine served; nothing was taken over.
    let sql = desks[0].session.value(
        "SELECT sum(value) FROM caliber_counters() WHERE name LIKE 'takeover.%' OR name LIKE 'calls.sql%'",
    )?;
    ensure!(sql.as_deref() == Some("0"), "{sql:?} calls of SQL");
    Ok(Outcome::Passed(format!("{} names", NAMES.len())))
}

/// Nothing was moved, and no child is there.
fn untouched(session: &mut Session, at: &str) -> Result<()> {
    let row = session.value(&DELEGATION.see("@9"))?;
    let tasks = session.value("SELECT count(*) FROM caliber_trajectory")?;
    ensure!(
        row.as_deref() == Some("worker pending") && tasks.as_deref() == Some("2"),
        "{at}: {row:?}, {tasks:?} tasks"
    );
    Ok(())
}

fn taken_back(context: &Context) -> Result<Outcome> {
    let put = DELEGATION.put("@9", "worker", "pending");
    let mut desks = DELEGATION.desks(context, &ENGINES, &put)?;
    let accept = DELEGATION.accept("@9", "@b");
    for desk in &mut desks {
        let engine = desk.engine.name();
        for isolation in Isolation::ALL {
            let at = format!("{engine}, {}", isolation.sql());
            let session = &mut desk.session;
            session.batch(&format!(
                "BEGIN ISOLATION LEVEL {}; SAVEPOINT s",
                isolation.sql()
            ))?;
            ensure!(told(session, &accept)? == "t", "{at}");
            ensure!(told(session, &accept)? == "f", "{at}");
            session.batch("ROLLBACK TO s")?;
            untouched(session, &at)?;
            ensure!(told(session, &accept)? == "t", "{at}: again");
            session.batch("RELEASE s; ROLLBACK")?;
            untouched(session, &at)?;
            session.batch(&format!(
                "DO $$ BEGIN BEGIN PERFORM * FROM ({accept}) x; RAISE 'back'; EXCEPTION WHEN raise_exception THEN END; END $$"
            ))?;
            untouched(session, &at)?;
            // Twice in one statement, and what the second sees of the first.
            let both = format!(
                "SELECT concat(({accept}), ({accept}), (SELECT child_trajectory_id IS NOT NULL FROM {}))",
                ids("caliber_delegation_get('@9')")
            );
            let answer = undone(session, |session| told(session, &both))?;
            ensure!(answer == "tft", "{at}: {answer}");
            untouched(session, &at)?;
        }
        let orphans = desk.session.value(ORPHANS)?;
        ensure!(orphans.is_none(), "{engine}: {orphans:?}");
    }
    Ok(Outcome::Passed(String::new()))
}

fn nested(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{}; {};
         CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.metadata->>'delegation_id' = '@9' THEN PERFORM caliber_delegation_accept('@8', '@b'); END IF; RETURN NEW; END $$;
         CREATE TRIGGER also TIMING INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION also()",
        DELEGATION.put("@9", "worker", "pending"),
        DELEGATION.put("@8", "worker", "pending")
    );
    for timing in ["BEFORE", "AFTER"] {
        let mut desks = DELEGATION.desks(context, &ENGINES, &prepare.replace("TIMING", timing))?;
        for desk in &mut desks {
            let at = format!("{}, {timing}", desk.engine.name());
            let answer = told(&mut desk.session, &DELEGATION.accept("@9", "@b"))?;
            ensure!(answer == "t", "{at}: {answer}");
            let left = desk.session.value(
                "SELECT string_agg(format('%s %s', d.status, metadata->>'delegation_id' = delegation_id::text), ', ')
                 FROM caliber_delegation d JOIN caliber_trajectory ON child_trajectory_id = trajectory_id WHERE name = 'Mend the roof'",
            )?;
            ensure!(
                left.as_deref() == Some("accepted t, accepted t"),
                "{at}: {left:?}"
            );
        }
    }
    Ok(Outcome::Passed(String::new()))
}

fn trees(context: &Context) -> Result<Outcome> {
    let accept = DELEGATION.accept("@9", "@b");
    let away = ids("SELECT caliber_trajectory_update('@2', '{\"parent_trajectory_id\": null}')");
    for engine in [Engine::Heap, Engine::Sql] {
        let database = context.server.fresh_database()?;
        database.connect()?.batch(&ids(PEOPLE))?;
        let setup = desk::setup(engine);
        let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
        let mut script = Script::new(3, &setup);
        let mut runs = Vec::new();
        for isolation in Isolation::ALL {
            for (first, second) in [(&away, &accept), (&accept, &away)] {
                let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1", isolation.sql());
                runs.push((isolation, first == &away, script.steps.len()));
                script = script
                    .step(2, &ids(&format!(
                        "DELETE FROM caliber_delegation; DELETE FROM caliber_trajectory WHERE metadata IS NOT NULL;
                         UPDATE caliber_trajectory SET parent_trajectory_id = '@1', root_trajectory_id = '@1' WHERE trajectory_id = '@2'; {}",
                        DELEGATION.put("@9", "worker", "pending")
                    )))
                    .step(0, &begin)
                    .step(1, &begin)
                    .step(0, first)
                    .step(1, second)
                    .step(0, "COMMIT")
                    .step(1, "COMMIT")
                    .step(2, WRONG)
                    .step(2, ORPHANS);
            }
        }
        let transcript = run(&database.target, &script, Options::default())?;
        for (isolation, moved_first, first) in runs {
            let at = || {
                format!(
                    "{}, {}, from {first}\n{transcript}",
                    engine.name(),
                    isolation.sql()
                )
            };
            let answer = |step: usize| {
                transcript
                    .answer(first + step)
                    .and_then(|answer| answer.sqlstate().or(answer.value()))
                    .unwrap_or_default()
            };
            ensure!(transcript.waited(first + 4), "no wait: {}", at());
            // Above READ COMMITTED the tree that the second one sees is not
            // the one that is there.
            let wanted = match (isolation, moved_first) {
                (Isolation::ReadCommitted, _) => "t",
                _ => "40001",
            };
            ensure!(answer(4) == wanted, "{}: {}", answer(4), at());
            ensure!(answer(7).is_empty() && answer(8).is_empty(), "{}", at());
        }
    }
    Ok(Outcome::Passed(String::new()))
}

/// What accepting with a new child needs, one grant each.
const GRANTS: [&str; 8] = [
    "SELECT ON caliber_delegation",
    "UPDATE (delegatee_agent_id) ON caliber_delegation",
    "UPDATE (status) ON caliber_delegation",
    "UPDATE (accepted_at) ON caliber_delegation",
    "UPDATE (child_trajectory_id) ON caliber_delegation",
    "SELECT ON caliber_agent",
    "SELECT ON caliber_trajectory",
    "INSERT ON caliber_trajectory",
];

const ROLE: &str = "DO $$ BEGIN CREATE ROLE verify_delegatee; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$";

fn rights(context: &Context) -> Result<Outcome> {
    let prepare = format!("{}; {ROLE}", DELEGATION.put("@9", "worker", "pending"));
    let mut desks = DELEGATION.desks(context, &ENGINES, &prepare)?;
    let accept = DELEGATION.accept("@9", "@b");
    let given = ids("SELECT caliber_delegation_accept('@9', '@b', '@1')");
    for desk in &mut desks {
        let engine = desk.engine.name();
        for missing in 0..=GRANTS.len() {
            undone(&mut desk.session, |session| {
                for (number, grant) in GRANTS.iter().enumerate() {
                    if number != missing {
                        session.batch(&format!("GRANT {grant} TO verify_delegatee"))?;
                    }
                }
                session.batch("SET LOCAL ROLE verify_delegatee; SAVEPOINT s")?;
                let lacks = GRANTS.get(missing).copied().unwrap_or("nothing");
                let at = format!("{engine}: without {lacks}");
                let answer = outcome(session, &accept)?;
                match &answer {
                    Ok(value) => ensure!(
                        missing == GRANTS.len() && value.as_deref() == Some("t"),
                        "{at}: {value:?}"
                    ),
                    Err(error) => ensure!(
                        error.sqlstate == "42501"
                            && lacks.ends_with(
                                error
                                    .message
                                    .trim_start_matches("permission denied for table ")
                            ),
                        "{at}: {error}"
                    ),
                }
                session.batch("ROLLBACK TO s")?;
                // A trajectory that is given needs no right on the table of
                // trajectories: its key looks for it.
                let answer = told(session, &given)?;
                let wanted = if missing < 6 { "42501" } else { "t" };
                ensure!(answer == wanted, "{at}, given: {answer}");
                Ok(())
            })?;
        }
        for (call, tag) in [(&accept, "INSERT"), (&given, "UPDATE")] {
            desk.session.batch("BEGIN READ ONLY")?;
            let error = desk.session.error(call)?;
            desk.session.batch("ROLLBACK")?;
            ensure!(
                error.sqlstate == "25006"
                    && error.message == format!("cannot execute {tag} in a read-only transaction"),
                "{engine}: {error}"
            );
        }
    }
    Ok(Outcome::Passed(format!("{} rights", GRANTS.len())))
}

fn policies(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{ROLE}; GRANT ALL ON caliber_delegation, caliber_agent, caliber_trajectory TO verify_delegatee;
         ALTER TABLE caliber_delegation ENABLE ROW LEVEL SECURITY;
         ALTER TABLE caliber_trajectory ENABLE ROW LEVEL SECURITY;
         ALTER TABLE caliber_agent ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON caliber_delegation USING (additional_context IS NULL);
         CREATE POLICY p ON caliber_agent USING (agent_id <> '@c');
         CREATE POLICY p ON caliber_trajectory USING (agent_id IS NULL) WITH CHECK (agent_id <> '@d');
         {}; {}; {}; UPDATE caliber_delegation SET additional_context = 'hidden' WHERE delegation_id = '@8'",
        DELEGATION.put("@9", "*", "pending"),
        DELEGATION.put("@8", "*", "pending"),
        DELEGATION.put("@7", "@d", "pending")
    );
    let mut desks = DELEGATION.desks(context, &ENGINES, &prepare)?;
    for desk in &mut desks {
        let engine = desk.engine.name();
        let tasks = "SELECT count(*) FROM caliber_trajectory";
        for (id, agent, wanted) in [
            // The row is hidden; the agent is; the child may not be written;
            // the child is written, though not seen.
            ("@8", "@b", "f"),
            ("@9", "@c", "23503"),
            ("@7", "@d", "42501"),
            ("@9", "@d", "42501"),
            ("@9", "@b", "t"),
            ("@9", "@b", "f"),
        ] {
            desk.session.batch("SET ROLE verify_delegatee")?;
            let answer = told(&mut desk.session, &DELEGATION.accept(id, agent))?;
            desk.session.batch("RESET ROLE")?;
            ensure!(answer == wanted, "{engine}: {id} by {agent}: {answer}");
            let count = desk.session.value(tasks)?.unwrap_or_default();
            let moved = desk
                .session
                .value("SELECT count(*) FROM caliber_delegation WHERE status <> 'pending'")?;
            ensure!(
                count.parse::<i32>()? - 2 == moved.unwrap_or_default().parse::<i32>()?,
                "{engine}: {id} by {agent} left a child"
            );
        }
    }
    Ok(Outcome::Passed(String::new()))
}

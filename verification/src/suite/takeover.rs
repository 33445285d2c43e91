//! Takeovers: where the heap engine must not act alone, the sql engine does the
//! whole call, counts it, and the result is the client's.

mod cases;
mod tables;

use super::desk::{self, Desk};
use super::steps::{counters, ids, say, tables as rows_of, Id, Moved, Rows, Step, ROWS, SESSION};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};
use std::collections::BTreeMap;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = CAUSES
        .iter()
        .map(|cause| {
            Test::new(
                &format!("takeover::{}", cause.name),
                "SQL takes over, is counted, and gives back",
                |context| take_over(context, cause),
            )
        })
        .collect();
    tests.push(Test::new(
        "takeover::row_security_of_owner_and_off",
        "the owner is exempt without FORCE; row_security = off raises",
        owner_and_off,
    ));
    tests.push(Test::new(
        "takeover::on_duplicate",
        "a create with an id is taken over under on_duplicate = return",
        on_duplicate,
    ));
    tests.push(Test::new(
        "takeover::new_index",
        "an index that is newer than the transaction's snapshot is not read: SQL takes over",
        new_index,
    ));
    tests.push(Test::new(
        "takeover::generated",
        "a table with an identity column of a user's is left to SQL",
        generated,
    ));
    tests.push(Test::new(
        "takeover::deferrable_key",
        "a table whose primary key is deferrable is left to SQL, and its transaction locks still end",
        deferrable_key,
    ));
    tests.push(Test::new(
        "takeover::collation",
        "a table with a column in which texts of other bytes are equal is left to SQL",
        collation,
    ));
    tests.extend(tables::tests());
    tests.extend(cases::tests());
    tests.into_iter().map(Test::with_takeovers).collect()
}

struct Cause {
    name: &'static str,
    counter: &'static str,
    make: &'static str,
    /// As whom the session runs.
    role: &'static str,
    undo: &'static str,
    /// More to compare afterwards.
    look: &'static str,
    /// What this cause must have done: a query on the heap engine's desk.
    effect: &'static str,
}

static CAUSES: [Cause; 5] = [
    Cause {
        name: "row_security",
        counter: "takeover.row_security",
        make: "ALTER TABLE caliber_trajectory ENABLE ROW LEVEL SECURITY; ALTER TABLE caliber_scope ENABLE ROW LEVEL SECURITY;
            CREATE POLICY mine ON caliber_trajectory USING (agent_id = '@a') WITH CHECK (agent_id = '@a');
            CREATE POLICY seen ON caliber_scope USING (name <> 'hidden') WITH CHECK (name <> 'hidden')",
        role: "verify_tenant",
        undo: "ALTER TABLE caliber_trajectory DISABLE ROW LEVEL SECURITY; ALTER TABLE caliber_scope DISABLE ROW LEVEL SECURITY",
        look: "SELECT count(*) FROM caliber_scope",
        effect: "SELECT (SELECT name FROM caliber_trajectory WHERE trajectory_id = '@9') = 'nine'
            AND NOT EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id = '@2')
            AND EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id = '@1')",
    },
    Cause {
        name: "rule_do_also",
        counter: "takeover.rule",
        make: "CREATE TABLE diary (line text);
            CREATE RULE note AS ON INSERT TO caliber_trajectory DO ALSO INSERT INTO diary VALUES ('create ' || NEW.name);
            CREATE RULE note_too AS ON UPDATE TO caliber_trajectory DO ALSO INSERT INTO diary VALUES (OLD.name || ' to ' || NEW.name);
            CREATE RULE note AS ON DELETE TO caliber_scope DO ALSO INSERT INTO diary VALUES ('delete ' || OLD.name)",
        role: "postgres",
        undo: "DROP RULE note ON caliber_trajectory; DROP RULE note_too ON caliber_trajectory; DROP RULE note ON caliber_scope",
        look: "SELECT line FROM diary",
        effect: "SELECT count(*) > 5 FROM diary",
    },
    Cause {
        name: "rule_instead_nothing",
        counter: "takeover.rule",
        make: "CREATE RULE no1 AS ON INSERT TO caliber_trajectory DO INSTEAD NOTHING;
            CREATE RULE no2 AS ON UPDATE TO caliber_trajectory DO INSTEAD NOTHING;
            CREATE RULE no3 AS ON DELETE TO caliber_trajectory DO INSTEAD NOTHING;
            CREATE RULE no1 AS ON INSERT TO caliber_scope DO INSTEAD NOTHING;
            CREATE RULE no2 AS ON UPDATE TO caliber_scope DO INSTEAD NOTHING;
            CREATE RULE no3 AS ON DELETE TO caliber_scope DO INSTEAD NOTHING",
        role: "postgres",
        undo: "DROP RULE no1 ON caliber_trajectory; DROP RULE no2 ON caliber_trajectory; DROP RULE no3 ON caliber_trajectory;
            DROP RULE no1 ON caliber_scope; DROP RULE no2 ON caliber_scope; DROP RULE no3 ON caliber_scope",
        look: "SELECT count(*) FROM caliber_scope",
        effect: "SELECT count(*) = 4 AND count(*) FILTER (WHERE name = 'new') = 0 FROM caliber_trajectory",
    },
    Cause {
        name: "inheritance",
        counter: "takeover.inheritance",
        // Another order of columns, and one more: rows must come as the parent's.
        make: "CREATE TABLE younger (more int, status text COLLATE \"C\", name text);
            ALTER TABLE younger ADD trajectory_id uuid, ADD description text, ADD parent_trajectory_id uuid, ADD root_trajectory_id uuid,
                ADD agent_id uuid, ADD created_at timestamptz, ADD updated_at timestamptz, ADD completed_at timestamptz,
                ADD outcome jsonb, ADD metadata jsonb;
            ALTER TABLE younger ALTER trajectory_id SET NOT NULL, ALTER name SET NOT NULL, ALTER status SET NOT NULL,
                ALTER created_at SET NOT NULL, ALTER updated_at SET NOT NULL,
                ADD CONSTRAINT caliber_trajectory_status_check CHECK (status IN ('active', 'completed', 'failed', 'suspended')),
                ADD CONSTRAINT caliber_trajectory_parent_check CHECK (parent_trajectory_id <> trajectory_id);
            DO $$ DECLARE c record; BEGIN
                FOR c IN SELECT conname, pg_get_constraintdef(oid) d FROM pg_constraint WHERE conrelid = 'caliber_trajectory'::regclass AND contype = 'c' LOOP
                    EXECUTE format('ALTER TABLE younger DROP CONSTRAINT IF EXISTS %I, ADD CONSTRAINT %1$I %s', c.conname, c.d);
                END LOOP; END $$;
            ALTER TABLE younger INHERIT caliber_trajectory;
            INSERT INTO younger (more, status, name, trajectory_id, agent_id, created_at, updated_at) VALUES (1, 'active', 'c', '@c', '@b', now(), now());
            CREATE TABLE younger_scope () INHERITS (caliber_scope);
            INSERT INTO younger_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@b', '@8', 'b', 5)",
        role: "postgres",
        undo: "DROP TABLE younger, younger_scope",
        look: "SELECT count(*) FROM caliber_scope",
        effect: "SELECT count(*) = 0 FROM younger",
    },
    Cause {
        name: "access_method",
        counter: "takeover.access_method",
        make: "CREATE ACCESS METHOD not_heap TYPE TABLE HANDLER heap_tableam_handler;
            ALTER TABLE caliber_trajectory SET ACCESS METHOD not_heap; ALTER TABLE caliber_scope SET ACCESS METHOD not_heap",
        role: "postgres",
        undo: "ALTER TABLE caliber_trajectory SET ACCESS METHOD heap; ALTER TABLE caliber_scope SET ACCESS METHOD heap",
        look: "SELECT count(*) FROM caliber_scope",
        effect: "SELECT EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id = '@1')",
    },
];

/// What was counted since, without zeros and without rare paths.
fn counted(session: &mut Session, before: &BTreeMap<String, i64>) -> Result<Vec<(String, i64)>> {
    Ok(growth(before, &counters(session)?))
}

/// What one count has more than another.
fn growth(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> Vec<(String, i64)> {
    after
        .iter()
        .map(|(name, value)| {
            let old = before.get(name).copied().unwrap_or(0);
            (name.clone(), value - old)
        })
        .filter(|(name, value)| {
            *value != 0 && (name.starts_with("calls.") || name.starts_with("takeover."))
        })
        .collect()
}

fn take_over(context: &Context, cause: &Cause) -> Result<Outcome> {
    let prepare = ids(&format!("{ROWS}{}", cause.make));
    let mut desks = desk::open(context, &[Engine::Heap, Engine::Client], &prepare)?;
    let role = format!("SET ROLE {}", cause.role);
    let before = counters(&mut desks[0].session)?;
    for step in SESSION {
        let mut answers = Vec::new();
        for desk in &mut desks {
            if cause.role != "postgres" {
                desk.session.batch(&role)?;
            }
            answers.push(say(desk, step));
            desk.session.batch("RESET ROLE")?;
        }
        ensure!(
            answers[0] == answers[1],
            "{}\nthe call says {:?}\nthe client's statement says {:?}",
            step.0,
            answers[0],
            answers[1]
        );
    }
    let calls = i64::try_from(SESSION.len())?;
    let seen = counted(&mut desks[0].session, &before)?;
    let expected = [
        ("calls.sql".to_owned(), calls),
        (cause.counter.to_owned(), calls),
    ];
    ensure!(seen == expected, "counted {seen:?}, not {expected:?}");
    let after = rows_of(&mut desks[0], cause.look)?;
    ensure!(
        after == rows_of(&mut desks[1], cause.look)?,
        "the tables differ: {after:#?}"
    );
    let effect = desks[0].session.value(&ids(cause.effect))?;
    ensure!(effect.as_deref() == Some("t"), "without effect: {after:#?}");
    desks[0].session.batch(cause.undo)?;
    heap_again(&mut desks[0], cause.role)?;
    Ok(Outcome::Passed(format!("{calls} calls")))
}

/// Once what stood in the way is gone, the heap engine serves; also as the
/// role that met it, and though `relhassubclass` stays behind.
fn heap_again(desk: &mut Desk, role: &str) -> Result<()> {
    if role != "postgres" {
        desk.session.batch(&format!("SET ROLE {role}"))?;
    }
    let before = counters(&mut desk.session)?;
    for call in [
        "caliber_trajectory_create('again', id => '@7')",
        "caliber_trajectory_get('@7')",
        "caliber_trajectory_set_status('@7', 'failed')",
        "caliber_scope_create('@7', 'again', id => '@7')",
        "caliber_scope_close('@7')",
    ] {
        let answer = desk.session.value(&ids(&format!("SELECT {call}")))?;
        ensure!(answer.is_some(), "{call} gave nothing");
    }
    let seen = counted(&mut desk.session, &before)?;
    ensure!(
        seen == [("calls.heap".to_owned(), 5)],
        "the heap engine does not serve again: {seen:?}"
    );
    desk.session.batch("RESET ROLE")
}

fn owner_and_off(context: &Context) -> Result<Outcome> {
    let prepare = ids(&format!(
        "{ROWS}
        DO $$ BEGIN CREATE ROLE verify_landlord; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
        ALTER TABLE caliber_trajectory OWNER TO verify_landlord;
        ALTER TABLE caliber_trajectory ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON caliber_trajectory USING (agent_id = '@a')"
    ));
    let mut desks = desk::open(context, &desk::ALL, &prepare)?;
    let get = Step(
        "caliber_trajectory_get('@9')",
        "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@9'",
        Rows,
    );
    // As whom, after what: rows of others that are seen, and what is counted.
    let stages = [
        ("SET ROLE verify_landlord", 1, "calls.heap"),
        ("SET ROLE verify_tenant", 0, "takeover.row_security"),
        (
            "ALTER TABLE caliber_trajectory FORCE ROW LEVEL SECURITY; SET ROLE verify_landlord",
            0,
            "takeover.row_security",
        ),
        (
            "ALTER TABLE caliber_trajectory NO FORCE ROW LEVEL SECURITY; SET ROLE verify_landlord",
            1,
            "calls.heap",
        ),
        ("SELECT 1", 1, "calls.heap"),
    ];
    for (before, rows, counter) in stages {
        for desk in &mut desks {
            let heap = desk.engine == Engine::Heap;
            let start = if heap {
                counters(&mut desk.session)?
            } else {
                BTreeMap::new()
            };
            desk.session.batch(before)?;
            let seen = say(desk, &get);
            ensure!(
                seen.len() == rows,
                "{}: {before}: {seen:?}",
                desk.engine.name()
            );
            if heap {
                let counted = counted(&mut desk.session, &start)?;
                ensure!(
                    counted
                        .iter()
                        .any(|(name, count)| name == counter && *count == 1),
                    "{before}: counted {counted:?}, not {counter}"
                );
            }
            desk.session.batch("RESET ROLE")?;
        }
    }
    for desk in &mut desks {
        desk.session
            .batch("SET ROLE verify_tenant; SET row_security = off")?;
    }
    for (call, client) in [
        (
            "caliber_trajectory_get('@9')",
            "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@9'",
        ),
        (
            "caliber_trajectory_update('@9', '{\"name\": \"n\"}')",
            "UPDATE caliber_trajectory SET name = 'n' WHERE trajectory_id = '@9'",
        ),
        (
            "caliber_trajectory_delete('@9')",
            "DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'",
        ),
        (
            "caliber_trajectory_create('n', agent_id => '@a', id => '@1')",
            "INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@1', 'n')",
        ),
    ] {
        desk::same_error(
            &mut desks,
            &ids(&format!("SELECT {call}")),
            &ids(client),
            "42501",
        )
        .context("row_security = off")?;
    }
    Ok(Outcome::Passed(String::new()))
}

fn on_duplicate(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &[Engine::Heap, Engine::Client], &ids(ROWS))?;
    desks[0]
        .session
        .batch("SET caliber.on_duplicate = return")?;
    let steps = [
        Step("caliber_trajectory_create('one', id => '@1')",
            "INSERT INTO caliber_trajectory VALUES ('@1', 'one', NULL, 'active', NULL, NULL, NULL, now(), now(), NULL, NULL, NULL) ON CONFLICT (trajectory_id) DO NOTHING", Id('1')),
        Step("caliber_trajectory_create('again', id => '@1')", "UPDATE caliber_trajectory SET name = name WHERE trajectory_id = '@1'", Id('1')),
        Step("caliber_scope_create('@1', 'one', id => '@1')",
            "INSERT INTO caliber_scope VALUES ('@1', '@1', NULL, 'one', NULL, true, now(), NULL, NULL, 8000, 0, NULL) ON CONFLICT (scope_id) DO NOTHING", Id('1')),
        Step("caliber_scope_create('@f', 'again', id => '@1')", "UPDATE caliber_scope SET name = name WHERE scope_id = '@1'", Id('1')),
    ];
    let before = counters(&mut desks[0].session)?;
    for step in &steps {
        let answers: Vec<_> = desks.iter_mut().map(|desk| say(desk, step)).collect();
        ensure!(
            answers[0] == answers[1] && answers[0].len() == 1,
            "{}: {answers:?}",
            step.0
        );
    }
    let seen = counted(&mut desks[0].session, &before)?;
    let expected = [
        ("calls.sql".to_owned(), 4),
        ("takeover.on_duplicate".to_owned(), 4),
    ];
    ensure!(seen == expected, "counted {seen:?}");
    let look = "SELECT count(*) FROM caliber_scope";
    let (left, right) = (rows_of(&mut desks[0], look)?, rows_of(&mut desks[1], look)?);
    ensure!(left == right, "{left:#?}\n{right:#?}");
    // Without an id, and everything else: the heap engine.
    let before = counters(&mut desks[0].session)?;
    desks[0].session.batch(&ids(
        "SELECT caliber_trajectory_create('no id'), caliber_trajectory_get('@1'), caliber_trajectory_update('@1', '{}')",
    ))?;
    let seen = counted(&mut desks[0].session, &before)?;
    ensure!(seen == [("calls.heap".to_owned(), 3)], "counted {seen:?}");
    desks[0].session.batch("SET caliber.on_duplicate = error")?;
    heap_again(&mut desks[0], "postgres")?;
    Ok(Outcome::Passed(String::new()))
}

/// The steps answer as the client's statements, and this is what is counted.
fn counted_as(desks: &mut [Desk], steps: &[Step], counter: &str) -> Result<()> {
    let before = counters(&mut desks[0].session)?;
    for step in steps {
        let answers: Vec<_> = desks.iter_mut().map(|desk| say(desk, step)).collect();
        ensure!(answers[0] == answers[1], "{}: {answers:?}", step.0);
    }
    let seen = counted(&mut desks[0].session, &before)?;
    let calls = i64::try_from(steps.len())?;
    ensure!(
        seen == [("calls.sql".to_owned(), calls), (counter.to_owned(), calls)],
        "counted {seen:?}"
    );
    Ok(())
}

const READS: [Step; 2] = [
    Step(
        "caliber_trajectory_get('@8')",
        "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@8'",
        Rows,
    ),
    Step(
        "caliber_trajectory_list_by_status('active')",
        "SELECT x FROM caliber_trajectory x WHERE status = 'active' ORDER BY trajectory_id",
        Rows,
    ),
];

fn new_index(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &[Engine::Heap, Engine::Client], &ids(ROWS))?;
    for desk in &mut desks {
        desk.session
            .batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM caliber_scope")?;
        // A HOT update of what is not indexed yet leaves a chain that the new
        // index cannot say the beginning of.
        let mut other = desk.another()?;
        other.batch(&ids(
            "UPDATE caliber_trajectory SET name = 'hot' WHERE trajectory_id = '@8'",
        ))?;
        other.batch("CREATE INDEX own ON caliber_trajectory (name)")?;
    }
    counted_as(&mut desks, &READS, "takeover.new_index")?;
    for desk in &mut desks {
        desk.session.batch("COMMIT")?;
    }
    Ok(Outcome::Passed(String::new()))
}

fn generated(context: &Context) -> Result<Outcome> {
    let make = "ALTER TYPE caliber_trajectory_row ADD ATTRIBUTE own bigint CASCADE;
        ALTER TABLE caliber_trajectory ALTER own SET NOT NULL, ALTER own ADD GENERATED ALWAYS AS IDENTITY;";
    let mut desks = desk::open(
        context,
        &[Engine::Heap, Engine::Client],
        &ids(&format!("{make}{ROWS}")),
    )?;
    counted_as(&mut desks, &READS, "takeover.generated")?;
    Ok(Outcome::Passed(String::new()))
}

fn collation(context: &Context) -> Result<Outcome> {
    let make = "CREATE COLLATION own (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        ALTER TYPE caliber_agent_row ALTER ATTRIBUTE agent_type TYPE text COLLATE own CASCADE;
        INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@1', 'Coder'), ('@2', 'coder'), ('@3', 'tester');";
    let icu = "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu'";
    let database = context.server.database()?;
    if database.connect()?.value(icu)?.as_deref() == Some("0") {
        return Ok(Outcome::NotCovered(format!(
            "PostgreSQL {} has no ICU here",
            context.major
        )));
    }
    drop(database);
    let mut desks = desk::open(context, &[Engine::Heap, Engine::Client], &ids(make))?;
    let steps = [
        Step(
            "caliber_agent_list_by_type('CODER')",
            "SELECT x FROM caliber_agent x WHERE agent_type = 'CODER' ORDER BY agent_id",
            Rows,
        ),
        Step(
            "caliber_agent_get('@2')",
            "SELECT x FROM caliber_agent x WHERE agent_id = '@2'",
            Rows,
        ),
    ];
    counted_as(&mut desks, &steps, "takeover.collation")?;
    Ok(Outcome::Passed(String::new()))
}

fn deferrable_key(context: &Context) -> Result<Outcome> {
    let make = "
        INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@8', 'task');
        INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@7', '@8', 'scope', 1);
        INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@a', 'worker');
        INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count) VALUES ('@1', '@7', 0, 'user', 'c', 0);
        ALTER TABLE caliber_turn DROP CONSTRAINT caliber_turn_pkey, ADD UNIQUE (turn_id) DEFERRABLE;
        ALTER TABLE caliber_lock DROP CONSTRAINT caliber_lock_pkey, ADD CONSTRAINT caliber_lock_pkey PRIMARY KEY (lock_id) DEFERRABLE";
    let mut desks = desk::open(context, &[Engine::Heap, Engine::Client], &ids(make))?;
    let steps = [
        Step(
            "caliber_turn_get('@1')",
            "SELECT x FROM caliber_turn x WHERE turn_id = '@1'",
            Rows,
        ),
        Step(
            "caliber_turn_delete('@1')",
            "DELETE FROM caliber_turn WHERE turn_id = '@1'",
            Moved,
        ),
    ];
    counted_as(&mut desks, &steps, "takeover.deferrable_key")?;
    let session = &mut desks[0].session;
    for level in ["lease", "session", "transaction"] {
        let acquire = ids(&format!(
            "SELECT caliber_lock_acquire('@a', 'file', '@1', level => '{level}', id => '@2')"
        ));
        session.batch(&format!("BEGIN; {acquire}; {acquire}; COMMIT"))?;
        let released = session.value(&ids("SELECT caliber_lock_release('@2')"))?;
        let wanted = if level == "transaction" { "f" } else { "t" };
        ensure!(released.as_deref() == Some(wanted), "{level}: {released:?}");
    }
    let left = session.value("SELECT count(*) FROM caliber_lock")?;
    ensure!(left.as_deref() == Some("0"), "{left:?} locks are left");
    twice(context)
}

/// Two rows of one key until commit, beside unique indexes that do not keep them apart:
/// one that holds only some of the rows, and one that is not valid.
fn twice(context: &Context) -> Result<Outcome> {
    let make = "
        INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@8', 'task');
        INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@7', '@8', 'scope', 1);
        ALTER TABLE caliber_turn DROP CONSTRAINT caliber_turn_pkey, ADD UNIQUE (turn_id) DEFERRABLE INITIALLY DEFERRED;
        CREATE UNIQUE INDEX ON caliber_turn (turn_id) WHERE role = 'system';
        CREATE UNIQUE INDEX own ON caliber_turn (turn_id);
        UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'own'::regclass";
    let mut desks = desk::open(context, &[Engine::Heap, Engine::Client], &ids(make))?;
    for desk in &mut desks {
        desk.session.batch(&ids(
            "BEGIN; INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count)
                VALUES ('@1', '@7', 0, 'user', 'a', 0), ('@1', '@7', 1, 'user', 'b', 0)",
        ))?;
    }
    let steps = [Step(
        "caliber_turn_delete('@1')",
        "DELETE FROM caliber_turn WHERE turn_id = '@1'",
        Moved,
    )];
    counted_as(&mut desks, &steps, "takeover.deferrable_key")?;
    for desk in &mut desks {
        let left = desk.session.value("SELECT count(*) FROM caliber_turn")?;
        ensure!(
            left.as_deref() == Some("0"),
            "{}: {left:?} rows are left",
            desk.engine.name()
        );
        desk.session.batch("COMMIT")?;
    }
    Ok(Outcome::Passed(String::new()))
}

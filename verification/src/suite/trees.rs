//! Trees of tasks: roots, changes of parent, what refuses them, and very deep
//! ones; and two sessions at once on one tree.

mod cases;
mod own;
mod together;

use super::desk::{self, Desk};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};
use std::time::{Duration, Instant};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests =
        vec![
        Test::new(
            "trees::roots",
            "a change of parent writes the roots of row and descendants, in one or two statements",
            roots,
        ),
        Test::new(
            "trees::refused",
            "cycles, missing parents and vetoes leave the tree as it was",
            refused,
        ),
        Test::new(
            "trees::policies",
            "ancestors and descendants are seen without policies, and changed only with them",
            policies,
        ).with_takeovers(),
        Test::new(
            "trees::hidden_row",
            "a row that policies hide is not there: false, whatever the new parent",
            hidden,
        ).with_takeovers(),
        Test::new(
            "trees::deep",
            "10,000 ancestors are allowed, more are 54000, in bounded time",
            deep,
        ),
    ];
    tests.extend(together::tests());
    tests.extend(own::tests());
    tests
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// Each row: task, parent, root, as digits; `-` is NULL.
const SEE: &str = "SELECT string_agg(format('%s<%s/%s', right(trajectory_id::text, 1),
    coalesce(right(parent_trajectory_id::text, 1), '-'), coalesce(right(root_trajectory_id::text, 1), '-')), ' '
    ORDER BY trajectory_id) FROM caliber_trajectory";

/// FNV-1a-64 over a tag's name, a zero, and an id: the key of a tree's lock.
///
/// # Errors
/// When the text is no uuid.
pub(super) fn fnv(tag: &str, id: &str) -> Result<u64> {
    let id: uuid::Uuid = id.parse()?;
    let bytes = tag.bytes().chain([0]).chain(*id.as_bytes());
    Ok(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// The rows whose root is not what the parents say, or that are among their
/// own ancestors; NULL if there are none.
pub(super) const WRONG: &str = "WITH RECURSIVE up AS (
    SELECT trajectory_id AS id, root_trajectory_id AS root, trajectory_id AS at, parent_trajectory_id AS parent, 0 AS depth
    FROM caliber_trajectory
    UNION ALL
    SELECT id, root, t.trajectory_id, t.parent_trajectory_id, depth + 1
    FROM up JOIN caliber_trajectory t ON t.trajectory_id = up.parent WHERE depth < 50)
SELECT string_agg(format('%s: %s', id, CASE WHEN depth >= 50 THEN 'a cycle' ELSE 'root ' || coalesce(root::text, 'NULL') END), ', ')
FROM up WHERE depth >= 50 OR (parent IS NULL AND root IS DISTINCT FROM CASE WHEN depth > 0 THEN at END)";

fn truth(session: &mut Session) -> Result<()> {
    let wrong = session.value(WRONG)?;
    ensure!(wrong.is_none(), "wrong: {wrong:?}");
    Ok(())
}

fn ids(text: &str) -> String {
    text.replace('@', "00000000-0000-7000-8000-00000000000")
}

fn mv(id: &str, parent: &str) -> String {
    ids(&format!(
        "SELECT caliber_trajectory_update('@{id}', '{{\"parent_trajectory_id\": {parent}}}')"
    ))
}

fn under(id: &str, parent: &str) -> String {
    mv(id, &format!("\"@{parent}\""))
}

fn child(id: &str, parent: &str) -> String {
    ids(&format!(
        "SELECT caliber_trajectory_create('task {id}', parent_trajectory_id => '@{parent}', id => '@{id}')"
    ))
}

/// 1 above 2 above 3 and 4; 5 above 6.
fn grow(desk: &mut Desk) -> Result<()> {
    desk.session.batch(&ids(
        "SELECT caliber_trajectory_create('task 1', id => '@1'), caliber_trajectory_create('task 5', id => '@5')",
    ))?;
    for (id, parent) in [("2", "1"), ("3", "2"), ("4", "2"), ("6", "5")] {
        desk.session.batch(&child(id, parent))?;
    }
    sees(desk, "1<-/- 2<1/1 3<2/1 4<2/1 5<-/- 6<5/5")
}

fn sees(desk: &mut Desk, expected: &str) -> Result<()> {
    let seen = desk.session.value(SEE)?.unwrap_or_default();
    ensure!(
        seen == expected,
        "{}: {seen}, not {expected}",
        desk.engine.name()
    );
    truth(&mut desk.session)
}

const DIARY: &str = "
CREATE TABLE diary (n int);
CREATE FUNCTION write_diary() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO diary SELECT count(*) FROM new_rows; RETURN NULL; END $$;
CREATE TRIGGER diary AFTER UPDATE ON caliber_trajectory REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION write_diary()";

fn roots(context: &Context) -> Result<Outcome> {
    // The move, the tree after it, the rows of each UPDATE, and who is touched.
    let moves = [
        (
            under("3", "4"),
            "1<-/- 2<1/1 3<4/1 4<2/1 5<-/- 6<5/5",
            "1",
            "3",
        ),
        (
            under("2", "6"),
            "1<-/- 2<6/5 3<4/5 4<2/5 5<-/- 6<5/5",
            "1,2",
            "234",
        ),
        (
            mv("2", "null"),
            "1<-/- 2<-/- 3<4/2 4<2/2 5<-/- 6<5/5",
            "1,2",
            "234",
        ),
        // The stored parent once more.
        (
            mv("2", "null"),
            "1<-/- 2<-/- 3<4/2 4<2/2 5<-/- 6<5/5",
            "1",
            "2",
        ),
        (
            under("5", "3"),
            "1<-/- 2<-/- 3<4/2 4<2/2 5<3/2 6<5/2",
            "1,1",
            "56",
        ),
        (
            under("6", "1"),
            "1<-/- 2<-/- 3<4/2 4<2/2 5<3/2 6<1/1",
            "1",
            "6",
        ),
        (
            mv("2", "\"@1\", \"name\": \"n\""),
            "1<-/- 2<1/1 3<4/1 4<2/1 5<3/1 6<1/1",
            "1,3",
            "2345",
        ),
        (
            under("f", "1"),
            "1<-/- 2<1/1 3<4/1 4<2/1 5<3/1 6<1/1",
            "0",
            "",
        ),
        (
            under("f", "e"),
            "1<-/- 2<1/1 3<4/1 4<2/1 5<3/1 6<1/1",
            "0",
            "",
        ),
    ];
    let mut desks = desk::open(context, &ENGINES, DIARY)?;
    for desk in &mut desks {
        grow(desk)?;
        for (call, tree, statements, touched) in &moves {
            let before = desk
                .session
                .value("SELECT clock_timestamp()")?
                .unwrap_or_default();
            desk.session.batch("TRUNCATE diary")?;
            let answer = desk.session.value(call)?;
            let expected = if touched.is_empty() { "f" } else { "t" };
            ensure!(answer.as_deref() == Some(expected), "{call}: {answer:?}");
            sees(desk, tree).with_context(|| call.clone())?;
            let seen = desk
                .session
                .value("SELECT string_agg(n::text, ',' ORDER BY ctid) FROM diary")?;
            ensure!(
                seen.as_deref() == Some(statements),
                "{}: {call}: statements of {seen:?} rows, not {statements}",
                desk.engine.name()
            );
            let seen = desk.session.value(&format!(
                "SELECT coalesce(string_agg(right(trajectory_id::text, 1), '' ORDER BY trajectory_id), '') FROM caliber_trajectory WHERE updated_at > '{before}'"
            ))?;
            ensure!(
                seen.as_deref() == Some(touched),
                "{}: {call}: touched {seen:?}, not {touched}",
                desk.engine.name()
            );
        }
        // A root that SQL left wrong is put right by naming the stored parent.
        desk.session.batch(&ids(
            "UPDATE caliber_trajectory SET root_trajectory_id = '@6' WHERE trajectory_id <> '@1'",
        ))?;
        desk.session.batch(&under("2", "1"))?;
        desk.session.batch(&under("6", "1"))?;
        sees(desk, "1<-/- 2<1/1 3<4/1 4<2/1 5<3/1 6<1/1")?;
    }
    Ok(Outcome::Passed(format!("{} moves", moves.len())))
}

fn refused(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &desk::ALL, "")?;
    for desk in &mut desks {
        if desk.engine == Engine::Client {
            desk.session.batch(&ids(
                "INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id) VALUES
                    ('@1', 'task 1', NULL, NULL), ('@2', 'task 2', '@1', '@1'), ('@3', 'task 3', '@2', '@1'),
                    ('@4', 'task 4', '@2', '@1'), ('@5', 'task 5', NULL, NULL), ('@6', 'task 6', '@5', '@5')",
            ))?;
            sees(desk, "1<-/- 2<1/1 3<2/1 4<2/1 5<-/- 6<5/5")?;
        } else {
            grow(desk)?;
        }
    }
    // PostgreSQL's own checks, in its own words. Moments are in the row that
    // the CHECK shows.
    let statement = |id: &str, parent: &str, root: &str| {
        ids(&format!(
            "UPDATE caliber_trajectory SET parent_trajectory_id = '@{parent}', root_trajectory_id = '@{root}', updated_at = now() WHERE trajectory_id = '@{id}'"
        ))
    };
    desk::same_error(
        &mut desks,
        &under("1", "1"),
        &statement("1", "1", "1"),
        "23514",
    )?;
    desk::same_error(
        &mut desks,
        &under("2", "2"),
        &statement("2", "2", "1"),
        "23514",
    )?;
    desk::same_error(
        &mut desks,
        &under("2", "f"),
        &statement("2", "f", "f"),
        "23503",
    )?;
    let insert = |id: &str, parent: &str, root: &str| {
        ids(&format!(
            "INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id) VALUES ('@{id}', 'task {id}', '@{parent}', '@{root}')"
        ))
    };
    desk::same_error(
        &mut desks,
        &child("7", "f"),
        &insert("7", "f", "f"),
        "23503",
    )?;
    desk::same_error(
        &mut desks,
        &child("7", "7"),
        &insert("7", "7", "7"),
        "23514",
    )?;
    let mut shown = String::new();
    for desk in desks
        .iter_mut()
        .filter(|desk| desk.engine != Engine::Client)
    {
        for (id, parent) in [("1", "2"), ("1", "3"), ("2", "4"), ("5", "6")] {
            let error = desk.session.error(&under(id, parent))?;
            ensure!(
                error.sqlstate == "23514"
                    && error.constraint.as_deref() == Some("caliber_trajectory_parent_check")
                    && error.table.as_deref() == Some("caliber_trajectory")
                    && error.schema.as_deref() == Some("public")
                    && error.message.contains(&ids(&format!("@{id}"))),
                "{}: {error}",
                desk.engine.name()
            );
            shown = error.message;
        }
        sees(desk, "1<-/- 2<1/1 3<2/1 4<2/1 5<-/- 6<5/5")?;
        veto(desk)?;
    }
    Ok(Outcome::Passed(shown))
}

/// A trigger says no to the row, and then to one below it.
fn veto(desk: &mut Desk) -> Result<()> {
    desk.session.batch(&ids(
        "CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.name = TG_ARGV[0] THEN RETURN NULL; END IF; RETURN NEW; END $$;
         CREATE TRIGGER veto BEFORE UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION veto('task 2')",
    ))?;
    let answer = desk.session.value(&under("2", "5"))?;
    ensure!(answer.as_deref() == Some("f"), "a veto gave {answer:?}");
    sees(desk, "1<-/- 2<1/1 3<2/1 4<2/1 5<-/- 6<5/5")?;
    // A statement skips a vetoed row, and so does the second one.
    desk.session.batch(
        "DROP TRIGGER veto ON caliber_trajectory;
         CREATE TRIGGER veto BEFORE UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION veto('task 3')",
    )?;
    let answer = desk.session.value(&under("2", "5"))?;
    ensure!(
        answer.as_deref() == Some("t"),
        "a veto below gave {answer:?}"
    );
    let seen = desk.session.value(SEE)?;
    ensure!(
        seen.as_deref() == Some("1<-/- 2<5/5 3<2/1 4<2/5 5<-/- 6<5/5"),
        "{}: {seen:?}",
        desk.engine.name()
    );
    Ok(())
}

const POLICIES: &str = "
        DO $$ BEGIN CREATE ROLE verify_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
        GRANT ALL ON caliber_trajectory TO verify_tenant;
        ALTER TABLE caliber_trajectory ENABLE ROW LEVEL SECURITY;
        CREATE POLICY seen ON caliber_trajectory FOR SELECT USING (name <> 'hidden');
        CREATE POLICY made ON caliber_trajectory FOR INSERT WITH CHECK (true);
        CREATE POLICY changed ON caliber_trajectory FOR UPDATE USING (name NOT IN ('hidden', 'fixed'))";

fn policies(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, POLICIES)?;
    for desk in &mut desks {
        grow(desk)?;
        let name = |id: &str, name: &str| {
            ids(&format!("RESET ROLE; UPDATE caliber_trajectory SET name = '{name}' WHERE trajectory_id = '@{id}'; SET ROLE verify_tenant"))
        };
        // Neither a descendant that may be seen but not changed, nor one that
        // is hidden, is left behind with the old root.
        for kind in ["fixed", "hidden"] {
            desk.session.batch(&name("3", kind))?;
            let error = desk
                .session
                .error(&under("2", "5"))
                .with_context(|| format!("{}: a descendant is {kind}", desk.engine.name()))?;
            ensure!(
                error.sqlstate == "42501",
                "{}: {kind}: {error}",
                desk.engine.name()
            );
            desk.session.batch("RESET ROLE")?;
            sees(desk, "1<-/- 2<1/1 3<2/1 4<2/1 5<-/- 6<5/5")?;
            // Inside the tree nothing changes for it.
            desk.session.batch("SET ROLE verify_tenant; BEGIN")?;
            let answer = desk.session.value(&under("4", "1"))?;
            ensure!(
                answer.as_deref() == Some("t"),
                "{}: {answer:?}",
                desk.engine.name()
            );
            desk.session.batch("ROLLBACK")?;
        }
        // A hidden ancestor still makes a cycle: 3 is below 2 is below 1.
        desk.session.batch(&name("3", "task 3"))?;
        desk.session.batch(&name("2", "hidden"))?;
        let error = desk.session.error(&under("1", "3"))?;
        ensure!(error.sqlstate == "23514", "{}: {error}", desk.engine.name());
        // And a hidden parent gives its root, as keys see it.
        let made = desk.session.value(&child("7", "2"))?;
        ensure!(made == Some(ids("@7")), "{}: {made:?}", desk.engine.name());
        desk.session.batch("RESET ROLE")?;
        sees(desk, "1<-/- 2<1/1 3<2/1 4<2/1 5<-/- 6<5/5 7<2/1")?;
    }
    Ok(Outcome::Passed(String::new()))
}

fn hidden(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, POLICIES)?;
    for desk in &mut desks {
        grow(desk)?;
        desk.session.batch(&ids(
            "UPDATE caliber_trajectory SET name = 'hidden' WHERE trajectory_id = '@2'; SET ROLE verify_tenant",
        ))?;
        // A row that is hidden itself is not there to be moved, nor to make a
        // cycle with.
        for parent in ["5", "3"] {
            let answer = desk
                .session
                .value(&under("2", parent))
                .with_context(|| format!("{}: a hidden row", desk.engine.name()))?;
            ensure!(
                answer.as_deref() == Some("f"),
                "{}: {answer:?}",
                desk.engine.name()
            );
        }
        desk.session.batch("RESET ROLE")?;
        sees(desk, "1<-/- 2<1/1 3<2/1 4<2/1 5<-/- 6<5/5")?;
    }
    Ok(Outcome::Passed(String::new()))
}

/// Far more than it takes, far less than anything quadratic would.
const PATIENCE: Duration = Duration::from_secs(15);

fn deep(context: &Context) -> Result<Outcome> {
    // Tasks 1 … 10,001 in a chain, so that the last has 10,000 ancestors.
    let prepare = "CREATE FUNCTION task(n int) RETURNS uuid IMMUTABLE LANGUAGE sql AS
            $$ SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
        INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id)
        SELECT task(n), 'deep', CASE WHEN n > 1 THEN task(n - 1) END, CASE WHEN n > 1 THEN task(1) END FROM generate_series(1, 10001) n;
        INSERT INTO caliber_trajectory (trajectory_id, name) VALUES (task(20000), 'a'), (task(20001), 'b');
        ANALYZE caliber_trajectory";
    let mut desks = desk::open(context, &[Engine::Heap, Engine::Sql], prepare)?;
    let mut shown = Vec::new();
    for desk in &mut desks {
        let began = Instant::now();
        let call = |id: u32, parent: u32| {
            format!("SELECT caliber_trajectory_update(task({id}), jsonb_build_object('parent_trajectory_id', task({parent})))")
        };
        // 10,000 ancestors.
        let answer = desk.session.value(&call(20000, 10000))?;
        ensure!(
            answer.as_deref() == Some("t"),
            "{}: {answer:?}",
            desk.engine.name()
        );
        // 10,001.
        let error = desk.session.error(&call(20001, 10001))?;
        ensure!(error.sqlstate == "54000", "{}: {error}", desk.engine.name());
        // The ring is closed at the far end.
        let error = desk.session.error(&call(2, 10001))?;
        ensure!(error.sqlstate == "23514", "{}: {error}", desk.engine.name());
        // 10,001 below.
        let answer = desk.session.value(&call(1, 20001))?;
        ensure!(
            answer.as_deref() == Some("t"),
            "{}: {answer:?}",
            desk.engine.name()
        );
        let rooted = desk.session.value("SELECT count(*) FROM caliber_trajectory WHERE root_trajectory_id = task(20001) AND updated_at > created_at")?;
        ensure!(
            rooted.as_deref() == Some("10002"),
            "{}: {rooted:?}",
            desk.engine.name()
        );
        let time = began.elapsed();
        ensure!(time < PATIENCE, "{} takes {time:?}", desk.engine.name());
        // And it can be cancelled on the way, of which the walk is nearly all.
        let mut cancelled = false;
        for _ in 0..5 {
            let began = Instant::now();
            desk.session.error(&call(20001, 10001))?;
            let third = (began.elapsed().as_millis() / 3).max(1);
            desk.session
                .batch(&format!("SET statement_timeout = {third}"))?;
            cancelled |= desk
                .session
                .error(&call(20001, 10001))
                .is_ok_and(|error| error.sqlstate == "57014");
            desk.session.batch("SET statement_timeout = 0")?;
        }
        ensure!(
            cancelled,
            "{}: the walk cannot be cancelled",
            desk.engine.name()
        );
        shown.push(format!(
            "{} {:.1} s",
            desk.engine.name(),
            time.as_secs_f64()
        ));
    }
    Ok(Outcome::Passed(shown.join(", ")))
}

//! Acquire, release and upgrade at each level, undone or kept by savepoints in
//! every way, then committed or rolled back: what others may take meanwhile and
//! afterwards, the row, and the advisory locks, always agree.

use super::{acquired, fill, for_each, run, Stage};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};

/// All tests of this matrix.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::savepoints",
            "acquire, release and upgrade obey savepoints, commit and rollback at each level",
            matrix,
        ),
        Test::new(
            "locks::weakened",
            "an exclusive lock is weakened by releasing and acquiring in one transaction",
            weakened,
        ),
    ]
}

/// What others may not take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Nothing,
    Shared,
    Exclusive,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Acquire,
    Release,
    Upgrade,
}

impl Op {
    /// What is held before.
    fn before(self) -> Held {
        match self {
            Self::Acquire => Held::Nothing,
            Self::Release => Held::Exclusive,
            Self::Upgrade => Held::Shared,
        }
    }

    /// What is held if it is kept and committed.
    fn after(self) -> Held {
        match self {
            Self::Acquire | Self::Upgrade => Held::Exclusive,
            Self::Release => Held::Nothing,
        }
    }

    fn sql(self, level: &str) -> String {
        match self {
            Self::Acquire | Self::Upgrade => {
                format!("caliber_lock_acquire('@a', 'file', '@r', 60000, level => '{level}') IS NOT NULL")
            }
            Self::Release => {
                "caliber_lock_release((SELECT lock_id FROM caliber_lock WHERE resource_id = '@r'))"
                    .into()
            }
        }
    }
}

/// How the operation is wrapped, and whether it is kept.
const WRAPS: [(&str, bool); 7] = [
    ("SELECT #", true),
    ("SAVEPOINT s; SELECT #; ROLLBACK TO s", false),
    ("SAVEPOINT s; SELECT #; RELEASE s", true),
    ("SAVEPOINT o; SAVEPOINT i; SELECT #; RELEASE i; ROLLBACK TO o", false),
    ("SAVEPOINT o; SELECT #; SAVEPOINT i; SELECT 1; ROLLBACK TO i; RELEASE o", true),
    (
        "DO $$ BEGIN
            BEGIN IF NOT # THEN RAISE 'no'; END IF; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END;
        END $$",
        false,
    ),
    (
        "SAVEPOINT s; SELECT #; ROLLBACK TO s; SAVEPOINT s; SELECT #; RELEASE s",
        true,
    ),
];

fn matrix(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for level in ["lease", "session", "transaction"] {
            for op in [Op::Acquire, Op::Release, Op::Upgrade] {
                for (wrap, kept) in WRAPS {
                    for commits in [true, false] {
                        cell(stage, level, op, wrap, kept, commits).with_context(|| {
                            format!("{op:?} of level {level}, {wrap}, commits: {commits}")
                        })?;
                    }
                }
            }
        }
        Ok(())
    })
}

fn cell(
    stage: &mut Stage,
    level: &str,
    op: Op,
    wrap: &str,
    kept: bool,
    commits: bool,
) -> Result<()> {
    let before = match op.before() {
        Held::Nothing => String::new(),
        held => format!(
            "SELECT caliber_lock_acquire('@a', 'file', '@r', 60000, '{}', '{level}')",
            if held == Held::Shared {
                "shared"
            } else {
                "exclusive"
            }
        ),
    };
    let in_transaction = level == "transaction";
    if in_transaction {
        run(&mut stage.one, &format!("BEGIN; {before}"))?;
    } else {
        run(&mut stage.one, &before)?;
        run(&mut stage.one, "BEGIN")?;
    }
    run(&mut stage.one, &wrap.replace('#', &op.sql(level)))?;
    let meanwhile = match (op, kept) {
        (Op::Release, _) | (_, false) => op.before(),
        _ => op.after(),
    };
    let found = held(&mut stage.two)?;
    ensure!(found == meanwhile, "meanwhile {found:?}, not {meanwhile:?}");

    run(&mut stage.one, if commits { "COMMIT" } else { "ROLLBACK" })?;
    let afterwards = match (in_transaction, kept && commits) {
        (true, _) => Held::Nothing,
        (false, true) => op.after(),
        (false, false) => op.before(),
    };
    let found = held(&mut stage.two)?;
    ensure!(
        found == afterwards,
        "afterwards {found:?}, not {afterwards:?}"
    );
    let rows = stage.rows()?;
    ensure!(
        rows == if afterwards == Held::Nothing {
            "0"
        } else {
            "1"
        },
        "{rows} rows are left"
    );
    let advisory: &[&str] = match (level, afterwards) {
        ("session", Held::Exclusive) => &["1 ExclusiveLock", "3 ExclusiveLock"],
        ("session", Held::Shared) => &["1 ShareLock", "3 ExclusiveLock"],
        _ => &[],
    };
    stage.one_holds(advisory)?;
    run(
        &mut stage.one,
        "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
    )?;
    stage.one_holds(&[])
}

/// What another agent in another session can take of `@r`.
fn held(session: &mut Session) -> Result<Held> {
    let mut free = Vec::new();
    for mode in ["shared", "exclusive"] {
        session.batch("BEGIN")?;
        let id = session.value(&fill(&format!(
            "SELECT caliber_lock_acquire('@b', 'file', '@r', 60000, '{mode}')"
        )))?;
        session.batch("ROLLBACK")?;
        free.push(id.is_some());
    }
    Ok(match free.as_slice() {
        [true, true] => Held::Nothing,
        [true, false] => Held::Shared,
        _ => Held::Exclusive,
    })
}

fn weakened(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for level in ["lease", "session"] {
            for commits in [true, false] {
                let more = format!("level => '{level}'");
                let id = acquired(&mut stage.one, 'a', &more)?;
                // Asking for less keeps what there is.
                let same = acquired(&mut stage.one, 'a', &format!("{more}, mode => 'shared'"))?;
                ensure!(same == id, "another lock");
                ensure!(held(&mut stage.two)? == Held::Exclusive, "weakened at once");

                run(
                    &mut stage.one,
                    &format!("BEGIN; SELECT caliber_lock_release('{id}')"),
                )?;
                let other = acquired(&mut stage.one, 'a', &format!("{more}, mode => 'shared'"))?;
                ensure!(other != id, "the same lock");
                ensure!(held(&mut stage.two)? == Held::Exclusive, "free too early");
                run(&mut stage.one, if commits { "COMMIT" } else { "ROLLBACK" })?;
                let wanted = if commits {
                    Held::Shared
                } else {
                    Held::Exclusive
                };
                let found = held(&mut stage.two)?;
                ensure!(found == wanted, "{level}: {found:?}, not {wanted:?}");
                if level == "session" {
                    let mode = if commits {
                        "1 ShareLock"
                    } else {
                        "1 ExclusiveLock"
                    };
                    stage.one_holds(&[mode, "3 ExclusiveLock"])?;
                }
                run(
                    &mut stage.one,
                    "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
                )?;
                stage.one_holds(&[])?;
            }
        }
        Ok(())
    })
}

//! The schedules. Hermitage's table of two rows is here two scopes: `@8` with
//! a budget of 10 and `@9` with 20; conditions are lists and states.

/// One step of a session.
pub(super) enum Do {
    /// A read: our call, and the client's statement.
    Read(usize, &'static str, &'static str),
    /// A write: our call, and the client's statements, of which the last says
    /// whether a row was moved.
    Write(usize, &'static str, &'static str),
    /// The same for everybody.
    Plain(usize, &'static str),
}

impl Do {
    /// Whose step it is.
    pub(super) fn session(&self) -> usize {
        match self {
            Self::Read(session, ..) | Self::Write(session, ..) | Self::Plain(session, _) => {
                *session
            }
        }
    }
}

/// What a step must answer: its value, `t`, `f`, or an SQLSTATE.
type Expected = &'static [(usize, &'static str)];

/// The look at the rows when all is over.
pub(super) const END: usize = usize::MAX;

/// A schedule of up to three sessions, each in a transaction.
pub(super) struct Anomaly {
    /// Hermitage's name.
    pub(super) name: &'static str,
    /// The schedule.
    pub(super) steps: &'static [Do],
    /// What Hermitage says of READ COMMITTED.
    pub(super) committed: Expected,
    /// Of REPEATABLE READ.
    pub(super) repeatable: Expected,
    /// Of SERIALIZABLE.
    pub(super) serializable: Expected,
}

/// Tasks `@1` and `@2`, scopes `@8` and `@9` of `@1`.
pub(super) const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@1', 'one'), ('@2', 'two');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@8', '@1', 'a', 10), ('@9', '@1', 'b', 20)";

/// What is left: each scope with its budget, and each task with its state.
pub(super) const LOOK: &str = "SELECT string_agg(line, ' ') FROM (
    SELECT name || token_budget || left(is_active::text, 1) AS line FROM caliber_scope WHERE scope_id BETWEEN '@0' AND '@f'
    UNION ALL SELECT name || ' ' || status FROM caliber_trajectory WHERE trajectory_id BETWEEN '@0' AND '@f'
    ORDER BY 1) lines";

macro_rules! read {
    ($session:literal, $id:literal) => {
        Do::Read(
            $session,
            concat!("SELECT token_budget FROM caliber_scope_get('", $id, "')"),
            concat!(
                "SELECT x.token_budget FROM caliber_scope x WHERE scope_id = '",
                $id,
                "'"
            ),
        )
    };
}

macro_rules! set {
    ($session:literal, $id:literal, $value:literal) => {
        Do::Write(
            $session,
            concat!(
                "SELECT caliber_scope_update('",
                $id,
                "', '{\"token_budget\": ",
                $value,
                "}')"
            ),
            concat!(
                "UPDATE caliber_scope SET token_budget = ",
                $value,
                " WHERE scope_id = '",
                $id,
                "'"
            ),
        )
    };
}

/// All scopes of a task, with their budgets.
macro_rules! list {
    ($session:literal, $id:literal) => {
        Do::Read(
            $session,
            concat!("SELECT coalesce(string_agg(x.name || x.token_budget, ' '), 'none') FROM caliber_scope_list_by_trajectory('", $id, "') x"),
            concat!("SELECT coalesce(string_agg(x.name || x.token_budget, ' '), 'none') FROM (SELECT * FROM caliber_scope WHERE trajectory_id = '", $id, "' AND is_active IS NOT NULL ORDER BY scope_id) x"),
        )
    };
}

/// The newest open scope of a task.
macro_rules! current {
    ($session:literal, $id:literal) => {
        Do::Read(
            $session,
            concat!(
                "SELECT coalesce((SELECT x.name FROM caliber_scope_get_current('",
                $id,
                "') x), 'none')"
            ),
            concat!(
                "SELECT coalesce((SELECT x.name FROM caliber_scope x WHERE trajectory_id = '",
                $id,
                "' AND is_active ORDER BY scope_id DESC LIMIT 1), 'none')"
            ),
        )
    };
}

macro_rules! create {
    ($session:literal, $id:literal, $task:literal) => {
        Do::Write(
            $session,
            concat!(
                "SELECT caliber_scope_create('",
                $task,
                "', 'new', token_budget => 30, id => '",
                $id,
                "')"
            ),
            concat!(
                "INSERT INTO caliber_scope VALUES ('",
                $id,
                "', '",
                $task,
                "', NULL, 'new', NULL, true, now(), NULL, NULL, 30, 0, NULL)"
            ),
        )
    };
}

macro_rules! delete {
    ($session:literal, $id:literal) => {
        Do::Write(
            $session,
            concat!("SELECT caliber_scope_delete('", $id, "')"),
            concat!("DELETE FROM caliber_scope WHERE scope_id = '", $id, "'"),
        )
    };
}

/// A verb writes under a condition: only what is open is closed.
macro_rules! close {
    ($session:literal, $id:literal) => {
        Do::Write(
            $session,
            concat!("SELECT caliber_scope_close('", $id, "')"),
            concat!("SELECT x FROM caliber_scope x WHERE scope_id = '", $id, "'; UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '", $id, "' AND is_active IS NOT DISTINCT FROM true"),
        )
    };
}

/// A verb that moves a task from `active`.
macro_rules! complete {
    ($session:literal, $id:literal) => {
        Do::Write(
            $session,
            concat!("SELECT caliber_trajectory_set_status('", $id, "', 'completed')"),
            concat!("SELECT x FROM caliber_trajectory x WHERE trajectory_id = '", $id, "'; UPDATE caliber_trajectory SET status = 'completed', updated_at = now(), completed_at = now() WHERE trajectory_id = '", $id, "' AND status IS NOT DISTINCT FROM 'active'"),
        )
    };
}

const COMMIT_0: Do = Do::Plain(0, "COMMIT");
const COMMIT_1: Do = Do::Plain(1, "COMMIT");
const COMMIT_2: Do = Do::Plain(2, "COMMIT");
const ABORT_0: Do = Do::Plain(0, "ROLLBACK");

/// All of them.
pub(super) const ANOMALIES: &[Anomaly] = &[
    Anomaly {
        name: "G0: write cycles",
        steps: &[
            set!(0, "@8", 11),
            set!(1, "@8", 12),
            set!(0, "@9", 21),
            COMMIT_0,
            list!(0, "@1"),
            set!(1, "@9", 22),
            COMMIT_1,
        ],
        committed: &[
            (1, "t"),
            (4, "a11 b21"),
            (END, "a12t b22t one active two active"),
        ],
        repeatable: &[
            (1, "40001"),
            (5, "25P02"),
            (END, "a11t b21t one active two active"),
        ],
        serializable: &[
            (1, "40001"),
            (5, "25P02"),
            (END, "a11t b21t one active two active"),
        ],
    },
    Anomaly {
        name: "G1a: aborted reads",
        steps: &[
            set!(0, "@8", 101),
            list!(1, "@1"),
            read!(1, "@8"),
            ABORT_0,
            list!(1, "@1"),
            read!(1, "@8"),
            COMMIT_1,
        ],
        committed: &[(1, "a10 b20"), (2, "10"), (4, "a10 b20"), (5, "10")],
        repeatable: &[(1, "a10 b20"), (2, "10"), (4, "a10 b20"), (5, "10")],
        serializable: &[(1, "a10 b20"), (2, "10"), (4, "a10 b20"), (5, "10")],
    },
    Anomaly {
        name: "G1b: intermediate reads",
        steps: &[
            set!(0, "@8", 101),
            read!(1, "@8"),
            set!(0, "@8", 11),
            COMMIT_0,
            read!(1, "@8"),
            COMMIT_1,
        ],
        committed: &[(1, "10"), (4, "11")],
        repeatable: &[(1, "10"), (4, "10")],
        serializable: &[(1, "10"), (4, "10")],
    },
    Anomaly {
        name: "G1c: circular information flow",
        steps: &[
            set!(0, "@8", 11),
            set!(1, "@9", 22),
            read!(0, "@9"),
            read!(1, "@8"),
            COMMIT_0,
            COMMIT_1,
        ],
        committed: &[(2, "20"), (3, "10"), (5, "nothing")],
        repeatable: &[(2, "20"), (3, "10"), (5, "nothing")],
        serializable: &[(2, "20"), (3, "10"), (4, "nothing"), (5, "40001")],
    },
    Anomaly {
        name: "OTV: observed transaction vanishes",
        steps: &[
            set!(0, "@8", 11),
            set!(0, "@9", 19),
            set!(1, "@8", 12),
            COMMIT_0,
            read!(2, "@8"),
            set!(1, "@9", 18),
            read!(2, "@9"),
            COMMIT_1,
            read!(2, "@9"),
            read!(2, "@8"),
            COMMIT_2,
        ],
        committed: &[(2, "t"), (4, "11"), (6, "19"), (8, "18"), (9, "12")],
        repeatable: &[(2, "40001"), (4, "11"), (6, "19"), (8, "19"), (9, "11")],
        serializable: &[(2, "40001"), (4, "11"), (6, "19"), (8, "19"), (9, "11")],
    },
    Anomaly {
        name: "PMP: predicate-many-preceders",
        steps: &[
            list!(0, "@2"),
            current!(0, "@2"),
            create!(1, "@5", "@2"),
            COMMIT_1,
            list!(0, "@2"),
            current!(0, "@2"),
            COMMIT_0,
        ],
        committed: &[(0, "none"), (4, "new30"), (5, "new")],
        repeatable: &[(0, "none"), (4, "none"), (5, "none")],
        serializable: &[(0, "none"), (4, "none"), (5, "none"), (6, "nothing")],
    },
    Anomaly {
        name: "PMP for writes: what a condition no longer holds for",
        steps: &[
            close!(0, "@8"),
            close!(1, "@8"),
            COMMIT_0,
            close!(1, "@9"),
            COMMIT_1,
        ],
        committed: &[(1, "f"), (3, "t"), (END, "a10f b20f one active two active")],
        repeatable: &[(1, "40001"), (END, "a10f b20t one active two active")],
        serializable: &[(1, "40001"), (END, "a10f b20t one active two active")],
    },
    Anomaly {
        name: "PMP for writes: what a condition holds for again",
        steps: &[complete!(0, "@1"), complete!(1, "@1"), ABORT_0, COMMIT_1],
        committed: &[(1, "t"), (END, "a10t b20t one completed two active")],
        repeatable: &[(1, "t"), (END, "a10t b20t one completed two active")],
        serializable: &[(1, "t"), (END, "a10t b20t one completed two active")],
    },
    Anomaly {
        name: "P4: lost update",
        steps: &[
            read!(0, "@8"),
            read!(1, "@8"),
            set!(0, "@8", 11),
            set!(1, "@8", 12),
            COMMIT_0,
            COMMIT_1,
        ],
        committed: &[(3, "t"), (END, "a12t b20t one active two active")],
        repeatable: &[(3, "40001"), (END, "a11t b20t one active two active")],
        serializable: &[(3, "40001"), (END, "a11t b20t one active two active")],
    },
    Anomaly {
        name: "P4: lost update, the other one has committed already",
        steps: &[
            read!(0, "@8"),
            read!(1, "@8"),
            set!(0, "@8", 11),
            COMMIT_0,
            set!(1, "@8", 12),
            COMMIT_1,
        ],
        committed: &[(4, "t"), (END, "a12t b20t one active two active")],
        repeatable: &[(4, "40001"), (END, "a11t b20t one active two active")],
        serializable: &[(4, "40001"), (END, "a11t b20t one active two active")],
    },
    Anomaly {
        name: "G-single: read skew",
        steps: &[
            read!(0, "@8"),
            read!(1, "@8"),
            read!(1, "@9"),
            set!(1, "@8", 12),
            set!(1, "@9", 18),
            COMMIT_1,
            read!(0, "@9"),
            COMMIT_0,
        ],
        committed: &[(0, "10"), (6, "18")],
        repeatable: &[(0, "10"), (6, "20")],
        serializable: &[(0, "10"), (6, "20"), (7, "nothing")],
    },
    Anomaly {
        name: "G-single: read skew through a condition",
        steps: &[
            current!(0, "@1"),
            close!(1, "@9"),
            set!(1, "@8", 12),
            COMMIT_1,
            current!(0, "@1"),
            list!(0, "@1"),
            COMMIT_0,
        ],
        committed: &[(0, "b"), (4, "a"), (5, "a12 b20")],
        repeatable: &[(0, "b"), (4, "b"), (5, "a10 b20")],
        serializable: &[(0, "b"), (4, "b"), (5, "a10 b20"), (6, "nothing")],
    },
    Anomaly {
        name: "G-single: read skew, then a delete of what was changed",
        steps: &[
            read!(0, "@8"),
            list!(1, "@1"),
            set!(1, "@8", 12),
            set!(1, "@9", 18),
            COMMIT_1,
            delete!(0, "@9"),
            COMMIT_0,
        ],
        committed: &[(5, "t"), (END, "a12t one active two active")],
        repeatable: &[(5, "40001"), (END, "a12t b18t one active two active")],
        serializable: &[(5, "40001"), (END, "a12t b18t one active two active")],
    },
    Anomaly {
        name: "G-single: read skew, then a write under a condition",
        steps: &[
            read!(0, "@8"),
            set!(1, "@8", 12),
            close!(1, "@9"),
            COMMIT_1,
            close!(0, "@9"),
            COMMIT_0,
        ],
        committed: &[(4, "f"), (END, "a12t b20f one active two active")],
        repeatable: &[(4, "40001"), (END, "a12t b20f one active two active")],
        serializable: &[(4, "40001"), (END, "a12t b20f one active two active")],
    },
    Anomaly {
        name: "G-single: a delete that is taken back",
        steps: &[
            read!(0, "@8"),
            list!(1, "@1"),
            set!(1, "@8", 12),
            delete!(0, "@9"),
            set!(1, "@9", 18),
            ABORT_0,
            COMMIT_1,
        ],
        committed: &[(4, "t"), (END, "a12t b18t one active two active")],
        repeatable: &[(4, "t"), (END, "a12t b18t one active two active")],
        serializable: &[(4, "t"), (END, "a12t b18t one active two active")],
    },
    Anomaly {
        name: "G2-item: write skew",
        steps: &[
            list!(0, "@1"),
            read!(0, "@9"),
            list!(1, "@1"),
            read!(1, "@8"),
            set!(0, "@8", 11),
            set!(1, "@9", 21),
            COMMIT_0,
            COMMIT_1,
        ],
        committed: &[(7, "nothing"), (END, "a11t b21t one active two active")],
        repeatable: &[(7, "nothing"), (END, "a11t b21t one active two active")],
        serializable: &[
            (6, "nothing"),
            (7, "40001"),
            (END, "a11t b20t one active two active"),
        ],
    },
    Anomaly {
        name: "G2: write skew through a condition",
        steps: &[
            list!(0, "@2"),
            list!(1, "@2"),
            create!(0, "@5", "@2"),
            create!(1, "@6", "@2"),
            COMMIT_0,
            COMMIT_1,
        ],
        committed: &[(5, "nothing")],
        repeatable: &[(5, "nothing")],
        serializable: &[(4, "nothing"), (5, "40001")],
    },
    Anomaly {
        name: "G2: two edges, one of them from a reader",
        steps: &[
            list!(0, "@1"),
            set!(1, "@9", 25),
            COMMIT_1,
            list!(2, "@1"),
            COMMIT_2,
            set!(0, "@8", 5),
            COMMIT_0,
        ],
        committed: &[
            (3, "a10 b25"),
            (6, "nothing"),
            (END, "a5t b25t one active two active"),
        ],
        repeatable: &[
            (3, "a10 b25"),
            (6, "nothing"),
            (END, "a5t b25t one active two active"),
        ],
        serializable: &[
            (3, "a10 b25"),
            (5, "40001"),
            (END, "a10t b25t one active two active"),
        ],
    },
];

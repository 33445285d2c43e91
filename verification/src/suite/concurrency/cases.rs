//! The schedules of two sessions on the same rows. Session 2 prepares and looks.

/// A session and what it sends: a call of ours, and the client's statements
/// for it; plain SQL has no second form. `@8` is an id.
pub(super) type Do = (usize, &'static str, &'static str);

/// A schedule. Sessions 0 and 1 are in a transaction each.
pub(super) struct Case {
    /// In a few words.
    pub(super) name: &'static str,
    /// The schedule.
    pub(super) steps: &'static [Do],
    /// What a step must answer at READ COMMITTED (`t`, `f`, an SQLSTATE).
    pub(super) committed: &'static [(usize, &'static str)],
    /// And at REPEATABLE READ.
    pub(super) repeatable: &'static [(usize, &'static str)],
    /// Which steps wait.
    pub(super) waits: &'static [usize],
    /// Steps that no plain statement can answer.
    pub(super) ours: &'static [usize],
}

/// Tasks `@1` and `@2`, scopes `@8` and `@9` of `@1`.
pub(super) const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@1', 'one'), ('@2', 'two');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@8', '@1', 'eight', 8), ('@9', '@1', 'nine', 9)";

const CLOSE: (&str, &str) = (
    "caliber_scope_close('@8')",
    "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true",
);
const RENAME: (&str, &str) = (
    "caliber_scope_update('@8', '{\"name\": \"a\"}')",
    "UPDATE caliber_scope SET name = 'a' WHERE scope_id = '@8'",
);
const PURPOSE: (&str, &str) = (
    "caliber_scope_update('@8', '{\"purpose\": \"b\"}')",
    "UPDATE caliber_scope SET purpose = 'b' WHERE scope_id = '@8'",
);
const TOKENS: (&str, &str) = (
    "caliber_scope_update_tokens('@8', 7)",
    "UPDATE caliber_scope SET tokens_used = 7 WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true",
);
const TOKENS_9: (&str, &str) = (
    "caliber_scope_update_tokens('@9', 7)",
    "UPDATE caliber_scope SET tokens_used = 7 WHERE scope_id = '@9' AND is_active IS NOT DISTINCT FROM true",
);
const DELETE: (&str, &str) = (
    "caliber_scope_delete('@8')",
    "DELETE FROM caliber_scope WHERE scope_id = '@8'",
);
const NEW_KEY: &str = "UPDATE caliber_scope SET scope_id = '@7' WHERE scope_id = '@8'";
const SCOPE: (&str, &str) = (
    "caliber_scope_create('@2', 'new', id => '@5')",
    "INSERT INTO caliber_scope VALUES ('@5', '@2', NULL, 'new', NULL, true, now(), NULL, NULL, 8000, 0, NULL)",
);
const TASK_DELETE: (&str, &str) = (
    "caliber_trajectory_delete('@2')",
    "DELETE FROM caliber_trajectory WHERE trajectory_id = '@2'",
);
const TASK_RENAME: (&str, &str) = (
    "caliber_trajectory_update('@2', '{\"name\": \"n\"}')",
    "UPDATE caliber_trajectory SET name = 'n', updated_at = now() WHERE trajectory_id = '@2'",
);
const TASK_CHILD: (&str, &str) = (
    "caliber_trajectory_create('child', parent_trajectory_id => '@2', id => '@3')",
    "INSERT INTO caliber_trajectory VALUES ('@3', 'child', NULL, 'active', '@2', '@2', NULL, now(), now(), NULL, NULL, NULL)",
);
const FAIL: (&str, &str) = (
    "caliber_trajectory_set_status('@1', 'failed')",
    "UPDATE caliber_trajectory SET status = 'failed', updated_at = now(), completed_at = now() WHERE trajectory_id = '@1' AND status IS NOT DISTINCT FROM 'active';
    UPDATE caliber_trajectory SET status = 'failed', updated_at = now(), completed_at = now() WHERE trajectory_id = '@1' AND status IS NOT DISTINCT FROM 'suspended'",
);
const SUSPEND: (&str, &str) = (
    "caliber_trajectory_set_status('@1', 'suspended')",
    "UPDATE caliber_trajectory SET status = 'suspended', updated_at = now() WHERE trajectory_id = '@1' AND status IS NOT DISTINCT FROM 'active'",
);
const COMPLETE: (&str, &str) = (
    "caliber_trajectory_set_status('@1', 'completed')",
    "UPDATE caliber_trajectory SET status = 'completed', updated_at = now(), completed_at = now() WHERE trajectory_id = '@1' AND status IS NOT DISTINCT FROM 'active'",
);
const TRIGGER: &str = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.metadata := to_jsonb(format('%s %s %s to %s %s %s', OLD.name, OLD.purpose, OLD.is_active, NEW.name, NEW.purpose, NEW.is_active)); RETURN NEW; END $$;
    CREATE TRIGGER note BEFORE UPDATE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION note()";
const NO_TRIGGER: &str = "DROP FUNCTION note CASCADE";

const fn one(session: usize, (call, client): (&'static str, &'static str)) -> Do {
    (session, call, client)
}

const fn plain(session: usize, sql: &'static str) -> Do {
    (session, sql, "")
}

const END_0: Do = plain(0, "COMMIT");
const END_1: Do = plain(1, "COMMIT");
const BACK_0: Do = plain(0, "ROLLBACK");

/// Session 0 does something, session 1 waits for it.
const fn pair(
    name: &'static str,
    steps: &'static [Do],
    committed: &'static [(usize, &'static str)],
    repeatable: &'static [(usize, &'static str)],
) -> Case {
    Case {
        name,
        steps,
        committed,
        repeatable,
        waits: &[1],
        ours: &[],
    }
}

/// All schedules.
pub(super) const CASES: &[Case] = &[
    pair(
        "two closes",
        &[one(0, CLOSE), one(1, CLOSE), END_0, END_1],
        &[(0, "t"), (1, "f")],
        &[(0, "t"), (1, "40001")],
    ),
    pair(
        "two closes, one rolled back",
        &[one(0, CLOSE), one(1, CLOSE), BACK_0, END_1],
        &[(1, "t")],
        &[(1, "t")],
    ),
    pair(
        "close and tokens",
        &[one(0, TOKENS), one(1, CLOSE), END_0, END_1],
        &[(1, "t")],
        &[(1, "40001")],
    ),
    Case {
        ours: &[1],
        ..pair(
            "tokens for a scope that is being closed",
            &[one(0, CLOSE), one(1, TOKENS), END_0, END_1],
            &[(1, "55000")],
            &[(1, "40001")],
        )
    },
    pair(
        "two moves of a task, one after the other",
        &[one(0, SUSPEND), one(1, FAIL), END_0, END_1],
        &[(1, "t")],
        &[(1, "40001")],
    ),
    Case {
        ours: &[1],
        ..pair(
            "two moves of a task that exclude each other",
            &[one(0, FAIL), one(1, COMPLETE), END_0, END_1],
            &[(1, "55000")],
            &[(1, "40001")],
        )
    },
    Case {
        ours: &[1],
        ..pair(
            "the same move twice",
            &[one(0, SUSPEND), one(1, SUSPEND), END_0, END_1],
            &[(1, "t")],
            &[(1, "40001")],
        )
    },
    pair(
        "two updates",
        &[one(0, RENAME), one(1, PURPOSE), END_0, END_1],
        &[(1, "t")],
        &[(1, "40001")],
    ),
    Case {
        waits: &[4],
        ..pair(
            "an update after several",
            &[
                one(0, RENAME),
                one(0, TOKENS),
                plain(0, "SAVEPOINT s"),
                one(0, PURPOSE),
                one(1, CLOSE),
                plain(0, "ROLLBACK TO s"),
                END_0,
                END_1,
            ],
            &[(4, "t")],
            &[(4, "40001")],
        )
    },
    pair(
        "an update of a row that is being deleted",
        &[one(0, DELETE), one(1, RENAME), END_0, END_1],
        &[(1, "f")],
        &[(1, "40001")],
    ),
    pair(
        "a close of a row that is being deleted",
        &[one(0, DELETE), one(1, CLOSE), END_0, END_1],
        &[(1, "f")],
        &[(1, "40001")],
    ),
    pair(
        "a delete of a row that is being updated",
        &[one(0, RENAME), one(1, DELETE), END_0, END_1],
        &[(1, "t")],
        &[(1, "40001")],
    ),
    pair(
        "two deletes",
        &[one(0, DELETE), one(1, DELETE), END_0, END_1],
        &[(1, "f")],
        &[(1, "40001")],
    ),
    Case {
        waits: &[2],
        ..pair(
            "two updates under a trigger",
            &[
                plain(2, TRIGGER),
                one(0, RENAME),
                one(1, PURPOSE),
                END_0,
                END_1,
                plain(2, NO_TRIGGER),
            ],
            &[(2, "t")],
            &[(2, "40001")],
        )
    },
    Case {
        waits: &[2],
        ..pair(
            "two closes under a trigger",
            &[
                plain(2, TRIGGER),
                one(0, CLOSE),
                one(1, CLOSE),
                END_0,
                END_1,
                plain(2, NO_TRIGGER),
            ],
            &[(2, "f")],
            &[(2, "40001")],
        )
    },
    Case {
        waits: &[2],
        ..pair(
            "an update of a row that gets another key, under a trigger",
            &[
                plain(2, TRIGGER),
                plain(0, NEW_KEY),
                one(1, RENAME),
                END_0,
                END_1,
                plain(2, NO_TRIGGER),
            ],
            &[(2, "f")],
            &[(2, "40001")],
        )
    },
    pair(
        "an update of a row that gets another key",
        &[plain(0, NEW_KEY), one(1, RENAME), END_0, END_1],
        &[(1, "f")],
        &[(1, "40001")],
    ),
    pair(
        "a close of a row that gets another key",
        &[plain(0, NEW_KEY), one(1, CLOSE), END_0, END_1],
        &[(1, "f")],
        &[(1, "40001")],
    ),
    pair(
        "a delete of a row that gets another key",
        &[plain(0, NEW_KEY), one(1, DELETE), END_0, END_1],
        &[(1, "f")],
        &[(1, "40001")],
    ),
    pair(
        "a scope of a task that is being deleted",
        &[one(0, TASK_DELETE), one(1, SCOPE), END_0, END_1],
        &[(1, "23503")],
        &[(1, "40001")],
    ),
    pair(
        "deleting a task that gets a scope",
        &[one(0, SCOPE), one(1, TASK_DELETE), END_0, END_1],
        &[(1, "23503")],
        &[(1, "23503")],
    ),
    pair(
        "deleting a task that gets none after all",
        &[one(0, SCOPE), one(1, TASK_DELETE), BACK_0, END_1],
        &[(1, "t")],
        &[(1, "t")],
    ),
    pair(
        "a child of a task that is being deleted",
        &[one(0, TASK_DELETE), one(1, TASK_CHILD), END_0, END_1],
        &[(1, "23503")],
        &[(1, "40001")],
    ),
    pair(
        "deleting a task that gets a child",
        &[one(0, TASK_CHILD), one(1, TASK_DELETE), END_0, END_1],
        &[(1, "23503")],
        &[(1, "23503")],
    ),
    Case {
        waits: &[],
        ..pair(
            "a scope of a task that is being renamed",
            &[one(0, TASK_RENAME), one(1, SCOPE), END_1, END_0],
            &[(1, "t")],
            &[(1, "t")],
        )
    },
    Case {
        waits: &[],
        ..pair(
            "renaming a task that gets a scope",
            &[one(0, SCOPE), one(1, TASK_RENAME), END_1, END_0],
            &[(1, "t")],
            &[(1, "t")],
        )
    },
    Case {
        waits: &[],
        ..pair(
            "a scope of a task that was renamed since",
            &[one(0, TASK_RENAME), END_0, one(1, SCOPE), END_1],
            &[(2, "t")],
            &[(2, "t")],
        )
    },
    Case {
        waits: &[],
        ..pair(
            "a child of a task that is being renamed",
            &[one(0, TASK_RENAME), one(1, TASK_CHILD), END_1, END_0],
            &[(1, "t")],
            &[(1, "t")],
        )
    },
    pair(
        "the same id twice",
        &[one(0, SCOPE), one(1, SCOPE), END_0, END_1],
        &[(1, "23505")],
        &[(1, "23505")],
    ),
    pair(
        "the same id twice, one rolled back",
        &[one(0, SCOPE), one(1, SCOPE), BACK_0, END_1],
        &[(1, "t")],
        &[(1, "t")],
    ),
    Case {
        waits: &[2, 3],
        ..pair(
            "a deadlock",
            &[
                one(0, TOKENS),
                one(1, TOKENS_9),
                one(0, TOKENS_9),
                one(1, TOKENS),
                END_0,
                END_1,
            ],
            &[(2, "t"), (3, "40P01")],
            &[(2, "t"), (3, "40P01")],
        )
    },
    Case {
        waits: &[2],
        ..pair(
            "a lock timeout",
            &[
                one(0, RENAME),
                plain(1, "SAVEPOINT s; SET LOCAL lock_timeout = '30ms'"),
                one(1, CLOSE),
                plain(1, "ROLLBACK TO s"),
                plain(2, LEFT),
                END_0,
                END_1,
            ],
            &[(2, "55P03"), (4, "0")],
            &[(2, "55P03"), (4, "0")],
        )
    },
    Case {
        waits: &[2],
        ..pair(
            "a statement timeout",
            &[
                one(0, RENAME),
                plain(1, "SAVEPOINT s; SET LOCAL statement_timeout = '60ms'"),
                one(1, DELETE),
                plain(1, "ROLLBACK TO s"),
                plain(2, LEFT),
                END_0,
                END_1,
            ],
            &[(2, "57014"), (4, "0")],
            &[(2, "57014"), (4, "0")],
        )
    },
    Case {
        waits: &[2],
        ..pair(
            "a cancel",
            &[
                one(0, TASK_DELETE),
                plain(1, "SAVEPOINT s"),
                one(1, SCOPE),
                plain(2, CANCEL),
                plain(1, "ROLLBACK TO s"),
                plain(2, LEFT),
                BACK_0,
                END_1,
            ],
            &[(2, "57014"), (5, "0")],
            &[(2, "57014"), (5, "0")],
        )
    },
    Case {
        waits: &[1],
        ..pair(
            "a transaction that is rolled back after a cancel",
            &[
                one(0, RENAME),
                one(1, PURPOSE),
                plain(2, CANCEL),
                plain(1, "ROLLBACK"),
                plain(2, LEFT),
                END_0,
            ],
            &[(1, "57014"), (4, "0")],
            &[(1, "57014"), (4, "0")],
        )
    },
];

/// What session 1 still holds that a wait or a call left: not its own
/// transaction, and not what was there before.
const LEFT: &str = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE application_name = 'worker 1'
    AND datname = current_database() AND locktype NOT IN ('virtualxid', 'transactionid')";

const CANCEL: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'worker 1' AND datname = current_database()";

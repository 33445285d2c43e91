//! Who is parked where, who comes by, and what becomes of both.

/// What a session does.
pub(in crate::suite::waits) enum Does {
    /// A call of ours, and the client's statements for it, if it is judged by them.
    Call(&'static str, &'static str),
    /// The same for everybody.
    Sql(&'static str),
}

impl Does {
    pub(in crate::suite::waits) fn is_sql(&self) -> bool {
        matches!(self, Self::Sql(_))
    }
}

/// The answers of the call and of the other one: `t`, `f`, `done`, an SQLSTATE.
type Answers = (&'static str, &'static str);

/// A call that is parked, and another session that comes by.
pub(in crate::suite::waits) struct Race {
    /// In a few words.
    pub(in crate::suite::waits) name: &'static str,
    /// Where the call is parked.
    pub(in crate::suite::waits) point: &'static str,
    /// The call.
    pub(in crate::suite::waits) call: Does,
    /// What the other one does.
    pub(in crate::suite::waits) other: Does,
    /// It cannot be part of a transaction.
    pub(in crate::suite::waits) alone: bool,
    /// It waits for the call's transaction.
    pub(in crate::suite::waits) other_waits: bool,
    /// It does not find the call begun, and commits before the call goes on.
    pub(in crate::suite::waits) other_first: bool,
    /// Plain SQL in that order gives the same.
    pub(in crate::suite::waits) judged: bool,
    /// At READ COMMITTED.
    pub(in crate::suite::waits) committed: Answers,
    /// At REPEATABLE READ.
    pub(in crate::suite::waits) repeatable: Answers,
    /// What there must be besides the rows.
    pub(in crate::suite::waits) prepare: &'static str,
    /// What takes away what was made.
    pub(in crate::suite::waits) undo: &'static str,
}

/// The other one does not find the call begun.
pub(super) const fn passes(
    name: &'static str,
    point: &'static str,
    call: Does,
    other: Does,
    committed: Answers,
    repeatable: Answers,
) -> Race {
    Race {
        name,
        point,
        call,
        other,
        alone: false,
        other_waits: false,
        other_first: true,
        judged: true,
        committed,
        repeatable,
        prepare: "",
        undo: "",
    }
}

/// The other one waits until the call's transaction is over.
const fn waits(
    name: &'static str,
    point: &'static str,
    call: Does,
    other: Does,
    committed: Answers,
    repeatable: Answers,
) -> Race {
    Race {
        other_waits: true,
        other_first: false,
        ..passes(name, point, call, other, committed, repeatable)
    }
}

/// No statement of the client does the same.
pub(in crate::suite::waits) const fn ours(race: Race) -> Race {
    Race {
        judged: false,
        ..race
    }
}

/// The other one changes the table itself, after the call's transaction.
pub(super) const fn ddl(
    point: &'static str,
    call: Does,
    sql: &'static str,
    undo: &'static str,
) -> Race {
    Race {
        undo,
        ..waits(
            sql,
            point,
            call,
            Does::Sql(sql),
            ("t", "done"),
            ("t", "done"),
        )
    }
}

/// As [`ddl`], for what runs in no transaction.
pub(super) const fn concurrently(
    point: &'static str,
    call: Does,
    sql: &'static str,
    undo: &'static str,
) -> Race {
    Race {
        alone: true,
        ..ddl(point, call, sql, undo)
    }
}

const CREATE: Does = Does::Call(
    "caliber_scope_create('@2', 'new', id => '@5')",
    "INSERT INTO caliber_scope VALUES ('@5', '@2', NULL, 'new', NULL, true, now(), NULL, NULL, 8000, 0, NULL)",
);
const CHILD: Does = Does::Call(
    "caliber_trajectory_create('child', parent_trajectory_id => '@2', id => '@7')",
    "INSERT INTO caliber_trajectory VALUES ('@7', 'child', NULL, 'active', '@2', '@2', NULL, now(), now(), NULL, NULL, NULL)",
);
pub(in crate::suite::waits) const NO_PARENT: Does = Does::Call(
    "caliber_trajectory_delete('@2')",
    "DELETE FROM caliber_trajectory WHERE trajectory_id = '@2'",
);
const RENAMED_PARENT: Does = Does::Call(
    "caliber_trajectory_update('@2', '{\"name\": \"n\"}')",
    "UPDATE caliber_trajectory SET name = 'n', updated_at = now() WHERE trajectory_id = '@2'",
);
const PURPOSE: Does = Does::Call(
    "caliber_scope_update('@8', '{\"purpose\": \"b\"}')",
    "UPDATE caliber_scope SET purpose = 'b' WHERE scope_id = '@8'",
);
const RENAME: Does = Does::Call(
    "caliber_scope_update('@8', '{\"name\": \"a\"}')",
    "UPDATE caliber_scope SET name = 'a' WHERE scope_id = '@8'",
);
const CLOSE: Does = Does::Call(
    "caliber_scope_close('@8')",
    "SELECT x FROM caliber_scope x WHERE scope_id = '@8';
     UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true",
);
const DELETE: Does = Does::Call(
    "caliber_scope_delete('@8')",
    "DELETE FROM caliber_scope WHERE scope_id = '@8'",
);
const ACCEPT: Does = Does::Call(
    "caliber_delegation_accept('@d', '@b')",
    "SELECT x FROM caliber_delegation x WHERE delegation_id = '@d';
     WITH u AS (UPDATE caliber_delegation SET status = 'accepted', delegatee_agent_id = '@b', accepted_at = now(), child_trajectory_id = '@6'
        WHERE delegation_id = '@d' AND status IS NOT DISTINCT FROM 'pending' RETURNING 1)
     INSERT INTO caliber_trajectory SELECT '@6', 'work', NULL, 'active', '@1', '@1', '@b', now(), now(), NULL, NULL, NULL FROM u",
);
const ACCEPT_TOO: Does = Does::Call(
    "caliber_delegation_accept('@d', '@f')",
    "SELECT x FROM caliber_delegation x WHERE delegation_id = '@d';
     WITH u AS (UPDATE caliber_delegation SET status = 'accepted', delegatee_agent_id = '@f', accepted_at = now(), child_trajectory_id = '@7'
        WHERE delegation_id = '@d' AND status IS NOT DISTINCT FROM 'pending' RETURNING 1)
     INSERT INTO caliber_trajectory SELECT '@7', 'work', NULL, 'active', '@1', '@1', '@f', now(), now(), NULL, NULL, NULL FROM u",
);
const BEAT: Does = Does::Call(
    "caliber_agent_heartbeat('@a')",
    "UPDATE caliber_agent SET last_heartbeat = clock_timestamp() WHERE agent_id = '@a'",
);
const RECEIVE: Does = Does::Call("caliber_message_receive('@b')", "");
const PURGE: Does = Does::Call("caliber_message_purge('2020-01-01')", "");
const ACQUIRE: Does = Does::Call("caliber_lock_acquire('@b', 'file', '@1')", "");
const ACQUIRE_TOO: Does = Does::Call("caliber_lock_acquire('@f', 'file', '@1')", "");
const TURN: Does = Does::Call("caliber_turn_create('@8', NULL, 'user', 'one')", "");
const TURN_TOO: Does = Does::Call("caliber_turn_create('@8', NULL, 'user', 'two')", "");
const TURN_ZERO: Does = Does::Call("caliber_turn_create('@8', 0, 'user', 'two')", "");
const MOVE: Does = Does::Call(
    "caliber_trajectory_update('@2', '{\"parent_trajectory_id\": \"@1\"}')",
    "",
);
const MOVE_BACK: Does = Does::Call(
    "caliber_trajectory_update('@1', '{\"parent_trajectory_id\": \"@2\"}')",
    "",
);

/// Before the key's check takes its lock, the parent may go.
pub(in crate::suite::waits) const fn orphan_of(
    point: &'static str,
    call: Does,
    parent: Does,
) -> Race {
    passes(
        "a parent that is deleted",
        point,
        call,
        parent,
        ("23503", "t"),
        ("40001", "t"),
    )
}

const fn orphan(point: &'static str, call: Does) -> Race {
    orphan_of(point, call, NO_PARENT)
}

const fn renamed(point: &'static str) -> Race {
    passes(
        "a parent that is renamed",
        point,
        CREATE,
        RENAMED_PARENT,
        ("t", "t"),
        ("t", "t"),
    )
}

const fn both(point: &'static str, call: Does) -> Race {
    passes(
        "an update of the same row",
        point,
        call,
        RENAME,
        ("t", "t"),
        ("40001", "t"),
    )
}

const fn gone(point: &'static str, call: Does) -> Race {
    passes(
        "a delete of the same row",
        point,
        call,
        DELETE,
        ("f", "t"),
        ("40001", "t"),
    )
}

const fn one_winner(point: &'static str, call: Does, other: Does) -> Race {
    passes(
        "the same verb",
        point,
        call,
        other,
        ("f", "t"),
        ("40001", "t"),
    )
}

const fn one_loser(point: &'static str, call: Does, other: Does) -> Race {
    waits(
        "the same verb, which comes too late",
        point,
        call,
        other,
        ("t", "f"),
        ("t", "40001"),
    )
}

const fn late(point: &'static str, call: Does, other: Does) -> Race {
    waits(
        "a change of the same row, which comes too late",
        point,
        call,
        other,
        ("t", "t"),
        ("t", "40001"),
    )
}

/// Nobody waits, and the other one finds nothing to do.
const fn busy(point: &'static str, call: Does, other: Does) -> Race {
    ours(Race {
        other_first: false,
        ..passes(
            "the same, for which nobody waits",
            point,
            call,
            other,
            ("t", "f"),
            ("t", "f"),
        )
    })
}

const INDEX: &str = "CREATE INDEX extra ON caliber_scope (name, purpose)";
/// After a rewrite, which leaves no HOT chains: an index made over one that somebody, in
/// whatever database, may still see is left to SQL at first, which has no wait points.
const INDEX_ANEW: &str =
    "CLUSTER caliber_scope USING caliber_scope_pkey; CREATE INDEX extra ON caliber_scope (name, purpose)";
const NO_INDEX: &str = "DROP INDEX extra";

/// All of them.
pub(in crate::suite::waits) const RACES: &[Race] = &[
    // A parent is deleted, or changed, while a child comes.
    orphan("insert.before_heap", CREATE),
    orphan("insert.after_heap", CREATE),
    orphan("insert.after_index", CREATE),
    orphan("statement.queued", CREATE),
    orphan("insert.after_heap", CHILD),
    orphan("statement.queued", CHILD),
    waits(
        "a parent that is to be deleted",
        "statement.checked",
        CREATE,
        NO_PARENT,
        ("t", "23503"),
        ("t", "23503"),
    ),
    renamed("insert.before_heap"),
    renamed("insert.after_heap"),
    renamed("statement.queued"),
    renamed("statement.checked"),
    waits(
        "the same id",
        "insert.after_index",
        CREATE,
        CREATE,
        ("t", "23505"),
        ("t", "23505"),
    ),
    passes(
        "the same id, which is there before",
        "insert.after_heap",
        CREATE,
        CREATE,
        ("23505", "t"),
        ("23505", "t"),
    ),
    // The same row.
    both("update.found", PURPOSE),
    both("update.before_heap", PURPOSE),
    both("verb.decided", CLOSE),
    both("delete.found", DELETE),
    gone("update.found", PURPOSE),
    gone("verb.decided", CLOSE),
    gone("delete.found", DELETE),
    one_winner("verb.decided", CLOSE, CLOSE),
    one_winner("update.before_heap", CLOSE, CLOSE),
    one_loser("update.after_heap", CLOSE, CLOSE),
    one_loser("update.after_index", CLOSE, CLOSE),
    one_loser("delete.after_heap", DELETE, CLOSE),
    late("update.after_heap", PURPOSE, RENAME),
    late("statement.queued", PURPOSE, RENAME),
    late("update.after_index", CLOSE, DELETE),
    passes(
        "two heartbeats",
        "update.found",
        BEAT,
        BEAT,
        ("t", "t"),
        ("40001", "t"),
    ),
    late("update.after_heap", BEAT, BEAT),
    one_winner("accept.decided", ACCEPT, ACCEPT_TOO),
    one_loser("update.after_heap", ACCEPT, ACCEPT_TOO),
    one_loser("accept.moved", ACCEPT, ACCEPT_TOO),
    one_loser("statement.checked", ACCEPT, ACCEPT_TOO),
    // For these nobody waits.
    busy("claim.locked", RECEIVE, RECEIVE),
    busy("statement.queued", RECEIVE, RECEIVE),
    busy("purge.locked", PURGE, PURGE),
    busy("acquire.locked", ACQUIRE, ACQUIRE_TOO),
    busy("acquire.decided", ACQUIRE, ACQUIRE_TOO),
    busy("insert.after_heap", ACQUIRE, ACQUIRE_TOO),
    ours(passes(
        "a purge of the lock that is in the way",
        "acquire.decided",
        ACQUIRE,
        Does::Call("caliber_lock_purge_expired()", ""),
        ("f", "t"),
        ("f", "t"),
    )),
    // Numbers and trees have locks of their own.
    ours(waits(
        "another turn",
        "turn.numbered",
        TURN,
        TURN_TOO,
        ("t", "t"),
        ("t", "t"),
    )),
    ours(passes(
        "a turn with that number",
        "turn.numbered",
        TURN,
        TURN_ZERO,
        ("23505", "t"),
        ("23505", "t"),
    )),
    ours(passes(
        "the scope is closed",
        "turn.numbered",
        TURN,
        CLOSE,
        ("t", "t"),
        ("t", "t"),
    )),
    ours(passes(
        "the scope is deleted",
        "turn.numbered",
        TURN,
        DELETE,
        ("23503", "t"),
        ("40001", "t"),
    )),
    ours(waits(
        "a move that would make a cycle",
        "tree.locked",
        MOVE,
        MOVE_BACK,
        ("t", "23514"),
        ("t", "40001"),
    )),
    // The table itself.
    ddl(
        "insert.before_heap",
        CREATE,
        "TRUNCATE caliber_scope CASCADE",
        "",
    ),
    ddl(
        "insert.after_heap",
        CREATE,
        "TRUNCATE caliber_scope CASCADE",
        "",
    ),
    ddl("update.found", CLOSE, "TRUNCATE caliber_scope CASCADE", ""),
    ddl(
        "insert.after_heap",
        CREATE,
        "ALTER TABLE caliber_scope ADD CONSTRAINT extra CHECK (name <> '')",
        "ALTER TABLE caliber_scope DROP CONSTRAINT extra",
    ),
    ddl(
        "update.after_heap",
        CLOSE,
        "ALTER TABLE caliber_scope ALTER purpose SET DEFAULT 'none'",
        "ALTER TABLE caliber_scope ALTER purpose DROP DEFAULT",
    ),
    ddl("insert.before_heap", CREATE, INDEX, NO_INDEX),
    ddl("insert.after_heap", CREATE, INDEX, NO_INDEX),
    ddl("update.after_heap", PURPOSE, INDEX, NO_INDEX),
    Race {
        prepare: INDEX_ANEW,
        ..ddl("insert.after_heap", CREATE, NO_INDEX, "")
    },
    Race {
        prepare: INDEX_ANEW,
        ..ddl("update.found", PURPOSE, NO_INDEX, "")
    },
    ddl(
        "insert.after_heap",
        CREATE,
        "REINDEX TABLE caliber_scope",
        "",
    ),
    concurrently("verb.decided", CLOSE, CONCURRENTLY, NO_INDEX),
    concurrently("insert.before_heap", CREATE, CONCURRENTLY, NO_INDEX),
    concurrently("insert.after_heap", CREATE, CONCURRENTLY, NO_INDEX),
    concurrently("update.found", PURPOSE, CONCURRENTLY, NO_INDEX),
    concurrently("update.after_heap", PURPOSE, CONCURRENTLY, NO_INDEX),
    concurrently(
        "insert.before_heap",
        CREATE,
        "REINDEX TABLE CONCURRENTLY caliber_scope",
        "",
    ),
    concurrently(
        "insert.after_heap",
        CREATE,
        "REINDEX TABLE CONCURRENTLY caliber_scope",
        "",
    ),
    concurrently(
        "update.after_heap",
        CLOSE,
        "REINDEX TABLE CONCURRENTLY caliber_scope",
        "",
    ),
    concurrently(
        "statement.queued",
        CREATE,
        "REINDEX INDEX CONCURRENTLY caliber_trajectory_pkey",
        "",
    ),
    concurrently("insert.after_heap", CREATE, "VACUUM FULL caliber_scope", ""),
    // The last: the type stays so.
    ddl(
        "insert.after_heap",
        CREATE,
        "ALTER TYPE caliber_scope_row ADD ATTRIBUTE extra int CASCADE",
        "",
    ),
];

const CONCURRENTLY: &str =
    "CREATE INDEX CONCURRENTLY extra ON caliber_scope (name, purpose) WHERE is_active";

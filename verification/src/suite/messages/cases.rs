//! The schedules: what two sessions do with the same messages.

/// One thing that a session does. `@xx` is an id.
#[derive(Clone, Copy, Debug)]
pub enum Do {
    /// This, as it is.
    Sql(&'static str),
    /// Begins a transaction, of the level of the run, with its snapshot.
    Begin,
    /// Receives for an agent at most so many.
    Receive(&'static str, i64),
    /// Receives for an agent, also what was delivered so long ago.
    Again(&'static str, &'static str),
    /// Acknowledges.
    Acknowledge(&'static str),
    /// Purges what was done with before this moment.
    Purge(&'static str),
}
use Do::{Acknowledge, Again, Begin, Purge, Receive, Sql};

/// What a transaction sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// READ COMMITTED
    Statement,
    /// REPEATABLE READ
    Transaction,
}

impl Level {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Statement, Self::Transaction];
}

/// A schedule and what must come of it.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub name: &'static str,
    /// What is done before, and how it is undone.
    pub prepare: &'static str,
    /// See `prepare`.
    pub undo: &'static str,
    /// Session and step.
    pub steps: &'static [(usize, Do)],
    /// Steps that must wait; no other does.
    pub waits: &'static [usize],
    /// Answers at READ COMMITTED.
    pub statement: &'static [(usize, &'static str)],
    /// Answers at REPEATABLE READ.
    pub transaction: &'static [(usize, &'static str)],
}

/// Before each case: four messages to a type.
pub const ROWS: &str = "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_type, message_type, payload, priority)
    VALUES ('@01', '@b0', 'coder', 'interrupt', 'one', 'normal'), ('@02', '@b0', 'coder', 'interrupt', 'two', 'high'),
        ('@03', '@b0', 'coder', 'interrupt', 'three', 'low'), ('@04', '@b0', 'coder', 'interrupt', 'four', 'normal')";

/// A writing statement of session 0 has its snapshot when its BEFORE STATEMENT
/// triggers fire, and waits there for whoever holds the lock 77.
pub const PAUSE: &str = "
    CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') = 'pauses' THEN PERFORM pg_advisory_xact_lock_shared(77); END IF;
        RETURN NULL; END $$;
    CREATE TRIGGER pause BEFORE UPDATE OR DELETE ON caliber_message FOR EACH STATEMENT EXECUTE FUNCTION pause();
    CREATE TABLE log (line text);
    CREATE FUNCTION write_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO log SELECT format('%s of %s rows', TG_OP, (SELECT count(*) FROM changed)); RETURN NULL; END $$";

const PAUSED: &str = "SELECT pg_advisory_lock(77)";
const GO: &str = "SELECT pg_advisory_unlock(77)";
const ALL: &str = "02 01 04 03";

/// Session 1 does something while the receive of session 0 has its snapshot.
macro_rules! meanwhile {
    ($name:literal, $what:expr, $statement:literal, $transaction:literal) => {
        Case {
            name: $name,
            prepare: "",
            undo: "",
            steps: &[
                (1, Sql(PAUSED)),
                (0, Begin),
                (0, Receive("@a0", 2)),
                (1, $what),
                (1, Sql(GO)),
                (0, Sql("COMMIT")),
            ],
            waits: &[2],
            statement: &[(2, $statement)],
            transaction: &[(2, $transaction)],
        }
    };
}

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        name: "each goes to one receiver, and comes back with a rollback",
        prepare: "",
        undo: "",
        steps: &[
            (0, Begin),
            (0, Receive("@a0", 2)),
            (1, Receive("@a1", 10)),
            (0, Receive("@a0", 10)),
            (0, Sql("ROLLBACK")),
            (1, Receive("@a1", 10)),
            (0, Receive("@a0", 10)),
        ],
        waits: &[],
        statement: &[(1, "02 01"), (2, "04 03"), (3, ""), (5, "02 01"), (6, "")],
        transaction: &[(1, "02 01"), (2, "04 03"), (3, "40001"), (5, "02 01"), (6, "")],
    },
    Case {
        name: "one that is being acknowledged, changed or deleted is left alone",
        prepare: "",
        undo: "",
        steps: &[
            (1, Begin),
            (1, Acknowledge("@02")),
            (1, Sql("UPDATE caliber_message SET priority = 'critical' WHERE message_id = '@03'")),
            (1, Sql("DELETE FROM caliber_message WHERE message_id = '@01'")),
            (0, Receive("@a0", 10)),
            (1, Sql("ROLLBACK")),
            (0, Receive("@a0", 10)),
        ],
        waits: &[],
        statement: &[(1, "t"), (4, "04"), (6, "02 01 03")],
        transaction: &[(1, "t"), (4, "04"), (6, "02 01 03")],
    },
    Case {
        name: "two receives in one transaction, one statement, one savepoint",
        prepare: "",
        undo: "",
        steps: &[
            (0, Begin),
            (0, Receive("@a0", 1)),
            (0, Sql("SAVEPOINT s")),
            (0, Receive("@a0", 1)),
            (0, Sql("ROLLBACK TO s")),
            (0, Receive("@a0", 2)),
            (0, Sql("COMMIT")),
            (1, Receive("@a1", 10)),
        ],
        waits: &[],
        statement: &[(1, "02"), (3, "01"), (5, "01 04"), (7, "03")],
        transaction: &[(1, "02"), (3, "01"), (5, "01 04"), (7, "03")],
    },
    Case {
        name: "one that a reader has locked is left alone, a key share is not in the way",
        prepare: "",
        undo: "",
        steps: &[
            (1, Begin),
            (1, Sql("SELECT 1 FROM caliber_message WHERE message_id = '@02' FOR SHARE")),
            (1, Sql("SELECT 1 FROM caliber_message WHERE message_id = '@01' FOR KEY SHARE")),
            (0, Receive("@a0", 10)),
            (1, Sql("ROLLBACK")),
        ],
        waits: &[],
        statement: &[(3, "01 04 03")],
        transaction: &[(3, "01 04 03")],
    },
    meanwhile!("acknowledged meanwhile", Sql("UPDATE caliber_message SET acknowledged_at = now() WHERE message_id = '@02'"), "01 04", "40001"),
    meanwhile!("deleted meanwhile", Sql("DELETE FROM caliber_message WHERE message_id = '@02'"), "01 04", "40001"),
    meanwhile!("for another type meanwhile", Sql("UPDATE caliber_message SET to_agent_type = 'tester' WHERE message_id = '@02'"), "01 04", "40001"),
    meanwhile!("for this agent meanwhile", Sql("UPDATE caliber_message SET to_agent_type = NULL, to_agent_id = '@a0' WHERE message_id = '@02'"), "02 01", "40001"),
    meanwhile!("expired meanwhile", Sql("UPDATE caliber_message SET expires_at = now() - interval '1 s' WHERE message_id = '@02'"), "01 04", "40001"),
    meanwhile!("less urgent meanwhile: still one of the first two, but the last of them", Sql("UPDATE caliber_message SET priority = 'low' WHERE message_id = '@02'"), "01 02", "40001"),
    meanwhile!("more urgent meanwhile, but not among the first two then", Sql("UPDATE caliber_message SET priority = 'critical' WHERE message_id = '@03'"), "02 01", "02 01"),
    meanwhile!("of another key meanwhile: locked, and counted, but not updated", Sql("UPDATE caliber_message SET message_id = '@00' WHERE message_id = '@02'"), "01", "40001"),
    meanwhile!("another payload meanwhile", Sql("UPDATE caliber_message SET payload = repeat('x', 3000) WHERE message_id = '@02'"), "02 01", "40001"),
    meanwhile!("received by another meanwhile", Receive("@a1", 2), "04 03", "40001"),
    meanwhile!("changed twice meanwhile", Sql("UPDATE caliber_message SET payload = 'x'; UPDATE caliber_message SET delivered_at = now() WHERE message_id = '@01'"), "02 04", "40001"),
    meanwhile!("changed and rolled back meanwhile", Sql("BEGIN; UPDATE caliber_message SET payload = 'x'; ROLLBACK"), "02 01", "02 01"),
    meanwhile!("sent meanwhile", Sql("INSERT INTO caliber_message (message_id, from_agent_id, to_agent_type, message_type, payload, priority)
        VALUES ('@05', '@b0', 'coder', 'interrupt', 'x', 'critical')"), "02 01", "02 01"),
    Case {
        name: "the agent's type changes meanwhile",
        prepare: "",
        undo: "UPDATE caliber_agent SET agent_type = 'coder' WHERE agent_id = '@a0'",
        steps: &[
            (1, Sql(PAUSED)),
            (0, Begin),
            (0, Receive("@a0", 2)),
            (1, Sql("UPDATE caliber_agent SET agent_type = 'tester' WHERE agent_id = '@a0'")),
            (1, Sql(GO)),
            (0, Sql("COMMIT")),
            (0, Receive("@a0", 10)),
        ],
        waits: &[2],
        statement: &[(2, "02 01"), (6, "")],
        transaction: &[(2, "02 01"), (6, "")],
    },
    Case {
        name: "an acknowledge meets a receive",
        prepare: "",
        undo: "",
        steps: &[
            (1, Sql(PAUSED)),
            (0, Begin),
            (0, Acknowledge("@02")),
            (1, Receive("@a1", 1)),
            (1, Sql(GO)),
            (0, Sql("COMMIT")),
            (1, Receive("@a1", 10)),
        ],
        waits: &[2],
        statement: &[(2, "t"), (3, "02"), (6, "01 04 03")],
        transaction: &[(2, "40001"), (3, "02"), (6, "01 04 03")],
    },
    Case {
        name: "of two acknowledges one is the first",
        prepare: "",
        undo: "",
        steps: &[
            (0, Sql("BEGIN")),
            (0, Acknowledge("@02")),
            (1, Acknowledge("@02")),
            (0, Sql("COMMIT")),
        ],
        waits: &[2],
        statement: &[(1, "t"), (2, "f")],
        transaction: &[(1, "t"), (2, "f")],
    },
    Case {
        name: "what was delivered long ago and never acknowledged comes again",
        prepare: "UPDATE caliber_message SET delivered_at = now() - interval '1 hour', received_by = '@a0' WHERE message_id <> '@04';
            UPDATE caliber_message SET acknowledged_at = now() WHERE message_id = '@03'",
        undo: "",
        steps: &[
            (0, Again("@a1", "2 hours")),
            (0, Again("@a1", "30 minutes")),
            (1, Again("@a2", "30 minutes")),
            (1, Again("@a2", "-1 minute")),
            (1, Receive("@a2", 10)),
        ],
        waits: &[],
        statement: &[(0, "04"), (1, "02 01"), (2, ""), (3, "02 01 04"), (4, "")],
        transaction: &[(0, "04"), (1, "02 01"), (2, ""), (3, "02 01 04"), (4, "")],
    },
    Case {
        name: "two redeliveries at once",
        prepare: "UPDATE caliber_message SET delivered_at = now() - interval '1 hour', received_by = '@a0'",
        undo: "",
        steps: &[
            (1, Sql(PAUSED)),
            (0, Begin),
            (0, Again("@a0", "30 minutes")),
            (1, Again("@a1", "30 minutes")),
            (1, Sql(GO)),
            (0, Sql("COMMIT")),
        ],
        waits: &[2],
        statement: &[(2, ""), (3, ALL)],
        transaction: &[(2, "40001"), (3, ALL)],
    },
    Case {
        name: "a trigger of the statement acknowledges one",
        prepare: "CREATE FUNCTION first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_trigger_depth() = 1 THEN UPDATE caliber_message SET acknowledged_at = now() WHERE message_id = '@02'; END IF;
                RETURN NULL; END $$;
            CREATE TRIGGER first BEFORE UPDATE ON caliber_message FOR EACH STATEMENT EXECUTE FUNCTION first()",
        undo: "DROP TRIGGER first ON caliber_message; DROP FUNCTION first()",
        steps: &[(0, Receive("@a0", 2)), (1, Receive("@a1", 10))],
        waits: &[],
        statement: &[(0, "01 04"), (1, "03")],
        transaction: &[(0, "01 04"), (1, "03")],
    },
    Case {
        name: "triggers of rows: a veto, another order; of statements: one each",
        prepare: "CREATE FUNCTION each_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.message_id = '@01' THEN RETURN NULL; END IF;
                IF NEW.message_id = '@03' THEN NEW.priority = 'critical'; END IF;
                RETURN NEW; END $$;
            CREATE TRIGGER each_row BEFORE UPDATE ON caliber_message FOR EACH ROW EXECUTE FUNCTION each_row();
            CREATE TRIGGER log AFTER UPDATE ON caliber_message REFERENCING NEW TABLE AS changed
                FOR EACH STATEMENT EXECUTE FUNCTION write_log()",
        undo: "DROP TRIGGER each_row ON caliber_message; DROP FUNCTION each_row(); DROP TRIGGER log ON caliber_message; TRUNCATE log",
        steps: &[
            (0, Receive("@a0", 10)),
            (0, Receive("@a0", 10)),
            (0, Receive("@a0", 0)),
            (0, Receive("@cc", 10)),
            (0, Sql("SELECT string_agg(line, ', ') FROM log")),
        ],
        waits: &[],
        statement: &[
            (0, "03 02 04"),
            (1, ""),
            (4, "UPDATE of 3 rows, UPDATE of 0 rows, UPDATE of 0 rows, UPDATE of 0 rows"),
        ],
        transaction: &[(0, "03 02 04")],
    },
    Case {
        name: "a purge waits for nobody",
        prepare: "UPDATE caliber_message SET acknowledged_at = '2001-01-01' WHERE message_id < '@04'",
        undo: "",
        steps: &[
            (1, Begin),
            (1, Sql("SELECT 1 FROM caliber_message WHERE message_id = '@02' FOR KEY SHARE")),
            (0, Purge("2002-01-01")),
            (1, Sql("ROLLBACK")),
            (0, Purge("2001-01-01")),
            (0, Purge("2002-01-01")),
        ],
        waits: &[],
        statement: &[(2, "2"), (4, "0"), (5, "1")],
        transaction: &[(2, "2"), (4, "0"), (5, "1")],
    },
    Case {
        name: "what is not finished after all is not purged",
        prepare: "UPDATE caliber_message SET acknowledged_at = '2001-01-01' WHERE message_id < '@04';
            CREATE TRIGGER log AFTER DELETE ON caliber_message REFERENCING OLD TABLE AS changed
                FOR EACH STATEMENT EXECUTE FUNCTION write_log()",
        undo: "DROP TRIGGER log ON caliber_message; TRUNCATE log",
        steps: &[
            (1, Sql(PAUSED)),
            (0, Begin),
            (0, Purge("2002-01-01")),
            (1, Sql("UPDATE caliber_message SET acknowledged_at = NULL WHERE message_id = '@01'; UPDATE caliber_message SET payload = 'x' WHERE message_id = '@02'")),
            (1, Sql(GO)),
            (0, Sql("COMMIT")),
            (0, Sql("SELECT string_agg(line, ', ') FROM log")),
        ],
        waits: &[2],
        statement: &[(2, "2"), (6, "DELETE of 2 rows")],
        transaction: &[(2, "40001")],
    },
];

//! Constraints that a user has dropped or made deferrable: what they kept out is
//! listed where the order puts it.

use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk::{self, Desk};
use crate::suite::steps::ids;
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "own_objects::dropped_constraints",
            "where a user allows other ranks, missing and repeated numbers, lists give their rows too",
            dropped,
        ),
        Test::new(
            "own_objects::other_states",
            "where a user allows other states, they are pending and not final: lists give their rows, verbs refuse them",
            other_states,
        ),
        Test::new(
            "own_objects::rows_without_a_key",
            "where a user allows rows without a key, they come last in lists, and nobody receives them",
            without_key,
        ),
        Test::new(
            "own_objects::proven_ranks",
            "a CHECK speaks for the rows of a list only where it is older, and no function's",
            proven,
        ),
    ]
}

/// Lists that are put together from several scans, where one row in the first of them has
/// no key.
fn without_key(context: &Context) -> Result<Outcome> {
    const MAKE: &str = "
        SELECT caliber_agent_register('b', id => '@a'), caliber_agent_register('b', id => '@b');
        SELECT caliber_trajectory_create('t', id => '@1'), caliber_scope_create('@1', 's', id => '@1');
        SELECT caliber_message_send('@b', '@a', NULL, 'heartbeat', 'p', id => '@1'), caliber_message_send('@b', NULL, 'b', 'heartbeat', 'p', id => '@2'),
            caliber_message_send('@b', NULL, 'b', 'heartbeat', 'p', id => '@3'), caliber_message_send('@b', NULL, NULL, 'heartbeat', 'p', id => '@4');
        SELECT caliber_conflict_create('goal_conflict', 'x', '@1', 'y', '@1', id => ('00000000-0000-7000-8000-00000000000' || n)::uuid) FROM generate_series(1, 4) n;
        SELECT caliber_conflict_start('@4'); SELECT caliber_conflict_resolve('@1', 'escalate');
        SELECT caliber_handoff_create('@b', '@a', NULL, '@1', '@1', '@1', id => '@1'), caliber_handoff_create('@b', NULL, 'b', '@1', '@1', '@1', id => '@2'),
            caliber_handoff_create('@b', NULL, 'b', '@1', '@1', '@1', id => '@3');
        SELECT caliber_delegation_create('@b', '@a', NULL, 'do', '@1', id => '@1'), caliber_delegation_create('@b', NULL, 'b', 'do', '@1', id => '@2'),
            caliber_delegation_create('@b', NULL, 'b', 'do', '@1', id => '@3');
        DO $$ DECLARE e text; BEGIN FOREACH e IN ARRAY '{message,conflict,handoff,delegation}'::text[] LOOP
            EXECUTE format('ALTER TABLE caliber_%1$s DROP CONSTRAINT caliber_%1$s_pkey CASCADE, ALTER %1$s_id DROP NOT NULL', e);
            EXECUTE format('UPDATE caliber_%1$s SET %1$s_id = NULL WHERE %1$s_id = ''00000000-0000-7000-8000-00000000000%2$s''', e, CASE e WHEN 'conflict' THEN 4 ELSE 1 END);
        END LOOP; END $$";
    const SHOWN: &str = "SELECT string_agg(coalesce(right(@_id::text, 1), '-'), ' ')";
    let cases = [
        ("conflict", "caliber_conflict_list_pending()", "1 2 3 -"),
        ("conflict", "caliber_conflict_list_pending(3)", "1 2 3"),
        ("message", "caliber_message_list_for_agent('@a')", "2 3 4 -"),
        (
            "message",
            "caliber_message_list_for_agent('@a', true, 2)",
            "2 3",
        ),
        ("handoff", "caliber_handoff_list_for_agent('@a')", "2 3 -"),
        (
            "handoff",
            "caliber_handoff_list_for_agent('@a', max_rows => 2)",
            "2 3",
        ),
        (
            "delegation",
            "caliber_delegation_list_for_agent('@a')",
            "2 3 -",
        ),
        (
            "delegation",
            "caliber_delegation_list_for_agent('@a', max_rows => 2)",
            "2 3",
        ),
        ("message", "caliber_message_receive('@a')", "2 3"),
        ("message", "caliber_message_list_for_agent('@a')", "2 3 4 -"),
    ];
    for mut desk in desk::open(context, &[Engine::Heap, Engine::Sql], &ids(MAKE))? {
        for (entity, list, wanted) in cases {
            let sql = ids(&format!("{} FROM {list}", SHOWN.replace('@', entity)));
            let found = desk.session.value(&sql)?.unwrap_or_default();
            ensure!(found == wanted, "{}: {list}: {found}", desk.engine.name());
        }
    }
    Ok(Outcome::Passed(format!("{} lists", cases.len())))
}

const PREPARE: &str = "
    INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@a', 'coder'), ('@b', 'tester');
    INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@1', 'task');
    INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@2', '@1', 'one', 1), ('@3', '@1', 'two', 1), ('@4', '@1', 'three', 1);
    ALTER TABLE caliber_turn ALTER sequence DROP NOT NULL, DROP CONSTRAINT caliber_turn_scope_id_sequence_key,
        ADD UNIQUE (scope_id, sequence) DEFERRABLE INITIALLY DEFERRED;
    INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count)
        VALUES ('@3', 5, 'user', 'five', 0), ('@3', NULL, 'user', 'none', 0)";

const TURNS: &str = "INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count)
    SELECT '@2'::uuid, n, 'user', 'c', 0 FROM unnest('{1,2,2,3}'::int[]) n
    UNION ALL SELECT '@4'::uuid, n, 'user', 'c', 0 FROM unnest('{1,2,2,NULL,NULL}'::int[]) n";

/// Messages to agent a, by their last digit: of no rank 4, low 5, to its type and of no
/// rank 6, to all and of no rank 7, critical 8.
const MESSAGES: &str = "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, to_agent_type, message_type, payload, priority) VALUES
    ('@4', '@b', '@a', NULL, 'heartbeat', '', #one), ('@5', '@b', '@a', NULL, 'heartbeat', '', 'low'),
    ('@6', '@b', NULL, 'coder', 'heartbeat', '', #two), ('@7', '@b', NULL, NULL, 'heartbeat', '', #one),
    ('@8', '@b', '@a', NULL, 'heartbeat', '', 'critical')";

/// Work for agent b, and for anybody, which agent c gives away.
const WORK: &str = "INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@c', 'planner');
    SELECT caliber_delegation_create('@c', '@b', NULL, 'work', '@1', id => '@1'), caliber_delegation_create('@c', NULL, '*', 'work', '@1', id => '@2');
    SELECT caliber_handoff_create('@c', '@b', NULL, '@1', '@2', '@2', id => '@1'), caliber_handoff_create('@c', NULL, '*', '@1', '@2', '@2', id => '@2')";

/// How other ranks are let in, and two of them.
const RANKS: [(&str, &str, &str); 5] = [
    (
        "ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check",
        "'urgent'",
        "'zero'",
    ),
    // CHECKs of the old name: a wider one, and one that is for other rows.
    (
        "ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check,
            ADD CONSTRAINT caliber_message_priority_check CHECK (priority IN ('low', 'normal', 'high', 'critical', 'urgent', 'zero'))",
        "'urgent'",
        "'zero'",
    ),
    (
        "ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check,
            ADD CONSTRAINT caliber_message_priority_check CHECK (message_type <> 'heartbeat' OR payload = '' OR priority IN ('low', 'normal', 'high', 'critical'))",
        "''",
        "'zero'",
    ),
    // NULL passes every CHECK.
    (
        "ALTER TABLE caliber_message ALTER priority DROP NOT NULL",
        "NULL",
        "NULL",
    ),
    (
        "ALTER TABLE caliber_message ALTER priority DROP NOT NULL, DROP CONSTRAINT caliber_message_priority_check",
        "NULL",
        "'zero'",
    ),
];

/// Ranks beside the four may not be; nothing is looked for beyond them.
const NARROWER: [&str; 2] = [
    "ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check, ADD CHECK (priority IN ('low', 'critical'))",
    "ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check, ADD CONSTRAINT another CHECK (priority = ANY ('{low,normal,high,critical}'))",
];

const LISTED: &str = "SELECT string_agg(right(message_id::text, 1), '' ORDER BY o) FROM caliber_message_list_for_agent('@a') WITH ORDINALITY AS m (message_id, b, c, d, e, f, g, h, i, j, k, l, n, p, q, o)";
const RECEIVED: &str = "SELECT string_agg(right(message_id::text, 1), '' ORDER BY o) FROM caliber_message_receive('@a', 3) WITH ORDINALITY AS m (message_id, b, c, d, e, f, g, h, i, j, k, l, n, p, q, o)";

fn check(desk: &mut Desk, question: &str, wanted: &str) -> Result<()> {
    let name = desk.engine.name();
    let found = desk.session.value(&ids(question))?.unwrap_or_default();
    ensure!(found == wanted, "{name}: {question}: {found}, not {wanted}");
    Ok(())
}

fn dropped(context: &Context) -> Result<Outcome> {
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for mut desk in desk::open(context, &engines, &ids(PREPARE))? {
        for (alter, one, two) in RANKS {
            let messages = MESSAGES.replace("#one", one).replace("#two", two);
            desk.session
                .batch(&ids(&format!("BEGIN; {alter}; {messages}")))?;
            check(&mut desk, LISTED, "85467")?;
            check(&mut desk, RECEIVED, "854")?;
            desk.session.batch("ROLLBACK")?;
        }
        // An agent of no type has an inbox of its own messages.
        let messages = MESSAGES.replace("#one", "'low'").replace("#two", "'low'");
        desk.session.batch(&ids(&format!(
            "BEGIN; ALTER TABLE caliber_agent ALTER agent_type DROP NOT NULL; UPDATE caliber_agent SET agent_type = NULL; {messages}"
        )))?;
        check(&mut desk, LISTED, "8457")?;
        check(&mut desk, RECEIVED, "845")?;
        // Nor is the work of others its own.
        desk.session.batch(&ids(WORK))?;
        for (kind, wanted) in [("delegation", "2"), ("handoff", "2")] {
            let list = format!("SELECT string_agg(right({kind}_id::text, 1), '') FROM caliber_{kind}_list_for_agent('@a')");
            check(&mut desk, &list, wanted)?;
        }
        desk.session.batch("ROLLBACK")?;
        for alter in NARROWER {
            let messages = MESSAGES
                .replace("#one", "'low'")
                .replace("#two", "'critical'");
            desk.session
                .batch(&ids(&format!("BEGIN; {alter}; {messages}")))?;
            check(&mut desk, LISTED, "68457")?;
            desk.session.batch("ROLLBACK")?;
        }
        desk.session.batch(&ids(&format!("BEGIN; {TURNS}")))?;
        for (question, wanted) in [
            ("get_recent('@2', 1)", "3"),
            ("get_recent('@2', 2)", "2 3"),
            ("get_recent('@2', 3)", "2 2 3"),
            ("get_recent('@2', 4)", "1 2 2 3"),
            ("get_recent('@4', 1)", "-"),
            ("get_recent('@4', 2)", "- -"),
            ("get_recent('@4', 3)", "2 - -"),
            ("get_recent('@4', 4)", "2 2 - -"),
            ("get_recent('@4', 5)", "1 2 2 - -"),
            ("get_recent('@4', 6)", "1 2 2 - -"),
            ("get_by_scope('@4')", "1 2 2 - -"),
            ("get_by_scope('@4', 4)", "1 2 2 -"),
            ("get_by_scope('@4', after_sequence => 1)", "2 2"),
        ] {
            let question =
                format!("SELECT string_agg(coalesce(sequence::text, '-'), ' ') FROM caliber_turn_{question}");
            check(&mut desk, &question, wanted)?;
        }
        check(
            &mut desk,
            "SELECT (caliber_turn_get(caliber_turn_create('@3', NULL, 'user', 'next'))).sequence",
            "6",
        )?;
        desk.session.batch("ROLLBACK")?;
    }
    Ok(Outcome::Passed(format!("{} engines", engines.len())))
}

/// Rows by their last digit. Of the conflicts 1 is detected, 2 and 5 are of another state,
/// 3 is resolved, 4 escalated, 6 has none. The delegations are all of agent a: 1 pending,
/// 2 completed, 3 of another state.
const STATES: &str = "
    ALTER TABLE caliber_conflict DROP CONSTRAINT caliber_conflict_status_check, ALTER status DROP NOT NULL;
    INSERT INTO caliber_conflict (conflict_id, conflict_type, item_a_type, item_a_id, item_b_type, item_b_id, status)
        SELECT ('@' || n)::uuid, 'goal_conflict', 'note', '@1', 'note', '@1', (ARRAY['detected', 'parked', 'resolved', 'escalated', '', NULL])[n]
        FROM generate_series(1, 6) n;
    ALTER TABLE caliber_delegation DROP CONSTRAINT caliber_delegation_status_check;
    INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_id, task_description, parent_trajectory_id, shared_artifacts, shared_notes, status)
        SELECT ('@' || n)::uuid, '@b', '@a', 'task', '@1', '{}', '{}', (ARRAY['pending', 'completed', 'parked'])[n]
        FROM generate_series(1, 3) n";

fn other_states(context: &Context) -> Result<Outcome> {
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for mut desk in desk::open(context, &engines, &ids(PREPARE))? {
        desk.session.batch(&ids(&format!("BEGIN; {STATES}")))?;
        let listed = |call: &str| {
            format!(
                "SELECT string_agg(right(coalesce(l->>'conflict_id', l->>'delegation_id'), 1), '') \
                 FROM (SELECT to_jsonb(c) FROM {call} c) l (l)"
            )
        };
        for (call, wanted) in [
            ("caliber_conflict_list_pending()", "1245"),
            ("caliber_conflict_list_pending(2)", "12"),
            ("caliber_conflict_list_pending(2, '@2')", "45"),
            ("caliber_delegation_list_for_agent('@a')", "13"),
            ("caliber_delegation_list_for_agent('@a', 1, '@1')", "3"),
            ("caliber_delegation_list_for_agent('@b')", ""),
        ] {
            check(&mut desk, &listed(call), wanted)?;
        }
        for call in [
            "caliber_conflict_start('@2')",
            "caliber_conflict_resolve('@5', 'merge')",
            "caliber_delegation_start('@3')",
        ] {
            desk.session.batch("SAVEPOINT refused")?;
            let refused = desk.session.value(&ids(&format!("SELECT {call}")));
            let error = refused.err().map(|e| format!("{e:#}")).unwrap_or_default();
            let name = desk.engine.name();
            ensure!(error.contains("55000"), "{name}: {call}: {error:?}");
            ensure!(!error.contains("final"), "{name}: {call}: {error}");
            desk.session.batch("ROLLBACK TO refused")?;
        }
        // Rows of one id, where a user allows them, are as many; a row comes once.
        desk.session.batch(
            "ALTER TABLE caliber_conflict DROP CONSTRAINT caliber_conflict_pkey;
             INSERT INTO caliber_conflict SELECT * FROM caliber_conflict WHERE status = 'detected';
             INSERT INTO caliber_conflict SELECT * FROM caliber_conflict WHERE status = 'detected';
             CREATE INDEX ON caliber_conflict (conflict_id)",
        )?;
        check(
            &mut desk,
            &listed("caliber_conflict_list_pending()"),
            "1111245",
        )?;
        let by_item = listed("caliber_conflict_list_by_item('@1')");
        check(&mut desk, &by_item, "111123456")?;
        desk.session.batch("ROLLBACK")?;
    }
    Ok(Outcome::Passed(format!("{} engines", engines.len())))
}

const MESSAGE: &str = "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload, priority)
    VALUES ('@4', '@b', '@a', 'heartbeat', '', '#one')";
const DROP: &str = "ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check";
const ADD: &str = "ALTER TABLE caliber_message ADD CONSTRAINT own CHECK (priority IN ('low', 'normal', 'high', 'critical'))";

/// Where a CHECK, or the column's NOT NULL, seems to allow no rank but the four.
fn proven(context: &Context) -> Result<Outcome> {
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for mut desk in desk::open(context, &engines, &ids(PREPARE))? {
        // It is newer than the snapshot, which has a row of another rank.
        let urgent = MESSAGE.replace("#one", "urgent");
        desk.session.batch(&ids(&format!("{DROP}; {urgent}")))?;
        let mut other = desk.another()?;
        desk.session
            .batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
        other.batch(&format!(
            "UPDATE caliber_message SET priority = 'low'; {ADD}"
        ))?;
        check(&mut desk, LISTED, "4")?;
        desk.session.batch("COMMIT")?;
        check(&mut desk, LISTED, "4")?;
        // The same constraint once more, whose expression the session knows.
        desk.session.batch("ALTER TABLE caliber_message DROP CONSTRAINT own; UPDATE caliber_message SET priority = 'urgent'")?;
        desk.session
            .batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
        other.batch(&format!(
            "UPDATE caliber_message SET priority = 'low'; {ADD}"
        ))?;
        check(&mut desk, LISTED, "4")?;
        desk.session.batch("COMMIT")?;
        // The same with NULL, which NOT NULL keeps out later.
        desk.session.batch("ALTER TABLE caliber_message ALTER priority DROP NOT NULL; UPDATE caliber_message SET priority = NULL")?;
        desk.session
            .batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
        other.batch("UPDATE caliber_message SET priority = 'low'; ALTER TABLE caliber_message ALTER priority SET NOT NULL")?;
        check(&mut desk, LISTED, "4")?;
        desk.session.batch("COMMIT")?;
        if context.major >= 18 {
            // One that is there already, and is only now passed by all rows.
            desk.session.batch(
                "ALTER TABLE caliber_message ALTER priority DROP NOT NULL; UPDATE caliber_message SET priority = NULL;
                 ALTER TABLE caliber_message ADD CONSTRAINT own_not_null NOT NULL priority NOT VALID",
            )?;
            desk.session
                .batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
            other.batch("UPDATE caliber_message SET priority = 'low'; ALTER TABLE caliber_message VALIDATE CONSTRAINT own_not_null")?;
            check(&mut desk, LISTED, "4")?;
            desk.session.batch("COMMIT")?;
        }
        desk.session
            .batch("ALTER TABLE caliber_message DROP CONSTRAINT own")?;

        // A function's word is not for ever, and a list is not the place to call it.
        desk.session.batch(
            "CREATE FUNCTION allowed() RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN '{low,normal,high,critical}'; END $$;
             ALTER TABLE caliber_message ADD CONSTRAINT own CHECK (priority = ANY (allowed()))",
        )?;
        check(&mut desk, LISTED, "4")?;
        desk.session.batch(
            "CREATE OR REPLACE FUNCTION allowed() RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN '{low,urgent}'; END $$;
             UPDATE caliber_message SET priority = 'urgent'",
        )?;
        check(&mut desk, LISTED, "4")?;
        desk.session.batch(
            "CREATE OR REPLACE FUNCTION allowed() RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'called'; END $$",
        )?;
        check(&mut desk, LISTED, "4")?;
        desk.session.batch(
            "ALTER TABLE caliber_message DROP CONSTRAINT own; DELETE FROM caliber_message",
        )?;
    }
    Ok(Outcome::Passed(format!("{} engines", engines.len())))
}

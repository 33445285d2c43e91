//! Constraints that a user has dropped or made deferrable: what they kept out is
//! listed where the order puts it.

use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use crate::suite::steps::ids;
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "own_objects::dropped_constraints",
        "where a user allows other ranks, missing and repeated numbers, lists give their rows too",
        dropped,
    )]
}

const PREPARE: &str = "
    INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@a', 'coder'), ('@b', 'tester');
    INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@1', 'task');
    INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@2', '@1', 'one', 1), ('@3', '@1', 'two', 1);
    ALTER TABLE caliber_message DROP CONSTRAINT caliber_message_priority_check;
    INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, to_agent_type, message_type, payload, priority) VALUES
        ('@4', '@b', '@a', NULL, 'heartbeat', '', 'urgent'), ('@5', '@b', '@a', NULL, 'heartbeat', '', 'low'),
        ('@6', '@b', NULL, 'coder', 'heartbeat', '', 'zero'), ('@7', '@b', NULL, NULL, 'heartbeat', '', 'any'),
        ('@8', '@b', '@a', NULL, 'heartbeat', '', 'critical');
    ALTER TABLE caliber_turn ALTER sequence DROP NOT NULL, DROP CONSTRAINT caliber_turn_scope_id_sequence_key,
        ADD UNIQUE (scope_id, sequence) DEFERRABLE INITIALLY DEFERRED;
    INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count)
        VALUES ('@3', 5, 'user', 'five', 0), ('@3', NULL, 'user', 'none', 0)";

fn dropped(context: &Context) -> Result<Outcome> {
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for mut desk in desk::open(context, &engines, &ids(PREPARE))? {
        let name = desk.engine.name();
        desk.session.batch("BEGIN")?;
        desk.session.batch(&ids(
            "INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count)
                SELECT '@2', n, 'user', n::text, 0 FROM unnest('{1,2,2,3}'::int[]) n",
        ))?;
        for (question, wanted) in [
            ("SELECT string_agg(right(message_id::text, 1), '' ORDER BY o) FROM caliber_message_list_for_agent('@a') WITH ORDINALITY AS m (message_id, b, c, d, e, f, g, h, i, j, k, l, n, p, q, o)", "85467"),
            ("SELECT string_agg(right(message_id::text, 1), '' ORDER BY o) FROM caliber_message_receive('@a', 3) WITH ORDINALITY AS m (message_id, b, c, d, e, f, g, h, i, j, k, l, n, p, q, o)", "854"),
            ("SELECT string_agg(sequence::text, ' ') FROM caliber_turn_get_recent('@2', 1)", "3"),
            ("SELECT string_agg(sequence::text, ' ') FROM caliber_turn_get_recent('@2', 2)", "2 3"),
            ("SELECT string_agg(sequence::text, ' ') FROM caliber_turn_get_recent('@2', 3)", "2 2 3"),
            ("SELECT string_agg(sequence::text, ' ') FROM caliber_turn_get_recent('@2', 4)", "1 2 2 3"),
            ("SELECT (caliber_turn_get(caliber_turn_create('@3', NULL, 'user', 'next'))).sequence", "6"),
        ] {
            let found = desk.session.value(&ids(question))?.unwrap_or_default();
            ensure!(found == wanted, "{name}: {question}: {found}, not {wanted}");
        }
        desk.session.batch("ROLLBACK")?;
    }
    Ok(Outcome::Passed(format!("{} engines", engines.len())))
}

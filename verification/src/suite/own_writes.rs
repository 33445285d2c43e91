//! A read in the middle of a statement: it sees what its own transaction has
//! done up to that moment, and nothing that others commit meanwhile, also when
//! another session changed the same row in between.

use super::desk;
use crate::isolation::{run, Options, Script};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "own_writes::replace_what_another_session_committed",
        "after our own write over a concurrent one, a read returns ours, once",
        replaced,
    )]
}

const ROW: &str = "'00000000-0000-7000-8000-000000000001'";

/// What the other session does, what we do, and what we then read.
struct Case {
    theirs: &'static str,
    ours: &'static str,
    read: &'static str,
}

/// `@` is the id of the row. A name has no index, so such an update is HOT; an
/// agent has one.
static CASES: [Case; 13] = [
    Case {
        theirs: r#"caliber_trajectory_update(@, '{"description": "theirs"}')"#,
        ours: r#"caliber_trajectory_update(@, '{"name": "ours"}')"#,
        read: "ours/theirs {ours}",
    },
    Case {
        theirs: r#"caliber_trajectory_update(@, '{"agent_id": "00000000-0000-7000-8000-00000000000a", "description": "theirs"}')"#,
        ours: r#"caliber_trajectory_update(@, '{"name": "ours"}')"#,
        read: "ours/theirs {ours}",
    },
    Case {
        theirs: r#"caliber_trajectory_update(@, '{"description": "theirs"}')"#,
        ours: r#"caliber_trajectory_update(@, '{"name": "ours", "agent_id": "00000000-0000-7000-8000-00000000000a"}')"#,
        read: "ours/theirs {ours}",
    },
    Case {
        theirs: r#"caliber_trajectory_update(@, '{"description": "theirs"}')"#,
        ours: "caliber_trajectory_delete(@)",
        read: "nothing nothing",
    },
    // Nothing of ours touches the row: it is as it was when the statement began.
    Case {
        theirs: r#"caliber_trajectory_update(@, '{"name": "theirs"}')"#,
        ours: "caliber_trajectory_create('another') IS NOT NULL",
        read: "before/- {another,before}",
    },
    Case {
        theirs: "caliber_trajectory_delete(@)",
        ours: "caliber_trajectory_create('another') IS NOT NULL",
        read: "before/- {another,before}",
    },
    // Theirs is gone, or has another key, and ours is another row of the same key.
    Case {
        theirs: "caliber_trajectory_delete(@)",
        ours: "caliber_trajectory_create('ours', id => @) IS NOT NULL",
        read: "ours/- {ours}",
    },
    Case {
        theirs: "moved(@)",
        ours: "caliber_trajectory_create('ours', id => @) IS NOT NULL",
        read: "ours/- {ours}",
    },
    Case {
        theirs: "caliber_trajectory_delete(@)",
        ours: "caliber_trajectory_create('ours', id => @) IS NOT NULL AND caliber_trajectory_set_status(@, 'suspended')",
        read: "ours/- nothing",
    },
    Case {
        theirs: "caliber_trajectory_delete(@)",
        ours: "caliber_trajectory_create('ours', id => @) IS NOT NULL AND caliber_trajectory_delete(@)",
        read: "nothing nothing",
    },
    Case {
        theirs: "caliber_trajectory_delete(@) AND caliber_trajectory_create('theirs', id => @) IS NOT NULL",
        ours: r#"caliber_trajectory_update(@, '{"description": "ours"}')"#,
        read: "theirs/ours {theirs}",
    },
    Case {
        theirs: "caliber_trajectory_delete(@) AND caliber_trajectory_create('theirs', id => @) IS NOT NULL",
        ours: "caliber_trajectory_delete(@)",
        read: "nothing nothing",
    },
    // What a rolled back subtransaction of ours did is not done.
    Case {
        theirs: "caliber_trajectory_delete(@)",
        ours: "in_vain(@)",
        read: "before/- {before}",
    },
];

const HELPERS: &str = "
    CREATE FUNCTION moved(id uuid) RETURNS boolean LANGUAGE sql AS
        'UPDATE caliber_trajectory SET trajectory_id = caliber_new_id() WHERE trajectory_id = id RETURNING true';
    CREATE FUNCTION in_vain(which uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        PERFORM caliber_trajectory_create('ours', id => which);
        PERFORM 1 / 0;
        EXCEPTION WHEN division_by_zero THEN RETURN true;
    END $$";

/// The statement waits, writes, and reads by key and by list.
const STATEMENT: &str = "WITH waited AS MATERIALIZED (SELECT pg_advisory_xact_lock(7)),
    wrote AS MATERIALIZED (SELECT @ours AS ok FROM waited)
    SELECT coalesce((SELECT g.name || '/' || coalesce(g.description, '-')
               FROM caliber_trajectory_get(CASE WHEN ok THEN @::uuid END) g
               WHERE g.trajectory_id IS NOT NULL), 'nothing')
        || ' ' || coalesce((SELECT array_agg(l.name ORDER BY l.name)::text
               FROM caliber_trajectory_list_by_status(CASE WHEN ok THEN 'active' END) l), 'nothing')
    FROM wrote";

fn replaced(context: &Context) -> Result<Outcome> {
    // The statement's snapshot with a later command id is all that SPI can be
    // given, so the sql engine may see the version before theirs: heap only.
    let setup = desk::setup(Engine::Heap);
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let database = context.server.fresh_database()?;
    database.connect()?.batch(HELPERS)?;
    for case in &CASES {
        let fill = |text: &str| text.replace("@ours", case.ours).replace('@', ROW);
        database.connect()?.batch(&fill(
            "DELETE FROM caliber_trajectory; SELECT caliber_trajectory_create('before', id => @)",
        ))?;
        let script = Script::new(2, &setup)
            .step(1, "BEGIN; SELECT pg_advisory_xact_lock(7)")
            .step(0, &fill(STATEMENT))
            .step(1, &format!("SELECT {}", fill(case.theirs)))
            .step(1, "SELECT caliber_trajectory_create('meanwhile')")
            .step(1, "COMMIT");
        let transcript = run(&database.target, &script, Options::default())?;
        ensure!(
            transcript.waited(1) && transcript.answer(2).and_then(|a| a.value()) == Some("t"),
            "{}\n{transcript}",
            case.ours
        );
        ensure!(
            transcript.answer(1).and_then(|answer| answer.value()) == Some(case.read),
            "theirs: {}, ours: {}\nexpected {}:\n{transcript}",
            case.theirs,
            case.ours,
            case.read
        );
    }
    Ok(Outcome::Passed(format!("{} schedules", CASES.len())))
}

//! Trees that the calling statement itself has changed.

use super::{ENGINES, SEE};
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use crate::suite::steps::ids;
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "trees::own_statement",
        "trees and sequences see what the calling statement itself has written, at each isolation level",
        own_statement,
    )]
}

fn own_statement(context: &Context) -> Result<Outcome> {
    for mut desk in desk::open(context, &ENGINES, "")? {
        let name = desk.engine.name();
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            desk.session
                .batch(&ids("TRUNCATE caliber_trajectory CASCADE;
                SELECT caliber_trajectory_create('r', id => '@1');
                SELECT caliber_trajectory_create('p', id => '@2');
                SELECT caliber_scope_create('@1', 's', id => '@5')"))?;
            desk.session
                .batch(&format!("BEGIN ISOLATION LEVEL {level}; SAVEPOINT s"))?;
            let error = desk.session.error(&ids(
                "WITH p AS (UPDATE caliber_trajectory SET parent_trajectory_id = '@1', root_trajectory_id = '@1'
                    WHERE trajectory_id = '@2' RETURNING *)
                SELECT caliber_trajectory_update('@1', '{\"parent_trajectory_id\": \"@2\"}') FROM p",
            ))?;
            ensure!(error.sqlstate == "23514", "{name}, {level}: {error}");
            desk.session.batch(&ids(
                "ROLLBACK TO s; WITH p AS (INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id)
                    VALUES ('@3', 'p', '@1', '@1') RETURNING *)
                SELECT caliber_trajectory_create('c', parent_trajectory_id => p.trajectory_id, id => '@4') FROM p",
            ))?;
            let seen = desk.session.value(SEE)?.unwrap_or_default();
            ensure!(seen == "1<-/- 2<-/- 3<1/1 4<3/1", "{name}, {level}: {seen}");
            let next = desk.session.value(&ids(
                "WITH t AS (INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count)
                    VALUES ('@5', 7, 'user', 'c', 0) RETURNING *)
                SELECT sequence FROM (SELECT caliber_turn_get(caliber_turn_create(scope_id, NULL, 'user', 'd')) AS made FROM t) m, LATERAL (SELECT (made).sequence) s",
            ))?;
            ensure!(next.as_deref() == Some("8"), "{name}, {level}: {next:?}");
            desk.session.batch("ROLLBACK")?;
        }
    }
    Ok(Outcome::Passed(format!("{} engines", ENGINES.len())))
}

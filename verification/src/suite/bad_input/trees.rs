//! Trees that the functions themselves would never make.

use super::stage::{Stage, ROWS};
use crate::runner::{Context, Outcome, Test};
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "bad_input::loop",
        "a loop of parents that foreign SQL made ends in 54000, not in a walk without end",
        endless,
    )]
}

fn endless(context: &Context) -> Result<Outcome> {
    let rows = "INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id)
        VALUES ('@61', 'loop', '@62', '@61'), ('@62', 'loop', '@61', '@61');";
    let mut stage = Stage::open(context.server.fresh_database()?, &format!("{ROWS}{rows}"))?;
    stage.refused(
        "SELECT caliber_trajectory_update('@8', '{\"parent_trajectory_id\": \"@62\"}')",
        None,
        "54000",
        &["trajectory", "@8", "10000", "ancestors"],
    )?;
    // The loop can be undone by the functions.
    stage.before = "BEGIN".to_owned();
    let undo = "SELECT caliber_trajectory_update('@62', '{\"parent_trajectory_id\": null}'); \
        SELECT root_trajectory_id FROM caliber_trajectory_get('@61')";
    stage.answers(undo, Some("@62"))?;
    stage.verdict()
}

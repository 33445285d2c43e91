//! How deep a tree may be.

use super::stage::{expand, Stage, ROWS};
use crate::runner::{Context, Outcome, Test};
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "bad_input::depth",
        "10,000 ancestors are allowed, more are 54000",
        depth,
    )]
}

/// A chain: task 100001 is its root, task 110001 has 10,000 ancestors.
const CHAIN: &str = "
SET session_replication_role = replica;
INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id)
SELECT ('00000000-0000-7000-8000-0000' || lpad(n::text, 8, '0'))::uuid, 'link',
    CASE WHEN n > 100001 THEN ('00000000-0000-7000-8000-0000' || lpad((n - 1)::text, 8, '0'))::uuid END,
    CASE WHEN n > 100001 THEN '@100001'::uuid END
FROM generate_series(100001, 110001) n;
RESET session_replication_role;
ANALYZE caliber_trajectory;
";

fn depth(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, &format!("{ROWS}{CHAIN}"))?;
    let under = |parent: &str| {
        format!(
            "SELECT caliber_trajectory_update('@8', '{{\"parent_trajectory_id\": \"@{parent}\"}}')"
        )
    };
    stage.refused(
        &under("110001"),
        None,
        "54000",
        &["trajectory", "@8", "10000", "ancestors"],
    )?;
    // A loop that somebody made behind the functions' back ends, too.
    stage.admin(&expand(
        "SET session_replication_role = replica;
         INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id) VALUES
            ('@61', 'loop', '@62', '@61'), ('@62', 'loop', '@61', '@61');
         RESET session_replication_role",
    ))?;
    stage.refused(&under("62"), None, "54000", &["trajectory", "@8", "10000"])?;
    stage.before = "BEGIN".to_owned();
    let root = format!(
        "{}; SELECT root_trajectory_id FROM caliber_trajectory_get('@8')",
        under("110000")
    );
    stage.answers(&root, Some("@100001"))?;
    stage.verdict()
}

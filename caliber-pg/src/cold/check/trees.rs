//! Cycles of parents: rows among their own ancestors.

use crate::cold::definition::Names;
use crate::pg::verify::{self, Findings, Place};

/// In every cycle there is a row whose parent has a greater id, so that only from such
/// rows the way up is walked: with ids that ascend there are few.
const STARTS: &str = "SELECT trajectory_id FROM ONLY @schema@.caliber_trajectory
    WHERE parent_trajectory_id >= trajectory_id";

/// The rows of the cycle that `$1` is the least row of: its ancestors, if it is
/// among them. UNION ends the walk in a cycle further up.
const CYCLE: &str = "
WITH RECURSIVE up (at) AS (
    SELECT parent_trajectory_id FROM ONLY @schema@.caliber_trajectory
     WHERE trajectory_id = $1 AND parent_trajectory_id IS NOT NULL
    UNION
    SELECT t.parent_trajectory_id FROM up JOIN ONLY @schema@.caliber_trajectory t ON t.trajectory_id = up.at
     WHERE t.parent_trajectory_id IS NOT NULL)
SELECT at::text FROM up
 WHERE EXISTS (SELECT FROM up WHERE at = $1) AND NOT EXISTS (SELECT FROM up WHERE at < $1)";

/// Finds every cycle. Walks by the primary key's index: if that is damaged (which is a
/// finding itself), a cycle may not be seen.
pub fn cycles(names: &Names, place: Place<'_>, findings: &mut Findings) {
    let (starts, cycle) = (names.fill(STARTS), names.fill(CYCLE));
    verify::each_of_each(&starts, &cycle, &mut |item| {
        findings.add(place, Some(item), "among its own ancestors");
    });
}

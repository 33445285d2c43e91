//! Index and heap truth by PostgreSQL's own tools, where the server has them.

use crate::entity::ids::Ids;
use crate::entity::trajectory;
use crate::judge::{execute, Bench, Engine};
use crate::plan::{Plan, Step};
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Result};

/// All tests.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "truth::amcheck",
        "amcheck finds nothing wrong, and looks at all",
        amcheck,
    )]
}

/// Five per cent of all cases end with amcheck. Whether that means anything on
/// this server is said here, once.
fn amcheck(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::open(&context.server, &Engine::JUDGES)?;
    if !bench.amcheck {
        return Ok(Outcome::NotCovered(format!(
            "PostgreSQL {} has no amcheck here",
            context.major
        )));
    }
    let mut steps: Vec<Step> = (0..6)
        .map(|slot| Step::Call(trajectory::plain(&Ids::new(1), slot)))
        .collect();
    steps.push(Step::Amcheck);
    let plan = Plan {
        property: "amcheck".to_owned(),
        entity: "trajectory".to_owned(),
        on_duplicate_return: false,
        savepoint_each: false,
        steps,
    };
    let stats = execute(&mut bench, &plan)?;
    ensure!(stats.amchecks == 1, "amcheck did not look");
    Ok(Outcome::Passed("heapallindexed, verify_heapam".to_owned()))
}

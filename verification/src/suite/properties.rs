//! The properties, for every entity, with three judges; and with fewer cases
//! the engine that plans at each call.

use crate::config::Config;
use crate::entity::{self, Entity};
use crate::failure::{replay_line, Stored};
use crate::judge::{Bench, Engine};
use crate::property::{self, check, Checked, Property};
use crate::runner::{Context, Outcome, Test};
use crate::server::Server;
use anyhow::{bail, Result};
use std::sync::Arc;

/// All of them.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    let entities = entity::all();
    let each = property::ALL
        .iter()
        .flat_map(|property| entities.iter().map(move |entity| (property, *entity)));
    for (property, entity) in each.clone() {
        tests.push(test(property, entity, &Engine::JUDGES, 1));
    }
    // What the two sql engines share is most of them.
    for (number, (property, entity)) in each.enumerate() {
        let engines = &[Engine::SqlOneshot, Engine::Client];
        tests.push(test(property, entity, engines, 5).shared(number));
    }
    tests
}

fn test(
    property: &'static Property,
    entity: &'static dyn Entity,
    engines: &'static [Engine],
    share: u32,
) -> Test {
    let oneshot = if engines.contains(&Engine::SqlOneshot) {
        "_oneshot"
    } else {
        ""
    };
    let number = if property.number == 0 {
        "model".to_owned()
    } else {
        format!("property_{}", property.number)
    };
    let name = format!(
        "{number}{oneshot}::{}::{}",
        property.name,
        entity.table().entity
    );
    Test::new(&name, &property.tag(), move |context: &Context| {
        let config = Config {
            cases: (context.config.cases / share).max(1),
            ..context.config.clone()
        };
        run(property, entity, engines, &context.server, &config)
    })
}

/// Checks one property of one entity on one server, and makes a failure
/// reproducible.
///
/// # Errors
/// When the property is broken, or the server cannot be used.
pub fn run(
    property: &'static Property,
    entity: &'static dyn Entity,
    engines: &[Engine],
    server: &Arc<Server>,
    config: &Config,
) -> Result<Outcome> {
    let mut bench = Bench::open(server, engines)?;
    match check(
        &mut bench,
        property,
        entity,
        config.cases,
        config.seed,
        config.keep_failures,
    )? {
        Checked::Held { cases, stats } => Ok(Outcome::Passed(format!(
            "{cases} cases, {} calls, {} errors as expected",
            stats.calls, stats.errors
        ))),
        Checked::Broken { mismatch, .. } if !config.keep_failures => bail!("{mismatch}"),
        Checked::Broken { plan, mismatch } => {
            let stored = Stored {
                plan: *plan,
                major: server.major,
                engines: engines.to_vec(),
                fault: server.fault(),
                seed: config.seed,
                server: server.description.clone(),
                version: server.version.clone(),
            };
            let directory = stored.write(&mismatch, server)?;
            bail!("{mismatch}replay: {}", replay_line(&directory))
        }
    }
}

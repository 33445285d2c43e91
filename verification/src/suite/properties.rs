//! The properties, for every entity, with three judges; and with fewer cases
//! the engine that plans at each call.

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
    for property in &property::ALL {
        for entity in entity::all() {
            tests.push(test(property, *entity, &Engine::JUDGES, 1));
        }
    }
    for property in &property::ALL {
        for entity in entity::all() {
            tests.push(test(
                property,
                *entity,
                &[Engine::SqlOneshot, Engine::Client],
                5,
            ));
        }
    }
    tests
}

fn test(
    property: &'static Property,
    entity: &'static dyn Entity,
    engines: &'static [Engine],
    share: u32,
) -> Test {
    let name = entity.table().entity;
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
    let test_name = format!("{number}{oneshot}::{}::{name}", property.name);
    Test::new(&test_name, &property.tag(), move |context: &Context| {
        let cases = (context.config.cases / share).max(1);
        let run = Run {
            property,
            entity,
            engines,
            cases,
            seed: context.config.seed,
            fault: None,
        };
        run.report(&context.server)
    })
}

/// One property of one entity, to be checked on one server.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The property.
    pub property: &'static Property,
    /// The entity.
    pub entity: &'static dyn Entity,
    /// The judges.
    pub engines: &'a [Engine],
    /// How many cases.
    pub cases: u32,
    /// The run's seed.
    pub seed: u64,
    /// A fault to be set in the engines.
    pub fault: Option<&'a str>,
}

impl Run<'_> {
    /// Checks it.
    ///
    /// # Errors
    /// When the server cannot be used.
    pub fn check(&self, server: &Arc<Server>) -> Result<Checked> {
        let mut bench = Bench::open(server, self.engines, self.fault)?;
        check(
            &mut bench,
            self.property,
            self.entity,
            self.cases,
            self.seed,
        )
    }

    /// Checks it, and makes a failure reproducible.
    ///
    /// # Errors
    /// When the property is broken, or the server cannot be used.
    pub fn report(&self, server: &Arc<Server>) -> Result<Outcome> {
        match self.check(server)? {
            Checked::Held { cases, stats } => Ok(Outcome::Passed(format!(
                "{cases} cases, {} calls, {} errors as expected",
                stats.calls, stats.errors
            ))),
            Checked::Broken { plan, mismatch } => {
                let stored = Stored {
                    plan: *plan,
                    major: server.major,
                    engines: self.engines.to_vec(),
                    fault: self.fault.map(str::to_owned),
                    seed: self.seed,
                    server: server.description.clone(),
                    version: server.version.clone(),
                };
                let directory = stored.write(&mismatch, server)?;
                bail!("{mismatch}replay: {}", replay_line(&directory))
            }
        }
    }
}

//! Replays a stored failure.

use crate::config::Major;
use crate::failure::Stored;
use crate::judge::{execute, script, Bench, Engine};
use crate::server::{Flavour, Life, Provider, Server};
use anyhow::Result;
use std::path::Path;

/// Carries out the plan of a failure directory again: on its major or another,
/// with its judges or with one engine beside the client. True if judges and
/// model agree now.
///
/// # Errors
/// When the plan cannot be read or there is no such server.
pub fn replay(path: &Path, major: Option<Major>, engine: Option<Engine>) -> Result<bool> {
    let stored = Stored::read(path)?;
    let major = major.unwrap_or(stored.major);
    let engines = match engine {
        Some(Engine::Client) => vec![Engine::Client],
        Some(engine) => vec![engine, Engine::Client],
        None => stored.engines.clone(),
    };
    let provider = Provider::choose()?;
    let flavour = if stored.fault.is_some() {
        Flavour::Faults
    } else {
        Flavour::Release
    };
    println!("servers: {provider}");
    let server = Server::start(&provider, major, flavour, Life::Process)?;
    println!("{}: {}", server.description, server.version);
    if let Some(fault) = &stored.fault {
        println!("seeded fault: {fault}");
        server.set_fault(Some(fault));
    }
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    println!(
        "{} of {}, judged by {}",
        stored.plan.property,
        stored.plan.entity,
        names.join(", ")
    );
    let mut bench = Bench::open_fresh(&server, &engines)?;
    match execute(&mut bench, &stored.plan) {
        Ok(stats) => {
            println!(
                "all judges agree: {} calls, {} errors as expected",
                stats.calls, stats.errors
            );
            Ok(true)
        }
        Err(mismatch) => {
            for line in script(&stored.plan)
                .iter()
                .filter(|line| line.step <= mismatch.step)
            {
                println!(
                    "{:>3}  {};",
                    line.step,
                    crate::session::shorten(&line.sql, 300)
                );
            }
            println!("\n{mismatch}");
            Ok(false)
        }
    }
}

//! The demo: a server with the extension, an agent session to read, a short
//! run of the properties, and a server that is left to play with.

use crate::config::{workspace, Config, Major};
use crate::entity;
use crate::judge::Engine;
use crate::property;
use crate::runner::Outcome;
use crate::script::{self, Item};
use crate::server::{Flavour, Life, Provider, Server};
use crate::session::{Session, Target};
use crate::suite::properties;
use anyhow::{Context, Result};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// The database that is left.
const DATABASE: &str = "caliber";

/// Runs the demo; true if every property holds.
///
/// # Errors
/// When there is no server, or the session script fails.
pub fn demo(major: Major, config: &Config) -> Result<bool> {
    let provider = Provider::choose()?;
    println!("servers: {provider}");
    println!("starting PostgreSQL {major} with caliber_pg …");
    let server = Server::start(&provider, major, Flavour::Release, Life::Left)?;
    println!("{}\n{}\n", server.description, server.version);
    let target = prepare(&server)?;
    act(&target)?;
    let held = verdicts(&server, config)?;
    server.tidy();
    let password = target
        .password
        .as_deref()
        .map(|password| format!(":{password}"))
        .unwrap_or_default();
    println!("\nThe server goes on running. Look around:");
    println!(
        "  psql postgresql://{}{password}@{}:{}/{DATABASE}",
        target.user, target.host, target.port
    );
    println!("Stop it and throw it away:\n  {}", server.stop);
    Ok(held)
}

fn prepare(server: &Arc<Server>) -> Result<Target> {
    let mut admin = Session::connect(server.target())?;
    admin.batch(&format!("CREATE DATABASE {DATABASE}"))?;
    let target = server.target().database(DATABASE);
    let mut session = Session::connect(&target)?;
    session.batch("CREATE EXTENSION caliber_pg CASCADE")?;
    session.value("SELECT caliber_init()")?;
    Ok(target)
}

/// Runs the session script: with psql, or as psql would.
fn act(target: &Target) -> Result<()> {
    let path = workspace().join("examples/agent_session.sql");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    println!("──── examples/agent_session.sql ────");
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-P",
        "pager=off",
        "-P",
        "null=∅",
        "-f",
    ])
    .arg(&path)
    .args([
        "-h",
        &target.host,
        "-p",
        &target.port.to_string(),
        "-U",
        &target.user,
        &target.database,
    ])
    .env("PGPASSWORD", target.password.as_deref().unwrap_or_default())
    .stdin(Stdio::null());
    match psql.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => anyhow::bail!("psql: {status}"),
        Err(_) => {
            println!("(no psql here: the harness plays its part)");
            like_psql(&mut Session::connect(target)?, &text)
        }
    }
}

/// Enough of psql for the script, and tables of what it returns.
fn like_psql(session: &mut Session, text: &str) -> Result<()> {
    for item in script::parse(text)?.0 {
        match item {
            Item::Echo(words) => println!("{words}"),
            Item::Statement(statement) => print_rows(session, &statement)?,
        }
    }
    Ok(())
}

fn print_rows(session: &mut Session, statement: &str) -> Result<()> {
    let replies = session
        .run(statement)
        .with_context(|| statement.to_owned())?;
    for reply in replies {
        for row in reply.rows {
            let cells: Vec<&str> = row
                .iter()
                .map(|cell| cell.as_deref().unwrap_or("∅"))
                .collect();
            println!("  {}", cells.join(" | "));
        }
    }
    println!();
    Ok(())
}

/// A short run of the properties, as a table.
fn verdicts(server: &Arc<Server>, config: &Config) -> Result<bool> {
    println!(
        "──── properties: heap engine = sql engine = plain SQL, {} cases each ────",
        config.cases
    );
    let entities = entity::all();
    print!("{:<32}", "");
    for entity in entities {
        print!("{:>22}", entity.table().entity);
    }
    println!();
    let mut held = true;
    for property in &property::ALL {
        let number = if property.number == 0 {
            " ".to_owned()
        } else {
            property.number.to_string()
        };
        print!("{number} {:<30}", property.name);
        for entity in entities {
            let began = Instant::now();
            let outcome = properties::run(property, *entity, &Engine::JUDGES, server, config);
            let seconds = began.elapsed().as_secs_f64();
            match outcome {
                Ok(Outcome::Passed(_)) => print!("{:>22}", format!("holds ({seconds:.1} s)")),
                Ok(Outcome::NotCovered(_)) => print!("{:>22}", "not covered"),
                Err(error) => {
                    held = false;
                    println!("\n{error:#}");
                    print!("{:>22}", "BROKEN");
                }
            }
        }
        println!();
    }
    Ok(held)
}

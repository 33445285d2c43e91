//! `verify`: the harness from the command line.
//!
//! Exit codes: 0 all is well; 1 a test failed, a fault escaped, or a replay
//! still disagrees; 2 the request could not be carried out.

use anyhow::{bail, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use verification::config::{parse_majors, Config, Major};
use verification::faults::Matrix;
use verification::judge::Engine;
use verification::runner::{self, Filter, Test};
use verification::server::{Flavour, Life, Provider, Server, Servers};
use verification::{demo, faults, replay, suite};

/// Judges caliber_pg on real PostgreSQL servers.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run tests (all, or those whose names contain a filter).
    Run {
        /// Parts of test names.
        filters: Vec<String>,
        /// Majors, as 15,17.
        #[arg(long)]
        pg: Option<String>,
        /// Cases per property.
        #[arg(long)]
        cases: Option<u32>,
        /// The seed of a run to repeat.
        #[arg(long)]
        seed: Option<u64>,
        /// Tests at once.
        #[arg(long)]
        threads: Option<usize>,
        /// Leave out tests whose names contain this.
        #[arg(long)]
        skip: Vec<String>,
        /// Run against a seeded fault (needs the faults build of the extension).
        #[arg(long)]
        fault: Option<String>,
    },
    /// Run generated tests over and over, each round with other cases, until the time is
    /// over or one fails.
    Soak {
        /// Parts of test names; without any, those whose cases a seed decides.
        filters: Vec<String>,
        /// Majors, as 15,17.
        #[arg(long)]
        pg: Option<String>,
        /// How long; the last round is finished.
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// Cases per property in a round.
        #[arg(long)]
        cases: Option<u32>,
    },
    /// Replay a stored failure.
    Replay {
        /// A failure directory or its plan.json.
        path: PathBuf,
        /// Another major than the one it failed on.
        #[arg(long)]
        pg: Option<Major>,
        /// Judge one engine (heap, sql, sql_oneshot) beside the client.
        #[arg(long)]
        engine: Option<String>,
    },
    /// List tests with what they promise, and faults.
    List,
    /// Run against every seeded fault the tests that INTEGRITY.md names for it,
    /// and print who catches what.
    Sensitivity {
        /// Parts of test names.
        filters: Vec<String>,
        /// The major.
        #[arg(long, default_value_t = 15)]
        pg: Major,
        /// Cases per property.
        #[arg(long, default_value_t = 40)]
        cases: u32,
        /// Only these faults.
        #[arg(long)]
        fault: Vec<String>,
        /// Every test against every fault: hours.
        #[arg(long)]
        everything: bool,
        /// Compare the matrix with the one in the repository.
        #[arg(long)]
        snapshot: bool,
        /// The seed of a run to repeat.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Start a server, show an agent session, check the properties, leave the server running.
    Demo {
        /// The major.
        #[arg(long)]
        pg: Option<Major>,
        /// Cases per property.
        #[arg(long, default_value_t = 20)]
        cases: u32,
    },
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("verify: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(command: Command) -> Result<bool> {
    let mut config = Config::from_env()?;
    match command {
        Command::Run {
            filters,
            pg,
            cases,
            seed,
            threads,
            skip,
            fault,
        } => {
            if let Some(pg) = pg {
                config.majors = parse_majors(&pg)?;
            }
            config.cases = cases.unwrap_or(config.cases);
            config.seed = seed.unwrap_or(config.seed);
            config.threads = threads.unwrap_or(config.threads).max(1);
            config.table = true;
            let filter = Filter {
                wanted: filters,
                skipped: skip,
                exact: false,
            };
            run(&config, &filter, fault.as_deref())
        }
        Command::Soak {
            filters,
            pg,
            minutes,
            cases,
        } => {
            if let Some(pg) = pg {
                config.majors = parse_majors(&pg)?;
            }
            config.cases = cases.unwrap_or(config.cases);
            soak(config, filters, Duration::from_secs(60 * minutes))
        }
        Command::Replay { path, pg, engine } => {
            let engine = match engine.as_deref() {
                None => None,
                Some(name) => match Engine::by_name(name) {
                    Some(engine) => Some(engine),
                    None => bail!("no engine {name}: heap, sql, sql_oneshot or client"),
                },
            };
            replay::replay(&path, pg, engine)
        }
        Command::List => {
            for test in suite::all() {
                println!("{:<60} {}", test.name, test.promise);
            }
            println!();
            for fault in faults::all()? {
                println!("fault {:<40} {}", fault.name, fault.mistake);
            }
            Ok(true)
        }
        Command::Sensitivity {
            filters,
            pg,
            cases,
            fault,
            everything,
            snapshot,
            seed,
        } => {
            config.cases = cases;
            config.seed = seed.unwrap_or(config.seed);
            let matrix = sensitivity(pg, &config, &filters, &fault, everything)?;
            // With some faults or tests left out, catching nothing proves nothing.
            let whole = fault.is_empty() && filters.is_empty();
            Ok(proven(&matrix, whole) && (!snapshot || as_before(&matrix)))
        }
        Command::Demo { pg, cases } => {
            config.cases = cases;
            demo::demo(
                pg.unwrap_or_else(|| config.majors.first().copied().unwrap_or(15)),
                &config,
            )
        }
    }
}

fn run(config: &Config, filter: &Filter, fault: Option<&str>) -> Result<bool> {
    let flavour = if fault.is_some() {
        Flavour::Faults
    } else {
        Flavour::Release
    };
    let servers = Servers::new(Provider::choose()?, flavour, &config.majors);
    if let Some(fault) = fault {
        known(fault)?;
        for major in &config.majors {
            if let Ok(server) = servers.get(*major) {
                server.set_fault(Some(fault));
            }
        }
    }
    Ok(runner::run(&suite::all(), filter, config, &servers).succeeded())
}

fn soak(mut config: Config, filters: Vec<String>, time: Duration) -> Result<bool> {
    let wanted = if filters.is_empty() {
        ["property_", "model::", "crash::", "load::"]
            .map(str::to_owned)
            .to_vec()
    } else {
        filters
    };
    let filter = Filter {
        wanted,
        ..Filter::default()
    };
    let servers = Servers::new(Provider::choose()?, Flavour::Release, &config.majors);
    let (began, tests) = (Instant::now(), suite::all());
    let mut round = 0;
    while began.elapsed() < time {
        round += 1;
        println!(
            "round {round}, after {} of {} minutes",
            began.elapsed().as_secs() / 60,
            time.as_secs() / 60
        );
        if !runner::run(&tests, &filter, &config, &servers).succeeded() {
            return Ok(false);
        }
        // Neighbouring seeds have nothing in common but their names.
        config.seed = config.seed.wrapping_add(1);
    }
    println!("{round} rounds, none failed");
    Ok(true)
}

fn known(fault: &str) -> Result<()> {
    let faults = faults::all()?;
    if !faults.iter().any(|known| known.name == fault) {
        let names: Vec<String> = faults.into_iter().map(|fault| fault.name).collect();
        bail!("no fault {fault}: {}", names.join(", "));
    }
    Ok(())
}

fn sensitivity(
    major: Major,
    config: &Config,
    filters: &[String],
    only: &[String],
    everything: bool,
) -> Result<Matrix> {
    for fault in only {
        known(fault)?;
    }
    let faults: Vec<_> = faults::all()?
        .into_iter()
        .filter(|fault| only.is_empty() || only.contains(&fault.name))
        .collect();
    let tests: Vec<Test> = suite::all()
        .into_iter()
        // Canaries make their own damage, and the planned-at-each-call engine shares the sql engine's code.
        .filter(|test| !test.name.starts_with("canary") && !test.name.contains("oneshot"))
        .filter(|test| {
            filters.is_empty() || filters.iter().any(|part| test.name.contains(part.as_str()))
        })
        .collect();
    let provider = Provider::choose()?;
    println!("servers: {provider}");
    let server = Server::start(&provider, major, Flavour::Faults, Life::Process)?;
    println!(
        "{}: {} faults, {} tests, {} cases a property, VERIFY_SEED={}",
        server.description,
        faults.len(),
        tests.len(),
        config.cases,
        config.seed
    );
    faults::sensitivity(&server, &tests, &faults, config, everything)
}

/// Prints the matrix and what is wrong with it.
fn proven(matrix: &Matrix, whole: bool) -> bool {
    println!("\n{matrix}");
    for fault in matrix.escaped() {
        println!("nothing catches {}: {}", fault.name, fault.mistake);
    }
    let idle = matrix.idle();
    if !idle.is_empty() {
        let names: Vec<&str> = idle.iter().map(|name| name.as_str()).collect();
        println!(
            "these tests catch none of their faults: {}",
            names.join(", ")
        );
    }
    let idle_properties = matrix.idle_properties();
    if whole {
        for property in &idle_properties {
            println!("property {property} catches no fault at all");
        }
    }
    let proven = !whole || idle_properties.is_empty();
    proven && matrix.escaped().is_empty() && matrix.broken.is_empty()
}

/// Do the same tests catch the same faults as is said in the repository?
/// (`INSTA_UPDATE=always` stores it.)
fn as_before(matrix: &Matrix) -> bool {
    let shown = matrix.summary();
    std::panic::catch_unwind(|| insta::assert_snapshot!("sensitivity", shown)).is_ok()
}

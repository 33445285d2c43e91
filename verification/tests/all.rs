//! The standard set against real servers: `cargo test -p verification --test all`.
//!
//! One binary with a harness of its own, so that a server is started once per
//! major, progress is visible, and the end says what passed, what failed and
//! what was not covered.

use clap::Parser;
use std::process::ExitCode;
use verification::config::Config;
use verification::runner::{self, Filter};
use verification::server::{Flavour, Provider, Servers};
use verification::suite;

/// What cargo's own harness understands, as far as it makes sense here.
#[derive(Parser)]
struct Arguments {
    /// Parts of test names.
    filters: Vec<String>,
    /// Names must match in full.
    #[arg(long)]
    exact: bool,
    /// Leave these out.
    #[arg(long)]
    skip: Vec<String>,
    /// Only list the tests.
    #[arg(long)]
    list: bool,
    /// How many at once.
    #[arg(long)]
    test_threads: Option<usize>,
    /// Accepted for cargo's sake; output is never captured.
    #[arg(long, alias = "show-output", short = 'q', alias = "quiet")]
    nocapture: bool,
    /// Accepted for cargo's sake.
    #[arg(long)]
    format: Option<String>,
    /// Accepted for cargo's sake: there are no ignored tests.
    #[arg(long)]
    ignored: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    config.threads = arguments.test_threads.unwrap_or(config.threads).max(1);
    let filter = Filter {
        wanted: arguments.filters,
        skipped: arguments.skip,
        exact: arguments.exact,
    };
    let tests = suite::all();
    if arguments.list {
        if !arguments.ignored {
            for name in runner::names(&tests, &filter, &config) {
                println!("{name}: test");
            }
        }
        return ExitCode::SUCCESS;
    }
    let provider = match Provider::choose() {
        Ok(provider) => provider,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let servers = Servers::new(provider, Flavour::Release, &config.majors);
    if runner::run(&tests, &filter, &config, &servers).succeeded() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

//! `cargo run --release -p benches --bin report -- --quick`: measures, prints the tables with
//! verdicts, writes JSON and a page, and fails where a bar is missed.

use anyhow::{bail, Context, Result};
use benches::bar::{Verdict, NOISE};
use benches::config::{Config, Effort, Section};
use benches::report::{MajorReport, Report};
use benches::run::{Plan, TooNoisy};
use benches::terminal::Progress;
use benches::{backend, machine, page};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use verification::config::{output, parse_majors};

/// Measures caliber_pg against SQL and against the least that PostgreSQL can do.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit code: 0 all bars met, 1 a bar missed by more than the run's own \
spread, 2 something went wrong, 3 the machine was too noisy to compare: at the first look, for most \
of the figures, or for some where no bar was missed."
)]
struct Arguments {
    /// A few minutes a major, fewer pairs (the default)
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// At least nine pairs, a million rows: under an hour a major
    #[arg(long)]
    full: bool,
    /// Majors
    #[arg(long, default_value = "15")]
    pg: String,
    /// Only these entities
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these sections
    #[arg(long, value_delimiter = ',')]
    section: Vec<Section>,
    /// Growth also among so many rows, of the chosen entities; ten million take minutes and some
    /// gigabytes for each
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    most: u32,
    /// Go on where the machine is too noisy to compare; what is noisy is not judged
    #[arg(long)]
    anyway: bool,
    /// Where to put report.json and report.html
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            let noisy = error.chain().any(|cause| cause.is::<TooNoisy>());
            ExitCode::from(if noisy { 3 } else { 2 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let majors = parse_majors(&arguments.pg)?;
    let effort = if arguments.full {
        Effort::Full
    } else {
        Effort::Quick
    };
    let mut report = Report {
        commit: machine::commit(),
        effort: format!("{effort:?}").to_lowercase(),
        machine: machine::machine(),
        session: backend::SESSION.to_owned(),
        ..Report::default()
    };
    println!(
        "caliber_pg {}, {} run on {}",
        report.commit, report.effort, report.machine
    );
    let plan = Plan {
        config: Config {
            most: arguments.most,
            ..Config::of(effort)
        },
        sections: match &arguments.section[..] {
            [] => Section::ALL.to_vec(),
            some => some.to_vec(),
        },
        only: arguments.only.clone(),
        anyway: arguments.anyway,
    };
    plan.check()?;
    let mut progress = Progress::new(plan.seconds() * majors.len() as f64);
    for &major in &majors {
        let mut found = MajorReport::default();
        let end = plan.run(major, &mut progress, &mut found);
        progress.clear();
        found.failure = end.as_ref().err().map(|error| format!("{error:#}"));
        let empty = found.is_empty();
        report.majors.push(found);
        // After each major, and where one fails: what is there is not lost.
        report.when = machine::now();
        if !empty {
            write(arguments, &report)?;
        }
        end.with_context(|| format!("on PostgreSQL {major}"))?;
        if empty {
            bail!("nothing of what was asked for is measured by these sections");
        }
    }
    println!("it took {}", progress.passed());
    Ok(verdict(&report))
}

/// Writes the files beside each other.
fn write(arguments: &Arguments, report: &Report) -> Result<()> {
    let folder = match &arguments.out {
        Some(folder) => folder.clone(),
        None => output().with_file_name("benches"),
    };
    std::fs::create_dir_all(&folder)?;
    let json = folder.join("report.json");
    std::fs::write(&json, serde_json::to_string_pretty(report)? + "\n")?;
    let html = folder.join("report.html");
    std::fs::write(&html, page::page(report))?;
    println!("\n{}\n{}", json.display(), html.display());
    Ok(())
}

/// Says which bars were missed and by how much, and chooses the exit code.
fn verdict(report: &Report) -> ExitCode {
    let (mut met, mut near, mut missed, mut noisy) = (0, 0, 0, 0);
    for finding in report.judged() {
        match finding.verdict {
            Verdict::None => {}
            Verdict::Met => met += 1,
            Verdict::Near => near += 1,
            Verdict::Noisy => noisy += 1,
            Verdict::Missed { by } => {
                missed += 1;
                println!(
                    "missed: PostgreSQL {} {}: {:.2}, allowed {:.2}; by {:.0} % beyond the spread",
                    finding.major,
                    finding.what,
                    finding.ratio,
                    finding.allowed,
                    by * 100.0
                );
            }
        }
    }
    println!(
        "bars: {met} met, {near} missed within the spread, {missed} missed, {noisy} not compared"
    );
    if noisy > 0 {
        println!(
            "not compared: the same function measured twice differed by more than {:.0} % there; the machine is too noisy",
            NOISE * 100.0
        );
    }
    let compared = met + near + missed;
    match (missed, noisy) {
        (0, 0) => ExitCode::SUCCESS,
        // What is left then says little.
        (missed, _) if missed == 0 || noisy > compared => ExitCode::from(3),
        _ => ExitCode::from(1),
    }
}

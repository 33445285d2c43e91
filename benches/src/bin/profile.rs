//! `cargo run --release -p benches --bin profile -- note/get`: where the time of an operation
//! goes, as a flame graph in `target/benches/`.
//!
//! Samples are taken by perf from the backend that does the work, by the processor's clock
//! (`cpu-clock`: virtual machines seldom have hardware counters).

use anyhow::{bail, Context, Result};
use benches::backend::SESSION;
use benches::config::{Config, Effort};
use benches::entity::{self, Entity, Operation};
use benches::race::Race;
use benches::server::Server;
use benches::{rival, world};
use clap::Parser;
use inferno::collapse::perf::Folder;
use inferno::collapse::Collapse;
use inferno::flamegraph;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use verification::config::{output, parse_majors};

/// Draws where the time of an operation goes.
#[derive(Debug, Parser)]
struct Arguments {
    /// The operation, as criterion names it: entity/label
    operation: String,
    /// Who does it: `caliber_pg`, `kept`, `PL/pgSQL`, `one-shot` or `floor`
    #[arg(long, default_value = "caliber_pg")]
    who: String,
    /// Major
    #[arg(long, default_value = "15")]
    pg: String,
    /// Seconds of samples
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (entity, operation) = find(&arguments.operation)?;
    let names = Race::names(operation.kind);
    let Some(&(part, who)) = names.iter().find(|(_, name)| *name == arguments.who) else {
        let names: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
        bail!("{} is done by {}", arguments.operation, names.join(", "));
    };
    for major in parse_majors(&arguments.pg)? {
        let config = Config::of(Effort::Quick);
        eprintln!("PostgreSQL {major}: {} rows of each entity", config.rows);
        let server = Server::start(major)?;
        server.fresh()?;
        let mut session = server.connect()?;
        world::prepare(&mut session)?;
        rival::declare(&mut session, &[(entity, operation)])?;
        world::fill(&mut session, &entity::ENTITIES, 0, config.rows)?;
        session.batch(SESSION)?;
        let mut race = Race::prepare(&mut session, entity, operation, &config)?;
        race.once(&mut session, part)?;
        race.tidy(&mut session)?;
        let backend = session
            .value("SELECT pg_backend_pid()")?
            .context("no process id")?;
        let name: String = format!("pg{major}-{}-{}-{who}", entity.name, operation.label())
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let folder = output().with_file_name("benches");
        std::fs::create_dir_all(&folder)?;
        let data = folder.join(format!("{name}.perf"));
        let mut samples = record(&on_this_machine(&backend)?, &data)?;
        let until = Instant::now() + Duration::from_secs(arguments.seconds);
        let mut calls = 0;
        while Instant::now() < until {
            race.once(&mut session, part)?;
            race.tidy(&mut session)?;
            calls += race.calls();
        }
        stop(&mut samples)?;
        let picture = folder.join(format!("{name}.svg"));
        let title = format!(
            "{} {} by {who}, PostgreSQL {major}, {calls} calls",
            entity.name,
            operation.label()
        );
        // While the server is there: perf reads symbols where the process sees its libraries.
        draw(&data, &picture, &title)?;
        std::fs::remove_file(&data)?;
        race.restore(&mut session)?;
        println!("{}", picture.display());
    }
    Ok(())
}

/// The one operation with this name.
fn find(wanted: &str) -> Result<(&'static Entity, &'static Operation)> {
    let name = |(entity, operation): &(&Entity, &Operation)| {
        format!("{}/{}", entity.name, operation.label())
    };
    let all = entity::operations();
    let exact = all.iter().find(|pair| name(pair) == wanted);
    let parts: Vec<_> = all
        .iter()
        .filter(|pair| name(pair).contains(wanted))
        .collect();
    match (exact, &parts[..]) {
        (Some(pair), _) => Ok(*pair),
        (None, [pair]) => Ok(**pair),
        _ => {
            let names: Vec<String> = all.iter().map(name).collect();
            bail!(
                "which operation is {wanted:?}? There are:\n{}",
                names.join("\n")
            )
        }
    }
}

/// The process of this machine that is the server's process `backend` in its container.
fn on_this_machine(backend: &str) -> Result<String> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        let title = read("cmdline");
        let status = read("status");
        let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let is_it = inside.is_some_and(|ids| ids.split_whitespace().last() == Some(backend))
            && title.starts_with("postgres: ")
            && title.contains(" benches ");
        if let (true, Some(id)) = (is_it, path.file_name()) {
            return Ok(id.to_string_lossy().into_owned());
        }
    }
    bail!("the server's process {backend} is not among those of this machine")
}

/// Starts perf on a process.
fn record(process: &str, data: &Path) -> Result<Child> {
    // No frame pointers: stacks are unwound from copies of them.
    let perf = Command::new("perf")
        .args(["record", "--quiet", "--event", "cpu-clock", "--freq", "499"])
        .args(["--call-graph", "dwarf,16384", "--pid", process, "--output"])
        .arg(data)
        .stdin(Stdio::null())
        .spawn()
        .context("perf cannot be started (Debian has it in the package linux-perf)")?;
    // It attaches to the process first.
    std::thread::sleep(Duration::from_millis(500));
    Ok(perf)
}

/// Ends perf as Control-C does, so that it writes its file.
fn stop(perf: &mut Child) -> Result<()> {
    let status = Command::new("kill")
        .args(["-INT", &perf.id().to_string()])
        .status()?;
    if !status.success() {
        bail!("perf ended early");
    }
    perf.wait()?;
    Ok(())
}

/// From samples to a picture.
fn draw(data: &Path, picture: &Path, title: &str) -> Result<()> {
    let mut script = Command::new("perf")
        .args(["script", "--no-inline", "--input"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stacks = script.stdout.take().context("perf script says nothing")?;
    let mut folded = Vec::new();
    Folder::default().collapse(BufReader::new(stacks), &mut folded)?;
    if !script.wait()?.success() {
        bail!("perf script failed");
    }
    let mut options = flamegraph::Options::default();
    options.title = title.to_owned();
    options.count_name = "samples".to_owned();
    let out = BufWriter::new(File::create(picture)?);
    flamegraph::from_reader(&mut options, &folded[..], out)?;
    Ok(())
}

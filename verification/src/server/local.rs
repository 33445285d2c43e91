//! Servers without Docker: a temporary cluster from a PostgreSQL that is
//! installed here, as an unprivileged user.

use super::guard::Guard;
use super::{Flavour, Handle, Life, Started};
use crate::config::{workspace, Major};
use crate::session::{Session, Target};
use anyhow::{bail, Context, Result};
use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts a temporary cluster.
pub(super) fn start(major: Major, flavour: Flavour, life: Life) -> Result<Started> {
    let pg_config = find(major)?;
    install(&pg_config, flavour)?;
    let bin = PathBuf::from(ask(&pg_config, "--bindir")?);
    let user = User::unprivileged()?;
    let root = std::env::temp_dir().join(format!(
        "caliber-verify-{major}-{}",
        uuid::Uuid::new_v4().simple()
    ));
    fs::create_dir(&root).with_context(|| format!("{}", root.display()))?;
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
    let password = uuid::Uuid::new_v4().simple().to_string();
    let password_file = root.join("password");
    fs::write(&password_file, &password)?;
    for path in [&root, &password_file] {
        user.own(path)?;
    }
    let data = root.join("data");
    let mut initdb = user.command(&bin.join("initdb"));
    initdb
        .args([
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--pwfile",
        ])
        .arg(&password_file)
        .arg("-D")
        .arg(&data);
    run(&mut initdb).context("initdb")?;

    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let log = root.join("log");
    let mut options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}' -c max_connections=200 \
         -c max_prepared_transactions=20 -c wal_level=logical -c autovacuum_naptime=1d \
         -c log_min_error_statement=warning",
        root.display()
    );
    let preload = Path::new(&ask(&pg_config, "--pkglibdir")?).join("pg_stat_statements.so");
    if preload.exists() {
        options +=
            " -c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.track=none";
    }
    let pg_ctl = bin.join("pg_ctl");
    let mut start = user.command(&pg_ctl);
    start
        .args(["start", "-w", "-s"])
        .arg("-D")
        .arg(&data)
        .arg("-l")
        .arg(&log)
        .arg("-o")
        .arg(&options);
    run(&mut start).with_context(|| fs::read_to_string(&log).unwrap_or_default())?;

    let guard = match life {
        // The server refuses to be stopped by root: take the signal way.
        Life::Process => Some(Guard::new(
            "kill -QUIT $(head -1 \"$1/data/postmaster.pid\"); sleep 0.3; rm -rf \"$1\"",
            &[&root.display().to_string()],
        )?),
        Life::Left => None,
    };
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port,
        user: "postgres".to_owned(),
        password: Some(password),
        database: "postgres".to_owned(),
    };
    let started = Instant::now();
    while let Err(error) = Session::connect(&target) {
        if started.elapsed() > Duration::from_secs(30) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Started {
        target,
        description: format!(
            "local {} ({})",
            ask(&pg_config, "--version")?,
            pg_config.display()
        ),
        stop: format!(
            "kill $(head -1 {0}/data/postmaster.pid); rm -r {0}",
            root.display()
        ),
        handle: Box::new(Cluster { log, _guard: guard }),
    })
}

/// The pg_config of a major.
fn find(major: Major) -> Result<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    if let Ok(path) = std::env::var(format!("VERIFY_PG_CONFIG_{major}")) {
        places.push(path.into());
    }
    places.push(format!("/usr/lib/postgresql/{major}/bin/pg_config").into());
    places.push(format!("/usr/pgsql-{major}/bin/pg_config").into());
    places.push("pg_config".into());
    places.push("/usr/local/pgsql/bin/pg_config".into());
    let wanted = format!("PostgreSQL {major}");
    for place in &places {
        if let Ok(version) = ask(place, "--version") {
            let rest = version.strip_prefix(&wanted);
            if rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())) {
                return Ok(place.clone());
            }
        }
    }
    bail!("no PostgreSQL {major} is installed (VERIFY_PG_CONFIG_{major} can name its pg_config)")
}

fn ask(pg_config: &Path, what: &str) -> Result<String> {
    let output = Command::new(pg_config)
        .arg(what)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        bail!("{} {what} failed", pg_config.display());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Builds and installs the extension of this checkout, so that what is tested
/// is never an older one.
fn install(pg_config: &Path, flavour: Flavour) -> Result<()> {
    let mut command = Command::new(workspace().join("containers/local"));
    command
        .env("PG_CONFIG", pg_config)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    match flavour {
        Flavour::Release => {}
        Flavour::Faults => drop(command.arg("--faults")),
        Flavour::Bench => drop(command.arg("--bench")),
    }
    let status = command.status().context("containers/local")?;
    if !status.success() {
        bail!(
            "containers/local (PG_CONFIG={}) failed",
            pg_config.display()
        );
    }
    Ok(())
}

/// Runs a command whose output matters only if it fails.
fn run(command: &mut Command) -> Result<()> {
    // pg_ctl's server inherits the pipes: a file takes the words instead.
    let words = std::env::temp_dir().join(format!(
        "caliber-verify-{}.out",
        uuid::Uuid::new_v4().simple()
    ));
    let file = fs::File::create(&words)?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;
    let text = fs::read_to_string(&words).unwrap_or_default();
    fs::remove_file(&words)?;
    if !status.success() {
        bail!("{command:?}: {status}\n{text}");
    }
    Ok(())
}

/// Who runs the server.
struct User {
    /// Set when this process is root, which PostgreSQL refuses.
    ids: Option<(u32, u32)>,
}

impl User {
    fn unprivileged() -> Result<Self> {
        let uid =
            fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta))?;
        if uid != 0 {
            return Ok(Self { ids: None });
        }
        let passwd = fs::read_to_string("/etc/passwd")?;
        for name in ["postgres", "nobody"] {
            let entry = passwd
                .lines()
                .find(|line| line.split(':').next() == Some(name));
            let ids: Vec<u32> = entry
                .into_iter()
                .flat_map(|line| line.split(':'))
                .filter_map(|f| f.parse().ok())
                .collect();
            if let [uid, gid, ..] = ids[..] {
                return Ok(Self {
                    ids: Some((uid, gid)),
                });
            }
        }
        bail!("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
    }

    fn own(&self, path: &Path) -> Result<()> {
        if let Some((uid, gid)) = self.ids {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        // A backtrace in a panic's DETAIL would differ from run to run.
        command.env_remove("RUST_BACKTRACE");
        command
    }
}

struct Cluster {
    log: PathBuf,
    _guard: Option<Guard>,
}

impl Handle for Cluster {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }
}

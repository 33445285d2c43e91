//! Servers in containers, from the images of `containers/`.

use super::guard::Guard;
use super::{Flavour, Handle, Life, Started, SMALL};
use crate::config::{assertions, workspace, Major};
use crate::session::{Session, Target};
use anyhow::{bail, Context, Result};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use testcontainers::bollard::models::{Mount, MountType, PortBinding};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

/// Carried by every container of this harness: the process that owns it.
const OWNER: &str = "caliber.verification.owner";
/// Carried by every container of one run.
const RUN: &str = "caliber.verification.run";

/// What the Docker engine says of itself.
pub(super) fn engine() -> Result<String> {
    let output = Command::new("docker")
        .args(["version", "--format", "Docker {{.Server.Version}}"])
        .stdin(Stdio::null())
        .output()
        .context("the docker command")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The image's tag; what is missing is built (its progress goes to stderr).
/// `VERIFY_IMAGE_<major>` (of another build: `VERIFY_FAULTS_IMAGE_<major>`,
/// `VERIFY_BENCH_IMAGE_<major>`)
/// names another image, whatever it was built from.
pub(super) fn image(major: Major, flavour: Flavour) -> Result<(String, String)> {
    let variable = match flavour {
        Flavour::Release => format!("VERIFY_IMAGE_{major}"),
        Flavour::Faults => format!("VERIFY_FAULTS_IMAGE_{major}"),
        Flavour::Bench => format!("VERIFY_BENCH_IMAGE_{major}"),
    };
    if let Ok(image) = std::env::var(&variable) {
        eprintln!("[pg{major}] {variable}={image}: perhaps not this checkout");
        return split(&image);
    }
    let mut command = Command::new(workspace().join("containers/image"));
    command
        .arg(major.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    match flavour {
        Flavour::Release => {}
        Flavour::Faults => drop(command.arg("--faults")),
        Flavour::Bench => drop(command.arg("--bench")),
    }
    if assertions() {
        command.arg("--assert");
    }
    let output = command.output().context("containers/image")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("containers/image {major} failed:\n{text}");
    }
    split(text.lines().last().unwrap_or_default().trim())
}

fn split(image: &str) -> Result<(String, String)> {
    match image.rsplit_once(':') {
        Some((name, tag)) => Ok((name.to_owned(), tag.to_owned())),
        None => bail!("no image with a tag: \"{image}\""),
    }
}

/// This run's id, and its guard: containers go when the process goes.
fn run_id() -> &'static str {
    static RUN_ID: OnceLock<(String, Option<Guard>)> = OnceLock::new();
    &RUN_ID
        .get_or_init(|| {
            reap();
            let id = uuid::Uuid::new_v4().simple().to_string();
            let script = "docker ps -aq --filter label=$1 | xargs -r docker rm -fv";
            // A static is never dropped: the pipe closes with the process.
            let guard = Guard::new(script, &[&format!("{RUN}={id}")]).ok();
            (id, guard)
        })
        .0
}

fn owner() -> String {
    format!("{}@{}", std::process::id(), host())
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Removes containers whose owner, a process of this machine, is gone.
fn reap() {
    let format = format!("{{{{.ID}}}} {{{{.Label \"{OWNER}\"}}}}");
    let Ok(output) = Command::new("docker")
        .args([
            "ps",
            "-a",
            "--filter",
            &format!("label={OWNER}"),
            "--format",
            &format,
        ])
        .output()
    else {
        return;
    };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((id, owner)) = line.split_once(' ') else {
            continue;
        };
        let Some((pid, machine)) = owner.split_once('@') else {
            continue;
        };
        let alive = std::path::Path::new("/proc").join(pid).exists();
        if machine == host() && !alive {
            eprintln!("removing container {id}: its owner, process {pid}, is gone");
            let _ = Command::new("docker")
                .args(["rm", "-fv", id])
                .stdout(Stdio::null())
                .status();
        }
    }
}

/// Where a server keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// In memory, with fsync on: clones of the template cost a fifth.
    Memory,
    /// On disk, where it outlives a kill.
    Disk,
}

/// A container of an image, not started yet.
pub(super) fn request(
    (name, tag): &(String, String),
    data: Data,
    password: &str,
    command: Vec<String>,
) -> ContainerRequest<GenericImage> {
    GenericImage::new(name.clone(), tag.clone())
        .with_env_var("POSTGRES_PASSWORD", password)
        .with_cmd(command)
        // On the loopback interface only; the engine's default is every interface.
        .with_host_config_modifier(move |host| {
            const PLACE: &str = "/var/lib/postgresql/data";
            match data {
                Data::Memory => {
                    let options = "rw,size=6g,mode=0777".to_owned();
                    // The server's user owns a tablespace's folder.
                    let small = "rw,size=4m,mode=0700,uid=999,gid=999".to_owned();
                    let places = [(PLACE.to_owned(), options), (SMALL.to_owned(), small)];
                    host.tmpfs = Some(places.into());
                }
                Data::Disk => {
                    host.mounts = Some(vec![Mount {
                        target: Some(PLACE.to_owned()),
                        typ: Some(MountType::VOLUME),
                        ..Mount::default()
                    }]);
                }
            }
            let binding = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: None,
            };
            host.publish_all_ports = Some(false);
            host.port_bindings = Some([("5432/tcp".to_owned(), Some(vec![binding]))].into());
        })
}

/// The same container, removed when this process ends.
pub(super) fn of_this_process(
    request: ContainerRequest<GenericImage>,
) -> ContainerRequest<GenericImage> {
    request.with_label(OWNER, owner()).with_label(RUN, run_id())
}

/// The address of a container in the engine's network. Asked of the engine:
/// testcontainers looks for a network named as the container's network mode,
/// which is not its name where the mode is "default".
pub(super) fn bridge_of(container: &Container<GenericImage>) -> Option<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let output = Command::new("docker")
        .args(["inspect", "--format", format, container.id()])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().map(str::to_owned)
}

/// Waits until a container's server answers. Where it listens is asked anew:
/// a container that was started again has another port.
pub(super) fn reach(container: &Container<GenericImage>, password: &str) -> Result<Target> {
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port: container
            .get_host_port_ipv4(5432.tcp())
            .context("the container's port")?,
        user: "postgres".to_owned(),
        password: Some(password.to_owned()),
        database: "postgres".to_owned(),
    };
    wait_until_ready(&target, bridge_of(container).as_deref()).with_context(|| {
        format!(
            "the server does not answer; its log:\n{}",
            log_of(container.id())
        )
    })
}

/// Starts a container.
pub(super) fn start(major: Major, flavour: Flavour, life: Life) -> Result<Started> {
    let image = image(major, flavour)?;
    let name = format!("{}:{}", image.0, image.1);
    let password = uuid::Uuid::new_v4().simple().to_string();
    let data = match life {
        Life::Process => Data::Memory,
        Life::Left => Data::Disk,
    };
    let request = request(&image, data, &password, settings(major));
    let request = match life {
        Life::Process => of_this_process(request),
        Life::Left => request.with_label("caliber.demo", "1"),
    };
    let container = request
        .start()
        .with_context(|| format!("cannot start {name}"))?;
    let target = reach(&container, &password).with_context(|| name.clone())?;
    // People get the published port; tests need not go through its proxy.
    let target = match life {
        Life::Process => straighter(&target, bridge_of(&container).as_deref()).unwrap_or(target),
        Life::Left => target,
    };
    let id = container.id().to_owned();
    let short: String = id.chars().take(12).collect();
    Ok(Started {
        target,
        description: format!("container {name}"),
        stop: format!("docker rm -fv {short}"),
        handle: Box::new(Handled {
            id,
            container: Some(container),
            life,
        }),
    })
}

/// The server's settings. fsync stays on.
pub(super) fn settings(major: Major) -> Vec<String> {
    let mut settings = vec![
        "max_connections=200".to_owned(),
        "max_prepared_transactions=20".to_owned(),
        "wal_level=logical".to_owned(),
        // Tests vacuum when they mean to: pgvector's HNSW does not bear writers beside
        // VACUUM (its pull requests 988 and 990).
        "autovacuum_naptime=1d".to_owned(),
        // A WARNING of a leak says in whose statement.
        "log_min_error_statement=warning".to_owned(),
    ];
    // contrib comes with the packages of these majors.
    if matches!(major, 15 | 17 | 18) {
        settings.push("shared_preload_libraries=pg_stat_statements".to_owned());
        // Of the sessions that ask for it: theirs are not evicted by everyone's.
        settings.push("pg_stat_statements.track=none".to_owned());
    }
    settings
        .into_iter()
        .flat_map(|setting| ["-c".to_owned(), setting])
        .collect()
}

/// The bridge's address, if it can be reached from here: the published port goes
/// through a proxy, which would copy every message.
pub(super) fn straighter(published: &Target, bridge: Option<&str>) -> Option<Target> {
    let bridge = Target {
        host: bridge?.to_owned(),
        port: 5432,
        ..published.clone()
    };
    let address = (bridge.host.as_str(), bridge.port)
        .to_socket_addrs()
        .ok()?
        .next()?;
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
    Session::connect(&bridge).ok()?;
    Some(bridge)
}

/// Asks until the server answers, on the published port or, where that leads
/// nowhere, on the bridge.
pub(super) fn wait_until_ready(published: &Target, bridge: Option<&str>) -> Result<Target> {
    let mut candidates = vec![published.clone()];
    if let Some(host) = bridge {
        candidates.push(Target {
            host: host.to_owned(),
            port: 5432,
            ..published.clone()
        });
    }
    let started = Instant::now();
    loop {
        let mut last = None;
        for candidate in &candidates {
            match Session::connect(candidate).and_then(|mut session| session.value("SELECT 1")) {
                Ok(_) => return Ok(candidate.clone()),
                Err(error) => last = Some(error),
            }
        }
        if started.elapsed() > Duration::from_secs(60) {
            return Err(last
                .unwrap_or_else(|| anyhow::anyhow!("no address"))
                .context("no answer for 60 seconds"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(super) fn log_of(id: &str) -> String {
    match Command::new("docker").args(["logs", id]).output() {
        Ok(output) => {
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr)
        }
        Err(error) => error.to_string(),
    }
}

struct Handled {
    id: String,
    container: Option<Container<GenericImage>>,
    life: Life,
}

impl Handle for Handled {
    fn log(&self) -> String {
        log_of(&self.id)
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        if self.life == Life::Left {
            // Dropping a `Container` removes it; this one stays.
            std::mem::forget(self.container.take());
        }
    }
}

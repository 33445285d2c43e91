//! Servers in containers, from the images of `containers/`.

use super::guard::Guard;
use super::{Flavour, Handle, Life, Started};
use crate::config::{workspace, Major};
use crate::session::{Session, Target};
use anyhow::{bail, Context, Result};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use testcontainers::bollard::models::PortBinding;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

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
/// `VERIFY_IMAGE_<major>` names another image, whatever it was built from.
fn image(major: Major, flavour: Flavour) -> Result<(String, String)> {
    if let Ok(image) = std::env::var(format!("VERIFY_IMAGE_{major}")) {
        eprintln!("[pg{major}] VERIFY_IMAGE_{major}={image}: perhaps not this checkout");
        return split(&image);
    }
    let mut command = Command::new(workspace().join("containers/image"));
    command
        .arg(major.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if flavour == Flavour::Faults {
        command.arg("--faults");
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

/// Starts a container.
pub(super) fn start(major: Major, flavour: Flavour, life: Life) -> Result<Started> {
    let (name, tag) = image(major, flavour)?;
    let password = uuid::Uuid::new_v4().simple().to_string();
    let port = 5432.tcp();
    let mut request = GenericImage::new(name.clone(), tag.clone())
        .with_env_var("POSTGRES_PASSWORD", password.clone())
        .with_cmd(settings(major))
        // On the loopback interface only; the engine's default is every interface.
        .with_host_config_modifier(move |host| {
            if life == Life::Process {
                // In memory, with fsync on: clones of the template cost a fifth.
                let options = "rw,size=6g,mode=0777".to_owned();
                host.tmpfs = Some([("/var/lib/postgresql/data".to_owned(), options)].into());
            }
            let binding = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: None,
            };
            host.publish_all_ports = Some(false);
            host.port_bindings = Some([("5432/tcp".to_owned(), Some(vec![binding]))].into());
        });
    request = match life {
        Life::Process => request.with_label(OWNER, owner()).with_label(RUN, run_id()),
        Life::Left => request.with_label("caliber.demo", "1"),
    };
    let container = request
        .start()
        .with_context(|| format!("cannot start {name}:{tag}"))?;
    let mapped = container
        .get_host_port_ipv4(port)
        .context("the container's port")?;
    let bridge = container
        .get_bridge_ip_address()
        .ok()
        .map(|address| address.to_string());
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port: mapped,
        user: "postgres".to_owned(),
        password: Some(password),
        database: "postgres".to_owned(),
    };
    let target = wait_until_ready(&target, bridge.as_deref()).with_context(|| {
        format!(
            "{name}:{tag} does not answer; its log:\n{}",
            log_of(container.id())
        )
    })?;
    let id = container.id().to_owned();
    let short: String = id.chars().take(12).collect();
    Ok(Started {
        target,
        description: format!("container {name}:{tag}"),
        stop: format!("docker rm -f {short}"),
        handle: Box::new(Handled {
            id,
            container: Some(container),
            life,
        }),
    })
}

/// The server's settings. fsync stays on.
fn settings(major: Major) -> Vec<String> {
    let mut settings = vec![
        "max_connections=200".to_owned(),
        "max_prepared_transactions=20".to_owned(),
    ];
    // contrib comes with the packages of these majors.
    if matches!(major, 15 | 17 | 18) {
        settings.push("shared_preload_libraries=pg_stat_statements".to_owned());
    }
    settings
        .into_iter()
        .flat_map(|setting| ["-c".to_owned(), setting])
        .collect()
}

/// Asks until the server answers, on the published port or, where that leads
/// nowhere, on the bridge.
fn wait_until_ready(published: &Target, bridge: Option<&str>) -> Result<Target> {
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

fn log_of(id: &str) -> String {
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

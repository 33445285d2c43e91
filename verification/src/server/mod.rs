//! Servers: a PostgreSQL of a major with the extension, from whoever has one.

pub mod complaints;
mod container;
mod database;
mod guard;
mod local;
mod own;
mod pool;
mod url;

pub use database::Database;
pub use own::Own;
pub use pool::Servers;

use crate::config::{assertions, Major};
use crate::session::{Session, Target};
use anyhow::{bail, Context, Result};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A file system of a few megabytes that servers in containers have, for what
/// happens when a disk is full.
pub const SMALL: &str = "/var/lib/postgresql/small";

/// Which build of the extension a server carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// What is shipped.
    #[default]
    Release,
    /// With the cargo feature `faults`.
    Faults,
    /// With the cargo feature `bench`: what the benches measure against.
    Bench,
}

/// Where servers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Containers from the images of `containers/`.
    Container {
        /// What the engine says of itself.
        engine: String,
    },
    /// Temporary clusters of PostgreSQL installations found here.
    Local {
        /// Why not containers.
        because: String,
    },
    /// Servers that someone else runs (`VERIFY_URL_<major>`).
    Url,
}

impl Provider {
    /// The provider that is asked for by `VERIFY_PROVIDER`, or the first that answers.
    ///
    /// # Errors
    /// When the one that is asked for cannot be used.
    pub fn choose() -> Result<Self> {
        match std::env::var("VERIFY_PROVIDER").ok().as_deref() {
            None | Some("") => Ok(match container::engine() {
                Ok(engine) => Self::Container { engine },
                Err(why) => Self::Local {
                    because: format!("no Docker engine answers ({why})"),
                },
            }),
            Some("container") => Ok(Self::Container {
                engine: container::engine().context("VERIFY_PROVIDER=container")?,
            }),
            Some("local") => Ok(Self::Local {
                because: "VERIFY_PROVIDER=local".to_owned(),
            }),
            Some("url") => Ok(Self::Url),
            Some(other) => bail!("VERIFY_PROVIDER={other}: container, local or url"),
        }
    }

    /// Can it give two servers of a major with different builds?
    fn has_flavours(&self, major: Major) -> bool {
        matches!(self, Self::Container { .. }) && url::configured(major).is_none()
    }

    fn start(&self, major: Major, flavour: Flavour, life: Life) -> Result<Started> {
        if let Some(url) = url::configured(major) {
            return url::connect(&url);
        }
        match self {
            Self::Container { .. } => container::start(major, flavour, life),
            Self::Local { .. } => local::start(major, flavour, life),
            Self::Url => bail!("VERIFY_URL_{major} is not set"),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { engine } => write!(f, "container ({engine})"),
            Self::Local { because } => write!(f, "local ({because})"),
            Self::Url => f.write_str("url (VERIFY_URL_<major>)"),
        }
    }
}

/// How long a server lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// As long as this process, crash or not.
    Process,
    /// Until somebody stops it: the demo.
    Left,
}

/// What a provider hands over.
struct Started {
    target: Target,
    /// Provider and image, for reports.
    description: String,
    /// How a person stops it, if it is left running.
    stop: String,
    handle: Box<dyn Handle>,
}

/// What only the provider can do with a server.
trait Handle: Send + Sync {
    /// The server's log, as far as it can be had.
    fn log(&self) -> String;

    /// Can it be had?
    fn has_log(&self) -> bool {
        true
    }
}

/// Fails if assertions were asked for and this server has them off: it would
/// pass every test in silence.
fn prove_assertions(session: &mut Session) -> Result<()> {
    if assertions() && session.value("SHOW debug_assertions")?.as_deref() != Some("on") {
        bail!("VERIFY_ASSERT asks for a server with assertions on; this one has them off");
    }
    Ok(())
}

/// A running server whose template database is prepared.
pub struct Server {
    /// Its major version.
    pub major: Major,
    /// Where it comes from: provider and image.
    pub description: String,
    /// `version()`.
    pub version: String,
    /// How to stop it by hand.
    pub stop: String,
    target: Target,
    handle: Box<dyn Handle>,
    databases: AtomicU32,
    idle: Mutex<Vec<String>>,
    fault: Mutex<Option<String>>,
}

impl Server {
    /// Starts a server and prepares its template.
    ///
    /// # Errors
    /// When the provider has no such server, or it does not work.
    pub fn start(
        provider: &Provider,
        major: Major,
        flavour: Flavour,
        life: Life,
    ) -> Result<Arc<Self>> {
        let started = provider.start(major, flavour, life)?;
        let prepared = (|| {
            let mut admin = Session::connect(&started.target)?;
            let version = admin.value("SELECT version()")?.unwrap_or_default();
            let number = admin.value("SHOW server_version_num")?.unwrap_or_default();
            if number.parse::<u32>().unwrap_or(0) / 10_000 != u32::from(major) {
                bail!("asked for PostgreSQL {major}, got {version}");
            }
            prove_assertions(&mut admin)?;
            database::make_template(&started.target)?;
            Ok(version)
        })();
        match prepared {
            Ok(version) => Ok(Arc::new(Self {
                major,
                description: started.description,
                version,
                stop: started.stop,
                target: started.target,
                handle: started.handle,
                databases: AtomicU32::new(0),
                idle: Mutex::new(Vec::new()),
                fault: Mutex::new(None),
            })),
            Err(error) => {
                let log: Vec<String> = started
                    .handle
                    .log()
                    .lines()
                    .rev()
                    .take(12)
                    .map(str::to_owned)
                    .collect();
                let tail: Vec<String> = log.into_iter().rev().collect();
                Err(error.context(format!(
                    "{}; its log ends:\n{}",
                    started.description,
                    tail.join("\n")
                )))
            }
        }
    }

    /// A superuser's connection to the maintenance database.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.handle.log()
    }

    /// What its log complains of: see [`complaints`]. Sessions that were closed
    /// just now get the time to end.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let began = Instant::now();
        let others = "SELECT count(*) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while let Ok(mut admin) = Session::connect(&self.target) {
            let alone = admin.value(others).ok().flatten().as_deref() == Some("0");
            if alone || began.elapsed() > Duration::from_secs(3) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        complaints::complaints(&self.log())
    }

    /// Whether [`Self::log`] is the server's log, and not a word about it.
    #[must_use]
    pub fn has_log(&self) -> bool {
        self.handle.has_log()
    }

    /// A clone of the template: one that another test gave back with empty
    /// tables, or a new one.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn database(self: &Arc<Self>) -> Result<Database> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        match idle {
            Some(name) => Ok(Database::new(self, &name)),
            None => self.fresh_database(),
        }
    }

    /// A new clone of the template, for a test that changes more than rows.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn fresh_database(self: &Arc<Self>) -> Result<Database> {
        let name = format!(
            "{}_{}",
            database::prefix(),
            self.databases.fetch_add(1, Ordering::Relaxed)
        );
        database::create(&self.target, &name, &database::template())?;
        if let Some(fault) = self.fault() {
            let mut admin = Session::connect(&self.target)?;
            admin.batch(&format!(
                "ALTER DATABASE {name} SET caliber.fault = '{fault}'"
            ))?;
        }
        Ok(Database::new(self, &name))
    }

    /// A new database without the extension.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn empty_database(self: &Arc<Self>) -> Result<Database> {
        let name = format!(
            "{}_{}",
            database::prefix(),
            self.databases.fetch_add(1, Ordering::Relaxed)
        );
        database::create(&self.target, &name, "template0")?;
        Ok(Database::new(self, &name))
    }

    /// Every database that is handed out from now on makes this seeded mistake.
    /// The server must be of [`Flavour::Faults`].
    pub fn set_fault(&self, fault: Option<&str>) {
        if let Ok(mut current) = self.fault.lock() {
            *current = fault.map(str::to_owned);
        }
        // What was handed out before makes another.
        if let Ok(mut idle) = self.idle.lock() {
            idle.clear();
        }
    }

    /// The seeded mistake that databases make.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().ok().and_then(|fault| fault.clone())
    }

    /// Drops the databases of the harness: for a server that is left to somebody.
    pub fn tidy(&self) {
        let idle = self
            .idle
            .lock()
            .map(|mut idle| std::mem::take(&mut *idle))
            .unwrap_or_default();
        if let Ok(mut admin) = Session::connect(&self.target) {
            for name in idle.into_iter().chain([database::template()]) {
                // What stays behind does no harm.
                let _ = admin.batch(&format!("DROP DATABASE {name} WITH (FORCE)"));
            }
        }
    }

    fn give_back(&self, name: String) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(name);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} from {}", self.major, self.description)
    }
}

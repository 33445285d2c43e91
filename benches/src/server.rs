//! The server of a run.

use crate::machine;
use anyhow::{bail, Context, Result};
use std::time::{Duration, Instant};
use verification::config::Major;
use verification::server::{Flavour, Own};
use verification::session::{Session, Target};

/// Settings that differ from a new cluster's, each for a reason.
pub const SETTINGS: &[&str] = &[
    // No checkpoint in the middle of a measurement; one is made in between.
    "checkpoint_timeout=1d",
    "max_wal_size=8GB",
    // No vacuum either: it is switched off, and on where it matters, by ALTER SYSTEM. A setting
    // of the command line could not be changed any more.
    "autovacuum_naptime=1s",
    // A rival is not helped or hurt by other processes or by compiling.
    "jit=off",
    "max_parallel_workers_per_gather=0",
    // Nor do several vacuum or build indexes: they want more shared memory than a container has.
    "max_parallel_maintenance_workers=0",
    // Two slots for each lock of a transaction.
    "max_locks_per_transaction=512",
    "wal_level=replica",
    "shared_preload_libraries=",
];

/// The database that is measured.
const DATABASE: &str = "benches";

/// A server with the bench build of the extension.
pub struct Server {
    own: Own,
    /// `version()`.
    pub version: String,
}

impl Server {
    /// Starts one; its data is on disk, with fsync on.
    ///
    /// # Errors
    /// When it does not start, or where there are no containers.
    pub fn start(major: Major) -> Result<Self> {
        let buffers = format!("shared_buffers={}MB", machine::shared_buffers());
        let settings: Vec<&str> = std::iter::once(buffers.as_str())
            .chain(SETTINGS.iter().copied())
            .collect();
        let own = Own::start_with(major, Flavour::Bench, &settings)?
            .context("the benches need servers of their own: no Docker engine answers")?;
        let mut admin = own.connect()?;
        let version = admin.value("SELECT version()")?.unwrap_or_default();
        let assertions = admin.value("SHOW debug_assertions")?;
        if assertions.as_deref() != Some("off") {
            bail!("this server checks its own assertions, which takes more time than what is measured");
        }
        let server = Self { own, version };
        server.autovacuum(false)?;
        Ok(server)
    }

    /// The image it runs.
    #[must_use]
    pub fn image(&self) -> String {
        self.own.image()
    }

    /// Where to connect for measurements.
    #[must_use]
    pub fn target(&self) -> Target {
        self.own.target().database(DATABASE)
    }

    /// Switches autovacuum on or off, and waits until the server has taken notice.
    ///
    /// # Errors
    /// When it does not.
    pub fn autovacuum(&self, on: bool) -> Result<()> {
        let wanted = if on { "on" } else { "off" };
        let mut admin = self.own.connect()?;
        admin.batch(&format!("ALTER SYSTEM SET autovacuum = {wanted}"))?;
        admin.batch("SELECT pg_reload_conf()")?;
        let asked = Instant::now();
        while admin.value("SHOW autovacuum")?.as_deref() != Some(wanted) {
            if asked.elapsed() > Duration::from_secs(10) {
                bail!("autovacuum cannot be switched {wanted}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A new empty database with the extension and its tables, without HNSW indexes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fresh(&self) -> Result<()> {
        let mut admin = self.own.connect()?;
        admin.batch(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))?;
        admin.batch(&format!("CREATE DATABASE {DATABASE} TEMPLATE template0"))?;
        let mut session = self.connect()?;
        session.batch("CREATE EXTENSION caliber_pg CASCADE; SELECT caliber_init()")
    }

    /// A session for measurements.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn connect(&self) -> Result<Session> {
        Session::connect(&self.target())
    }

    /// The settings that a figure depends on, as they are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn settings(&self) -> Result<Vec<(String, String)>> {
        let mut session = self.connect()?;
        let names: Vec<String> = SETTINGS
            .iter()
            .filter_map(|setting| setting.split_once('='))
            .map(|(name, _)| format!("'{name}'"))
            .collect();
        let sql = format!(
            "SELECT name, current_setting(name) FROM pg_settings
             WHERE name IN ({}, 'autovacuum', 'shared_buffers', 'debug_assertions', 'fsync', 'full_page_writes', 'work_mem', 'data_checksums') ORDER BY name",
            names.join(", ")
        );
        let reply = session.query(&sql)?;
        Ok(reply
            .rows
            .into_iter()
            .map(|row| {
                let mut row = row.into_iter().map(Option::unwrap_or_default);
                (
                    row.next().unwrap_or_default(),
                    row.next().unwrap_or_default(),
                )
            })
            .collect())
    }
}

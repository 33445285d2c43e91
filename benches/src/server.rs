//! The server of a run.

use anyhow::{Context, Result};
use verification::config::Major;
use verification::server::{Flavour, Own};
use verification::session::{Session, Target};

/// Settings that differ from a new cluster's, each for a reason.
pub const SETTINGS: &[&str] = &[
    // Everything fits, so that no figure is about the disk's reads.
    "shared_buffers=2GB",
    // No checkpoint in the middle of a measurement; one is made in between.
    "checkpoint_timeout=1d",
    "max_wal_size=8GB",
    // No vacuum either; where autovacuum matters it is switched on.
    "autovacuum=off",
    "autovacuum_naptime=1s",
    // A rival is not helped or hurt by other processes or by compiling.
    "jit=off",
    "max_parallel_workers_per_gather=0",
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
        let own = Own::start_with(major, Flavour::Bench, SETTINGS)?
            .context("the benches need servers of their own: no Docker engine answers")?;
        let mut admin = own.connect()?;
        let version = admin.value("SELECT version()")?.unwrap_or_default();
        Ok(Self { own, version })
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
             WHERE name IN ({}, 'fsync', 'full_page_writes', 'work_mem', 'data_checksums') ORDER BY name",
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

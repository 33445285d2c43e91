//! A failure, made reproducible: a directory with the plan as values, a psql
//! script, the server's log, and one line that replays it.

use crate::config::{output, Major};
use crate::judge::{script, Engine, Mismatch};
use crate::plan::Plan;
use crate::server::Server;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What `plan.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The plan.
    pub plan: Plan,
    /// The major it failed on.
    pub major: Major,
    /// The judges that took part.
    pub engines: Vec<Engine>,
    /// The seeded fault, if the server had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The run's seed.
    pub seed: u64,
    /// Provider and image.
    pub server: String,
    /// `version()`.
    pub version: String,
}

impl Stored {
    /// Reads `plan.json`, or the one inside a failure directory.
    ///
    /// # Errors
    /// When there is none, or it cannot be understood.
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() {
            path.join("plan.json")
        } else {
            path.to_path_buf()
        };
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Writes the failure directory and returns it.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, mismatch: &Mismatch, server: &Server) -> Result<PathBuf> {
        let fault = self
            .fault
            .as_deref()
            .map(|fault| format!("{fault}-"))
            .unwrap_or_default();
        let name = format!(
            "{}-{}-pg{}-{fault}{}",
            self.plan.property, self.plan.entity, self.major, self.seed
        );
        let directory = output().join("failures").join(name);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        fs::write(
            directory.join("plan.json"),
            serde_json::to_string_pretty(self)? + "\n",
        )?;
        fs::write(directory.join("mismatch.txt"), mismatch.to_string())?;
        fs::write(directory.join("repro.sql"), self.repro(mismatch))?;
        fs::write(directory.join("server.log"), server.log())?;
        Ok(directory)
    }

    /// The plan as a psql script of the engine that failed.
    fn repro(&self, mismatch: &Mismatch) -> String {
        let engine = self.engines.first().map_or("heap", |engine| engine.name());
        let mut text = format!(
            "-- {} of {} on PostgreSQL {}: {}\n-- {}, {}\n-- psql -X -f repro.sql, in a database with CREATE EXTENSION caliber_pg CASCADE; SELECT caliber_init()\n",
            self.plan.property, self.plan.entity, self.major, mismatch.why.lines().next().unwrap_or_default(), self.server, self.version
        );
        text += "\\set VERBOSITY verbose\nSELECT caliber_version();\n";
        text += &format!("SET TimeZone = 'UTC';\nSET caliber.engine = {engine};\n");
        if let Some(fault) = &self.fault {
            text += &format!("SET caliber.fault = '{fault}';\n");
        }
        if self.plan.on_duplicate_return {
            text += "SET caliber.on_duplicate = return;\n";
        }
        for line in script(&self.plan) {
            text += "\n";
            if line.step == mismatch.step {
                text += "-- HERE: the judges disagree; see mismatch.txt\n";
            }
            if let Some(expected) = &line.expected {
                text += &format!("-- expected: {}\n", expected.replace('\n', "\n--   "));
            }
            for statement in &line.client {
                text += &format!(
                    "-- the client sends: {}\n",
                    statement.replace('\n', "\n--   ")
                );
            }
            text += &format!("{};\n", line.sql);
        }
        text
    }
}

/// The line that replays a failure directory.
#[must_use]
pub fn replay_line(directory: &Path) -> String {
    format!(
        "cargo run -p verification --bin verify -- replay {}",
        directory.display()
    )
}

//! Databases: one template per server, cloned for every test.

use super::Server;
use crate::session::{Session, Target};
use anyhow::{Context, Result};
use std::sync::Arc;

/// The harness's own functions.
const HELPERS: &str = include_str!("helpers.sql");

/// The start of the names of this process's databases.
pub(super) fn prefix() -> String {
    format!("verify_{}", std::process::id())
}

/// The template's name.
pub(super) fn template() -> String {
    format!("{}_template", prefix())
}

/// Creates a clone.
pub(super) fn create(target: &Target, name: &str, template: &str) -> Result<()> {
    let mut admin = Session::connect(target)?;
    admin.batch(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
}

/// Makes the template: the extension with its tables, amcheck where it is to
/// be had, and the harness's own helpers.
pub(super) fn make_template(target: &Target) -> Result<()> {
    let name = template();
    create(target, &name, "template0")?;
    furnish(&mut Session::connect(&target.database(&name))?)
}

/// Makes a database one of the harness.
pub(super) fn furnish(session: &mut Session) -> Result<()> {
    session
        .batch("CREATE EXTENSION caliber_pg CASCADE")
        .context("the extension cannot be created")?;
    session
        .value("SELECT caliber_init(embedding_dimensions => 3)")
        .context("caliber_init failed")?;
    if session
        .value("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'")?
        .is_some()
    {
        session.batch("CREATE EXTENSION amcheck")?;
    }
    session.batch(HELPERS)
}

/// A database of one test. It goes back to the server's idle ones if the test
/// says that its tables are empty again; else it is dropped.
pub struct Database {
    /// How to connect, as a superuser.
    pub target: Target,
    server: Arc<Server>,
    clean: bool,
}

impl Database {
    pub(super) fn new(server: &Arc<Server>, name: &str) -> Self {
        Self {
            target: server.target().database(name),
            server: Arc::clone(server),
            clean: false,
        }
    }

    /// A new session.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn connect(&self) -> Result<Session> {
        Session::connect(&self.target)
    }

    /// The server it is on.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Promises that the tables are empty and nothing else was changed.
    pub fn mark_clean(&mut self) {
        self.clean = true;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.target.database.clone();
        if self.clean {
            self.server.give_back(name);
        } else if let Ok(mut admin) = Session::connect(self.server.target()) {
            // A database that cannot be dropped goes with its server.
            let _ = admin.batch(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

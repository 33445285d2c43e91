//! Servers that someone else runs: `VERIFY_URL_15=postgres://…`, a superuser's.

use super::{Handle, Started};
use crate::config::Major;
use crate::session::Target;
use anyhow::{bail, Context, Result};

/// The URL for a major, if one is set.
pub(super) fn configured(major: Major) -> Option<String> {
    std::env::var(format!("VERIFY_URL_{major}"))
        .ok()
        .filter(|url| !url.is_empty())
}

/// Reads the URL; the connection is tried by the caller.
pub(super) fn connect(url: &str) -> Result<Started> {
    let config: postgres::Config = url.parse().context("not a connection URL")?;
    let host = match config.get_hosts().first() {
        Some(postgres::config::Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(postgres::config::Host::Unix(path)) => path.display().to_string(),
        None => bail!("the URL names no host"),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let target = Target {
        host: host.clone(),
        port,
        user: config.get_user().unwrap_or("postgres").to_owned(),
        password: config
            .get_password()
            .map(|password| String::from_utf8_lossy(password).into_owned()),
        database: config.get_dbname().unwrap_or("postgres").to_owned(),
    };
    Ok(Started {
        target,
        description: format!("url {host}:{port}"),
        stop: "it was running before".to_owned(),
        handle: Box::new(Elsewhere),
    })
}

struct Elsewhere;

impl Handle for Elsewhere {
    fn log(&self) -> String {
        "the log of a server given by URL is where that server keeps it".to_owned()
    }

    fn has_log(&self) -> bool {
        false
    }
}

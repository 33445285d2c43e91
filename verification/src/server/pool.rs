//! The servers of a run: one per major, started when first needed.

use super::{Flavour, Life, Provider, Server};
use crate::config::Major;
use anyhow::{anyhow, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

type Slot = OnceLock<std::result::Result<Arc<Server>, String>>;

/// Lazily started servers.
pub struct Servers {
    provider: Provider,
    flavour: Flavour,
    slots: BTreeMap<Major, Slot>,
}

impl Servers {
    /// Nothing is started yet.
    #[must_use]
    pub fn new(provider: Provider, flavour: Flavour, majors: &[Major]) -> Self {
        Self {
            provider,
            flavour,
            slots: majors.iter().map(|major| (*major, Slot::new())).collect(),
        }
    }

    /// Where the servers come from.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The server of a major. The first caller starts it and others wait.
    ///
    /// # Errors
    /// When it cannot be had; the reason is the same for every caller.
    pub fn get(&self, major: Major) -> Result<Arc<Server>> {
        let Some(slot) = self.slots.get(&major) else {
            return Err(anyhow!("PostgreSQL {major} was not asked for"));
        };
        let result = slot.get_or_init(|| {
            let began = Instant::now();
            eprintln!("[pg{major}] starting a server …");
            match Server::start(&self.provider, major, self.flavour, Life::Process) {
                Ok(server) => {
                    let seconds = began.elapsed().as_secs_f64();
                    eprintln!(
                        "[pg{major}] ready after {seconds:.1} s: {}",
                        server.description
                    );
                    Ok(server)
                }
                Err(error) => {
                    eprintln!("[pg{major}] not covered: {error:#}");
                    Err(format!("{error:#}"))
                }
            }
        });
        result.clone().map_err(|why| anyhow!(why))
    }
}

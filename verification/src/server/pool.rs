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
    with_faults: BTreeMap<Major, Slot>,
}

impl Servers {
    /// Nothing is started yet.
    #[must_use]
    pub fn new(provider: Provider, flavour: Flavour, majors: &[Major]) -> Self {
        let slots = || majors.iter().map(|major| (*major, Slot::new())).collect();
        Self {
            provider,
            flavour,
            slots: slots(),
            with_faults: slots(),
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
        self.start(&self.slots, major, self.flavour)
    }

    /// A server of the faults build beside that of [`Self::get`]; None if the
    /// provider has only one of a major.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn with_faults(&self, major: Major) -> Result<Option<Arc<Server>>> {
        if self.flavour == Flavour::Faults {
            return self.get(major).map(Some);
        }
        if !self.provider.has_flavours(major) {
            return Ok(None);
        }
        self.start(&self.with_faults, major, Flavour::Faults)
            .map(Some)
    }

    /// The servers of a major that were started.
    #[must_use]
    pub fn started(&self, major: Major) -> Vec<Arc<Server>> {
        [&self.slots, &self.with_faults]
            .into_iter()
            .filter_map(|slots| slots.get(&major)?.get()?.as_ref().ok().cloned())
            .collect()
    }

    fn start(
        &self,
        slots: &BTreeMap<Major, Slot>,
        major: Major,
        flavour: Flavour,
    ) -> Result<Arc<Server>> {
        let Some(slot) = slots.get(&major) else {
            return Err(anyhow!("PostgreSQL {major} was not asked for"));
        };
        let result = slot.get_or_init(|| {
            let began = Instant::now();
            eprintln!("[pg{major}] starting a server …");
            match Server::start(&self.provider, major, flavour, Life::Process) {
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

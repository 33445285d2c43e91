//! What a run is asked to do: majors, cases, seed. From the environment for
//! `cargo test`, from arguments for `verify`.

use anyhow::{bail, Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A PostgreSQL major version.
pub type Major = u16;

/// The majors that the extension supports.
pub const MAJORS: [Major; 4] = [15, 16, 17, 18];

/// The configuration of a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Majors to cover (`VERIFY_PG`).
    pub majors: Vec<Major>,
    /// Majors whose absence is no failure (`VERIFY_SKIP`).
    pub skip: BTreeSet<Major>,
    /// Cases per property, entity and major (`PROPTEST_CASES`).
    pub cases: u32,
    /// Rounds of each kind of crash (`VERIFY_ROUNDS`).
    pub rounds: u32,
    /// Calls of each kind of operation whose memory is watched (`VERIFY_CALLS`).
    pub calls: u32,
    /// How long the load goes on (`VERIFY_SECONDS`).
    pub seconds: u64,
    /// The seed of all generated cases (`VERIFY_SEED`).
    pub seed: u64,
    /// Tests that run at once (`VERIFY_THREADS`).
    pub threads: usize,
    /// Whether every major does all of what is otherwise shared between the majors of
    /// a run (`VERIFY_THOROUGH=1`).
    pub thorough: bool,
    /// Whether a failure is shrunk and written down. Not while faults are
    /// hunted: there failing is the point.
    pub keep_failures: bool,
    /// Show property × entity × major at the end.
    pub table: bool,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a variable cannot be understood.
    pub fn from_env() -> Result<Self> {
        let majors = match var("VERIFY_PG") {
            Some(text) => parse_majors(&text).context("VERIFY_PG")?,
            None => MAJORS.to_vec(),
        };
        let skip = match var("VERIFY_SKIP") {
            Some(text) => parse_majors(&text)
                .context("VERIFY_SKIP")?
                .into_iter()
                .collect(),
            None => BTreeSet::new(),
        };
        Ok(Self {
            majors,
            skip,
            cases: number("PROPTEST_CASES")?.unwrap_or(100),
            rounds: number("VERIFY_ROUNDS")?.unwrap_or(3),
            calls: number("VERIFY_CALLS")?.unwrap_or(600),
            seconds: number("VERIFY_SECONDS")?.unwrap_or(3),
            seed: match number("VERIFY_SEED")? {
                Some(seed) => seed,
                None => random_seed(),
            },
            threads: number("VERIFY_THREADS")?
                // One more than cores: some test always waits for its server.
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(3, |n| n.get() + 1))
                .max(1),
            thorough: var("VERIFY_THOROUGH").is_some_and(|value| value != "0"),
            keep_failures: true,
            table: false,
        })
    }
}

/// `15,17` as majors.
///
/// # Errors
/// When something is no supported major.
pub fn parse_majors(text: &str) -> Result<Vec<Major>> {
    let mut majors = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let major: Major = part
            .parse()
            .with_context(|| format!("\"{part}\" is no major version"))?;
        if !MAJORS.contains(&major) {
            bail!("PostgreSQL {major} is not supported (15, 16, 17, 18)");
        }
        if !majors.contains(&major) {
            majors.push(major);
        }
    }
    Ok(majors)
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    var(name)
        .map(|text| text.parse().with_context(|| format!("{name}={text}")))
        .transpose()
}

/// Whether servers must have their assertions on (`VERIFY_ASSERT=1`).
#[must_use]
pub fn assertions() -> bool {
    var("VERIFY_ASSERT").is_some_and(|value| value != "0")
}

/// A seed nobody chose.
fn random_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

/// The checkout this harness was built from.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where reports and failures go: `verification` in cargo's target directory.
#[must_use]
pub fn output() -> PathBuf {
    let target = var("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let target = if target.is_absolute() {
        target
    } else {
        workspace().join(target)
    };
    target.join("verification")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majors_are_parsed() {
        assert_eq!(parse_majors("15,17").unwrap(), vec![15, 17]);
        assert!(parse_majors("14").is_err());
        assert!(parse_majors("x").is_err());
    }
}

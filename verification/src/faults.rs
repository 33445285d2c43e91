//! Seeded faults: which there are, and which test catches which.

use crate::config::{workspace, Config};
use crate::runner::{run_quietly, Context, Test};
use crate::server::Server;
use anyhow::{bail, Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A deliberate mistake of the extension, switched on by `caliber.fault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub mistake: String,
}

/// The faults of this checkout, read from `caliber-pg/src/fault.rs`.
///
/// # Errors
/// When the list is not where it was.
pub fn all() -> Result<Vec<Fault>> {
    let path = workspace().join("caliber-pg/src/fault.rs");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let faults = parse(&text);
    if faults.is_empty() {
        bail!("{} lists no faults", path.display());
    }
    Ok(faults)
}

/// The entries `("name", "mistake")` of `FAULTS`.
fn parse(text: &str) -> Vec<Fault> {
    let Some((_, list)) = text.split_once("FAULTS:") else {
        return Vec::new();
    };
    let list = list.split("];").next().unwrap_or_default();
    let mut strings = list.split('"').skip(1).step_by(2).map(str::to_owned);
    let mut faults = Vec::new();
    while let (Some(name), Some(mistake)) = (strings.next(), strings.next()) {
        faults.push(Fault { name, mistake });
    }
    faults
}

/// Which test catches which fault.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// The faults, in order.
    pub faults: Vec<Fault>,
    /// The tests, in order.
    pub tests: Vec<String>,
    /// Pairs of test and fault where the test failed, as it should.
    pub caught: BTreeSet<(String, String)>,
    /// Tests that fail without any fault: they prove nothing.
    pub broken: BTreeMap<String, String>,
}

impl Matrix {
    /// Faults that nothing catches.
    #[must_use]
    pub fn escaped(&self) -> Vec<&Fault> {
        self.faults
            .iter()
            .filter(|fault| !self.caught.iter().any(|(_, name)| *name == fault.name))
            .collect()
    }

    /// Tests that catch no fault.
    #[must_use]
    pub fn idle(&self) -> Vec<&String> {
        self.tests
            .iter()
            .filter(|test| !self.caught.iter().any(|(name, _)| name == *test))
            .collect()
    }

    /// Properties that catch no fault for any entity: a property that cannot
    /// fail is no test.
    #[must_use]
    pub fn idle_properties(&self) -> BTreeSet<String> {
        // `property_3::index_consistency::scope` belongs to `property_3::index_consistency`.
        let property = |test: &str| {
            (test.starts_with("property_") || test.starts_with("model::"))
                .then(|| {
                    test.rsplit_once("::")
                        .map(|(property, _)| property.to_owned())
                })
                .flatten()
        };
        let caught: BTreeSet<String> = self
            .caught
            .iter()
            .filter_map(|(test, _)| property(test))
            .collect();
        self.tests
            .iter()
            .filter_map(|test| property(test))
            .filter(|name| !caught.contains(name))
            .collect()
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            writeln!(f, "{:>3}  {}: {}", number + 1, fault.name, fault.mistake)?;
        }
        let width = self.tests.iter().map(String::len).max().unwrap_or(0);
        write!(f, "{:width$} ", "")?;
        for number in 1..=self.faults.len() {
            write!(f, "{number:>3}")?;
        }
        writeln!(f)?;
        for test in &self.tests {
            write!(f, "{test:width$} ")?;
            for fault in &self.faults {
                let mark = if self.caught.contains(&(test.clone(), fault.name.clone())) {
                    "x"
                } else {
                    "·"
                };
                write!(f, "{mark:>3}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Runs every test against every fault on a server of the faults build.
///
/// # Errors
/// When the server cannot be used.
pub fn sensitivity(
    server: &Arc<Server>,
    tests: &[Test],
    faults: &[Fault],
    config: &Config,
) -> Result<Matrix> {
    let config = Config {
        keep_failures: false,
        ..config.clone()
    };
    let mut matrix = Matrix {
        faults: faults.to_vec(),
        tests: tests.iter().map(|test| test.name.clone()).collect(),
        ..Matrix::default()
    };
    let context = Context {
        server: Arc::clone(server),
        major: server.major,
        config,
    };
    server.set_fault(None);
    for (name, outcome) in run_quietly(tests, &context) {
        if let Err(why) = outcome {
            println!(
                "without a fault: {name} FAILED: {}",
                why.lines().nth(1).unwrap_or(&why)
            );
            matrix.broken.insert(name, why);
        }
    }
    for fault in faults {
        server.set_fault(Some(&fault.name));
        let mut by = Vec::new();
        for (name, outcome) in run_quietly(tests, &context) {
            if outcome.is_err() && !matrix.broken.contains_key(&name) {
                matrix.caught.insert((name.clone(), fault.name.clone()));
                by.push(name);
            }
        }
        match by.as_slice() {
            [] => println!("{}: NOT CAUGHT", fault.name),
            [only] => println!("{}: caught by {only}", fault.name),
            [first, rest @ ..] => {
                println!("{}: caught by {first} and {} more", fault.name, rest.len())
            }
        }
    }
    server.set_fault(None);
    Ok(matrix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_idle_only_if_no_entity_catches_anything() {
        let tests = [
            "property_1::a::x",
            "property_1::a::y",
            "property_2::b::x",
            "driver::d",
        ];
        let matrix = Matrix {
            tests: tests.into_iter().map(str::to_owned).collect(),
            caught: [("property_1::a::y".to_owned(), "f".to_owned())].into(),
            ..Matrix::default()
        };
        assert_eq!(
            matrix.idle_properties(),
            ["property_2::b".to_owned()].into()
        );
    }

    #[test]
    fn faults_are_read_from_the_source() {
        let faults = parse("pub const FAULTS: &[(&str, &str)] = &[\n    (\"a\", \"one\"),\n    (\"b\", \"two\"),\n];\nfn x() { \"c\" }");
        assert_eq!(faults.len(), 2);
        assert_eq!(
            faults[1],
            Fault {
                name: "b".into(),
                mistake: "two".into()
            }
        );
        assert!(!all().unwrap().is_empty());
    }
}

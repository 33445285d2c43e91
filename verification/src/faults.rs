//! Seeded faults: which there are, and which test catches which.

use crate::config::{workspace, Config};
use crate::promises::{self, means, Promise};
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
    let faults = parse(&text, "FAULTS:");
    if faults.is_empty() {
        bail!("{} lists no faults", path.display());
    }
    Ok(faults)
}

/// The wait points of this checkout, read from `caliber-pg/src/wait.rs`: name,
/// and what has happened there.
///
/// # Errors
/// When the list is not where it was.
pub fn wait_points() -> Result<Vec<Fault>> {
    let path = workspace().join("caliber-pg/src/wait.rs");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let points = parse(&text, "POINTS:");
    if points.is_empty() {
        bail!("{} lists no points", path.display());
    }
    Ok(points)
}

/// The wait points that the extension's sources name, one for each place.
///
/// # Errors
/// When the sources cannot be read.
pub fn wait_points_used() -> Result<Vec<String>> {
    let mut used = Vec::new();
    let mut folders = vec![workspace().join("caliber-pg/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                let places = text.split("crate::wait::at(\"").skip(1);
                used.extend(places.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
            }
        }
    }
    Ok(used)
}

/// The entries `("name", "mistake")` of a list.
fn parse(text: &str, name: &str) -> Vec<Fault> {
    let Some((_, list)) = text.split_once(name) else {
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
    /// Pairs of test and fault that were tried.
    pub tried: BTreeSet<(String, String)>,
    /// Pairs of test and fault where the test failed, as it should.
    pub caught: BTreeSet<(String, String)>,
    /// For each fault the tests, as `INTEGRITY.md` names them, that catch it.
    pub catchers: BTreeMap<String, BTreeSet<String>>,
    /// Tests that fail without any fault: they prove nothing.
    pub broken: BTreeMap<String, String>,
}

impl Matrix {
    /// Who catches what, a line for each fault. (Of several entities of a property the
    /// first that fails is enough; which one that is, is chance.)
    #[must_use]
    pub fn summary(&self) -> String {
        let line = |fault: &Fault| {
            let by = self.catchers.get(&fault.name).into_iter().flatten();
            let by: Vec<&str> = by.map(String::as_str).collect();
            format!("{}: {}\n", fault.name, by.join(", "))
        };
        self.faults.iter().map(line).collect()
    }

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
                let pair = (test.clone(), fault.name.clone());
                let mark = match (self.caught.contains(&pair), self.tried.contains(&pair)) {
                    (true, _) => "x",
                    (false, true) => "·",
                    (false, false) => "",
                };
                write!(f, "{mark:>3}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Tests of one name of `INTEGRITY.md`, of which the first that fails is enough.
struct Group<'a> {
    name: String,
    tests: Vec<&'a Test>,
}

/// The tests that are tried against a fault: those that `INTEGRITY.md` names for it,
/// each property with its entities as one group.
fn groups<'a>(
    tests: &'a [Test],
    fault: &Fault,
    promises: &[Promise],
    everything: bool,
) -> Vec<Group<'a>> {
    if everything {
        let alone = |test: &'a Test| Group {
            name: test.name.clone(),
            tests: vec![test],
        };
        return tests.iter().map(alone).collect();
    }
    let mut names: Vec<&String> = promises
        .iter()
        .filter(|promise| promise.faults.contains(&fault.name))
        .flat_map(|promise| &promise.tests)
        .collect();
    let mut known = BTreeSet::new();
    names.retain(|name| known.insert(*name));
    names
        .into_iter()
        .map(|name| Group {
            name: name.clone(),
            tests: tests.iter().filter(|t| means(name, &t.name)).collect(),
        })
        .filter(|group| !group.tests.is_empty())
        .collect()
}

/// Runs tests against faults on a server of the faults build: those that
/// `INTEGRITY.md` names, or every test against every fault.
///
/// # Errors
/// When the server cannot be used.
pub fn sensitivity(
    server: &Arc<Server>,
    tests: &[Test],
    faults: &[Fault],
    config: &Config,
    everything: bool,
) -> Result<Matrix> {
    let promises = promises::all()?;
    let context = Context {
        server: Arc::clone(server),
        major: server.major,
        config: Config {
            keep_failures: false,
            ..config.clone()
        },
    };
    let mut matrix = Matrix {
        faults: faults.to_vec(),
        ..Matrix::default()
    };
    let all: Vec<(&Fault, Vec<Group<'_>>)> = faults
        .iter()
        .map(|fault| (fault, groups(tests, fault, &promises, everything)))
        .collect();
    let wanted: BTreeSet<&str> = all
        .iter()
        .flat_map(|(_, groups)| groups.iter().flat_map(|group| &group.tests))
        .map(|test| test.name.as_str())
        .collect();
    let wanted: Vec<&Test> = tests
        .iter()
        .filter(|test| wanted.contains(test.name.as_str()))
        .collect();
    matrix.tests = wanted.iter().map(|test| test.name.clone()).collect();
    server.set_fault(None);
    let alone: Vec<Vec<&Test>> = wanted.iter().map(|test| vec![*test]).collect();
    for (name, outcome) in run_quietly(&alone, &context) {
        if let Err(why) = outcome {
            println!(
                "without a fault: {name} FAILED: {}",
                why.lines().nth(1).unwrap_or(&why)
            );
            matrix.broken.insert(name, why);
        }
    }
    for (fault, groups) in &all {
        server.set_fault(Some(&fault.name));
        let sound: Vec<Vec<&Test>> = groups
            .iter()
            .map(|group| {
                let sound = |test: &&&Test| !matrix.broken.contains_key(&test.name);
                group.tests.iter().filter(sound).copied().collect()
            })
            .collect();
        let mut by = Vec::new();
        for (name, outcome) in run_quietly(&sound, &context) {
            matrix.tried.insert((name.clone(), fault.name.clone()));
            if outcome.is_err() {
                let caught_by = groups
                    .iter()
                    .filter(|g| g.tests.iter().any(|t| t.name == name));
                let catchers = matrix.catchers.entry(fault.name.clone()).or_default();
                catchers.extend(caught_by.map(|group| group.name.clone()));
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
        let faults = parse("pub const FAULTS: &[(&str, &str)] = &[\n    (\"a\", \"one\"),\n    (\"b\", \"two\"),\n];\nfn x() { \"c\" }", "FAULTS:");
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

//! What a run leaves for people and machines: `report.html`, a page that stands alone,
//! and `junit.xml`, in `target/verification`; and a table for the terminal.

mod junit;
mod page;
mod terminal;

pub use terminal::{print, table};

use crate::config::{workspace, Major};
use crate::runner::{Outcome, Report, Summary};
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// A run, and what it was asked for.
#[derive(Debug)]
pub struct Run<'a> {
    /// How each test came out.
    pub summary: &'a Summary,
    /// Cases of a property.
    pub cases: u32,
    /// What all generated cases rest on.
    pub seed: u64,
    /// How long it took.
    pub time: Duration,
    /// The server of each major.
    pub servers: BTreeMap<Major, String>,
}

/// Writes both files; where they are.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(run: &Run<'_>) -> Result<[PathBuf; 2]> {
    let folder = workspace().join("target/verification");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let files = [
        (folder.join("report.html"), page::page(run)),
        (folder.join("junit.xml"), junit::junit(run)?),
    ];
    for (path, text) in &files {
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(files.map(|(path, _)| path))
}

/// A property (or the sequences of calls) of one entity, on each major.
struct Line<'a> {
    property: &'a str,
    entity: &'a str,
    promise: &'a str,
    reports: BTreeMap<Major, &'a Report>,
}

/// The tests that are one for each entity, in order.
fn lines(summary: &Summary) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for report in &summary.reports {
        let Some((property, entity)) = split(report) else {
            continue;
        };
        let is_it = |line: &&mut Line<'_>| line.property == property && line.entity == entity;
        if let Some(line) = lines.iter_mut().find(is_it) {
            line.reports.insert(report.major, report);
        } else {
            lines.push(Line {
                property,
                entity,
                promise: &report.promise,
                reports: [(report.major, report)].into(),
            });
        }
    }
    lines
}

/// `pg15::property_3::index_consistency::scope`: the property and the entity.
fn split(report: &Report) -> Option<(&str, &str)> {
    let (_, name) = report.name.split_once("::")?;
    let is_property = name.starts_with("property_") || name.starts_with("model");
    is_property.then(|| name.rsplit_once("::")).flatten()
}

/// The majors of a run.
fn majors(summary: &Summary) -> BTreeSet<Major> {
    let reports = summary.reports.iter().map(|report| report.major);
    reports.chain(summary.missing.keys().copied()).collect()
}

/// The number of cases that a test says it has tried.
fn cases(report: &Report) -> Option<&str> {
    let Ok(Outcome::Passed(words)) = &report.outcome else {
        return None;
    };
    let (number, _) = words.split_once(" cases")?;
    number.bytes().all(|b| b.is_ascii_digit()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let report = |name: &str, major, outcome: Result<Outcome, &str>| Report {
            name: name.to_owned(),
            major,
            promise: "what is <written> is read".to_owned(),
            time: Duration::from_millis(1500),
            outcome: outcome.map_err(str::to_owned),
        };
        let passed = || Ok(Outcome::Passed("100 cases, 7 calls".to_owned()));
        let why = "it & that\nreplay: cargo run -p verification --bin verify -- replay x";
        Summary {
            reports: vec![
                report("pg15::property_1::a::scope", 15, passed()),
                report("pg15::locks::model", 15, passed()),
                report("pg16::property_1::a::scope", 16, Err(why)),
                report(
                    "pg16::locks::model",
                    16,
                    Ok(Outcome::NotCovered("no way".to_owned())),
                ),
            ],
            missing: [(17, "no image".to_owned())].into(),
            ..Summary::default()
        }
    }

    #[test]
    fn everything_is_said() {
        let summary = summary();
        let run = Run {
            summary: &summary,
            cases: 100,
            seed: 7,
            time: Duration::from_secs(61),
            servers: [(15, "a container".to_owned())].into(),
        };
        let page = page::page(&run);
        for part in [
            "a container",
            "it &amp; that",
            "verify -- replay x",
            "no way",
            "no image",
            "what is &lt;written&gt; is read",
        ] {
            assert!(page.contains(part), "{part} is not on the page");
        }
        let junit = junit::junit(&run).unwrap();
        assert!(
            junit.contains("<failure") && junit.contains("<skipped"),
            "{junit}"
        );
        let table = table(&summary);
        assert!(table.contains("15: ok 100 cases 1.5 s"), "{table}");
        assert!(table.contains("16: FAILED 1.5 s"), "{table}");
    }
}

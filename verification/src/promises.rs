//! `INTEGRITY.md`: which promise is proven by which tests and seeded faults.

use crate::config::workspace;
use anyhow::{bail, Context, Result};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Its number, as `2.7a`.
    pub number: String,
    /// In words.
    pub words: String,
    /// Names of tests; one that ends before the entity stands for all of them.
    pub tests: Vec<String>,
    /// Names of seeded faults.
    pub faults: Vec<String>,
}

/// The promises of this checkout, in order.
///
/// # Errors
/// When the file is not where it was, or a line is not of the form.
pub fn all() -> Result<Vec<Promise>> {
    let path = workspace().join("verification/INTEGRITY.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Promise>> {
    let mut promises = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, words, tests, faults] = cells[..] else {
            bail!("not four cells: {line}")
        };
        if number == "n" {
            continue;
        }
        let promise = Promise {
            number: number.to_owned(),
            words: words.to_owned(),
            tests: names(tests),
            faults: names(faults),
        };
        if promise.tests.is_empty() != (tests == "**none**") {
            bail!("tests, or **none**: {line}")
        }
        promises.push(promise);
    }
    Ok(promises)
}

/// What stands between backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Does a name of the table mean this test?
#[must_use]
pub fn means(name: &str, test: &str) -> bool {
    test.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{faults, suite};
    use std::collections::BTreeSet;

    /// Every promise, by chapter: none may be left out, and none twice.
    const NUMBERS: &str = "1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8 1.9 \
        2.1 2.2a 2.2b 2.2c 2.2d 2.3a 2.3b 2.3c 2.3d 2.3e 2.3f 2.4 2.5a 2.5b 2.5c 2.5d 2.6 \
        2.7a 2.7b 2.7c 2.7d 2.7e 2.8a 2.8b 2.8c 2.9a 2.9b 2.10 2.11a 2.11b 2.11c 2.12a 2.12b 2.12c 2.12d 2.13 \
        3.1 3.2a 3.2b 3.3a 3.3b 3.4 3.5 4.1a 4.1b 4.2a 4.2b 4.3a 4.3b 4.4 4.5 \
        5.1a 5.1b 5.1c 5.2a 5.2b 5.3 5.4a 5.4b 6.1a 6.1b 6.2a 6.2b 6.3a 6.3b 7.1 \
        8.1 8.2 8.3 8.4 8.5 8.6 8.7 8.8 8.9 8.10";

    #[test]
    fn every_promise_has_its_line() {
        let promises = all().unwrap();
        let numbers: Vec<&str> = promises.iter().map(|p| p.number.as_str()).collect();
        let wanted: Vec<&str> = NUMBERS.split_whitespace().collect();
        assert_eq!(numbers, wanted);
    }

    #[test]
    fn every_name_exists() {
        let tests: Vec<String> = suite::all().into_iter().map(|test| test.name).collect();
        let faults: BTreeSet<String> = faults::all().unwrap().into_iter().map(|f| f.name).collect();
        let mut missing = Vec::new();
        for promise in all().unwrap() {
            for name in &promise.tests {
                if !tests.iter().any(|test| means(name, test)) {
                    missing.push(format!("{}: test {name}", promise.number));
                }
            }
            for name in &promise.faults {
                if !faults.contains(name) {
                    missing.push(format!("{}: fault {name}", promise.number));
                }
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_fault_belongs_to_a_promise() {
        let named: BTreeSet<String> = all().unwrap().into_iter().flat_map(|p| p.faults).collect();
        let left: Vec<String> = faults::all()
            .unwrap()
            .into_iter()
            .map(|fault| fault.name)
            .filter(|name| !named.contains(name))
            .collect();
        assert!(left.is_empty(), "no promise names {left:?}");
    }

    #[test]
    fn a_fault_is_one_mistake() {
        let mut seen = BTreeSet::new();
        let twice: Vec<String> = faults::all()
            .unwrap()
            .into_iter()
            .map(|fault| fault.name)
            .filter(|name| !seen.insert(name.clone()))
            .collect();
        assert!(twice.is_empty(), "two faults named {twice:?}");
    }

    #[test]
    fn a_line_without_tests_says_so() {
        assert!(parse("| 1.1 | words | — | — |").is_err());
        assert!(parse("| 1.1 | words | **none** | — |").is_ok());
        assert!(parse("| 1.1 | words |").is_err());
    }
}

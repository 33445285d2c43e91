//! The part of psql's language that the scripts in `examples/` use: `\echo`,
//! `\set name value`, `:'name'`, and statements that end with a line.

use anyhow::{bail, Context, Result};
use std::collections::HashMap;

/// One thing that a script does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Prints words.
    Echo(String),
    /// Runs a statement; variables are replaced.
    Statement(String),
}

/// The variables that a script has set.
#[derive(Debug, Clone, Default)]
pub struct Variables(HashMap<String, String>);

impl Variables {
    /// Replaces each `:'name'` by its quoted value.
    ///
    /// # Errors
    /// For a name that was not set.
    pub fn fill(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(":'") {
            let Some((name, behind)) = after.split_once('\'') else {
                bail!("no end of the name after :' in {text}");
            };
            let value = self
                .0
                .get(name)
                .with_context(|| format!("variable {name} is not set: {text}"))?;
            filled.push_str(&format!("{before}'{}'", value.replace('\'', "''")));
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Reads a script: what it does, in order, and the variables at its end.
///
/// # Errors
/// For a command that is not known here, or a statement without an end.
///
/// ```
/// use verification::script::{parse, Item};
/// let (items, _) = parse("\\set id 7\nSELECT :'id';\n").unwrap();
/// assert_eq!(items, [Item::Statement("SELECT '7';".to_owned())]);
/// ```
pub fn parse(text: &str) -> Result<(Vec<Item>, Variables)> {
    let mut items = Vec::new();
    let mut variables = Variables::default();
    let mut statement = String::new();
    for line in text.lines() {
        if statement.is_empty() {
            if let Some(command) = line.strip_prefix('\\') {
                let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
                match name {
                    "echo" => {
                        let words = rest.trim().trim_matches('\'').replace("''", "'");
                        items.push(Item::Echo(words));
                    }
                    "set" => {
                        let (variable, value) = rest.trim().split_once(' ').unwrap_or((rest, ""));
                        let value = value.trim().to_owned();
                        variables.0.insert(variable.to_owned(), value);
                    }
                    _ => bail!("\\{name} is not known here: {line}"),
                }
                continue;
            }
            if line.starts_with("--") || line.trim().is_empty() {
                continue;
            }
        }
        if !statement.is_empty() {
            statement.push('\n');
        }
        statement.push_str(line);
        if line.trim_end().ends_with(';') {
            items.push(Item::Statement(variables.fill(&statement)?));
            statement.clear();
        }
    }
    if !statement.is_empty() {
        bail!("a statement without an end: {statement}");
    }
    Ok((items, variables))
}

//! One database, a session for each engine and one for the client: what is
//! refused changes nothing, so all of them can use the same rows.

use super::super::desk::{self, Answer};
use crate::judge::Engine;
use crate::runner::Outcome;
use crate::server::Database;
use crate::session::{shorten, ServerError, Session};
use anyhow::{bail, Result};

/// A few rows that cases name: tasks 1 to 4 in each status, 5 to 7 a chain
/// below task 1, scopes 21 (open), 22 (closed), 23 (below 21), 24 (elsewhere).
pub const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name, status, parent_trajectory_id, root_trajectory_id, agent_id, completed_at) VALUES
    ('@1', 'active', 'active', NULL, NULL, '@90', NULL), ('@2', 'completed', 'completed', NULL, NULL, '@90', '2020-01-02'),
    ('@3', 'failed', 'failed', NULL, NULL, NULL, '2020-01-02'), ('@4', 'suspended', 'suspended', NULL, NULL, NULL, NULL),
    ('@5', 'child', 'active', '@1', '@1', NULL, NULL), ('@6', 'grandchild', 'active', '@5', '@1', NULL, NULL),
    ('@7', 'leaf', 'active', '@6', '@1', NULL, NULL), ('@8', 'alone', 'active', NULL, NULL, NULL, NULL);
INSERT INTO caliber_scope (scope_id, trajectory_id, parent_scope_id, name, is_active, closed_at, token_budget) VALUES
    ('@21', '@1', NULL, 'open', true, NULL, 10), ('@22', '@1', NULL, 'closed', false, '2020-01-02', 10),
    ('@23', '@1', '@21', 'inner', true, NULL, 10), ('@24', '@2', NULL, 'elsewhere', true, NULL, 10);
";

/// Replaces `@<number>` by the id of that number.
#[must_use]
pub fn expand(text: &str) -> String {
    let mut parts = text.split('@');
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match part[..digits].parse::<u32>() {
            Ok(number) => result += &id(number),
            Err(_) => result.push('@'),
        }
        result += &part[digits..];
    }
    result
}

/// The id of a number.
#[must_use]
pub fn id(number: u32) -> String {
    format!("{ID}{number:08}")
}

const ID: &str = "00000000-0000-7000-8000-0000";

/// The reverse of [`expand`], for people.
#[must_use]
pub fn contract(text: &str) -> String {
    let mut parts = text.split(ID);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(8));
        let digits = digits.trim_start_matches('0');
        result += &format!("@{digits}{rest}");
    }
    result
}

/// The sessions, and what was found wrong so far.
pub struct Stage {
    /// Dropped with the stage.
    _database: Database,
    /// A superuser's session for preparations.
    pub admin: Session,
    /// One session for each engine, and the client's.
    pub sessions: Vec<(Engine, Session)>,
    /// What each session sends before a call; undone by ROLLBACK and RESET ROLE.
    pub before: String,
    /// Rows that [`Stage::refused`] expects to be unchanged after each call.
    pub tables: &'static [&'static str],
    /// A call that must give this value on every session after a refusal.
    pub good: Option<(String, &'static str)>,
    /// Calls so far.
    pub count: usize,
    problems: Vec<String>,
}

/// The tables whose rows are compared.
pub const TABLES: &[&str] = &["caliber_trajectory", "caliber_scope"];

impl Stage {
    /// Opens the sessions, and prepares the database by `prepare`.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn open(database: Database, prepare: &str) -> Result<Self> {
        let mut admin = database.connect()?;
        admin.batch(&expand(prepare))?;
        let mut sessions = Vec::new();
        for engine in desk::ALL {
            let mut session = database.connect()?;
            for sql in desk::setup(engine) {
                session.batch(&sql)?;
            }
            sessions.push((engine, session));
        }
        Ok(Self {
            _database: database,
            admin,
            sessions,
            before: String::new(),
            tables: TABLES,
            good: Some((
                "SELECT name FROM caliber_trajectory_get('@1')".to_owned(),
                "active",
            )),
            count: 0,
            problems: Vec::new(),
        })
    }

    /// DDL or grants by the superuser.
    ///
    /// # Errors
    /// When it fails.
    pub fn admin(&mut self, sql: &str) -> Result<()> {
        self.admin.batch(&expand(sql))
    }

    /// Notes what is wrong.
    pub fn problem(&mut self, text: &str) {
        self.problems.push(contract(text));
    }

    /// What came of it all.
    ///
    /// # Errors
    /// Everything that was found wrong.
    pub fn verdict(self) -> Result<Outcome> {
        if self.problems.is_empty() {
            return Ok(Outcome::Passed(format!("{} calls", self.count)));
        }
        let number = self.problems.len();
        bail!("{number} problems\n{}", self.problems.join("\n"))
    }

    /// Sends a call (with `before` before it) on one session.
    ///
    /// # Errors
    /// When the session cannot be reset.
    pub fn send(&mut self, at: usize, sql: &str) -> Result<Answer> {
        self.count += 1;
        let session = &mut self.sessions[at].1;
        let lead = if self.before.is_empty() { "" } else { "; " };
        let answer = desk::answer(session.run(&expand(&format!("{}{lead}{sql}", self.before))));
        if !self.before.is_empty() {
            session.batch("ROLLBACK; RESET ROLE")?;
        }
        Ok(answer)
    }

    /// Every engine must refuse `call` with the same ERROR, which is the
    /// client's for its own statement where there is one, and whose message
    /// has all of `says`; nothing is changed and the session goes on.
    ///
    /// # Errors
    /// When the server cannot be used. What is wrong is noted instead.
    pub fn refused(
        &mut self,
        call: &str,
        client: Option<&str>,
        sqlstate: &str,
        says: &[&str],
    ) -> Result<Option<ServerError>> {
        let before = self.fingerprint()?;
        let mut errors: Vec<(Engine, Box<ServerError>)> = Vec::new();
        for at in 0..self.sessions.len() {
            let engine = self.sessions[at].0;
            let sql = match (engine, client) {
                (Engine::Client, None) => continue,
                (Engine::Client, Some(sql)) => sql,
                _ => call,
            };
            match self.send(at, sql)? {
                Ok(rows) => self.problem(&format!(
                    "* {} must be {sqlstate}\n  {}: {rows:?}",
                    shorten(call, 200),
                    engine.name()
                )),
                Err(error) => errors.push((engine, error)),
            }
            self.works(at, call)?;
        }
        if self.fingerprint()? != before {
            self.problem(&format!("* {call} changed rows"));
        }
        let shown = || -> String {
            let errors: Vec<String> = errors
                .iter()
                .map(|(engine, error)| format!("  {}: {error}", engine.name()))
                .collect();
            format!("* {}\n{}", shorten(call, 200), errors.join("\n"))
        };
        let Some((_, first)) = errors.last() else {
            return Ok(None);
        };
        if errors.iter().any(|(_, error)| error != first) {
            let text = format!("{}\n  not the same error", shown());
            self.problem(&text);
        } else if first.sqlstate != sqlstate {
            let text = format!("{}\n  expected {sqlstate}", shown());
            self.problem(&text);
        } else if let Some(missing) = says
            .iter()
            .find(|word| !first.message.contains(&expand(word)))
        {
            let text = format!("{}\n  the message does not say {missing:?}", shown());
            self.problem(&text);
        }
        Ok(Some(first.as_ref().clone()))
    }

    /// Every engine must answer `call` with this single value.
    ///
    /// # Errors
    /// As [`Stage::refused`].
    pub fn answers(&mut self, call: &str, value: Option<&str>) -> Result<()> {
        for at in 0..self.sessions.len() {
            let engine = self.sessions[at].0;
            if engine != Engine::Client {
                self.answers_on(at, call, value)?;
            }
        }
        Ok(())
    }

    /// This session must answer with this single value.
    ///
    /// # Errors
    /// As [`Stage::refused`].
    pub fn answers_on(&mut self, at: usize, call: &str, value: Option<&str>) -> Result<()> {
        let value = value.map(expand);
        let answer = self.send(at, call)?;
        let met = match &answer {
            Ok(rows) => {
                let last = rows.last().and_then(|row| row.first());
                match &value {
                    Some(value) => last.and_then(Option::as_ref) == Some(value),
                    None => last.is_none_or(Option::is_none),
                }
            }
            Err(_) => false,
        };
        if !met {
            let name = self.sessions[at].0.name();
            let shown = match answer {
                Ok(rows) => format!("{rows:?}"),
                Err(error) => error.to_string(),
            };
            self.problem(&format!(
                "* {} must be {value:?}\n  {name}: {shown}",
                shorten(call, 200)
            ));
        }
        Ok(())
    }

    /// A hash over all rows.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn fingerprint(&mut self) -> Result<String> {
        let mut parts = Vec::new();
        for table in self.tables {
            parts.push(format!(
                "coalesce((SELECT md5(string_agg(x::text, ';' ORDER BY x::text)) FROM {table} x), '')"
            ));
        }
        if parts.is_empty() {
            return Ok(String::new());
        }
        let sql = format!("SELECT {}", parts.join(" || "));
        Ok(self.admin.value(&sql)?.unwrap_or_default())
    }

    fn works(&mut self, at: usize, call: &str) -> Result<()> {
        let Some((sql, value)) = self.good.clone() else {
            return Ok(());
        };
        match self.sessions[at].1.value(&expand(&sql)) {
            Ok(found) if found.as_deref() == Some(value) => {}
            other => {
                let name = self.sessions[at].0.name();
                self.problem(&format!("* after {call}\n  {name}: {sql} gives {other:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_short_names() {
        let long = "'00000000-0000-7000-8000-000000000021' a@b";
        assert_eq!(expand("'@21' a@b"), long);
        assert_eq!(contract(long), "'@21' a@b");
    }
}

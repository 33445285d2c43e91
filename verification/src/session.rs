//! One connection, everything as text: what a statement answered, or the
//! error with all the fields that the wire carries.

use crate::account::Account;
use crate::probes;
use anyhow::{Context, Result};
use postgres::{Client, NoTls, SimpleQueryMessage};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where and as whom to connect.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Password, if one is needed.
    pub password: Option<String>,
    /// Database.
    pub database: String,
}

impl Target {
    /// The same server, another database.
    #[must_use]
    pub fn database(&self, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..self.clone()
        }
    }

    /// The same server, another role.
    #[must_use]
    pub fn user(&self, user: &str, password: Option<&str>) -> Self {
        Self {
            user: user.to_owned(),
            password: password.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The client configuration of this target; notices are dropped.
    #[must_use]
    pub fn config(&self) -> postgres::Config {
        let mut config = postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name("caliber verification")
            .connect_timeout(Duration::from_secs(10))
            // A server that is gone without a word is noticed.
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3)
            .notice_callback(|_| {});
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
    }
}

/// An ERROR as the client sees it. Source file, line and statement position
/// are left out: they are exempt from every comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerError {
    /// SQLSTATE.
    pub sqlstate: String,
    /// Primary message.
    pub message: String,
    /// DETAIL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// HINT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Data type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datatype: Option<String>,
    /// Constraint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// CONTEXT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

impl ServerError {
    fn new(error: &postgres::error::DbError) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: owned(error.detail()),
            hint: owned(error.hint()),
            schema: owned(error.schema()),
            table: owned(error.table()),
            column: owned(error.column()),
            datatype: owned(error.datatype()),
            constraint: owned(error.constraint()),
            context: owned(error.where_()),
        }
    }

    /// The same error without the CONTEXT lines that SPI adds (`SQL statement
    /// "…"`), which are exempt from comparison.
    #[must_use]
    pub fn without_spi_context(&self) -> Self {
        let context = self
            .context
            .as_deref()
            .map(strip_sql_statements)
            .filter(|text| !text.is_empty());
        Self {
            context,
            ..self.clone()
        }
    }

    /// The same error without any CONTEXT.
    #[must_use]
    pub fn without_context(&self) -> Self {
        Self {
            context: None,
            ..self.clone()
        }
    }

    /// Applies `change` to every field that may quote stored values.
    #[must_use]
    pub fn map_text(mut self, change: impl Fn(&str) -> String) -> Self {
        self.message = change(&self.message);
        self.detail = self.detail.map(|text| change(&text));
        self.hint = self.hint.map(|text| change(&text));
        self.context = self.context.map(|text| change(&text));
        self
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)?;
        for (name, field) in [
            ("DETAIL", &self.detail),
            ("HINT", &self.hint),
            ("SCHEMA", &self.schema),
            ("TABLE", &self.table),
            ("COLUMN", &self.column),
            ("DATATYPE", &self.datatype),
            ("CONSTRAINT", &self.constraint),
            ("CONTEXT", &self.context),
        ] {
            if let Some(text) = field {
                write!(f, "\n  {name}: {text}")?;
            }
        }
        Ok(())
    }
}

/// Removes each `SQL statement "…"` entry of a CONTEXT. The quoted statement
/// may span lines; an entry ends with a quote at the end of a line.
fn strip_sql_statements(context: &str) -> String {
    let mut kept = Vec::new();
    let mut inside = false;
    for line in context.lines() {
        let starts = !inside && line.starts_with("SQL statement \"");
        if starts || inside {
            let body = if starts {
                &line["SQL statement \"".len()..]
            } else {
                line
            };
            inside = !body.ends_with('"');
            continue;
        }
        kept.push(line);
    }
    kept.join("\n")
}

/// What one statement answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Rows as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// The row count of the command tag.
    pub count: u64,
}

impl Reply {
    /// The first column of every row.
    #[must_use]
    pub fn column(self) -> Vec<Option<String>> {
        self.rows
            .into_iter()
            .map(|row| row.into_iter().next().flatten())
            .collect()
    }
}

/// Why a statement did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server raised an ERROR and the session goes on.
    Error(Box<ServerError>),
    /// The connection is gone: a crash, a FATAL, or a broken protocol.
    Lost(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A connection over which plain SQL text is sent.
pub struct Session {
    client: Client,
    target: Target,
    /// Whether it is asked for its counters before it ends.
    counted: bool,
    /// Who else wants to know them.
    account: Option<Account>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        // A session that cannot answer any more has nothing to add.
        let answer = self
            .run(&format!("ROLLBACK; RESET ROLE; {}", probes::QUESTION))
            .unwrap_or_default();
        let counters: Vec<(String, i64)> = answer
            .into_iter()
            .flat_map(|reply| reply.rows)
            .filter_map(|row| match &row[..] {
                [Some(name), Some(value)] => Some((name.clone(), value.parse().ok()?)),
                _ => None,
            })
            .collect();
        if let Some(account) = &self.account {
            account.add(&counters);
        }
        probes::note(&self.target, counters.into_iter());
    }
}

impl Session {
    /// Connects, with ISO dates in UTC so that text forms are comparable.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn connect(target: &Target) -> Result<Self> {
        Self::connect_with(target, &target.config())
    }

    /// Connects and keeps every WARNING that the server sends.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn connect_and_hear(target: &Target) -> Result<(Self, Arc<Mutex<Vec<String>>>)> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let mut config = target.config();
        config.notice_callback(move |notice| {
            if notice.severity() == "WARNING" {
                if let Ok(mut heard) = ear.lock() {
                    heard.push(notice.to_string());
                }
            }
        });
        Ok((Self::connect_with(target, &config)?, heard))
    }

    fn connect_with(target: &Target, config: &postgres::Config) -> Result<Self> {
        let client = config.connect(NoTls).with_context(|| {
            format!(
                "cannot connect to {}:{}/{}",
                target.host, target.port, target.database
            )
        })?;
        let mut session = Self {
            client,
            target: target.clone(),
            counted: false,
            account: None,
        };
        session
            .batch("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET synchronous_commit = off")?;
        Ok(session)
    }

    /// What it has counted when it ends goes to an account too.
    pub fn account_to(&mut self, account: &Account) {
        self.account = Some(account.clone());
    }

    /// Where this session is connected.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends text that may hold several statements; one reply each.
    ///
    /// # Errors
    /// The first ERROR (PostgreSQL skips the rest), or the loss of the connection.
    pub fn run(&mut self, sql: &str) -> Result<Vec<Reply>, Failure> {
        self.counted |= sql.contains("SET caliber.engine = heap");
        let messages =
            self.client
                .simple_query(sql)
                .map_err(|error| match error.as_db_error() {
                    Some(db) if !self.client.is_closed() && !db.severity().starts_with("FATAL") => {
                        Failure::Error(Box::new(ServerError::new(db)))
                    }
                    Some(db) => Failure::Lost(db.to_string()),
                    None => Failure::Lost(error.to_string()),
                })?;
        let mut replies = Vec::new();
        let mut current = Reply::default();
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => {
                    current.rows.push(
                        (0..row.len())
                            .map(|i| row.get(i).map(str::to_owned))
                            .collect(),
                    );
                }
                SimpleQueryMessage::CommandComplete(count) => {
                    current.count = count;
                    replies.push(std::mem::take(&mut current));
                }
                _ => {}
            }
        }
        Ok(replies)
    }

    /// Sends one statement.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn query(&mut self, sql: &str) -> Result<Reply, Failure> {
        Ok(self.run(sql)?.pop().unwrap_or_default())
    }

    /// Sends statements whose answers do not matter.
    ///
    /// # Errors
    /// As [`Session::run`], with the statement in the message.
    pub fn batch(&mut self, sql: &str) -> Result<()> {
        self.run(sql)
            .map(drop)
            .map_err(|failure| anyhow::anyhow!("{failure}\n  STATEMENT: {}", shorten(sql, 400)))
    }

    /// The single value that a statement returns, `None` for NULL or no row.
    ///
    /// # Errors
    /// As [`Session::batch`].
    pub fn value(&mut self, sql: &str) -> Result<Option<String>> {
        let reply = self
            .query(sql)
            .map_err(|failure| anyhow::anyhow!("{failure}\n  STATEMENT: {}", shorten(sql, 400)))?;
        Ok(reply.column().into_iter().next().flatten())
    }

    /// The ERROR that a statement must raise.
    ///
    /// # Errors
    /// When it succeeds, or the connection is lost.
    pub fn error(&mut self, sql: &str) -> Result<ServerError> {
        match self.run(sql) {
            Ok(_) => anyhow::bail!("no error from: {}", shorten(sql, 400)),
            Err(Failure::Error(error)) => Ok(*error),
            Err(lost) => Err(lost.into()),
        }
    }

    /// The process id of the backend.
    ///
    /// # Errors
    /// As [`Session::batch`].
    pub fn pid(&mut self) -> Result<i32> {
        Ok(self
            .value("SELECT pg_backend_pid()")?
            .unwrap_or_default()
            .parse()?)
    }

    /// The underlying client, for what text cannot say (typed parameters, COPY,
    /// notifications).
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// The first `limit` characters, with a mark if more follow.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    let mut short: String = text.chars().take(limit).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spi_lines_leave_the_context() {
        let context = "PL/pgSQL function a() line 2 at RAISE\nSQL statement \"INSERT INTO x\nVALUES (1)\"\nPL/pgSQL function b() line 1 at SQL statement";
        assert_eq!(
            strip_sql_statements(context),
            "PL/pgSQL function a() line 2 at RAISE\nPL/pgSQL function b() line 1 at SQL statement"
        );
        assert_eq!(strip_sql_statements("SQL statement \"SELECT 1\""), "");
    }
}

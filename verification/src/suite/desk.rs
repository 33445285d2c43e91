//! Desks: the same preparations in a database of its own for each engine and
//! for the client, for topics that go beyond rows.

use crate::account::Account;
use crate::judge::{without_moments, Engine};
use crate::runner::Context;
use crate::server::Database;
use crate::session::{shorten, Failure, Reply, ServerError, Session};
use anyhow::{bail, ensure, Context as _, Result};
use std::time::{Duration, Instant};

/// Heap, both ways through SPI, and the client.
pub const ALL: [Engine; 4] = [
    Engine::Heap,
    Engine::Sql,
    Engine::SqlOneshot,
    Engine::Client,
];

/// One engine's (or the client's) database and session.
pub struct Desk {
    /// Whose desk it is.
    pub engine: Engine,
    /// Its session, a superuser's, which ends before …
    pub session: Session,
    /// … its database.
    pub database: Database,
    /// What the sessions of the heap engine must account for.
    account: Option<Account>,
}

impl Desk {
    /// Another session in the same database, with the same engine.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn another(&self) -> Result<Session> {
        let mut session = self.database.connect()?;
        if let Some(account) = &self.account {
            session.account_to(account);
        }
        for sql in setup(self.engine) {
            session.batch(&sql)?;
        }
        Ok(session)
    }

    /// As [`await_indexes`].
    ///
    /// # Errors
    /// When one stays older.
    pub fn await_indexes(&mut self) -> Result<()> {
        await_indexes(&mut self.session)
    }

    /// What this desk sends: the call, or the client's statement for it.
    #[must_use]
    pub fn text<'a>(&self, call: &'a str, client: &'a str) -> &'a str {
        if self.engine == Engine::Client {
            client
        } else {
            call
        }
    }
}

/// Waits until the heap engine reads the indexes that were just made. Made beside HOT
/// chains (`pg_index.indcheckxmin`) they are nobody's while a transaction anywhere on
/// the server is older, and SQL takes over meanwhile.
///
/// # Errors
/// When one stays older.
pub fn await_indexes(session: &mut Session) -> Result<()> {
    const OLD: &str = "SELECT count(*) = 0 FROM pg_index WHERE indcheckxmin
        AND age(xmin) <= age(pg_snapshot_xmin(pg_current_snapshot())::text::xid)";
    until(session, OLD, Duration::from_secs(60))
}

/// Asks until a session says yes.
///
/// # Errors
/// When it has not done so by then.
pub fn until(session: &mut Session, question: &str, patience: Duration) -> Result<()> {
    let began = Instant::now();
    while session.value(question)?.as_deref() != Some("t") {
        ensure!(began.elapsed() < patience, "never: {question}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Sends a statement again as long as it ends with this SQLSTATE.
///
/// # Errors
/// Another one, or when it does so for a minute.
pub fn until_done(session: &mut Session, sql: &str, sqlstate: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        match session.run(sql) {
            Ok(_) => return Ok(()),
            Err(Failure::Error(error)) if error.sqlstate == sqlstate => {}
            Err(failure) => return Err(failure.into()),
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "never: {sql}");
    }
}

/// What a session of an engine sends first.
#[must_use]
pub fn setup(engine: Engine) -> Vec<String> {
    if engine == Engine::Client {
        return Vec::new();
    }
    // The first call loads the library, so that the setting is checked at once.
    vec![
        "SELECT caliber_version()".to_owned(),
        format!("SET caliber.engine = {}", engine.name()),
    ]
}

/// Opens a desk for each engine, on new clones with the same preparations. In the
/// end the heap engine must have served calls of its desk, and SQL none, unless the
/// test is one of [`Test::with_takeovers`](crate::runner::Test::with_takeovers).
///
/// # Errors
/// When a server refuses.
pub fn open(context: &Context, engines: &[Engine], prepare: &str) -> Result<Vec<Desk>> {
    let mut desks = Vec::new();
    for engine in engines {
        let database = context.server.fresh_database()?;
        let mut session = database.connect()?;
        let account = (*engine == Engine::Heap).then(Account::open);
        if let Some(account) = &account {
            session.account_to(account);
        }
        let mut desk = Desk {
            engine: *engine,
            database,
            session,
            account,
        };
        for sql in setup(*engine) {
            desk.session.batch(&sql)?;
        }
        if !prepare.is_empty() {
            desk.session
                .batch(prepare)
                .with_context(|| format!("preparing {}", engine.name()))?;
        }
        desks.push(desk);
    }
    Ok(desks)
}

/// Rows as text, or an ERROR.
pub type Answer = std::result::Result<Vec<Vec<Option<String>>>, Box<ServerError>>;

/// What one desk answered, as text that can be compared: SPI's own CONTEXT is
/// left out, and moments in an ERROR are replaced.
pub fn answer(result: Result<Vec<Reply>, Failure>) -> Answer {
    match result {
        Ok(replies) => Ok(replies.into_iter().flat_map(|reply| reply.rows).collect()),
        Err(Failure::Error(error)) => Err(Box::new(
            error.without_spi_context().map_text(without_moments),
        )),
        Err(Failure::Lost(why)) => Err(Box::new(ServerError {
            sqlstate: "LOST".to_owned(),
            message: why,
            ..ServerError::default()
        })),
    }
}

/// Sends the call to every engine's desk and the statement to the client's;
/// all must raise the same ERROR, in every field, with this SQLSTATE, and go
/// on afterwards. Returns it.
///
/// # Errors
/// Saying who answered what.
pub fn same_error(
    desks: &mut [Desk],
    call: &str,
    client: &str,
    sqlstate: &str,
) -> Result<ServerError> {
    let mut errors: Vec<(Engine, Box<ServerError>)> = Vec::new();
    for desk in desks.iter_mut() {
        let sql = desk.text(call, client);
        match answer(desk.session.run(sql)) {
            Ok(rows) => bail!(
                "{}: no error, but {rows:?} from {}",
                desk.engine.name(),
                shorten(sql, 300)
            ),
            Err(error) => errors.push((desk.engine, error)),
        }
    }
    let shown: Vec<String> = errors
        .iter()
        .map(|(engine, error)| format!("--- {}\n{error}", engine.name()))
        .collect();
    let shown = shown.join("\n");
    let Some((_, first)) = errors.first() else {
        bail!("no desks")
    };
    ensure!(
        errors.iter().all(|(_, error)| error == first),
        "{}\nnot the same error:\n{shown}",
        shorten(call, 300)
    );
    ensure!(
        first.sqlstate == sqlstate,
        "{}\nexpected SQLSTATE {sqlstate}:\n{shown}",
        shorten(call, 300)
    );
    Ok(first.as_ref().clone())
}

//! Indexes that are not there, or not valid: on every table, each in turn.

use super::super::desk::{self, Answer};
use crate::account::Account;
use crate::entity::{self, samples, Entity, Kind};
use crate::judge::{without_moments, Engine};
use crate::runner::{Context, Outcome, Test};
use crate::server::Database;
use crate::session::{shorten, Session};
use anyhow::{bail, ensure, Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "bad_input::missing_index",
        "without an index, or with an invalid one, a call is right by another or 55000 on the heap engine; the HINT repairs it; sql works",
        missing_index,
    )]
}

/// How often a function is called at most, with other arguments each time.
const TIMES: usize = 3;

/// Rows of an entity, calls that look for some of them, and who makes them.
struct Desk {
    admin: Session,
    heap: Session,
    sql: Session,
    /// The calls, and what is right.
    calls: BTreeMap<String, Answer>,
    _database: Database,
}

fn open(context: &Context, entity: &dyn Entity) -> Result<Desk> {
    let database = context.server.fresh_database()?;
    let mut admin = database.connect()?;
    let mut calls = BTreeMap::<String, BTreeSet<String>>::new();
    for (call, _) in samples::of(entity) {
        let sql = format!("SELECT l FROM {} l", call.sql());
        let kind = entity::function_named(&call.function).map(|(_, function)| function.kind);
        // The rows stay; a delete is tried like the other calls.
        if kind != Some(Kind::Delete) {
            admin.batch(&sql)?;
        }
        if !matches!(kind, None | Some(Kind::Create | Kind::Many)) {
            let known = calls.entry(call.function.clone()).or_default();
            if known.len() < TIMES {
                known.insert(sql);
            }
        }
    }
    // No lease ends while the test looks.
    admin.batch("UPDATE caliber_lock SET expires_at = 'infinity' WHERE expires_at > now()")?;
    let session = |engine| -> Result<Session> {
        let mut session = database.connect()?;
        for sql in desk::setup(engine) {
            session.batch(&sql)?;
        }
        Ok(session)
    };
    let mut heap = session(Engine::Heap)?;
    heap.account_to(&Account::open());
    let mut sql = session(Engine::Sql)?;
    let mut answers = BTreeMap::new();
    for call in calls.into_values().flatten() {
        let answer = tried(&mut sql, &call)?;
        answers.insert(call, answer);
    }
    Ok(Desk {
        heap,
        sql,
        calls: answers,
        admin,
        _database: database,
    })
}

/// What a session answers to a call that is rolled back.
fn tried(session: &mut Session, call: &str) -> Result<Answer> {
    let answer = desk::answer(session.run(&format!("BEGIN; {call}; ROLLBACK")));
    if answer.is_err() {
        session.batch("ROLLBACK")?;
    }
    Ok(answer.map(|rows| {
        let cell = |cell: Option<String>| cell.map(|text| without_moments(&text));
        rows.into_iter()
            .map(|row| row.into_iter().map(cell).collect())
            .collect()
    }))
}

/// Calls that were refused, and the HINT.
type Refused = BTreeMap<String, String>;

/// Makes calls: each answer is right, or wants an index of `table`.
fn refused(
    session: &mut Session,
    table: &str,
    calls: &BTreeMap<String, Answer>,
) -> Result<Refused> {
    let mut refused = BTreeMap::new();
    for (call, right) in calls {
        let answer = tried(session, call)?;
        if answer == *right {
            continue;
        }
        match answer {
            Err(error)
                if error.sqlstate == "55000"
                    && error.message.contains("index")
                    && error.message.contains(table) =>
            {
                refused.insert(call.clone(), error.hint.clone().unwrap_or_default());
            }
            answer => bail!("{}\nsays {answer:?}\nnot {right:?}", shorten(call, 300)),
        }
    }
    Ok(refused)
}

impl Desk {
    /// Calls that the heap engine refuses; everything else is right.
    fn refused(&mut self, table: &str) -> Result<Refused> {
        refused(&mut self.heap, table, &self.calls)
    }

    /// Calls that were refused are right again.
    fn repaired(&mut self, table: &str, before: &Refused) -> Result<()> {
        desk::await_indexes(&mut self.admin)?;
        let is_one = |(call, _): &(&String, &Answer)| before.contains_key(*call);
        let calls = self.calls.iter().filter(is_one);
        let calls = calls.map(|(call, answer)| (call.clone(), answer.clone()));
        let again = refused(&mut self.heap, table, &calls.collect())?;
        ensure!(again.is_empty(), "still refused: {again:?}");
        Ok(())
    }

    /// The sql engine needs no index, but for the nearest embeddings of a whole table
    /// (`api.md`, Search).
    fn sql_works(&mut self, table: &str) -> Result<()> {
        let refused = refused(&mut self.sql, table, &self.calls)?;
        let other = refused.keys().find(|call| !call.contains("_search("));
        ensure!(other.is_none(), "the sql engine refuses {other:?}");
        Ok(())
    }
}

fn missing_index(context: &Context) -> Result<Outcome> {
    let mut noticed = 0;
    let mut count = 0;
    for entity in context.share(entity::all().to_vec()) {
        let table = entity.table().name;
        let mut desk = open(context, entity)?;
        let refused = desk.refused(table)?;
        ensure!(refused.is_empty(), "with all indexes: {refused:?}");
        let indexes = desk.admin.query(&format!(
            "SELECT indexrelid::regclass, (SELECT string_agg(pg_get_indexdef(indexrelid, n, true), ', ') FROM generate_series(1, indnkeyatts) n)
             FROM pg_index WHERE indrelid = '{table}'::regclass AND NOT indisunique ORDER BY 1"
        ))?;
        for index in indexes.rows {
            let [Some(name), Some(columns)] = &index[..] else {
                bail!("{index:?}");
            };
            let seen = without(&mut desk, table, name).with_context(|| name.clone())?;
            noticed += usize::from(seen > 0);
            ensure!(
                seen > 0 || is_for_keys(entity, columns),
                "no call wants the index of {table} on {columns}"
            );
            count += 1;
        }
    }
    Ok(Outcome::Passed(format!(
        "{count} indexes, {noticed} of them wanted"
    )))
}

/// Whether an index is there for foreign keys, or to be quicker than another that serves
/// as well: the order by priority, the scopes of a task.
fn is_for_keys(entity: &dyn Entity, columns: &str) -> bool {
    let of_key = entity.table().foreign_keys.iter();
    of_key
        .flat_map(|key| key.columns)
        .any(|column| columns == *column)
        || columns.contains("priority")
        || entity.table().entity == "scope"
}

/// The calls without an index, and with an invalid one. Says how many want it.
fn without(desk: &mut Desk, table: &str, name: &str) -> Result<usize> {
    desk.admin.batch(&format!("DROP INDEX {name}"))?;
    let dropped = desk.refused(table)?;
    desk.sql_works(table)?;
    let hints: BTreeSet<&String> = dropped.values().collect();
    ensure!(hints.len() <= 1, "{hints:?}");
    let hint = hints
        .first()
        .map_or("Run caliber_init()", |hint| hint.as_str());
    let statement = hint
        .strip_prefix("Run ")
        .and_then(|rest| rest.split_once(')'))
        .map(|(call, _)| format!("SELECT {call})"))
        .with_context(|| format!("the HINT names no call: {hint}"))?;
    desk.admin.batch(&statement)?;
    desk.repaired(table, &dropped).context(statement)?;

    if dropped.is_empty() {
        return Ok(0);
    }

    // The index is still kept, so that only asking whether it is valid tells.
    desk.admin.batch(&format!(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{name}'::regclass;
         UPDATE pg_class SET relname = relname WHERE oid = '{table}'::regclass"
    ))?;
    // Its row in the catalog is young again: until everybody sees it, SQL takes over.
    desk::await_indexes(&mut desk.admin)?;
    let invalid = desk.refused(table)?;
    ensure!(
        invalid == dropped,
        "without it these calls are refused: {dropped:?}\nbut while it is invalid these: {invalid:?}"
    );
    desk.admin.batch(&format!("REINDEX INDEX {name}"))?;
    desk.repaired(table, &dropped).context("REINDEX")?;
    Ok(dropped.len())
}

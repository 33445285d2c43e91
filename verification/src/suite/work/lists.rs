//! Lists of work: who is in them, in which order, page by page, and how many
//! pages of the server they touch.

use super::{ids, Kind, ENGINES, PEOPLE};
use crate::judge::Engine;
use crate::runner::{Context, Outcome};
use crate::session::Session;
use crate::suite::desk;
use anyhow::{bail, ensure, Context as _, Result};
use std::fmt::Write as _;

/// A list, and which rows are in it.
#[derive(Debug)]
pub struct List {
    /// The call, without its last two arguments.
    pub call: String,
    /// The condition.
    pub rows: String,
}

impl List {
    /// A list.
    #[must_use]
    pub fn new(call: &str, rows: &str) -> Self {
        Self {
            call: ids(call),
            rows: ids(rows),
        }
    }
}

/// Rows of every kind and state, in an order of their own. `@a` asks for two
/// thirds of them, `@b` for the others.
fn rows(kind: &Kind) -> String {
    let mut sql = ids(PEOPLE);
    for (i, status) in kind.states.iter().enumerate() {
        let targets: &[&str] = if *status == kind.open || *status == "rejected" {
            &["@a", "@b", "@c", "worker", "boss", "*", "Worker"]
        } else {
            &["@a", "@b", "@b worker", "@c *", "@c worker"]
        };
        for (j, target) in targets.iter().enumerate() {
            for n in 0..6 {
                // Ids that do not follow the order of the rows.
                let number = (i * 131 + j * 17 + n * 53) % 997;
                let id = format!("10000000-0000-4000-8000-{:012x}", number * 7919 % 104_729);
                let put = kind.put("@9", target, status).replace(&ids("@9"), &id);
                let put = if n % 3 == 0 {
                    put.replacen(&ids("'@a'"), &ids("'@b'"), 1)
                } else {
                    put
                };
                let _ = writeln!(sql, "{put} ON CONFLICT DO NOTHING;");
            }
        }
    }
    sql
}

/// Compares every list with plain SQL: whole, from the middle, and in pages.
///
/// # Errors
/// When a list has other rows, or another order.
pub fn lists(context: &Context, kind: &Kind, lists: &[List]) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, &rows(kind))?;
    let (mut count, mut longest) = (0, 0);
    for desk in &mut desks {
        for list in lists {
            let at = || format!("{}: {}", desk.engine.name(), list.call);
            let all = check(&mut desk.session, kind, list, "NULL", "NULL").with_context(at)?;
            longest = longest.max(all.len());
            let mut afters = vec![
                "NULL".to_owned(),
                ids("'@0'"),
                "'ffffffff-ffff-4fff-bfff-ffffffffffff'".to_owned(),
            ];
            afters.extend(all.get(all.len() / 2).map(|id| format!("'{id}'")));
            for max in ["0", "1", "7", "1000"] {
                for after in &afters {
                    check(&mut desk.session, kind, list, max, after).with_context(at)?;
                    count += 1;
                }
            }
            let mut paged: Vec<String> = Vec::new();
            loop {
                let after = paged
                    .last()
                    .map_or("NULL".to_owned(), |id| format!("'{id}'"));
                let page = check(&mut desk.session, kind, list, "7", &after).with_context(at)?;
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            ensure!(paged == all, "{}: pages of 7: {paged:?}", at());
            let none = desk.session.error(&call(list, "*", "-1", "NULL"))?;
            ensure!(none.sqlstate == "2201W", "{}: {none}", at());
        }
    }
    ensure!(longest > 20, "no list was long: {longest}");
    Ok(Outcome::Passed(format!(
        "{count} pages, up to {longest} rows"
    )))
}

fn call(list: &List, what: &str, max: &str, after: &str) -> String {
    let comma = if list.call.ends_with('(') { "" } else { ", " };
    format!(
        "SELECT {what} FROM {}{comma}max_rows => {max}, after => {after}) x",
        list.call
    )
}

fn check(
    session: &mut Session,
    kind: &Kind,
    list: &List,
    max: &str,
    after: &str,
) -> Result<Vec<String>> {
    let key = kind.key();
    let ours = session
        .query(&call(list, "x", max, after))
        .map_err(|failure| anyhow::anyhow!("{failure}"))?
        .column();
    let page = if after == "NULL" {
        String::new()
    } else {
        format!("AND {key} > {after}")
    };
    let sql = format!(
        "SELECT x, {key} FROM {} x WHERE ({}) {page} ORDER BY {key} LIMIT {max}",
        kind.table(),
        list.rows
    );
    let plain = session
        .query(&sql)
        .map_err(|failure| anyhow::anyhow!("{failure}"))?
        .rows;
    let theirs: Vec<Option<String>> = plain.iter().map(|row| row[0].clone()).collect();
    ensure!(
        ours == theirs,
        "max {max}, after {after}: {} rows, not {}:\n{ours:?}\n{theirs:?}",
        ours.len(),
        theirs.len()
    );
    Ok(plain.into_iter().filter_map(|row| row[1].clone()).collect())
}

/// Among 100,000 pieces of work that are done, a page of open ones touches a
/// handful of pages of the server.
///
/// # Errors
/// When it touches more.
pub fn among_many(context: &Context, kind: &Kind, done: &str, calls: &[&str]) -> Result<Outcome> {
    const HANDFUL: u64 = 80;
    let table = kind.table();
    let open: String = (0..32)
        .map(|n| {
            let target = ["worker", "*", "@b", "boss"][n % 4];
            let id = format!("{:08x}-0000-4000-8000-000000000000", n * 0x0777_7777);
            let put = kind.put("@9", target, kind.open).replace(&ids("@9"), &id);
            format!("{put};")
        })
        .collect();
    // All of them were open once, and went their way. Keys hold, unchecked.
    let prepare = ids(&format!(
        "{PEOPLE} SET session_replication_role = replica; {}; UPDATE {table} SET {done}, {} = '@b';
         RESET session_replication_role; {open}",
        kind.put_many(100_000),
        kind.agent
    ));
    // One database for all, one after the other: filling it is what takes time.
    let mut desks = desk::open(context, &ENGINES[..1], &prepare)?;
    let Some(session) = desks.first_mut().map(|desk| &mut desk.session) else {
        bail!("no desk");
    };
    let mut seen = Vec::new();
    for engine in ENGINES {
        // The index of the open ones is still as large as when all were open.
        // That matters to the planner, which chooses for SQL, and to nobody else.
        let full = if engine == Engine::Heap { "" } else { "FULL, " };
        session.batch(&format!("SET caliber.engine = {}", engine.name()))?;
        session.batch(&format!("VACUUM ({full}ANALYZE) {table}"))?;
        let whole = session.value(&format!("SELECT pg_relation_size('{table}') / 8192 > 1000"))?;
        ensure!(whole.as_deref() == Some("t"), "the table is small");
        for call in calls {
            let sql = ids(&format!("SELECT * FROM {call}"));
            // Until a kept plan is chosen for good.
            for _ in 0..8 {
                session.batch(&sql)?;
            }
            let rows = session
                .query(&sql)
                .map_err(|failure| anyhow::anyhow!("{failure}"))?
                .rows
                .len();
            ensure!(rows > 4, "{call}: {rows} rows");
            let pages = buffers(session, &sql)?;
            seen.push(pages);
            ensure!(
                pages <= HANDFUL,
                "{}: {call} touches {pages} pages for {rows} rows",
                engine.name()
            );
        }
    }
    Ok(Outcome::Passed(format!("pages: {seen:?}")))
}

/// The pages that a query touches, planning left out.
fn buffers(session: &mut Session, sql: &str) -> Result<u64> {
    let plan = session
        .value(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"))?
        .unwrap_or_default();
    let number = |name: &str| -> Result<u64> {
        let (_, rest) = plan.split_once(name).context("no buffers in the plan")?;
        let digits: String = rest
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        Ok(digits.parse()?)
    };
    Ok(number("\"Shared Hit Blocks\"")? + number("\"Shared Read Blocks\"")?)
}

//! Published tables: what a subscriber is sent is what SQL's statements send,
//! and what cannot be sent is refused.

use super::functions::{carry_out, each};
use super::{same, ENGINES};
use crate::entity::{self, samples};
use crate::judge::without_moments;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use crate::suite::desk::{self, Desk};
use crate::suite::steps::{ids, Id, Moved, Step, ROWS, SESSION};
use anyhow::{bail, ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "own_objects::logical_decoding",
            "a subscriber is sent what it is sent of SQL's statements, under each replica identity",
            decoding,
        ),
        Test::new(
            "own_objects::replica_identity",
            "a published table without a replica identity takes inserts only, in SQL's words",
            replica_identity,
        ),
    ]
}

const NEW: Step = Step(
    "caliber_trajectory_create('one', agent_id => '@a', id => '@1')",
    "INSERT INTO caliber_trajectory VALUES ('@1', 'one', NULL, 'active', NULL, NULL, '@a', now(), now(), NULL, NULL, NULL)",
    Id('1'),
);
const LARGE: Step = Step(
    "caliber_trajectory_update('@9', jsonb_build_object('description', repeat('x', 3000000)))",
    "UPDATE caliber_trajectory SET description = repeat('x', 3000000), updated_at = now() WHERE trajectory_id = '@9'",
    Moved,
);
/// The long value stays where it is.
const BESIDE: Step = Step(
    "caliber_trajectory_update('@9', '{\"name\": \"beside\"}')",
    "UPDATE caliber_trajectory SET name = 'beside', updated_at = now() WHERE trajectory_id = '@9'",
    Moved,
);

const EIGHT: Step = Step(
    "caliber_trajectory_update('@8', '{\"name\": \"beside\"}')",
    "UPDATE caliber_trajectory SET name = 'beside', updated_at = now() WHERE trajectory_id = '@8'",
    Moved,
);

/// The row changes that a subscriber is sent, with what differs from run to
/// run left out: transactions, positions, moments.
fn sent((session, slot): &mut (Session, String)) -> Result<Vec<String>> {
    let replies = session.query(&format!(
        "SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('{slot}', NULL, NULL,
            'proto_version', '1', 'publication_names', 'everything')"
    ))?;
    let mut changes = Vec::new();
    for text in replies.column().into_iter().flatten() {
        let message = Message(unhex(&text)?);
        if let Some(change) = message.change()? {
            changes.push(change);
        }
    }
    Ok(changes)
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}

/// A message of the logical replication protocol.
struct Message(Vec<u8>);

impl Message {
    /// An insert, update, delete or truncate, as text; nothing of the others.
    fn change(&self) -> Result<Option<String>> {
        let mut rest = Reader(&self.0);
        let kind = char::from(rest.byte()?);
        if !"IUDT".contains(kind) {
            return Ok(None);
        }
        let mut text = format!("{kind} {}", rest.number(4)?);
        if kind == 'T' {
            // So many relations, how, and each.
            text += &format!(" {}", rest.byte()?);
            while !rest.0.is_empty() {
                text += &format!(" {}", rest.number(4)?);
            }
        }
        while !rest.0.is_empty() {
            text += &format!(" {}", char::from(rest.byte()?));
            for _ in 0..rest.number(2)? {
                let form = char::from(rest.byte()?);
                if form == 't' {
                    let length = rest.number(4)?;
                    let value = String::from_utf8_lossy(rest.take(length)?).into_owned();
                    text += &format!(
                        " {}#{length}",
                        crate::session::shorten(&without_moments(&value), 60)
                    );
                    if without_moments(&value) != value {
                        // A moment is as long as its digits.
                        text.truncate(text.len() - format!("#{length}").len());
                    }
                } else {
                    text += &format!(" {form}");
                }
            }
        }
        Ok(Some(text))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            bail!("a message ends early")
        };
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn number(&mut self, length: usize) -> Result<usize> {
        Ok(self
            .take(length)?
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }
}

/// A slot for each desk, read by a session of its own.
fn slots(desks: &mut [Desk]) -> Result<Vec<(Session, String)>> {
    let mut slots = Vec::new();
    for desk in desks {
        // What is not flushed yet is not sent yet.
        desk.session.batch("SET synchronous_commit = on")?;
        // Temporary: it goes with its session, or with an ERROR there.
        let slot = format!("{}_sent", desk.database.target.database);
        let mut session = desk.another()?;
        session
            .batch(&format!(
                "SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput', true)"
            ))
            .context("a slot")?;
        slots.push((session, slot));
    }
    Ok(slots)
}

/// As [`decoding`], a call of every function.
fn decoding_of_functions(context: &Context) -> Result<usize> {
    let mut readers: Vec<(Session, String)> = Vec::new();
    let given: String = entity::all()
        .iter()
        .flat_map(|entity| samples::of(*entity))
        .map(|(call, _)| call.sql())
        .collect();
    let make = "CREATE PUBLICATION everything FOR ALL TABLES";
    each(context, &ENGINES, make, |desks, written| {
        if readers.is_empty() {
            readers = slots(desks)?;
        }
        // What came before this call is known.
        for reader in &mut readers {
            sent(reader)?;
        }
        let mut all = Vec::new();
        for (desk, reader) in desks.iter_mut().zip(&mut readers) {
            carry_out(desk, written)?;
            // A lock's process is the session's own.
            let pid = desk.session.pid()?.to_string();
            let pid = format!(" {pid}#{}", pid.len());
            let mut changes: Vec<String> = sent(reader)?
                .iter()
                .map(|change| without_made_ids(change, &given).replace(&pid, " <pid>"))
                .collect();
            // In which order a statement comes upon its rows is its own affair.
            changes.sort();
            all.push(changes);
        }
        ensure!(all.iter().all(|changes| *changes == all[0]), "{all:#?}");
        ensure!(!all[0].is_empty(), "nothing is sent");
        Ok(())
    })
}

/// A change without the ids that no call gave: each engine makes its own.
fn without_made_ids(change: &str, given: &str) -> String {
    let words: Vec<&str> = change
        .split(' ')
        .map(|word| match word.strip_suffix("#36") {
            Some(id) if !given.contains(id) => "<made>",
            _ => word,
        })
        .collect();
    words.join(" ")
}

fn decoding(context: &Context) -> Result<Outcome> {
    let make = "CREATE PUBLICATION everything FOR ALL TABLES;
        ALTER TABLE caliber_scope REPLICA IDENTITY FULL";
    let mut desks = desk::open(context, &ENGINES, &ids(&format!("{ROWS}{make}")))?;
    if desks[0].session.value("SHOW wal_level")?.as_deref() != Some("logical") {
        return Ok(Outcome::NotCovered(
            "the server's wal_level is not logical".to_owned(),
        ));
    }
    let mut slots = slots(&mut desks)?;
    let mut count = 0;
    for (before, steps) in [
        ("SELECT 1", &[LARGE, BESIDE] as &[Step]),
        ("SELECT 1", SESSION),
        // What is rolled back is not sent, what a savepoint kept is.
        (
            "DELETE FROM caliber_trajectory WHERE trajectory_id = '@1'; COMMIT; BEGIN",
            &[NEW],
        ),
        ("ROLLBACK; BEGIN; SAVEPOINT s", &[NEW]),
        ("ROLLBACK TO s", &[EIGHT, NEW]),
        (
            "RELEASE s; COMMIT; ALTER TABLE caliber_trajectory REPLICA IDENTITY FULL",
            &[EIGHT],
        ),
    ] {
        for desk in &mut desks {
            desk.session.batch(&ids(before))?;
        }
        for step in steps {
            same(&mut desks, step)?;
        }
        if before.ends_with("BEGIN")
            || before.contains("SAVEPOINT")
            || before.contains("ROLLBACK TO")
        {
            continue;
        }
        let mut all = Vec::new();
        for (desk, slot) in desks.iter().zip(&mut slots) {
            all.push((desk.engine, sent(slot)?));
        }
        let Some((_, client)) = all.pop() else {
            bail!("no desks")
        };
        ensure!(!client.is_empty(), "nothing is sent");
        count += client.len();
        for (engine, changes) in &all {
            ensure!(
                *changes == client,
                "{} sends\n{changes:#?}\nnot\n{client:#?}",
                engine.name()
            );
        }
    }
    let functions = decoding_of_functions(context)?;
    Ok(Outcome::Passed(format!(
        "{functions} functions, {count} changes"
    )))
}

fn replica_identity(context: &Context) -> Result<Outcome> {
    let make = "CREATE PUBLICATION everything FOR TABLE caliber_trajectory, caliber_scope;
        ALTER TABLE caliber_scope REPLICA IDENTITY NOTHING";
    let mut desks = desk::open(context, &desk::ALL, &ids(&format!("{ROWS}{make}")))?;
    let create = Step(
        "caliber_scope_create('@8', 'one', id => '@1')",
        "INSERT INTO caliber_scope VALUES ('@1', '@8', NULL, 'one', NULL, true, now(), NULL, NULL, 8000, 0, NULL)",
        Id('1'),
    );
    let refused = [
        (
            "SELECT caliber_scope_update('@8', '{\"name\": \"n\"}')",
            "UPDATE caliber_scope SET name = 'n' WHERE scope_id = '@8'",
        ),
        (
            "SELECT caliber_scope_close('@8')",
            "UPDATE caliber_scope SET is_active = false WHERE scope_id = '@8'",
        ),
        (
            "SELECT caliber_scope_delete('@8')",
            "DELETE FROM caliber_scope WHERE scope_id = '@8'",
        ),
        (
            "SELECT caliber_scope_delete('@f')",
            "DELETE FROM caliber_scope WHERE scope_id = '@f'",
        ),
    ];
    same(&mut desks, &create)?;
    for (call, client) in &refused {
        desk::same_error(&mut desks, &ids(call), &ids(client), "55000")?;
    }
    for desk in &mut desks {
        desk.session
            .batch("ALTER PUBLICATION everything SET (publish = 'insert, delete')")?;
    }
    let update = Step(
        "caliber_scope_update('@8', '{\"name\": \"n\"}')",
        "UPDATE caliber_scope SET name = 'n' WHERE scope_id = '@8'",
        Moved,
    );
    ensure!(same(&mut desks, &update)? == ["t"], "an update is refused");
    let (call, client) = refused[2];
    desk::same_error(&mut desks, &ids(call), &ids(client), "55000")?;
    Ok(Outcome::Passed(String::new()))
}

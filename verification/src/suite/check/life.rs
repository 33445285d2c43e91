//! Life cycles that plain SQL broke: each rule, by a row that breaks it and no other.

use super::{database, found_after, key_of, list, nothing, victim};
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Result};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "check::life",
            "each rule of a life cycle, broken in one row",
            life,
        ),
        Test::new(
            "check::trees",
            "wrong roots and cycles, told of the row that is wrong",
            trees,
        ),
        Test::new(
            "check::legal",
            "what looks odd and is legal is no finding",
            legal,
        ),
    ]
}

/// Ways to break a row: table, rows to change, the change, and what is said of the row.
const BREAKS: &str = include_str!("breaks.txt");

/// What looks odd and is legal: what ends later than it should, before it began,
/// without a word.
const LEGAL: &str = include_str!("legal.txt");

/// The lines of a table in a text file.
pub(super) fn lines<const N: usize>(text: &'static str) -> Result<Vec<[&'static str; N]>> {
    let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let read = |line: &'static str| {
        let parts: Vec<&str> = line.split(" | ").collect();
        parts
            .try_into()
            .map_err(|parts| anyhow::anyhow!("not {N} parts: {parts:?}"))
    };
    text.lines().filter(is_row).map(read).collect()
}

fn life(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    let breaks = context.share(lines(BREAKS)?);
    for [table, condition, change, says] in &breaks {
        let item = victim(&mut session, table, condition)?;
        let damage = format!(
            "UPDATE {table} SET {change} WHERE {} = '{item}'",
            key_of(table)
        );
        let found = found_after(&mut session, &damage)?;
        ensure!(
            found.len() == 1
                && found[0].relation == *table
                && found[0].item.as_ref() == Some(&item)
                && found[0].problem.contains(says),
            "{damage}\nexpected \"{says}\" of {item}: {}",
            list(&found)
        );
    }
    // A transaction's lock that outlived its transaction.
    let left = "INSERT INTO caliber_lock (resource_type, resource_id, holder_agent_id, expires_at, mode, level)
        VALUES ('file', gen_random_uuid(), md5('a1')::uuid, 'infinity', 'shared', 'transaction') RETURNING lock_id";
    let item = session.value(left)?;
    let found = super::check(&mut session)?;
    ensure!(
        found.len() == 1
            && found[0].item == item
            && found[0].problem.contains("a transaction that has ended"),
        "{item:?}: {}",
        list(&found)
    );
    Ok(Outcome::Passed(format!("{} ways", breaks.len() + 1)))
}

fn trees(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    // t0 > t1 > t2 > t3 > t4, and so on: five to a tree.
    let parent = |child: &str, parent: &str| {
        format!("UPDATE caliber_trajectory SET parent_trajectory_id = md5('{parent}')::uuid WHERE trajectory_id = md5('{child}')::uuid;")
    };
    let id = |session: &mut crate::session::Session, name: &str| -> Result<String> {
        Ok(session
            .value(&format!("SELECT md5('{name}')::uuid"))?
            .unwrap_or_default())
    };
    // Cycles of every length; what hangs below one is not in it.
    for (top, below, length) in [
        ("t0", "t1", 2),
        ("t5", "t9", 5),
        ("t11", "t12", 2),
        ("t16", "t18", 3),
    ] {
        let first: u32 = top[1..].parse()?;
        let found = found_after(&mut session, &parent(top, below))?;
        let mut told: Vec<String> = found
            .iter()
            .filter(|finding| finding.problem.contains("own ancestors"))
            .filter_map(|finding| finding.item.clone())
            .collect();
        let mut wanted = Vec::new();
        for i in first..first + length {
            wanted.push(id(&mut session, &format!("t{i}"))?);
        }
        told.sort();
        wanted.sort();
        ensure!(
            told == wanted,
            "{top} under {below}: {told:?}, not {wanted:?}"
        );
        let outside = found.iter().any(|finding| {
            finding
                .item
                .as_ref()
                .is_none_or(|item| !wanted.contains(item))
        });
        ensure!(!outside, "{top} under {below}: {}", list(&found));
    }
    // A whole subtree under another parent, by hand and without a word to the root:
    // the one row that was moved is wrong.
    for (child, new_parent) in [("t3", "t20"), ("t2", "t7"), ("t1", "t30")] {
        let found = found_after(&mut session, &parent(child, new_parent))?;
        let item = id(&mut session, child)?;
        ensure!(
            found.len() == 1
                && found[0].item.as_ref() == Some(&item)
                && found[0].problem.contains("not that of the parent"),
            "{child} under {new_parent}: {}",
            list(&found)
        );
    }
    // Deep trees, and long cycles, end in time.
    session.batch(
        "INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id)
            SELECT md5('deep' || i)::uuid, 'deep', CASE WHEN i > 0 THEN md5('deep' || (i - 1))::uuid END,
                   CASE WHEN i > 0 THEN md5('deep0')::uuid END FROM generate_series(0, 300) i",
    )?;
    nothing(&mut session, "a deep tree")?;
    let found = found_after(&mut session, &parent("deep0", "deep300"))?;
    let told = found
        .iter()
        .filter(|finding| finding.problem.contains("own ancestors"))
        .count();
    ensure!(
        told == 301,
        "{told} rows in the cycle of 301: {}",
        list(&found)
    );
    Ok(Outcome::Passed(String::new()))
}

fn legal(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    let legal = lines(LEGAL)?;
    for [table, condition, change] in &legal {
        let item = victim(&mut session, table, condition)?;
        let update = format!(
            "UPDATE {table} SET {change} WHERE {} = '{item}'",
            key_of(table)
        );
        let found = found_after(&mut session, &update)?;
        ensure!(found.is_empty(), "{update}\n{}", list(&found));
    }
    Ok(Outcome::Passed(format!("{} ways", legal.len())))
}

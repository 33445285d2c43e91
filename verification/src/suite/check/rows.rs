//! Rows that today's constraints would refuse.

use super::{database, found_after, key_of, list, nothing, only, victim, TABLES};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{bail, ensure, Context as _, Result};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "check::not_null",
            "a NULL, in every column that has none",
            not_null,
        ),
        Test::new(
            "check::checks",
            "a row that breaks a CHECK, for each",
            checks,
        ),
        Test::new(
            "check::foreign_keys",
            "a reference without its row, for each key; a parent that is gone",
            foreign_keys,
        ),
        Test::new(
            "check::own_constraints",
            "a user's own constraints count, with all their options",
            own_constraints,
        ),
    ]
}

/// The rows of a query, as text.
fn rows<const N: usize>(session: &mut Session, sql: &str) -> Result<Vec<[String; N]>> {
    let reply = session.query(sql).context("catalog")?;
    let read = |row: Vec<Option<String>>| -> [String; N] {
        let mut row = row.into_iter();
        std::array::from_fn(|_| row.next().flatten().unwrap_or_default())
    };
    Ok(reply.rows.into_iter().map(read).collect())
}

fn not_null(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    let mut count = 0;
    for (table, key) in TABLES {
        let columns: Vec<[String; 1]> = rows(
            &mut session,
            &format!("SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnotnull AND attnum > 0 AND attname <> '{key}' ORDER BY attnum"),
        )?;
        let item = victim(&mut session, table, "true")?;
        for [column] in context.share(columns) {
            let set = |value: &str| {
                format!("UPDATE pg_attribute SET attnotnull = {value} WHERE attrelid = '{table}'::regclass AND attname = '{column}';")
            };
            let damage = format!(
                "{} UPDATE {table} SET {column} = NULL WHERE {key} = '{item}'; {}",
                set("false"),
                set("true")
            );
            let found = found_after(&mut session, &damage)?;
            let says = format!("column \"{column}\" is null");
            only(&found, table, &item, &[], &says, &damage)?;
            count += 1;
        }
    }
    // A row without a key is named by its place.
    let damage = "UPDATE pg_attribute SET attnotnull = false WHERE attrelid = 'caliber_turn'::regclass AND attname = 'turn_id';
        UPDATE caliber_turn SET turn_id = NULL WHERE sequence = 3 AND scope_id = md5('s3')::uuid;
        UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'caliber_turn'::regclass AND attname = 'turn_id'";
    let found = found_after(&mut session, damage)?;
    ensure!(
        found.len() == 1
            && found[0]
                .item
                .as_ref()
                .is_some_and(|item| item.starts_with('(')),
        "{}",
        list(&found)
    );
    Ok(Outcome::Passed(format!("{count} columns")))
}

/// What breaks a CHECK: the constraint, rows to change, and the change. CHECKs on one
/// column that are not here get a word or a number that none allows.
const BREAKS: &[(&str, &str, &str)] = &[
    (
        "caliber_trajectory_parent_check",
        "trajectory_id = md5('t4')::uuid",
        "parent_trajectory_id = trajectory_id, root_trajectory_id = trajectory_id",
    ),
    (
        "caliber_agent_scope_check",
        "current_scope_id IS NOT NULL",
        "current_trajectory_id = NULL",
    ),
    (
        "caliber_message_target_check",
        "to_agent_id IS NOT NULL AND received_by IS NULL",
        "to_agent_type = 'coder'",
    ),
    (
        "caliber_message_scope_check",
        "scope_id IS NOT NULL",
        "trajectory_id = NULL",
    ),
    (
        "caliber_delegation_delegatee_check",
        "status = 'pending'",
        "delegatee_agent_id = NULL, delegatee_agent_type = NULL",
    ),
    (
        "caliber_handoff_target_check",
        "status = 'initiated'",
        "to_agent_id = md5('a1')::uuid, to_agent_type = 'coder'",
    ),
];

fn checks(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    let all: Vec<[String; 4]> = rows(
        &mut session,
        "SELECT c.conname, c.conrelid::regclass, pg_get_constraintdef(c.oid),
                (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ',') FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey))
           FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
          WHERE c.contype = 'c' AND t.relname LIKE 'caliber%' ORDER BY c.conname",
    )?;
    for [name, table, definition, column] in &all {
        let known = BREAKS.iter().find(|(constraint, ..)| constraint == name);
        let (condition, change) = match (known, column.split_once(' ')) {
            (Some((_, condition, change)), _) => ((*condition).to_owned(), (*change).to_owned()),
            (None, Some((column, "text"))) => ("true".to_owned(), format!("{column} = 'nonsense'")),
            (None, Some((column, "integer"))) => ("true".to_owned(), format!("{column} = -1")),
            _ => bail!("{name} {definition}: nobody knows how to break it"),
        };
        let item = victim(&mut session, table, &condition)?;
        let damage = format!(
            "ALTER TABLE {table} DROP CONSTRAINT {name}; UPDATE {table} SET {change} WHERE {} = '{item}';
             ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID",
            key_of(table)
        );
        let found = found_after(&mut session, &damage)?;
        let says = format!("check constraint \"{name}\" is not met");
        only(&found, table, &item, &[], &says, &damage)?;
    }
    nothing(&mut session, "afterwards")?;
    Ok(Outcome::Passed(format!("{} constraints", all.len())))
}

fn foreign_keys(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    let all: Vec<[String; 4]> = rows(
        &mut session,
        "SELECT c.conname, c.conrelid::regclass, string_agg(a.attname || ' IS NOT NULL', ' AND '),
                (array_agg(a.attname ORDER BY k.n DESC))[1]
           FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
                CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k (column_number, n)
                JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.column_number
          WHERE c.contype = 'f' AND c.conparentid = 0 AND t.relname LIKE 'caliber%' GROUP BY c.oid, c.conname, c.conrelid ORDER BY c.conname",
    )?;
    ensure!(all.len() > 20, "{} foreign keys", all.len());
    let all = context.share(all);
    for [name, table, not_null, column] in &all {
        let item = victim(&mut session, table, not_null)?;
        let key = key_of(table);
        let broken =
            format!("UPDATE {table} SET {column} = md5('nowhere')::uuid WHERE {key} = '{item}';");
        let says = format!("foreign key \"{name}\"");
        let found = found_after(&mut session, &broken)?;
        only(&found, table, &item, &[], &says, &broken)?;
        // Not valid, and with its triggers disabled: it counts all the same.
        let as_it_was = session
            .value(&format!("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '{name}' AND conrelid = '{table}'::regclass"))?
            .unwrap_or_default();
        let damage = format!(
            "ALTER TABLE {table} DROP CONSTRAINT {name}; {broken}
             ALTER TABLE {table} ADD CONSTRAINT {name} {as_it_was} NOT VALID; ALTER TABLE {table} DISABLE TRIGGER ALL"
        );
        let found = found_after(&mut session, &damage)?;
        only(&found, table, &item, &[], &says, &damage)?;
        // A column of the key that is NULL refers to nothing (MATCH SIMPLE).
        let found = found_after(
            &mut session,
            &format!("ALTER TABLE {table} DROP CONSTRAINT {name}; {broken}"),
        )?;
        let silent = !found.iter().any(|finding| finding.problem.contains(&says));
        ensure!(silent, "{name} is gone: {}", list(&found));
    }
    // A parent that is gone is missed by everyone that refers to it, and by nobody else.
    for (parent, key) in &TABLES[..6] {
        let children: Vec<[String; 3]> = rows(
            &mut session,
            &format!(
                "SELECT c.conname, c.conrelid::regclass, (array_agg(a.attname ORDER BY k.n DESC))[1]
                   FROM pg_constraint c CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k (column_number, n)
                        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.column_number
                  WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = '{parent}'::regclass GROUP BY c.oid ORDER BY c.conname"
            ),
        )?;
        let Some([_, child, column]) = children.first() else {
            ensure!(*parent == "caliber_turn", "nothing refers to {parent}");
            continue;
        };
        let item = session
            .value(&format!(
                "SELECT {column} FROM {child} WHERE {column} IS NOT NULL LIMIT 1"
            ))?
            .unwrap_or_default();
        let damage = format!("DELETE FROM {parent} WHERE {key} = '{item}'");
        let mut wanted = Vec::new();
        for [name, child, column] in &children {
            let same = if child == parent {
                format!("AND {key} <> '{item}'")
            } else {
                String::new()
            };
            let orphans = rows::<1>(
                &mut session,
                &format!(
                    "SELECT {} FROM {child} WHERE {column} = '{item}' {same} ORDER BY 1",
                    key_of(child)
                ),
            )?;
            wanted.extend(
                orphans
                    .into_iter()
                    .map(|[orphan]| (child.clone(), orphan, name.clone())),
            );
        }
        let found = found_after(&mut session, &damage)?;
        for (child, orphan, name) in &wanted {
            let says = format!("foreign key \"{name}\"");
            let told = found.iter().any(|finding| {
                finding.relation == *child
                    && finding.item.as_ref() == Some(orphan)
                    && finding.problem.contains(&says)
            });
            ensure!(
                told,
                "{damage}\nnothing of {child} {orphan} {name}: {}",
                list(&found)
            );
        }
        ensure!(
            found.len() == wanted.len(),
            "{damage}\n{} orphans, {}",
            wanted.len(),
            list(&found)
        );
    }
    Ok(Outcome::Passed(format!("{} keys", all.len())))
}

fn own_constraints(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    session.batch(
        "CREATE SCHEMA \"Mine '\"; CREATE TABLE \"Mine '\".\"Known %s\" (a text COLLATE \"POSIX\", b integer, UNIQUE (a, b));
         INSERT INTO \"Mine '\".\"Known %s\" VALUES ('user', 1), ('tool', 1);
         CREATE TABLE parted (a bigint PRIMARY KEY) PARTITION BY RANGE (a);
         CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (100); CREATE TABLE part_2 PARTITION OF parted DEFAULT;
         INSERT INTO parted SELECT generate_series(0, 199)",
    )?;
    // One that only another collation, type or quoting could read.
    let collated = "ALTER TABLE caliber_turn ADD CONSTRAINT \"It's \"\"mine\"\"\" FOREIGN KEY (role, sequence) REFERENCES \"Mine '\".\"Known %s\" (a, b) NOT VALID;";
    let found = found_after(&mut session, collated)?;
    let bad = session.value(
        "SELECT count(*) FROM caliber_turn WHERE NOT (role IN ('user', 'tool') AND sequence = 1)",
    )?;
    ensure!(
        Some(found.len().to_string()) == bad
            && found
                .iter()
                .all(|finding| finding.problem.contains("It's \"mine\"")
                    && finding.problem.contains("Known %s")),
        "{bad:?}: {}",
        list(&found)
    );
    let parted = "ALTER TABLE caliber_turn ADD CONSTRAINT to_parts FOREIGN KEY (token_count) REFERENCES parted (a)";
    let found = found_after(&mut session, parted)?;
    ensure!(found.is_empty(), "{}", list(&found));
    let item = victim(&mut session, "caliber_turn", "true")?;
    let broken =
        format!("{parted}; UPDATE caliber_turn SET token_count = 1000 WHERE turn_id = '{item}'");
    let found = found_after(&mut session, &broken)?;
    only(&found, "caliber_turn", &item, &[], "to_parts", &broken)?;
    ensure!(found.len() == 1, "{}", list(&found));
    let full = "ALTER TABLE caliber_conflict ADD UNIQUE (agent_a_id, trajectory_id);
        ALTER TABLE caliber_turn ADD COLUMN x integer";
    // Users cannot add columns; a key to a typed table of ours does as well.
    ensure!(
        session.error(full).is_ok(),
        "a typed table takes no columns"
    );
    let full = "CREATE TABLE pairs (a uuid, b uuid, UNIQUE (a, b));
        ALTER TABLE caliber_agent ADD CONSTRAINT whole FOREIGN KEY (current_trajectory_id, current_scope_id) REFERENCES pairs (a, b) MATCH FULL NOT VALID;
        INSERT INTO pairs SELECT current_trajectory_id, current_scope_id FROM caliber_agent";
    let found = found_after(&mut session, full)?;
    let half = session.value("SELECT count(*) FROM caliber_agent WHERE current_trajectory_id IS NOT NULL AND current_scope_id IS NULL")?;
    ensure!(
        Some(found.len().to_string()) == half
            && found
                .iter()
                .all(|finding| finding.problem.contains("\"whole\"")),
        "{half:?}: {}",
        list(&found)
    );
    let check =
        "ALTER TABLE caliber_turn ADD CONSTRAINT short CHECK (length(content) < 7) NOT VALID";
    let found = found_after(&mut session, check)?;
    let long = session.value("SELECT count(*) FROM caliber_turn WHERE length(content) >= 7")?;
    ensure!(
        Some(found.len().to_string()) == long
            && found
                .iter()
                .all(|finding| finding.problem.contains("\"short\"")),
        "{long:?}: {}",
        list(&found)
    );
    if context.major >= 18 {
        let found = found_after(&mut session, "ALTER TABLE caliber_turn ADD CONSTRAINT short CHECK (length(content) < 7) NOT ENFORCED;
            ALTER TABLE caliber_turn ADD CONSTRAINT weak FOREIGN KEY (turn_id) REFERENCES caliber_agent NOT ENFORCED")?;
        ensure!(found.is_empty(), "not enforced: {}", list(&found));
    }
    nothing(&mut session, "afterwards")?;
    Ok(Outcome::Passed(String::new()))
}

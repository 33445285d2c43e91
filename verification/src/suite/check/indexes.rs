//! Damage to indexes: entries that are missing, too many, of other values, in the wrong
//! order; indexes that are missing or not valid.

use super::{check, database, found_after, key_of, list, nothing, only, victim, TABLES};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "check::missing_entry",
            "a row without its entry, in every index",
            missing_entry,
        ),
        Test::new(
            "check::other_values",
            "an entry that a HOT update should not have kept, in every table",
            other_values,
        ),
        Test::new(
            "check::second_entry",
            "an entry that VACUUM left behind points at the row that came after",
            second_entry,
        ),
        Test::new(
            "check::order",
            "entries in another order than the index says, in every B-tree",
            order,
        ),
        Test::new(
            "check::shared_key",
            "two rows with one key, in every unique index",
            shared_key,
        ),
        Test::new(
            "check::missing_index",
            "every index of ours that is missing, or not valid",
            missing_index,
        ),
        Test::new("check::brin", "a page range that was not widened", brin),
    ]
}

/// An index as the catalog has it.
struct Index {
    name: String,
    table: String,
    method: String,
    unique: bool,
    predicate: String,
}

fn indexes(session: &mut Session, condition: &str) -> Result<Vec<Index>> {
    let reply = session
        .query(&format!(
            "SELECT i.indexrelid::regclass, i.indrelid::regclass, a.amname, i.indisunique,
                    coalesce(pg_get_expr(i.indpred, i.indrelid), 'true')
               FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
                    JOIN pg_class t ON t.oid = i.indrelid
              WHERE t.relname LIKE 'caliber%' AND t.relkind = 'r' AND ({condition}) ORDER BY c.relname"
        ))
        .context("indexes")?;
    let index = |row: Vec<Option<String>>| {
        let [name, table, method, unique, predicate] =
            <[Option<String>; 5]>::try_from(row).unwrap_or_default();
        Index {
            name: name.unwrap_or_default(),
            table: table.unwrap_or_default(),
            method: method.unwrap_or_default(),
            unique: unique.as_deref() == Some("t"),
            predicate: predicate.unwrap_or_default(),
        }
    };
    Ok(reply.rows.into_iter().map(index).collect())
}

impl Index {
    /// Rows that have an entry.
    fn condition(&self) -> String {
        match self.method.as_str() {
            "hnsw" => format!(
                "{} AND vector_dims(embedding) = 3 AND vector_norm(embedding) > 0",
                self.predicate
            ),
            _ => self.predicate.clone(),
        }
    }
}

/// Writes no entries for new rows.
fn not_ready(indexes: &[&str]) -> String {
    set(indexes, "indisready = false")
}

fn set(indexes: &[&str], value: &str) -> String {
    let names: Vec<String> = indexes
        .iter()
        .map(|name| format!("'{name}'::regclass"))
        .collect();
    format!(
        "UPDATE pg_index SET {value} WHERE indexrelid IN ({0});
         UPDATE pg_class SET relname = relname WHERE oid IN (SELECT indrelid FROM pg_index WHERE indexrelid IN ({0}));",
        names.join(", ")
    )
}

/// The row again, in another place.
fn moved(table: &str, key: &str, item: &str) -> String {
    format!(
        "CREATE TEMP TABLE moved ON COMMIT DROP AS SELECT * FROM {table} WHERE {key} = '{item}';
         DELETE FROM {table} WHERE {key} = '{item}'; INSERT INTO {table} SELECT * FROM moved;"
    )
}

fn missing_entry(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, true)?;
    let all = indexes(&mut session, "a.amname <> 'brin'")?;
    let own = context.share(all.iter().collect());
    for index in &own {
        let (table, name) = (&index.table, &index.name);
        let item = victim(&mut session, table, &index.condition())?;
        let damage = format!(
            "{} {} {}",
            not_ready(&[name]),
            moved(table, key_of(table), &item),
            set(&[name], "indisready = true")
        );
        let found = found_after(&mut session, &damage)?;
        let says = match index.method.as_str() {
            "hash" => "does not find the row",
            _ => "no entry for the row",
        };
        only(
            &found,
            table,
            &item,
            std::slice::from_ref(name),
            says,
            &damage,
        )?;
    }
    // Elements of arrays are looked at one by one: an update that adds one.
    for (name, table, change) in [
        (
            "source_trajectory_ids_idx",
            "caliber_note",
            "source_trajectory_ids = source_trajectory_ids || gen_random_uuid()",
        ),
        (
            "own_gin_text",
            "caliber_agent",
            "capabilities = array_append(capabilities, 'new')",
        ),
    ] {
        let Some(index) = all.iter().find(|index| index.name.ends_with(name)) else {
            anyhow::bail!("no index {name}");
        };
        let item = victim(&mut session, table, "true")?;
        let damage = format!(
            "{} UPDATE {table} SET {change} WHERE {} = '{item}'; {}",
            set(&[&index.name], "indislive = false"),
            key_of(table),
            set(&[&index.name], "indislive = true")
        );
        let found = found_after(&mut session, &damage)?;
        let says = "does not find the row";
        only(
            &found,
            table,
            &item,
            std::slice::from_ref(&index.name),
            says,
            &damage,
        )?;
    }
    nothing(&mut session, "afterwards")?;
    Ok(Outcome::Passed(format!("{} indexes", all.len())))
}

/// In each table columns that indexes hold: rows to change, and a new value.
const CHANGES: &str = include_str!("changes.txt");

fn other_values(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, true)?;
    let mut stale = std::collections::BTreeSet::new();
    let changes = super::life::lines(CHANGES)?;
    for [table, column, condition, value] in &changes {
        let with_column = indexes(
            &mut session,
            &format!(
                "t.relname = '{table}' AND EXISTS (SELECT FROM pg_attribute x WHERE x.attrelid = t.oid AND x.attname = '{column}'
                   AND (x.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_depend d WHERE d.objid = i.indexrelid AND d.refobjid = t.oid AND d.refobjsubid = x.attnum)))"
            ),
        )?;
        let names: Vec<&str> = with_column
            .iter()
            .map(|index| index.name.as_str())
            .collect();
        ensure!(!names.is_empty(), "{table}.{column} has no index");
        let item = victim(&mut session, table, condition)?;
        let damage = format!(
            "{} UPDATE {table} SET {column} = {value} WHERE {} = '{item}'; {}",
            set(&names, "indislive = false"),
            key_of(table),
            set(&names, "indislive = true")
        );
        let found = found_after(&mut session, &damage)?;
        let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        only(&found, table, &item, &owned, "", &damage)?;
        for index in with_column.iter().filter(|index| index.method != "brin") {
            let told: Vec<&str> = found
                .iter()
                .filter(|finding| finding.index.as_ref() == Some(&index.name))
                .map(|finding| finding.problem.as_str())
                .collect();
            let stays_out = |value: &&str| *value == "NULL" || index.predicate != "true";
            let may_be_silent =
                matches!(index.method.as_str(), "gin" | "gist" | "spgist") || stays_out(value);
            ensure!(
                !told.is_empty() || may_be_silent,
                "{damage}\nnothing of {}: {}",
                index.name,
                list(&found)
            );
            stale.extend(told.iter().map(|told| (*table, (*told).to_owned())));
        }
    }
    for (table, _) in TABLES {
        ensure!(
            stale
                .iter()
                .any(|(of, told)| *of == table && told.contains("other values")),
            "no entry of {table} was stale: {stale:?}"
        );
    }
    for says in ["should leave out", "no entry for the row", "does not find"] {
        ensure!(
            stale.iter().any(|(_, told)| told.contains(says)),
            "nobody said \"{says}\": {stale:?}"
        );
    }
    nothing(&mut session, "afterwards")?;
    Ok(Outcome::Passed(format!("{} changes", changes.len())))
}

fn second_entry(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    let (index, table) = ("caliber_turn_pkey", "caliber_turn");
    let last = "SELECT ctid FROM caliber_turn ORDER BY ctid DESC LIMIT 1";
    let place = session.value(last)?.unwrap_or_default();
    let item = victim(&mut session, table, "true")?;
    session.batch(&not_ready(&[index]))?;
    session.batch(&format!("DELETE FROM {table} WHERE turn_id = '{item}'"))?;
    session.batch(&format!("VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) {table}"))?;
    session.batch(&set(&[index], "indisready = true"))?;
    nothing(
        &mut session,
        "an entry that points at no row is dead, not wrong",
    )?;
    let insert =
        "INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count)
        VALUES (md5('late')::uuid, md5('s3')::uuid, 4000, 'user', 'late', 1) RETURNING ctid";
    let now = session.value(insert)?.unwrap_or_default();
    ensure!(now == place, "the new row is at {now}, not at {place}");
    let found = check(&mut session)?;
    let late = session
        .value("SELECT md5('late')::uuid")?
        .unwrap_or_default();
    only(
        &found,
        table,
        &late,
        &[index.to_owned()],
        "more than one entry",
        "an entry left behind",
    )?;
    Ok(Outcome::Passed(String::new()))
}

fn order(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, true)?;
    let all = context.share(indexes(&mut session, "a.amname = 'btree'")?);
    for index in &all {
        // Ascending is said to be descending, and the other way round.
        let turned = "indoption = (SELECT array_to_string(array_agg(o # 1), ' ')::int2vector FROM unnest(indoption::int2[]) o)";
        let damage = set(&[&index.name], turned);
        let found = found_after(&mut session, &damage)?;
        // It is none of those that we make any more.
        let of_it = found.iter().all(|finding| {
            finding.relation == index.table
                && (finding.index.as_ref() == Some(&index.name)
                    || finding.problem.starts_with("missing"))
        });
        ensure!(of_it, "{damage}\n{}", list(&found));
        ensure!(
            found
                .iter()
                .any(|finding| finding.problem.contains("out of order")),
            "{damage}\nnot out of order: {}",
            list(&found)
        );
    }
    Ok(Outcome::Passed(format!("{} indexes", all.len())))
}

fn shared_key(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, true)?;
    let all = indexes(&mut session, "i.indisunique")?;
    for index in &all {
        let (table, key) = (&index.table, key_of(&index.table));
        let of_table: Vec<&str> = all
            .iter()
            .filter(|other| other.table == *table)
            .map(|other| other.name.as_str())
            .collect();
        let columns = session
            .value(&format!(
                "SELECT string_agg(x.attname, ' ') FROM pg_index i, pg_attribute x
                  WHERE i.indexrelid = '{}'::regclass AND x.attrelid = i.indrelid AND x.attnum = ANY (i.indkey)",
                index.name
            ))?
            .unwrap_or_default();
        let with_key = columns.split(' ').any(|column| column == key);
        let condition = match index.name.as_str() {
            // NULLs are the same here, and nowhere else.
            "own_nulls" => "agent_a_id IS NULL".to_owned(),
            "own_nulls_differ" => "agent_id IS NOT NULL".to_owned(),
            _ => index.condition(),
        };
        let item = victim(&mut session, table, &condition)?;
        let other = if with_key {
            item.clone()
        } else {
            session
                .value("SELECT gen_random_uuid()")?
                .unwrap_or_default()
        };
        let damage = format!(
            "{} CREATE TEMP TABLE twice ON COMMIT DROP AS SELECT * FROM {table} WHERE {key} = '{item}';
             UPDATE twice SET {key} = '{other}'; INSERT INTO {table} SELECT * FROM twice; {}",
            not_ready(&of_table),
            set(&of_table, "indisready = true")
        );
        let found = found_after(&mut session, &damage)?;
        let told: Vec<&str> = found
            .iter()
            .filter(|finding| {
                finding.index.as_ref() == Some(&index.name)
                    && finding.problem.contains("same unique key")
            })
            .filter_map(|finding| finding.item.as_deref())
            .collect();
        let mut both = [item.as_str(), other.as_str()];
        both.sort_unstable();
        ensure!(
            told == both,
            "{damage}\n{told:?}, not {both:?}: {}",
            list(&found)
        );
        let of_them = found.iter().all(|finding| {
            finding.relation == *table
                && finding
                    .item
                    .as_deref()
                    .is_some_and(|item| both.contains(&item))
                && finding
                    .index
                    .as_deref()
                    .is_some_and(|index| of_table.contains(&index))
        });
        ensure!(of_them, "{damage}\n{}", list(&found));
        ensure!(index.unique, "{} is unique", index.name);
    }
    // A NULL is like no other, unless the index says so.
    let found = found_after(
        &mut session,
        "INSERT INTO caliber_trajectory (name) VALUES ('a'), ('a'), ('a')",
    )?;
    ensure!(found.is_empty(), "{}", list(&found));
    Ok(Outcome::Passed(format!("{} indexes", all.len())))
}

fn missing_index(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    let all = context.share(indexes(&mut session, "a.amname <> 'hnsw'")?);
    let mut missing = 0;
    for index in &all {
        let (table, name) = (&index.table, &index.name);
        let found = found_after(&mut session, &set(&[name], "indisvalid = false"))?;
        ensure!(
            found.len() == 1
                && found[0].relation == *table
                && found[0].index.as_ref() == Some(name)
                && found[0].item.as_deref() == Some("index")
                && found[0].problem
                    == "not valid: it is being built, or was and failed (then REINDEX or drop it)",
            "{name} is not valid: {}",
            list(&found)
        );
        let of_constraint = session.value(&format!("SELECT 1 FROM pg_constraint WHERE conindid = '{name}'::regclass AND contype IN ('p', 'u')"))?;
        if of_constraint.is_some() {
            continue;
        }
        missing += 1;
        let found = found_after(&mut session, &format!("DROP INDEX {name}"))?;
        let title = |item: &str| {
            item.contains(&format!(" on {table} ")) || item.contains(&format!(" on {table} USING"))
        };
        ensure!(
            found.len() == 1
                && found[0].relation == *table
                && found[0].index.is_none()
                && found[0].item.as_deref().is_some_and(title)
                && found[0].problem.starts_with("missing"),
            "{name} is missing: {}",
            list(&found)
        );
        // Another name is none of our business.
        let found = found_after(
            &mut session,
            &format!("ALTER INDEX {name} RENAME TO of_my_own"),
        )?;
        ensure!(found.is_empty(), "{}", list(&found));
    }
    Ok(Outcome::Passed(format!(
        "{} indexes, {missing} of them missing",
        all.len()
    )))
}

fn brin(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, true)?;
    let table = "caliber_turn";
    let item = victim(&mut session, table, "true")?;
    for change in ["token_count = 100000", "content = 'zzz'"] {
        let damage = format!(
            "{} UPDATE {table} SET {change} WHERE turn_id = '{item}'; {}",
            set(&["own_brin", "own_hash"], "indislive = false"),
            set(&["own_brin", "own_hash"], "indislive = true")
        );
        let found = found_after(&mut session, &damage)?;
        let both = ["own_brin".to_owned(), "own_hash".to_owned()];
        only(
            &found,
            table,
            &item,
            &both,
            "does not find the row",
            &damage,
        )?;
        ensure!(
            found
                .iter()
                .any(|finding| finding.index.as_deref() == Some("own_brin")),
            "{damage}\n{}",
            list(&found)
        );
    }
    Ok(Outcome::Passed(String::new()))
}

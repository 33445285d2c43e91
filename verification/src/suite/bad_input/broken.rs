//! Each of the eleven tables broken in turn, below every function that touches
//! it: refused in the documented words, whole again by what the HINT says. And
//! all other tables broken at once, which is no business of the function.

use super::super::sampled::{walk_all, Case};
use super::stage::Stage;
use crate::entity::{Kind, Table};
use crate::judge::Engine;
use crate::runner::{Context, Outcome};
use crate::session::shorten;
use crate::value::Type;
use anyhow::Result;
use std::collections::BTreeSet;

/// A way to break a table.
struct Broken {
    /// What is done to it.
    sql: fn(&Table) -> String,
    sqlstate: &'static str,
    /// What the ERROR says besides the table's name: in all of its fields.
    says: fn(&Table) -> Vec<String>,
    /// What undoes it, from the HINT.
    repair: fn(&Table, &str) -> String,
    /// What the client's statement says.
    client: Option<&'static str>,
}

const NOT_OF: Broken = Broken {
    sql: |table| format!("ALTER TABLE {} NOT OF", table.name),
    sqlstate: "42804",
    says: |table| {
        vec![format!(
            "HINT: ALTER TABLE public.{0} OF public.{0}_row",
            table.name
        )]
    },
    repair: |_, hint| hint.to_owned(),
    client: None,
};

/// Gone for whoever asks by its name.
const GONE: Broken = Broken {
    sql: |table| format!("ALTER TABLE {0} RENAME TO {0}_gone", table.name),
    sqlstate: "42P01",
    says: |table| {
        vec![
            format!("relation \"public.{}\" does not exist", table.name),
            "HINT: Run caliber_init() to create the tables.".to_owned(),
        ]
    },
    repair: |table, _| format!("ALTER TABLE {0}_gone RENAME TO {0}", table.name),
    client: Some("42P01"),
};

/// Really gone. What was there is put back: rows are not what this is about.
const DROPPED: Broken = Broken {
    sql: |table| {
        format!(
            "CREATE TEMP TABLE kept AS TABLE {0}; DROP TABLE {0} CASCADE",
            table.name
        )
    },
    repair: |table, hint| {
        let call = hint
            .strip_prefix("Run ")
            .and_then(|rest| rest.split_once(' '))
            .map_or("", |(call, _)| call);
        format!("SELECT {call}; INSERT INTO {} TABLE kept", table.name)
    },
    ..GONE
};

const RENAMED: Broken = Broken {
    sql: |table| rename(table, last(table), "verify_other"),
    sqlstate: "42804",
    says: |table| {
        vec![
            "DETAIL".to_owned(),
            "verify_other".to_owned(),
            last(table).to_owned(),
        ]
    },
    repair: |table, _| rename(table, "verify_other", last(table)),
    client: None,
};

/// Of the same type, but with a modifier: SQL converts what it writes there.
const MODIFIED: Broken = Broken {
    sql: |table| alter(table, timestamp(table), "timestamptz(0)"),
    sqlstate: "42804",
    says: |table| {
        vec![
            "DETAIL".to_owned(),
            format!("{} timestamp(0) with time zone", timestamp(table)),
        ]
    },
    repair: |table, _| alter(table, timestamp(table), "timestamptz"),
    client: None,
};

/// A type named as pgvector's is another type: a domain over whatever. Its index goes
/// first, which nothing else can have.
const OTHER_VECTOR: Broken = Broken {
    sql: |table| {
        format!(
            "CREATE SCHEMA verify_twin; CREATE DOMAIN verify_twin.vector AS public.vector;
             DO $$ DECLARE i regclass; BEGIN FOR i IN SELECT x.indexrelid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
                 JOIN pg_am a ON a.oid = c.relam WHERE x.indrelid = '{}'::regclass AND a.amname = 'hnsw'
                 LOOP EXECUTE format('DROP INDEX %s', i); END LOOP; END $$; {}",
            table.name,
            alter(table, "embedding", "verify_twin.vector")
        )
    },
    says: |_| {
        vec![
            "DETAIL".to_owned(),
            "embedding verify_twin.vector".to_owned(),
        ]
    },
    repair: |table, _| alter(table, "embedding", "public.vector"),
    ..MODIFIED
};

/// A column of moments.
fn timestamp(table: &Table) -> &'static str {
    let mut columns = table.columns.iter();
    let found = columns.find(|column| column.ty == Type::Time);
    found.map_or("", |column| column.name)
}

fn alter(table: &Table, attribute: &str, ty: &str) -> String {
    format!(
        "ALTER TYPE {}_row ALTER ATTRIBUTE {attribute} TYPE {ty} CASCADE",
        table.name
    )
}

fn last(table: &Table) -> &'static str {
    table.columns.last().map_or("", |column| column.name)
}

fn rename(table: &Table, from: &str, to: &str) -> String {
    format!(
        "ALTER TYPE {}_row RENAME ATTRIBUTE {from} TO {to} CASCADE",
        table.name
    )
}

pub(super) fn not_of(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    walk_all(context, &mut stage, |stage, case| {
        each(stage, case, &NOT_OF)?;
        for table in &case.tables {
            // Something else of that name: a table of another type with the same columns,
            // a view, a partitioned table.
            for other in [
                format!(
                    "DO $$ BEGIN EXECUTE (SELECT format('CREATE TYPE verify_twin AS (%s)', string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum))
                         FROM pg_attribute WHERE attrelid = '{0}_row'::regclass AND NOT attisdropped); END $$;
                     CREATE TABLE {0} OF verify_twin (PRIMARY KEY ({1}))",
                    table.name, table.key
                ),
                format!("CREATE VIEW {0} AS TABLE {0}_gone", table.name),
                format!(
                    "CREATE TABLE {0} OF {0}_row PARTITION BY LIST ({1})",
                    table.name, table.key
                ),
            ] {
                stage.before = format!("BEGIN; {}; {other}", (GONE.sql)(table));
                stage.refused(&case.sql(), None, "42804", &[table.name])?;
            }
        }
        Ok(())
    })?;
    stage.verdict()
}

pub(super) fn dropped(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    // `caliber_init()` takes its time: once for each table.
    let mut seen = BTreeSet::new();
    walk_all(context, &mut stage, |stage, case| {
        each(stage, case, &GONE)?;
        for table in &case.tables {
            if case.function.kind == Kind::Get && seen.insert(table.name) {
                refused(stage, case, &DROPPED, table)?;
            }
        }
        Ok(())
    })?;
    stage.verdict()
}

pub(super) fn renamed(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    walk_all(context, &mut stage, |stage, case| {
        each(stage, case, &RENAMED)
    })?;
    stage.verdict()
}

/// Each table once, below what reads it and what writes it.
pub(super) fn modified(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    let mut seen = BTreeSet::new();
    walk_all(context, &mut stage, |stage, case| {
        let is_create = case.function.kind == Kind::Create;
        for table in &case.tables {
            let is_one = is_create || case.function.kind == Kind::Get;
            if is_one && seen.insert((table.name, is_create)) {
                refused(stage, case, &MODIFIED, table)?;
                if table.columns.iter().any(|column| column.ty == Type::Vector) {
                    refused(stage, case, &OTHER_VECTOR, table)?;
                }
            }
        }
        Ok(())
    })?;
    stage.verdict()
}

/// Each table that the call touches broken, then all that it does not touch.
fn each(stage: &mut Stage, case: &Case, broken: &Broken) -> Result<()> {
    for table in &case.tables {
        refused(stage, case, broken, table)?;
    }
    let others: Vec<String> = case.others().map(|table| (broken.sql)(table)).collect();
    works(
        stage,
        case,
        &others.join("; "),
        "with all other tables broken",
    )
}

/// Every engine refuses the call, and works when what the HINT says is done.
fn refused(stage: &mut Stage, case: &Case, broken: &Broken, table: &Table) -> Result<()> {
    let broke = (broken.sql)(table);
    let call = case.sql();
    stage.before = format!("BEGIN; {broke}");
    let client = broken.client.map(|_| case.statements());
    let Some(error) = stage.refused(&call, None, broken.sqlstate, &[table.name])? else {
        return Ok(());
    };
    let text = error.to_string();
    for word in (broken.says)(table) {
        if !text.contains(&word) {
            let call = shorten(&call, 300);
            stage.problem(&format!("* {call}\n  {text}\n  does not say {word:?}"));
        }
    }
    if let (Some(sqlstate), Some(client)) = (broken.client, client) {
        let at = stage.sessions.len() - 1;
        match stage.send(at, &client)? {
            Err(error) if error.sqlstate == sqlstate => {}
            other => stage.problem(&format!("* the client: {client}\n  {other:?}")),
        }
    }
    let repair = (broken.repair)(table, error.hint.as_deref().unwrap_or_default());
    works(stage, case, &format!("{broke}; {repair}"), "after the HINT")
}

/// Every engine carries the call out, after these statements, in a transaction
/// that is rolled back.
fn works(stage: &mut Stage, case: &Case, first: &str, how: &str) -> Result<()> {
    stage.before = format!("BEGIN; {first}");
    let call = case.sql();
    for at in 0..stage.sessions.len() {
        let engine = stage.sessions[at].0;
        if engine == Engine::Client {
            continue;
        }
        if let Err(error) = stage.send(at, &call)? {
            stage.problem(&format!(
                "* {} {how}\n  {}: {error}\n  after {first}",
                shorten(&call, 300),
                engine.name()
            ));
        }
    }
    Ok(())
}

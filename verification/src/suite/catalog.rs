//! The catalog: functions and tables as they were published. Changed only on
//! purpose, by accepting a new snapshot.

use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "catalog::functions",
            "names, arguments, results and properties of all functions",
            functions,
        ),
        Test::new(
            "catalog::tables",
            "columns, constraints, indexes and options of all tables",
            tables,
        ),
        Test::new(
            "catalog::members",
            "the extension owns its types and functions, and nothing else",
            members,
        ),
    ]
}

const FUNCTIONS: &str = "
SELECT format(E'%s(%s)\\n    -> %s, %s, parallel %s%s%s%s', p.proname,
        replace(pg_get_function_arguments(p.oid), ' DEFAULT ', ' = '), pg_get_function_result(p.oid),
        CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
        CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END,
        CASE WHEN p.proisstrict THEN ', strict' ELSE '' END,
        CASE WHEN p.prosecdef THEN ', security definer' ELSE '' END,
        CASE WHEN p.proconfig IS NOT NULL THEN ', ' || p.proconfig::text ELSE '' END)
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'caliber_pg'
ORDER BY p.proname COLLATE \"C\", p.oid";

/// Each major has its own: from 18 on NOT NULL is a constraint with a name.
const TABLES: &str = "
WITH ours AS (
    SELECT c.oid, c.relname, c.reltype, c.reloftype, c.reloptions, c.relpersistence, c.relhasrules, c.relrowsecurity, c.relreplident, c.relam
    FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname LIKE 'caliber\\_%')
SELECT line FROM (
    SELECT relname, 0 AS part, 0 AS place, format('%s OF %s USING %s %s', relname, reloftype::regtype,
        (SELECT amname FROM pg_am WHERE oid = relam), coalesce('WITH ' || reloptions::text, '')) AS line FROM ours
    UNION ALL
    SELECT relname, 1, attnum, format('    %s %s%s%s%s', attname, format_type(atttypid, atttypmod),
        CASE WHEN attcollation NOT IN (0, 'pg_catalog.default'::regcollation) THEN ' COLLATE ' || attcollation::regcollation ELSE '' END,
        CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END,
        coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), ''))
    FROM ours JOIN pg_attribute a ON attrelid = ours.oid AND attnum > 0 LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    UNION ALL
    SELECT relname, 2, row_number() OVER (ORDER BY contype, conname COLLATE \"C\"), format('    %s %s%s', conname, pg_get_constraintdef(c.oid),
        CASE WHEN condeferrable THEN ' (deferrable)' ELSE '' END || CASE WHEN NOT convalidated THEN ' (not valid)' ELSE '' END)
    FROM ours JOIN pg_constraint c ON conrelid = ours.oid
    UNION ALL
    -- Names are PostgreSQL's choice, but for the two of the locks.
    SELECT relname, 3, row_number() OVER (ORDER BY indisunique DESC, pg_get_indexdef(indexrelid) COLLATE \"C\"), '    ' ||
        CASE WHEN indisunique THEN pg_get_indexdef(indexrelid) ELSE regexp_replace(pg_get_indexdef(indexrelid), 'INDEX \\S+ ON', 'INDEX ON') END
        || coalesce(' ' || (SELECT reloptions::text FROM pg_class WHERE oid = indexrelid), '')
    FROM ours JOIN pg_index ON indrelid = ours.oid
    UNION ALL
    SELECT relname, 4, 0, '    trigger ' || tgname FROM ours JOIN pg_trigger ON tgrelid = ours.oid WHERE NOT tgisinternal) lines
ORDER BY relname COLLATE \"C\", part, place";

fn lines(session: &mut Session, sql: &str) -> Result<String> {
    let column = session.query(sql)?.column();
    let lines: Vec<String> = column
        .into_iter()
        .flatten()
        .map(|line| line.trim_end().to_owned())
        .collect();
    ensure!(lines.len() > 10, "only {lines:?}");
    Ok(lines.join("\n"))
}

/// The same snapshot on every major.
fn functions(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let text = lines(&mut database.connect()?, FUNCTIONS)?;
    for line in text.lines().filter(|line| line.starts_with("    -> ")) {
        ensure!(!line.contains("security definer"), "{line}");
    }
    ensure!(!text.contains(", strict"), "no function is STRICT:\n{text}");
    insta::assert_snapshot!("functions", text);
    Ok(Outcome::Passed(format!(
        "{} functions",
        text.lines().count() / 2
    )))
}

fn tables(context: &Context) -> Result<Outcome> {
    let database = context.server.empty_database()?;
    let mut session = database.connect()?;
    session.batch("CREATE EXTENSION caliber_pg CASCADE; SELECT caliber_init()")?;
    let text = lines(&mut session, TABLES)?;
    insta::assert_snapshot!(format!("tables_{}", context.major), text);
    Ok(Outcome::Passed(format!("{} lines", text.lines().count())))
}

/// Types of rows, and functions; no tables. Everything in one schema, which
/// cannot be changed.
fn members(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    let kinds = session.value(
        "SELECT string_agg(DISTINCT CASE WHEN d.classid = 'pg_type'::regclass THEN 'type'
                WHEN d.classid = 'pg_proc'::regclass THEN 'function' ELSE d.classid::regclass::text END, ',')
         FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass
         WHERE e.extname = 'caliber_pg' AND d.deptype = 'e'",
    )?;
    ensure!(
        kinds.as_deref() == Some("function,type"),
        "members: {kinds:?}"
    );
    let control = session.value(
        "SELECT format('%s %s %s %s', e.extrelocatable, v.superuser, v.trusted, v.requires)
         FROM pg_extension e JOIN pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion
         WHERE e.extname = 'caliber_pg'",
    )?;
    ensure!(
        control.as_deref() == Some("f t f {vector}"),
        "control file: {control:?}"
    );
    let types = session.value(
        "SELECT count(*) FROM pg_type t WHERE t.typtype = 'c' AND t.typname ~ '^caliber_[a-z]+_row$'",
    )?;
    ensure!(types.as_deref() == Some("11"), "{types:?} row types");
    // Every name begins with the extension's.
    let strange = session.value(
        "SELECT string_agg(p.proname, ',') FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
         JOIN pg_extension e ON d.refobjid = e.oid WHERE e.extname = 'caliber_pg' AND p.proname NOT LIKE 'caliber\\_%'",
    )?;
    ensure!(strange.is_none(), "strange names: {strange:?}");
    Ok(Outcome::Passed(String::new()))
}

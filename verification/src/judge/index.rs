//! Index truth: every index is read in full, in its order, and must give
//! exactly the rows that a sequential scan of the table gives.

use super::bench::Judge;
use crate::entity::{Entity, Index, Method, Table};
use crate::session::{Failure, Reply};

// Four settings each before the index, five before the table, so that answers
// have the same places for every method.
const ONLY_INDEX: &str =
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; \
     SET enable_incremental_sort = off";
const ONLY_BITMAP: &str =
    "SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off; \
     SET enable_bitmapscan = on";
const ONLY_ORDERING: &str =
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET hnsw.ef_search = 1000; \
     SET hnsw.iterative_scan = strict_order";
const ONLY_SEQUENCE: &str = "SET enable_indexscan = off; SET enable_indexonlyscan = off; \
     SET enable_bitmapscan = off; SET enable_seqscan = on; SET enable_sort = on";
const PLAIN: &str = "SET enable_seqscan = on; SET enable_bitmapscan = on; SET enable_sort = on; \
     SET enable_incremental_sort = on; SET enable_indexscan = on; SET enable_indexonlyscan = on; \
     SET hnsw.ef_search = 40; SET hnsw.iterative_scan = off";

/// Why an index is not its table's.
pub(super) enum Problem {
    /// The index and the table disagree, or the index is not there.
    Wrong(String),
    /// The server did not answer.
    Failed(Failure),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The query that reads all that an index holds: a B-tree in its order, GIN and
/// HNSW by everything that can be looked for.
fn read_sql(table: &Table, index: &Index) -> String {
    let (name, key) = (table.name, table.key);
    let columns = index.columns.join(", ");
    match index.method {
        Method::BTree => {
            let predicate = index
                .predicate
                .map(|predicate| format!(" WHERE {predicate}"))
                .unwrap_or_default();
            format!("SELECT {key}, {columns} FROM {name}{predicate} ORDER BY {columns}")
        }
        // What no row has is looked for too.
        Method::Gin => format!(
            "SELECT e, ARRAY(SELECT {key} FROM {name} WHERE {columns} @> ARRAY[e] ORDER BY {key}) \
             FROM (SELECT DISTINCT unnest({columns}) FROM {name} \
             UNION SELECT '00000000-0000-4000-8000-000000000000') u (e) ORDER BY e"
        ),
        // Each vector looks for all rows, and must see itself no farther than any other.
        Method::Hnsw(n) => format!(
            "SELECT a.{key}, s.keys, s.nearest FROM {name} a, LATERAL (\
             SELECT array_agg(f.{key} ORDER BY f.{key}) AS keys, min(f.distance) FILTER (WHERE f.{key} = a.{key}) <= min(f.distance) + 1e-6 AS nearest \
             FROM (SELECT b.{key}, b.{columns}::vector({n}) <=> a.{columns}::vector({n}) AS distance FROM {name} b \
             WHERE vector_dims(b.{columns}) = {n} ORDER BY b.{columns}::vector({n}) <=> a.{columns}::vector({n}) LIMIT 1000) f \
             WHERE f.distance <> 'NaN') s \
             WHERE vector_dims(a.{columns}) = {n} AND vector_norm(a.{columns}) > 0 ORDER BY a.{key}"
        ),
    }
}

/// The settings under which the planner has nothing but the index.
fn only_index(method: Method) -> &'static str {
    match method {
        Method::BTree => ONLY_INDEX,
        Method::Gin => ONLY_BITMAP,
        Method::Hnsw(_) => ONLY_ORDERING,
    }
}

/// The check of every index as a script: by the index, then by the table. (The
/// harness also makes sure that the planner reads the index that is meant.)
pub(super) fn script(entities: &[&dyn Entity]) -> Vec<String> {
    let mut lines = Vec::new();
    for entity in entities {
        for index in entity.table().indexes {
            let read = read_sql(entity.table(), index);
            let only = only_index(index.method);
            lines.push(format!(
                "{only};\n{read};\n{ONLY_SEQUENCE};\n{read};\n{PLAIN}"
            ));
        }
    }
    lines
}

/// Compares one index with its table.
pub(super) fn check(
    judge: &mut Judge,
    table: &Table,
    index: &Index,
    in_transaction: bool,
) -> Result<(), Problem> {
    let read = read_sql(table, index);
    let only = only_index(index.method);
    let message =
        format!("{only}; EXPLAIN (COSTS OFF) {read}; {read}; {ONLY_SEQUENCE}; {read}; {PLAIN}");
    let mut replies = judge.run(&message)?;
    let mut answers = answers(&mut replies);
    let mut by_index = answers.remove(1);
    let by_sequence = answers.remove(1);
    // Looking an index up costs more than reading it: a plan that uses the one
    // that was found last time shows that it is still there.
    let place: *const Index = index;
    let known = judge.index_names.get(&place.addr());
    let known = known.filter(|name| uses(&answers[0], name)).cloned();
    let name = match known {
        Some(name) => name,
        None => {
            let name = find(judge, table, index)?;
            judge.index_names.insert(place.addr(), name.clone());
            name
        }
    };
    if !uses(&answers[0], &name) {
        by_index = read_by_force(judge, table, &name, &read, only, in_transaction)?;
    }
    compare(&by_index, &by_sequence)
        .map_err(|why| Problem::Wrong(format!("index {name} of {}: {why}", table.name)))
}

/// The replies that carry rows: the plan, the index's rows, the table's rows.
fn answers(replies: &mut [Reply]) -> Vec<Reply> {
    // SET answers no rows and has no place here: 4 before, 5 between, 6 after.
    let plan = std::mem::take(&mut replies[4]);
    let by_index = std::mem::take(&mut replies[5]);
    let by_sequence = std::mem::take(&mut replies[11]);
    vec![plan, by_index, by_sequence]
}

fn uses(plan: &Reply, name: &str) -> bool {
    plan.rows.iter().flatten().flatten().any(|line| {
        line.contains(&format!("using {name} on "))
            || line.contains(&format!("Bitmap Index Scan on {name}"))
    })
}

/// The name that the server gave the described index.
fn find(judge: &mut Judge, table: &Table, index: &Index) -> Result<String, Problem> {
    let columns: Vec<String> = index
        .columns
        .iter()
        .map(|column| format!("'{column}'"))
        .collect();
    let (method, columns) = match index.method {
        Method::BTree => ("btree", columns.join(", ")),
        Method::Gin => ("gin", columns.join(", ")),
        // Its key is an expression.
        Method::Hnsw(_) => ("hnsw", String::new()),
    };
    let sql = format!(
        "SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_am m ON m.oid = c.relam AND m.amname = '{method}' WHERE i.indrelid = '{}'::regclass \
         AND i.indisunique = {} AND i.indisvalid AND (i.indpred IS NOT NULL) = {} \
         AND ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (n, o) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY k.o)::text[] = ARRAY[{columns}]::text[] \
         ORDER BY i.indexrelid LIMIT 1",
        table.name,
        index.unique,
        index.predicate.is_some() || matches!(index.method, Method::Hnsw(_)),
    );
    let found = judge
        .run(&sql)?
        .pop()
        .unwrap_or_default()
        .column()
        .into_iter()
        .next()
        .flatten();
    found.ok_or_else(|| {
        Problem::Wrong(format!(
            "{} has no index on ({})",
            table.name,
            index.columns.join(", ")
        ))
    })
}

/// Another index would serve the planner as well: hide the others for a moment.
fn read_by_force(
    judge: &mut Judge,
    table: &Table,
    name: &str,
    read: &str,
    only: &str,
    in_transaction: bool,
) -> Result<Reply, Problem> {
    let (start, end) = if in_transaction {
        ("SAVEPOINT hidden", "ROLLBACK TO hidden; RELEASE hidden")
    } else {
        ("BEGIN", "ROLLBACK")
    };
    let message = format!(
        "{start}; {only}; UPDATE pg_index SET indisvalid = false WHERE indrelid = '{}'::regclass \
         AND indexrelid <> '{name}'::regclass; EXPLAIN (COSTS OFF) {read}; {read}; {end}; {PLAIN}",
        table.name
    );
    let mut replies = judge.run(&message)?;
    let by_index = std::mem::take(&mut replies[7]);
    if uses(&replies[6], name) {
        Ok(by_index)
    } else {
        Err(Problem::Wrong(format!(
            "the planner cannot be made to read index {name}: {:?}",
            replies[6].rows
        )))
    }
}

fn compare(by_index: &Reply, by_sequence: &Reply) -> Result<(), String> {
    let keys = |reply: &Reply| -> Vec<Vec<Option<String>>> {
        reply.rows.iter().map(|row| row[1..].to_vec()).collect()
    };
    let show = |reply: &Reply| {
        let rows: Vec<String> = reply
            .rows
            .iter()
            .take(40)
            .map(|row| format!("{row:?}"))
            .collect();
        rows.join("\n  ")
    };
    let mut left = by_index.rows.clone();
    let mut right = by_sequence.rows.clone();
    left.sort();
    right.sort();
    if left != right {
        return Err(format!(
            "the index has other rows than the table.\nindex:\n  {}\ntable:\n  {}",
            show(by_index),
            show(by_sequence)
        ));
    }
    if keys(by_index) != keys(by_sequence) {
        return Err(format!(
            "the index is out of order.\nindex:\n  {}\nsorted:\n  {}",
            show(by_index),
            show(by_sequence)
        ));
    }
    Ok(())
}

/// The extension's own check of everything. Cases write a ttl that cannot be read on
/// purpose: that it is found has tests of its own.
pub(super) fn caliber_check(judge: &mut Judge) -> Result<(), Problem> {
    let sql = "SELECT * FROM caliber_check() WHERE problem NOT LIKE 'ttl cannot be read%'";
    let mut replies = judge.run(sql)?;
    let rows = replies.pop().unwrap_or_default().rows;
    if rows.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = rows.iter().take(20).map(|row| format!("{row:?}")).collect();
    Err(Problem::Wrong(format!(
        "caliber_check() finds {}:\n  {}",
        rows.len(),
        shown.join("\n  ")
    )))
}

/// amcheck over every B-tree of a table, and over its heap.
pub(super) fn amcheck(judge: &mut Judge, table: &Table) -> Result<(), Problem> {
    let sql = format!(
        "SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = '{0}'::regclass AND a.amname = 'btree'; \
         SELECT blkno, offnum, attnum, msg FROM verify_heapam('{0}')",
        table.name
    );
    match judge.run(&sql) {
        Ok(replies) => match replies.last() {
            Some(reply) if !reply.rows.is_empty() => Err(Problem::Wrong(format!(
                "verify_heapam({}): {:?}",
                table.name, reply.rows
            ))),
            _ => Ok(()),
        },
        Err(Failure::Error(error)) => Err(Problem::Wrong(format!(
            "amcheck of {}: {error}",
            table.name
        ))),
        Err(lost) => Err(lost.into()),
    }
}

//! `caliber_check`: looks at everything that is stored, and says what is wrong with it.

mod foreign_keys;
mod rules;
mod trees;

use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

use self::foreign_keys::ForeignKey;
use super::definition::{self, Names, Table};
use super::{init, inspect, TABLES};
use crate::error::{AgentError, CaliberError, CaliberResult, RelationProblem, StorageError};
use crate::pg::call::Call;
use crate::pg::catalog;
use crate::pg::function::Returned;
use crate::pg::guc;
use crate::pg::relation::{lock_by_name, qualified, READ_LOCK};
use crate::pg::verify::{self, Findings, Place, Subject};

/// Looks for damage in all eleven tables: a row for each thing that is wrong, none
/// if all is well. `relation` and `index` say where (`index` only for what is wrong with
/// an index), `item` names the row by its key, `problem` says what is wrong.
///
/// What is looked at, for every row that the statement sees:
///
/// * **Every index** of the tables, users' own too. One that is not valid (a
///   leftover of `CREATE INDEX CONCURRENTLY`, or one at work) and one that this
///   version makes and that is missing are findings themselves.
///   * btree: exactly one entry for the row, with the row's very values, found by a
///     search for them; no entry for a row that the predicate leaves out; entries in
///     order; a unique key's rows differ, whatever the index holds.
///   * hash: a search for the row's value finds the row.
///   * gin: there is an entry for the row; with `array_ops`, a search for each element
///     finds the row.
///   * gist, spgist: there is an entry for the row.
///   * brin: a search for the row's value returns its page, for 10,000 different values
///     (those of an operator class that has `=`).
///   * hnsw: exactly one entry, with the row's vector.
///
///   Not covered: an index that is newer than the transaction's snapshot can use;
///   entries that are too many in hash, gin and brin; the keys of gist and spgist, and of
///   gin under other operator classes than `array_ops` (and rows on pages of which a
///   bitmap has lost the details, beyond work_mem); whether an hnsw search finds a row,
///   which is approximate; exclusion constraints; other access methods; inner pages
///   that no search touches (`amcheck` looks at these). Inheritance children of a table are
///   not looked at.
/// * **Constraints**, as the catalog has them now, users' own too: NOT NULL, CHECK, unique
///   and foreign keys, also those that are NOT VALID, but not those NOT ENFORCED. That a
///   constraint is missing is said by `caliber_init()` (`differs: …`).
/// * **Life cycles**: what the functions never leave behind, whoever wrote the row:
///   a final state without its time, a wrong root or a cycle of parents, a content whose
///   hash is another's, a lock of a transaction that has ended, and so on.
///
/// All this is read under the statement's snapshot and blocks nobody; memory is bounded
/// by work_mem and maintenance_work_mem, the rest goes to temporary files. It reads whole
/// tables and indexes, and searches each index for each of its keys. Functions in CHECKs
/// and indexes run with the rights of the table's owner and a fixed search_path, as in
/// REINDEX.
///
/// PARALLEL UNSAFE, since these functions may be, and because the catalogs are read
/// under a snapshot of their own, which a parallel operation forbids.
///
/// Errors: 42P01, 42804 as every function; 42501 without SELECT on each of the tables,
/// and on those that a foreign key of a user's refers to; 55000 if row-level security
/// is in force on one of them, which would hide rows; 0A000 on a standby, if a table is
/// not logged. Damage that keeps a page or a value
/// from being read at all is PostgreSQL's own ERROR.
///
/// ```sql
/// SELECT * FROM caliber_check();
/// ```
#[pg_extern(stable, parallel_unsafe)]
fn caliber_check(call: Call) -> Returned<Findings> {
    Returned::always(|| run(&call))
}

fn run(call: &Call) -> CaliberResult<Findings> {
    let mut findings = Findings::new(call)?;
    let schema = call.schema();
    crate::pg::rights::check_schema_usage(schema);
    catalog::with_fixed_settings(|| {
        let [_, vector] = inspect::vector().unwrap_or_default();
        let names = Names {
            schema: catalog::quoted_schema(schema),
            vector,
        };
        let examined = TABLES.map(|name| Examined::open(schema, &names, name));
        let examined = examined.into_iter().collect::<CaliberResult<Vec<_>>>()?;
        for table in &examined {
            table.subject.check_readable()?;
        }
        for table in &examined {
            verify::may_select(table.subject.oid());
        }
        for table in &examined {
            refuse_if_policies(schema, table.table.name, table.subject.oid())?;
        }
        // A user's setting that lets GIN forget rows.
        guc::with(&[(c"gin_fuzzy_search_limit", c"0")], || {
            let mut keys = foreign_keys::all(examined.iter().map(Examined::named));
            for (number, table) in examined.iter().enumerate() {
                let keys = keys.remove(&table.subject.oid()).unwrap_or_default();
                table.check(schema, &names, number, &keys, &mut findings)?;
            }
            Ok(findings)
        })
    })
}

/// One of our tables.
struct Examined {
    table: Table,
    subject: Subject,
}

impl Examined {
    /// Opens it, locked as by SELECT.
    fn open(schema: Oid, names: &Names, name: &'static str) -> CaliberResult<Self> {
        let table = definition::table(name).unwrap_or_else(|why| catalog::internal_error(why));
        let missing = || {
            CaliberError::from(StorageError::SpiError(RelationProblem::Missing {
                table: qualified(schema, name),
            }))
        };
        let oid = lock_by_name(schema, name, READ_LOCK).ok_or_else(missing)?;
        init::find(schema, names, &table)?.ok_or_else(missing)?;
        let subject = Subject::open(oid, key_of(&table));
        Ok(Self { table, subject })
    }

    /// The table, and the column that names its rows.
    fn named(&self) -> (Oid, &str) {
        (self.subject.oid(), key_of(&self.table))
    }

    fn check(
        &self,
        schema: Oid,
        names: &Names,
        number: usize,
        keys: &[ForeignKey],
        findings: &mut Findings,
    ) -> CaliberResult<()> {
        let place = Place {
            number,
            relation: self.subject.oid(),
            index: None,
        };
        let indexes = self.look_at_indexes(names, place, findings);
        verify::examine(&self.subject, number, &indexes, findings);
        // No index may speak for the rows now: it is they that are judged.
        guc::with(WITHOUT_INDEXES, || -> CaliberResult<()> {
            for sql in rules::queries(&self.table, names) {
                verify::each(&sql, &mut |row| add(findings, place, row));
            }
            for key in keys {
                if key.refers_to != place.relation {
                    refuse_if_policies(schema, &key.name_of_other, key.refers_to)?;
                }
                verify::each(&key.query, &mut |row| add(findings, place, row));
            }
            Ok(())
        })?;
        match self.table.name {
            "caliber_trajectory" => trees::cycles(names, place, findings),
            "caliber_lock" => rules::left_behind(&self.subject, place, findings),
            _ => {}
        }
        Ok(())
    }

    /// Says which indexes are missing or not valid; returns the others.
    fn look_at_indexes(
        &self,
        names: &Names,
        place: Place<'_>,
        findings: &mut Findings,
    ) -> Vec<Oid> {
        let relation = place.relation;
        let found = inspect::indexes(relation);
        for index in &self.table.indexes {
            let wanted = inspect::index_signature(relation, names, index);
            // One that is there but not valid is said to be just that.
            let is_it =
                |found: &inspect::Found| (found.usable || !found.valid) && found.matches(&wanted);
            if !found.iter().any(is_it) {
                findings.add(
                    place,
                    Some(&index.title),
                    "missing: caliber_init() makes it",
                );
            }
        }
        let mut valid = Vec::new();
        for index in &found {
            if index.valid {
                valid.push(index.oid);
            } else {
                let place = Place {
                    index: Some((index.oid, &index.name)),
                    ..place
                };
                findings.add(
                    place,
                    Some("index"),
                    "not valid: it is being built, or was and failed (then REINDEX or drop it)",
                );
            }
        }
        valid
    }
}

/// The column that names a row.
fn key_of(table: &Table) -> &str {
    &table.attributes[0].name
}

/// What a query found: the row's key, and the problem.
fn add(findings: &mut Findings, place: Place<'_>, row: &[Option<String>]) {
    if let [item, Some(problem)] = row {
        findings.add(place, item.as_deref(), problem);
    }
}

/// Row policies would hide rows: their absence would look like damage, and damage
/// like their absence.
fn refuse_if_policies(schema: Oid, table: &str, relation: Oid) -> CaliberResult<()> {
    if !verify::policies_in_force(relation) {
        return Ok(());
    }
    let table = qualified(schema, table);
    Err(CaliberError::from(AgentError::State {
        message: format!("caliber_check() cannot see all rows of \"{table}\""),
        hint: Some(
            "Row-level security is in force. Call it as a role that policies do not apply to."
                .into(),
        ),
    }))
}

/// Settings under which a query reads tables, not indexes, in a plan that does not
/// become quadratic for it.
const WITHOUT_INDEXES: &[(&std::ffi::CStr, &std::ffi::CStr)] = &[
    (c"enable_indexscan", c"off"),
    (c"enable_indexonlyscan", c"off"),
    (c"enable_bitmapscan", c"off"),
    (c"enable_nestloop", c"off"),
    (c"enable_seqscan", c"on"),
    (c"enable_hashjoin", c"on"),
    (c"enable_mergejoin", c"on"),
    (c"enable_sort", c"on"),
    (c"enable_material", c"on"),
    (c"jit", c"off"),
];

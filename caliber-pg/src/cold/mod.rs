//! The cold path: what makes tables and indexes, and says whether they are there.
//!
//! Facts about the tables that other modules rely on:
//!
//! * `sql/types.sql` is part of `CREATE EXTENSION`: the row types `caliber_<entity>_row`
//!   are members of the extension.
//! * `sql/tables/<entity>.sql` is run by [`caliber_init`]: the tables are typed tables
//!   `OF` these types, are *not* members, and are found by the schema of the called
//!   function and their name ([`TABLES`]), never by a search_path.
//! * A typed table has its type's attributes, in the type's order, unless it was
//!   attached by `ALTER TABLE … OF` (then attribute numbers may have gaps: map columns
//!   by name). Later versions add nullable attributes at the end of the type.
//! * The name of every constraint is written in these files, because errors carry it.
//!   Names of indexes are PostgreSQL's choice, but for the two unique ones of
//!   `caliber_lock`: find an index by its columns and predicate.
//!
//! The SQL files are both what is run and what an existing table is compared with:
//! [`definition`] reads them, [`inspect`] reads the catalogs, [`init`] does what is missing.

mod check;
mod definition;
mod init;
mod inspect;

use pgrx::prelude::*;

use crate::entity;
use crate::pg::attributes::row_type_fits;
use crate::pg::call::Call;
use crate::pg::catalog::{self, ServerText};
use crate::pg::function::Returned;
use crate::pg::relation::type_by_name;

extension_sql_file!("../../sql/types.sql", name = "types", bootstrap);

/// The eleven tables, each after those that its foreign keys refer to.
pub const TABLES: [&str; 11] = [
    "caliber_trajectory",
    "caliber_scope",
    "caliber_artifact",
    "caliber_note",
    "caliber_turn",
    "caliber_agent",
    "caliber_lock",
    "caliber_message",
    "caliber_delegation",
    "caliber_handoff",
    "caliber_conflict",
];

/// The name of a table's row type.
pub fn row_type(table: &str) -> String {
    format!("{table}_row")
}

/// Creates the tables and indexes that are missing, and says what it did.
///
/// One line per object: `created …`, `exists …`, and `differs: …` for each constraint,
/// default or storage option of an existing table that is not as this version makes
/// it. Such a table is left as it is. With `embedding_dimensions` also the HNSW
/// indexes for embeddings of that many dimensions: 1 to 2000, or up to 4000 as
/// `halfvec`; more sizes by more calls. Making an index blocks writers meanwhile.
///
/// Errors: 22023 dimensions out of range; 25006 read-only transaction; 42501 no CREATE
/// on the schema, or not a member of the role that owns `caliber_trajectory`; 0A000
/// pgvector older than 0.8.0; 42804 an object of a table's name is something else.
///
/// ```sql
/// SELECT caliber_init();
/// SELECT caliber_init(embedding_dimensions => 1536);
/// ```
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_init(
    call: Call,
    embedding_dimensions: default!(Option<i32>, "NULL"),
) -> Returned<ServerText> {
    Returned::always(|| {
        let report = init::run(call.schema(), embedding_dimensions)?;
        Ok(ServerText(report.join("\n")))
    })
}

/// Whether all eleven tables exist and are of the right row types, with the columns
/// that this library knows.
///
/// ```sql
/// SELECT caliber_schema_exists();
/// ```
#[pg_extern(stable, parallel_safe)]
fn caliber_schema_exists(call: Call) -> bool {
    let schema = call.schema();
    entity::ALL.iter().all(|entity| {
        let wanted = type_by_name(schema, entity.shape.row_type);
        row_type_fits(schema, &entity.shape)
            && catalog::relation(schema, entity.shape.table)
                .is_some_and(|found| found.is_table_of(wanted))
    })
}

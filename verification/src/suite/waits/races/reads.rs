//! Reads that are parked where a table and its index are open, and where a row is found, and
//! who changes the table or its indexes meanwhile.

use super::schedules::{concurrently, ddl, passes, Does, Race};

const GET: Does = Does::Call(
    "(caliber_scope_get('@8')).scope_id IS NOT NULL",
    "SELECT x FROM caliber_scope x WHERE scope_id = '@8'",
);
const LIST: Does = Does::Call(
    "(SELECT count(x.*) = 2 FROM caliber_trajectory_list_by_status('active') x)",
    "SELECT x FROM caliber_trajectory x WHERE status = 'active' ORDER BY trajectory_id",
);
const SCOPES: Does = Does::Call(
    "(SELECT count(x.*) = 3 FROM caliber_scope_list_by_trajectory('@1') x)",
    "SELECT x FROM caliber_scope x WHERE trajectory_id = '@1' ORDER BY scope_id",
);
const CONTAINING: Does = Does::Call(
    "(SELECT count(x.*) = 1 FROM caliber_note_query_by_trajectory('@1') x)",
    "SELECT x FROM caliber_note x WHERE source_trajectory_ids && '{@1}' ORDER BY note_id",
);
const NEAREST: Does = Does::Call(
    "(SELECT count(x.*) = 1 FROM caliber_note_search('[1,2,3]') x)",
    "SELECT x FROM caliber_note x WHERE vector_dims(embedding) = 3 ORDER BY embedding::vector(3) <=> '[1,2,3]' LIMIT 10",
);

const BEGUN: &str = "scan.begun";
const FOUND: &str = "scan.found";

const TRUNCATE: &str = "TRUNCATE caliber_scope CASCADE";
const CHECK: &str = "ALTER TABLE caliber_scope ADD CONSTRAINT extra CHECK (name <> '')";
const NO_CHECK: &str = "ALTER TABLE caliber_scope DROP CONSTRAINT extra";
const NEW_INDEX: &str = "CREATE INDEX extra ON caliber_trajectory (name)";
const NO_NEW_INDEX: &str = "DROP INDEX extra";
const NO_INDEX: &str = "DROP INDEX caliber_trajectory_status_trajectory_id_idx";
const NO_INDEX_CONCURRENTLY: &str =
    "DROP INDEX CONCURRENTLY caliber_trajectory_status_trajectory_id_idx";
const INDEX_AGAIN: &str =
    "CREATE INDEX caliber_trajectory_status_trajectory_id_idx ON caliber_trajectory (status, trajectory_id)";
const NEW_INDEX_CONCURRENTLY: &str = "CREATE INDEX CONCURRENTLY extra ON caliber_trajectory (name)";
const ATTRIBUTE: &str = "ALTER TYPE caliber_scope_row ADD ATTRIBUTE more int CASCADE";
const NO_ATTRIBUTE: &str = "ALTER TYPE caliber_scope_row DROP ATTRIBUTE more CASCADE";
const INDEXES: &str = "REINDEX TABLE caliber_scope";
const INDEXES_CONCURRENTLY: &str = "REINDEX TABLE CONCURRENTLY caliber_scope";
const NOTES_CONCURRENTLY: &str = "REINDEX TABLE CONCURRENTLY caliber_note";
const NOTES: &str = "REINDEX TABLE caliber_note";
const REWRITE: &str = "VACUUM FULL caliber_scope";

/// All of them.
pub(super) const RACES: &[Race] = &[
    ddl(BEGUN, GET, TRUNCATE, ""),
    ddl(FOUND, GET, TRUNCATE, ""),
    ddl(FOUND, SCOPES, TRUNCATE, ""),
    ddl(BEGUN, GET, CHECK, NO_CHECK),
    ddl(FOUND, SCOPES, CHECK, NO_CHECK),
    ddl(BEGUN, LIST, NO_INDEX, INDEX_AGAIN),
    ddl(FOUND, LIST, NO_INDEX, INDEX_AGAIN),
    concurrently(BEGUN, LIST, NO_INDEX_CONCURRENTLY, INDEX_AGAIN),
    concurrently(FOUND, LIST, NO_INDEX_CONCURRENTLY, INDEX_AGAIN),
    ddl(BEGUN, SCOPES, INDEXES, ""),
    ddl(FOUND, SCOPES, INDEXES, ""),
    concurrently(BEGUN, GET, INDEXES_CONCURRENTLY, ""),
    concurrently(FOUND, SCOPES, INDEXES_CONCURRENTLY, ""),
    concurrently(FOUND, SCOPES, REWRITE, ""),
    ddl(FOUND, CONTAINING, NOTES, ""),
    concurrently(BEGUN, CONTAINING, NOTES_CONCURRENTLY, ""),
    concurrently(FOUND, CONTAINING, NOTES_CONCURRENTLY, ""),
    ddl(FOUND, NEAREST, NOTES, ""),
    concurrently(FOUND, NEAREST, NOTES_CONCURRENTLY, ""),
    ddl(BEGUN, GET, ATTRIBUTE, NO_ATTRIBUTE),
    ddl(FOUND, SCOPES, ATTRIBUTE, NO_ATTRIBUTE),
    // A new index takes no reader's lock; built concurrently it waits for older snapshots.
    Race {
        undo: NO_NEW_INDEX,
        ..passes(
            NEW_INDEX,
            FOUND,
            LIST,
            Does::Sql(NEW_INDEX),
            ("t", "done"),
            ("t", "done"),
        )
    },
    concurrently(FOUND, LIST, NEW_INDEX_CONCURRENTLY, NO_NEW_INDEX),
];

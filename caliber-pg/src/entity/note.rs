//! Note: knowledge across trajectories.

use super::args::{self, Page};
use super::common;
use super::content::{self, Columns};
use super::search::{self, Search};
use super::ttl;
use super::updates::Field;
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Stored, Table, Verdict};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::call::Call;
use crate::pg::datum::{
    Id, IntArg, JsonbArg, TextArg, ToValue, UuidArg, UuidArrayArg, Value, VectorArg,
};
use crate::pg::found::Found;
use crate::pg::function::Returned;
use crate::pg::hash::sha256;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use crate::pg::vector::Cosine;
use pgrx::prelude::*;

/// Columns of `caliber_note`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const NOTE_ID: usize = 0;
    pub const NOTE_TYPE: usize = 1;
    pub const TITLE: usize = 2;
    pub const CONTENT: usize = 3;
    pub const CONTENT_HASH: usize = 4;
    pub const EMBEDDING: usize = 5;
    pub const SOURCE_TRAJECTORY_IDS: usize = 6;
    pub const TTL: usize = 8;
    pub const CREATED_AT: usize = 9;
    pub const UPDATED_AT: usize = 10;
    pub const ACCESSED_AT: usize = 11;
    pub const ACCESS_COUNT: usize = 12;
    pub const SUPERSEDED_BY: usize = 13;
    pub const METADATA: usize = 14;
}
use column::*;

/// The entity.
pub static NOTE: Entity = Entity {
    name: "note",
    shape: Shape {
        table: "caliber_note",
        row_type: Note::NAME,
        columns: &[
            Column::new("note_id", ColumnType::Uuid),
            Column::new("note_type", ColumnType::Text),
            Column::new("title", ColumnType::Text),
            Column::new("content", ColumnType::Text),
            Column::new("content_hash", ColumnType::Bytea),
            Column::new("embedding", ColumnType::Vector),
            Column::new("source_trajectory_ids", ColumnType::UuidArray),
            Column::new("source_artifact_ids", ColumnType::UuidArray),
            Column::new("ttl", ColumnType::Text),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("updated_at", ColumnType::Timestamp),
            Column::new("accessed_at", ColumnType::Timestamp),
            Column::new("access_count", ColumnType::Int4),
            Column::new("superseded_by", ColumnType::Uuid),
            Column::new("metadata", ColumnType::Jsonb),
            Column::new("abstraction_level", ColumnType::Text),
            Column::new("source_note_ids", ColumnType::UuidArray),
        ],
    },
    key: NOTE_ID,
};

const TYPES: &[&str] = &[
    "convention",
    "strategy",
    "gotcha",
    "fact",
    "preference",
    "relationship",
    "procedure",
    "meta",
    "insight",
    "correction",
    "summary",
];

const LEVELS: &[&str] = &["raw", "summary", "principle"];

const UPDATABLE: &[Field] = &[
    Field::non_empty(TITLE),
    Field::any(CONTENT),
    Field::any(EMBEDDING),
    Field::any(SUPERSEDED_BY),
    Field::any(TTL),
    Field::any(METADATA),
];

const COLUMNS: Columns = Columns {
    content: CONTENT,
    content_hash: CONTENT_HASH,
    ttl: TTL,
    updated_at: UPDATED_AT,
};

/// Names the row type.
#[derive(Debug)]
pub struct Note;

impl RowType for Note {
    const NAME: &'static str = "caliber_note_row";
}

/// Writes a note (R4.1, R4.5). Returns its id, or NULL if a trigger vetoes the
/// row. That the sources exist is not checked.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_note_create(
    note_type: TextArg,
    title: TextArg,
    content: TextArg,
    source_trajectory_ids: default!(UuidArrayArg, "'{}'"),
    source_artifact_ids: default!(UuidArrayArg, "'{}'"),
    ttl: default!(TextArg, "'persistent'"),
    embedding: default!(VectorArg, "NULL"),
    abstraction_level: default!(TextArg, "'raw'"),
    source_note_ids: default!(UuidArrayArg, "'{}'"),
    metadata: default!(JsonbArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        args::one_of("note", "note_type", &note_type, TYPES)?;
        let title = args::non_empty("title", &title)?;
        let content = args::required("content", &content)?;
        let trajectories = args::array("source_trajectory_ids", &source_trajectory_ids)?;
        let artifacts = args::array("source_artifact_ids", &source_artifact_ids)?;
        let ttl = ttl::checked("note", &ttl, ttl::FOR_NOTES)?;
        args::one_of("note", "abstraction_level", &abstraction_level, LEVELS)?;
        let notes = args::array("source_note_ids", &source_note_ids)?;
        let (id, given) = args::id_or_new(&id);
        let table = Table::open_to_create(&call, &NOTE, Rights::insert(), given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let now = Value::transaction_start();
        let row = [
            Value::uuid(id),
            note_type.value(),
            title,
            content,
            sha256(content),
            embedding.value(),
            trajectories,
            artifacts,
            ttl,
            now,
            now,
            now,
            Value::int4(0),
            Value::NULL,
            metadata.value(),
            abstraction_level.value(),
            notes,
        ];
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// A note by id, or NULL, whatever its ttl (R4.2). It is not counted as an
/// access: see `caliber_note_touch`.
#[pg_extern(stable, parallel_safe)]
fn caliber_note_get(note_id: UuidArg, call: Call) -> Returned<Row<Note>> {
    common::get(&call, &NOTE, &note_id)
}

/// The notes that have a trajectory among their sources and have not expired,
/// by id (R4.3).
#[pg_extern(stable, parallel_safe)]
fn caliber_note_query_by_trajectory(
    trajectory_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Note>> {
    Returned::always(|| {
        let trajectory = args::required("trajectory_id", &trajectory_id)?;
        let page = Page::new(&max_rows, &after)?;
        let range = Range::containing(SOURCE_TRAJECTORY_IDS, trajectory);
        list(&call, range, page)
    })
}

/// The notes of a type that have not expired, by id.
#[pg_extern(stable, parallel_safe)]
fn caliber_note_list_by_type(
    note_type: TextArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Note>> {
    Returned::always(|| {
        args::one_of("note", "note_type", &note_type, TYPES)?;
        let page = Page::new(&max_rows, &after)?;
        list(&call, Range::of([(NOTE_TYPE, note_type.value())]), page)
    })
}

/// Changes title, content (and its hash), embedding, superseded_by, ttl or
/// metadata (R4.4). False if there is no such note.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_note_update(note_id: UuidArg, updates: JsonbArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let key = args::required("note_id", &note_id)?;
        let forms = ttl::FOR_NOTES;
        let changes = content::changes(&NOTE, &updates, UPDATABLE, COLUMNS, forms)?;
        common::update(&call, &NOTE, key, &changes)
    })
}

/// Counts an access to a note. False if there is no such note.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_note_touch(note_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let key = args::required("note_id", &note_id)?;
        let rights = Rights::update(NOTE_ID, vec![ACCESSED_AT, ACCESS_COUNT]).and_select();
        let table = Table::open(&call, &NOTE, &rights)?;
        table.engine().change(&table, key, &mut |stored| {
            let count = stored.get(ACCESS_COUNT).as_int4().unwrap_or_default();
            let count = count
                .checked_add(1)
                .ok_or_else(|| CaliberError::argument(Rule::Range, "integer out of range", None))?;
            Ok(Verdict::Write {
                changes: vec![
                    (ACCESSED_AT, Value::transaction_start()),
                    (ACCESS_COUNT, Value::int4(count)),
                ],
                checked: vec![ACCESS_COUNT],
            })
        })
    })
}

/// The `k` notes nearest to `query` by cosine distance, neither expired nor
/// superseded, through the HNSW index of the query's dimension.
///
/// Errors: 22023 for `k` outside 1 … 1000; 55000 if there is no such index.
#[pg_extern(stable, parallel_restricted)]
fn caliber_note_search(
    query: VectorArg,
    k: default!(IntArg, "10"),
    call: Call,
) -> Returned<Found<Note>> {
    Returned::always(|| {
        let query = args::required("query", &query)?;
        let k = search::count(&k)?;
        let mut found = Found::new(&call)?;
        let table = Table::open(&call, &NOTE, &Rights::select())?;
        let live = live_now();
        let search = Search {
            table: &table,
            embedding: EMBEDDING,
            cosine: Cosine::from(query),
            k,
            live: &|row| Ok(row.get(SUPERSEDED_BY).is_null() && live(row)?),
        };
        search.through_index(&mut found)?;
        Ok(found)
    })
}

/// Deletes a note. False if there is none; 23503 while any row refers to it.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_note_delete(note_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &NOTE, &note_id)
}

/// One page of the rows of a range that have not expired, by id.
fn list(call: &Call, range: Range, page: Page) -> CaliberResult<Rows<Note>> {
    let mut rows = Rows::new(call)?;
    let table = Table::open(call, &NOTE, &Rights::select())?;
    let live = live_now();
    let list = List::of([range]).page(page).keep(&live);
    table.engine().list(&table, &list, rows.sink())?;
    Ok(rows)
}

/// Which notes have not expired, at the moment of the call, once its locks are
/// there. Notes belong to no scope: none closes them.
fn live_now() -> impl Fn(&Stored) -> CaliberResult<bool> {
    let now = ttl::now();
    move |row| {
        let ttl = ttl::stored(row.get(TTL));
        Ok(!ttl.has_ended(row.get(CREATED_AT), now, || Ok(false))?)
    }
}

//! Artifact: typed output that outlives its scope.

use super::args::{self, Page};
use super::common;
use super::content::{self, Columns};
use super::many::{self, Batch, Element, Key};
use super::scope::{self, SCOPE};
use super::search::{self, Search};
use super::ttl;
use super::updates::Field;
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Stored, Table};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::call::Call;
use crate::pg::datum::{
    Id, IntArg, JsonbArg, RealArg, TextArg, ToValue, UuidArg, Value, VectorArg,
};
use crate::pg::found::Found;
use crate::pg::function::Returned;
use crate::pg::hash::sha256;
use crate::pg::ids::Ids;
use crate::pg::json;
use crate::pg::memory;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use crate::pg::vector::Cosine;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use uuid::Uuid;

/// Columns of `caliber_artifact`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const ARTIFACT_ID: usize = 0;
    pub const TRAJECTORY_ID: usize = 1;
    pub const SCOPE_ID: usize = 2;
    pub const ARTIFACT_TYPE: usize = 3;
    pub const NAME: usize = 4;
    pub const CONTENT: usize = 5;
    pub const CONTENT_HASH: usize = 6;
    pub const EMBEDDING: usize = 7;
    pub const TTL: usize = 9;
    pub const CREATED_AT: usize = 10;
    pub const UPDATED_AT: usize = 11;
    pub const SUPERSEDED_BY: usize = 12;
    pub const METADATA: usize = 13;
}
use column::*;

/// The entity.
pub static ARTIFACT: Entity = Entity {
    name: "artifact",
    shape: Shape {
        table: "caliber_artifact",
        row_type: Artifact::NAME,
        columns: &[
            Column::new("artifact_id", ColumnType::Uuid),
            Column::new("trajectory_id", ColumnType::Uuid),
            Column::new("scope_id", ColumnType::Uuid),
            Column::new("artifact_type", ColumnType::Text),
            Column::new("name", ColumnType::Text),
            Column::new("content", ColumnType::Text),
            Column::new("content_hash", ColumnType::Bytea),
            Column::new("embedding", ColumnType::Vector),
            Column::new("provenance", ColumnType::Jsonb),
            Column::new("ttl", ColumnType::Text),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("updated_at", ColumnType::Timestamp),
            Column::new("superseded_by", ColumnType::Uuid),
            Column::new("metadata", ColumnType::Jsonb),
        ],
    },
    key: ARTIFACT_ID,
};

const TYPES: &[&str] = &[
    "error_log",
    "code_patch",
    "design_decision",
    "user_preference",
    "fact",
    "constraint",
    "tool_result",
    "intermediate_output",
    "custom",
    "code",
    "document",
    "data",
    "model",
    "config",
    "log",
    "summary",
    "decision",
    "plan",
];

const EXTRACTION_METHODS: &[&str] = &[
    "explicit",
    "inferred",
    "user_provided",
    "llm_extraction",
    "tool_extraction",
    "memory_recall",
    "external_api",
    "unknown",
];

const UPDATABLE: &[Field] = &[
    Field::non_empty(NAME),
    Field::any(CONTENT),
    Field::any(EMBEDDING),
    Field::any(SUPERSEDED_BY),
    Field::any(TTL),
    Field::any(METADATA),
];

/// The arguments of create that elements of create_many may give.
const KEYS: &[Key] = &[
    ("artifact_type", ColumnType::Text),
    ("name", ColumnType::Text),
    ("content", ColumnType::Text),
    ("source_turn", ColumnType::Int4),
    ("extraction_method", ColumnType::Text),
    ("confidence", ColumnType::Real),
    ("ttl", ColumnType::Text),
    ("embedding", ColumnType::Vector),
    ("metadata", ColumnType::Jsonb),
    ("id", ColumnType::Uuid),
];

/// Columns of the index that finds the artifacts of a trajectory.
const BY_TRAJECTORY: &[usize] = &[TRAJECTORY_ID, ARTIFACT_TYPE, ARTIFACT_ID];

const COLUMNS: Columns = Columns {
    content: CONTENT,
    content_hash: CONTENT_HASH,
    ttl: TTL,
    updated_at: UPDATED_AT,
};

/// Names the row type.
#[derive(Debug)]
pub struct Artifact;

impl RowType for Artifact {
    const NAME: &'static str = "caliber_artifact_row";
}

/// Keeps an output (R3.1, R3.6). Returns its id, or NULL if a trigger vetoes
/// the row.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_artifact_create(
    trajectory_id: UuidArg,
    scope_id: UuidArg,
    artifact_type: TextArg,
    name: TextArg,
    content: TextArg,
    source_turn: default!(IntArg, "0"),
    extraction_method: default!(TextArg, "'explicit'"),
    confidence: default!(RealArg, "NULL"),
    ttl: default!(TextArg, "'persistent'"),
    embedding: default!(VectorArg, "NULL"),
    metadata: default!(JsonbArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let place = place(&trajectory_id, &scope_id)?;
        let (id, given) = args::id_or_new(&id);
        let row = row(
            id,
            place,
            [artifact_type.value(), name.value(), content.value()],
            [
                source_turn.value(),
                extraction_method.value(),
                confidence.value(),
            ],
            [ttl.value(), embedding.value(), metadata.value()],
        )?;
        let table = Table::open_to_create(&call, &ARTIFACT, Rights::insert(), given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// Keeps several outputs of a scope, all or none. Returns their ids, in order,
/// with NULL for one that a trigger vetoes. The elements of `artifacts` are
/// objects whose keys are the other arguments of `caliber_artifact_create`.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_artifact_create_many(
    trajectory_id: UuidArg,
    scope_id: UuidArg,
    artifacts: JsonbArg,
    call: Call,
) -> Returned<Ids> {
    Returned::always(|| {
        let place = place(&trajectory_id, &scope_id)?;
        let outside = &["trajectory_id", "scope_id"];
        let mut batch = Batch::read("artifacts", &artifacts, KEYS, outside, |artifact| {
            element(place, artifact)
        })?;
        let mut ids = Ids::new(&call)?;
        let rights = Rights::insert().and_select_column(ARTIFACT_ID);
        let find_duplicates = batch.finds_duplicates();
        let [table] = Table::open_several(&call, [(&ARTIFACT, &rights)], find_duplicates)?;
        batch.look_up(&table)?;
        for made in batch.write(&table)? {
            ids.put(made.id());
        }
        Ok(ids)
    })
}

/// An artifact by id, or NULL, whatever its ttl (R3.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_artifact_get(artifact_id: UuidArg, call: Call) -> Returned<Row<Artifact>> {
    common::get(&call, &ARTIFACT, &artifact_id)
}

/// The live artifacts of a type in a trajectory, by id (R3.3).
#[pg_extern(stable, parallel_safe)]
fn caliber_artifact_query_by_type(
    trajectory_id: UuidArg,
    artifact_type: TextArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Artifact>> {
    Returned::always(|| {
        let trajectory = args::required("trajectory_id", &trajectory_id)?;
        args::one_of("artifact", "artifact_type", &artifact_type, TYPES)?;
        let page = Page::new(&max_rows, &after)?;
        let equals = [
            (TRAJECTORY_ID, trajectory),
            (ARTIFACT_TYPE, artifact_type.value()),
        ];
        list(&call, Range::of(equals), page)
    })
}

/// The live artifacts of a scope, by id (R3.4).
#[pg_extern(stable, parallel_safe)]
fn caliber_artifact_query_by_scope(
    scope_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Artifact>> {
    Returned::always(|| {
        let scope = args::required("scope_id", &scope_id)?;
        let page = Page::new(&max_rows, &after)?;
        list(&call, Range::of([(SCOPE_ID, scope)]), page)
    })
}

/// Changes name, content (and its hash), embedding, superseded_by, ttl or
/// metadata (R3.5). False if there is no such artifact.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_artifact_update(artifact_id: UuidArg, updates: JsonbArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let key = args::required("artifact_id", &artifact_id)?;
        let forms = ttl::FOR_ARTIFACTS;
        let changes = content::changes(&ARTIFACT, &updates, UPDATABLE, COLUMNS, forms)?;
        common::update(&call, &ARTIFACT, key, &changes)
    })
}

/// The `k` artifacts nearest to `query` by cosine distance, live and not
/// superseded: of a trajectory exactly, or of all through the HNSW index of the
/// query's dimension.
///
/// Errors: 22023 for `k` outside 1 … 1000; 55000 if there is no such index.
#[pg_extern(stable, parallel_restricted)]
fn caliber_artifact_search(
    query: VectorArg,
    k: default!(IntArg, "10"),
    trajectory_id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Found<Artifact>> {
    Returned::always(|| {
        let query = args::required("query", &query)?;
        let k = search::count(&k)?;
        let trajectory = trajectory_id.value();
        let mut found = Found::new(&call)?;
        let [table, scopes] = open(&call)?;
        let life = Life::now(&scopes);
        let search = Search {
            table: &table,
            embedding: EMBEDDING,
            cosine: Cosine::from(query),
            k,
            live: &|row| Ok(row.get(SUPERSEDED_BY).is_null() && life.goes_on(row)?),
        };
        if trajectory.is_null() {
            search.through_index(&mut found)?;
        } else {
            let rows = Range::of([(TRAJECTORY_ID, trajectory)]);
            search.exactly(&rows.sorted_through(BY_TRAJECTORY), &mut found)?;
        }
        Ok(found)
    })
}

/// Deletes an artifact. False if there is none; 23503 while any row refers to
/// it.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_artifact_delete(artifact_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &ARTIFACT, &artifact_id)
}

/// Where an artifact belongs: its trajectory and scope.
fn place(trajectory: &UuidArg, scope: &UuidArg) -> CaliberResult<[Value; 2]> {
    Ok([
        args::required("trajectory_id", trajectory)?,
        args::required("scope_id", scope)?,
    ])
}

/// A new row from the arguments of create, which are checked.
fn row(
    id: Uuid,
    [trajectory, scope]: [Value; 2],
    [artifact_type, name, content]: [Value; 3],
    [source_turn, extraction_method, confidence]: [Value; 3],
    [ttl, embedding, metadata]: [Value; 3],
) -> CaliberResult<Vec<Value>> {
    args::one_of("artifact", "artifact_type", &artifact_type, TYPES)?;
    let name = args::non_empty("name", &name)?;
    let content = args::required("content", &content)?;
    let provenance = provenance(source_turn, extraction_method, confidence)?;
    let ttl = ttl::checked("artifact", &ttl, ttl::FOR_ARTIFACTS)?;
    let now = Value::transaction_start();
    Ok(vec![
        Value::uuid(id),
        trajectory,
        scope,
        artifact_type,
        name,
        content,
        sha256(content),
        embedding,
        provenance,
        ttl,
        now,
        now,
        Value::NULL,
        metadata,
    ])
}

/// A new row from an element of create_many.
fn element(place: [Value; 2], artifact: &Element) -> CaliberResult<many::New> {
    let (id, given) = args::id_or_new(&artifact.get("id"));
    let row = row(
        id,
        place,
        ["artifact_type", "name", "content"].map(|key| artifact.get(key)),
        [
            artifact.get_or("source_turn", Value::int4(0)),
            artifact.get_or("extraction_method", Value::text("explicit")),
            artifact.get("confidence"),
        ],
        [
            artifact.get_or("ttl", Value::text("persistent")),
            artifact.get("embedding"),
            artifact.get("metadata"),
        ],
    )?;
    Ok(many::New { id, given, row })
}

/// Where an artifact comes from: {"source_turn", "extraction_method",
/// "confidence"}.
fn provenance(source_turn: Value, method: Value, confidence: Value) -> CaliberResult<Value> {
    let turn = args::required("source_turn", &source_turn)?
        .as_int4()
        .unwrap_or_default();
    if turn < 0 {
        let message = format!("\"source_turn\" must not be negative, but it is {turn}");
        return Err(CaliberError::argument(Rule::Value, message, None));
    }
    let allowed = EXTRACTION_METHODS;
    let method = args::one_of("artifact", "extraction_method", &method, allowed)?;
    let confidence = match confidence.as_real() {
        None => "null".to_owned(),
        Some(c) if (0.0..=1.0).contains(&c) => c.to_string(),
        Some(c) => {
            let message = format!("\"confidence\" must be between 0 and 1, not {c}");
            return Err(CaliberError::argument(Rule::Value, message, None));
        }
    };
    Ok(json::parsed(&format!(
        r#"{{"source_turn": {turn}, "extraction_method": "{method}", "confidence": {confidence}}}"#
    )))
}

/// Opens the table for a list or a search, and that of scopes, which is read.
fn open(call: &Call) -> CaliberResult<[Table; 2]> {
    let select = Rights::select();
    Table::open_several(call, [(&ARTIFACT, &select), (&SCOPE, &select)], false)
}

/// One page of the live rows of a range, by id.
fn list(call: &Call, range: Range, page: Page) -> CaliberResult<Rows<Artifact>> {
    let mut rows = Rows::new(call)?;
    let [table, scopes] = open(call)?;
    let life = Life::now(&scopes);
    let live = |row: &Stored| life.goes_on(row);
    let list = List::of([range]).page(page).keep(&live);
    table.engine().list(&table, &list, rows.sink())?;
    Ok(rows)
}

/// Which artifacts are live at one moment.
struct Life<'t> {
    now: i64,
    scopes: &'t Table,
    /// Scopes that were looked at: are they closed?
    closed: RefCell<HashMap<Uuid, bool>>,
}

impl<'t> Life<'t> {
    /// So many scopes are remembered.
    const SCOPES: usize = 10_000;

    /// At the moment of the call, once its locks are there.
    fn now(scopes: &'t Table) -> Self {
        Self {
            now: ttl::now(),
            scopes,
            closed: RefCell::default(),
        }
    }

    /// Has the row not come to its end?
    fn goes_on(&self, row: &Stored) -> CaliberResult<bool> {
        let closed = || self.is_closed(row.get(SCOPE_ID));
        let ttl = ttl::stored(row.get(TTL));
        Ok(!ttl.has_ended(row.get(CREATED_AT), self.now, closed)?)
    }

    /// Is this scope closed, as far as the caller sees it?
    fn is_closed(&self, scope: Value) -> CaliberResult<bool> {
        let id = scope.as_uuid().unwrap_or_default();
        if let Some(&closed) = self.closed.borrow().get(&id) {
            return Ok(closed);
        }
        let columns = [scope::column::IS_ACTIVE];
        // One of perhaps many scopes: nothing of the look is kept but the answer.
        let closed = memory::scratch(|| -> CaliberResult<bool> {
            let found = self.scopes.engine().look(self.scopes, scope, &columns)?;
            Ok(found.is_some_and(|values| values[0].as_bool() == Some(false)))
        })?;
        let mut known = self.closed.borrow_mut();
        if known.len() == Self::SCOPES {
            known.clear();
        }
        known.insert(id, closed);
        Ok(closed)
    }
}

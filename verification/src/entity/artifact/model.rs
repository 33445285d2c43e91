//! What must come of Artifact's calls.

use super::table::{types, CREATE, TABLE, UPDATABLE};
use super::Artifact;
use crate::entity::embedding;
use crate::entity::scope;
use crate::entity::text::{hash, member};
use crate::entity::ttl::{self, LIVE, LIVE_IN_SCOPE};
use crate::model::{
    self, moment, Answer, Args, Client, Expect, Refusal, Row, Updates, Verdict, World,
};
use crate::value::Value;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_artifact_create" => {
            // Plans pass every id.
            model::insert(&Artifact, world, row(world, args))
        }
        "caliber_artifact_create_many" => many(world, args),
        "caliber_artifact_update" => update(world, args),
        "caliber_artifact_search" => search(world, args),
        "verification.age_artifact" => {
            model::helper(&Artifact, world, args, &[("created_at", moment::aged())])
        }
        "verification.put_ttl_artifact" => {
            model::helper(&Artifact, world, args, &[("ttl", args.value("ttl"))])
        }
        "caliber_artifact_query_by_type" => {
            let (task, kind) = (args.value("trajectory_id"), args.value("artifact_type"));
            let condition = format!(
                "trajectory_id = {} AND artifact_type = {}",
                task.sql(),
                kind.sql()
            );
            live(world, args, &condition, |row| {
                *row.cell(&TABLE, "trajectory_id") == task
                    && *row.cell(&TABLE, "artifact_type") == kind
            })
        }
        _ => {
            let scope = args.value("scope_id");
            let condition = format!("scope_id = {}", scope.sql());
            live(world, args, &condition, |row| {
                *row.cell(&TABLE, "scope_id") == scope
            })
        }
    }
}

fn is_live(world: &World, row: &Row) -> bool {
    let closed = row
        .id(&TABLE, "scope_id")
        .and_then(|id| world.row(&scope::TABLE, id))
        .is_some_and(|scope| *scope.cell(&scope::TABLE, "is_active") == Value::Bool(false));
    ttl::is_live(
        &row.text(&TABLE, "ttl"),
        row.cell(&TABLE, "created_at"),
        closed,
    )
}

fn live(world: &World, args: &Args<'_>, condition: &str, wanted: impl Fn(&Row) -> bool) -> Verdict {
    let condition = format!("{condition} AND {LIVE} AND {LIVE_IN_SCOPE}");
    model::list(&Artifact, world, args, &condition, |row| {
        wanted(row) && is_live(world, row)
    })
}

fn row(world: &World, args: &Args<'_>) -> Row {
    let provenance = [
        ("source_turn", args.value("source_turn")),
        ("extraction_method", args.value("extraction_method")),
        ("confidence", args.value("confidence")),
    ]
    .map(|(key, value)| member(key, &value));
    let mut row = Row::new(&TABLE)
        .with(&TABLE, "artifact_id", args.value("id"))
        .with(&TABLE, "content_hash", hash(&args.value("content")))
        .with(
            &TABLE,
            "provenance",
            Value::Json(format!("{{{}}}", provenance.join(", "))),
        )
        .with(&TABLE, "created_at", world.now())
        .with(&TABLE, "updated_at", world.now());
    for column in [
        "trajectory_id",
        "scope_id",
        "artifact_type",
        "name",
        "content",
        "embedding",
        "ttl",
        "metadata",
    ] {
        row.set(&TABLE, column, args.value(column));
    }
    row
}

fn many(world: &World, args: &Args<'_>) -> Verdict {
    let outside = ["trajectory_id", "scope_id"];
    match model::read_many(&CREATE, &outside, types, args, "artifacts") {
        Ok(calls) => {
            let rows = calls
                .iter()
                .map(|call| row(world, &Args::new(&CREATE, call)));
            model::insert_all(&Artifact, world, rows.collect())
        }
        Err(refusal) => model::refused(refusal),
    }
}

fn update(world: &World, args: &Args<'_>) -> Verdict {
    let takes = |column: &str, text: &str| match column {
        "name" => !text.is_empty(),
        "ttl" => ttl::is_of_artifact(text),
        _ => true,
    };
    let mut changes = match Updates::read(&TABLE, UPDATABLE, takes, &args.value("updates")) {
        Ok(updates) => updates.changes,
        Err(refusal) => return model::refused(refusal),
    };
    let Some(id) = args.id("artifact_id") else {
        return model::refused(Refusal::Checked("22004"));
    };
    let content = changes
        .iter()
        .find(|(column, _)| *column == "content")
        .map(|(_, content)| hash(content));
    if let Some(hash) = content {
        changes.push(("content_hash", hash));
    }
    changes.push(("updated_at", world.now()));
    model::update(&Artifact, world, id, &changes)
}

fn search(world: &World, args: &Args<'_>) -> Verdict {
    let (query, task) = (args.value("query"), args.value("trajectory_id"));
    let dimensions = embedding::elements(&query).len();
    if task.is_null() && dimensions != 3 {
        return model::refuse("55000");
    }
    let k = args.int("k").and_then(|k| usize::try_from(k).ok());
    let k = k.unwrap_or_default();
    let candidates = world.rows(&TABLE).map(|(_, row)| row).filter(|row| {
        (task.is_null() || *row.cell(&TABLE, "trajectory_id") == task)
            && row.cell(&TABLE, "superseded_by").is_null()
            && is_live(world, row)
    });
    let hits = embedding::nearest(&query, k, candidates, |row| {
        row.cell(&TABLE, "embedding").clone()
    });
    let of_task = match task {
        Value::Null => String::new(),
        task => format!(" AND x.trajectory_id = {}", task.sql()),
    };
    let statement = format!(
        "SELECT ROW(x, x.embedding <=> {0}) FROM caliber_artifact x WHERE vector_dims(x.embedding) = {dimensions} \
         AND x.superseded_by IS NULL AND {LIVE} AND {LIVE_IN_SCOPE}{of_task} ORDER BY x.embedding <=> {0} LIMIT {k}",
        query.sql()
    );
    Verdict::new(
        Expect::Hits(hits),
        Client::Statements(vec![statement], Answer::Rows),
    )
}

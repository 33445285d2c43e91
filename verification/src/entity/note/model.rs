//! What must come of Note's calls.

use super::table::{TABLE, UPDATABLE};
use super::Note;
use crate::entity::embedding;
use crate::entity::text::hash;
use crate::entity::ttl::{self, LIVE};
use crate::model::{
    self, moment, Answer, Args, Client, Expect, Refusal, Row, Updates, Verdict, World,
};
use crate::value::Value;

pub(super) fn judge(world: &World, args: &Args<'_>) -> Verdict {
    match args.function.name {
        "caliber_note_create" => create(world, args),
        "caliber_note_update" => update(world, args),
        "caliber_note_touch" => touch(world, args),
        "caliber_note_search" => search(world, args),
        "verification.age_note" => {
            model::helper(&Note, world, args, &[("created_at", moment::aged())])
        }
        "verification.put_ttl_note" => {
            model::helper(&Note, world, args, &[("ttl", args.value("ttl"))])
        }
        "caliber_note_query_by_trajectory" => {
            let Some(task) = args.id("trajectory_id") else {
                return model::refuse("22004");
            };
            let condition = format!("source_trajectory_ids @> ARRAY['{task}'::uuid]");
            live(
                world,
                args,
                &condition,
                |row| matches!(row.cell(&TABLE, "source_trajectory_ids"), Value::Uuids(ids) if ids.contains(&task)),
            )
        }
        _ => {
            let kind = args.value("note_type");
            let condition = format!("note_type = {}", kind.sql());
            live(world, args, &condition, |row| {
                *row.cell(&TABLE, "note_type") == kind
            })
        }
    }
}

fn is_live(row: &Row) -> bool {
    let ttl = row.text(&TABLE, "ttl");
    // A note has no scope to end with: those that SQL wrote say nothing.
    matches!(ttl.as_str(), "scope" | "ephemeral")
        || ttl::is_live(&ttl, row.cell(&TABLE, "created_at"), false)
}

fn live(world: &World, args: &Args<'_>, condition: &str, wanted: impl Fn(&Row) -> bool) -> Verdict {
    let condition = format!("{condition} AND {LIVE}");
    model::list(&Note, world, args, &condition, |row| {
        wanted(row) && is_live(row)
    })
}

fn create(world: &World, args: &Args<'_>) -> Verdict {
    let mut row = Row::new(&TABLE)
        .with(&TABLE, "note_id", args.value("id"))
        .with(&TABLE, "content_hash", hash(&args.value("content")))
        .with(&TABLE, "created_at", world.now())
        .with(&TABLE, "updated_at", world.now())
        .with(&TABLE, "accessed_at", world.now())
        .with(&TABLE, "access_count", Value::Int(0));
    for column in [
        "note_type",
        "title",
        "content",
        "embedding",
        "source_trajectory_ids",
        "source_artifact_ids",
        "ttl",
        "metadata",
        "abstraction_level",
        "source_note_ids",
    ] {
        row.set(&TABLE, column, args.value(column));
    }
    model::insert(&Note, world, row)
}

fn update(world: &World, args: &Args<'_>) -> Verdict {
    let takes = |column: &str, text: &str| match column {
        "title" => !text.is_empty(),
        "ttl" => ttl::is_of_note(text),
        _ => true,
    };
    let mut changes = match Updates::read(&TABLE, UPDATABLE, takes, &args.value("updates")) {
        Ok(updates) => updates.changes,
        Err(refusal) => return model::refused(refusal),
    };
    let Some(id) = args.id("note_id") else {
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
    model::update(&Note, world, id, &changes)
}

fn touch(world: &World, args: &Args<'_>) -> Verdict {
    let Some(id) = args.id("note_id") else {
        return model::refuse("22004");
    };
    let count = match world
        .row(&TABLE, id)
        .map(|row| row.cell(&TABLE, "access_count"))
    {
        Some(Value::Int(count)) => count + 1,
        _ => return model::present(vec![model::look(&Note, id)], false),
    };
    let changes = [
        ("accessed_at", world.now()),
        ("access_count", Value::Int(count)),
    ];
    model::moved(&Note, world, id, &[], &changes)
}

fn search(world: &World, args: &Args<'_>) -> Verdict {
    let query = args.value("query");
    if embedding::elements(&query).len() != 3 {
        return model::refuse("55000");
    }
    let k = args.int("k").and_then(|k| usize::try_from(k).ok());
    let k = k.unwrap_or_default();
    let candidates = world
        .rows(&TABLE)
        .map(|(_, row)| row)
        .filter(|row| row.cell(&TABLE, "superseded_by").is_null() && is_live(row));
    let hits = embedding::nearest(&query, k, candidates, |row| {
        row.cell(&TABLE, "embedding").clone()
    });
    let statement = format!(
        "SELECT ROW(x, x.embedding <=> {0}) FROM caliber_note x WHERE vector_dims(x.embedding) = 3 \
         AND x.superseded_by IS NULL AND {LIVE} ORDER BY x.embedding <=> {0} LIMIT {k}",
        query.sql()
    );
    Verdict::new(
        Expect::Hits(hits),
        Client::Statements(vec![statement], Answer::Rows),
    )
}

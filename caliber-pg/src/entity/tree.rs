//! Trees of trajectories: the root of a new child, and moving a subtree.
//!
//! A tree is named by its root's id and has one transaction-level lock. It is
//! taken first, and then everything is read again, as of now: so a child that
//! is created under a parent that is being moved gets the right root, and two
//! sessions cannot make a cycle together.

use super::trajectory::column::{
    PARENT_TRAJECTORY_ID, ROOT_TRAJECTORY_ID, TRAJECTORY_ID, UPDATED_AT,
};
use crate::counters::{self, Counter};
use crate::engine::{Changes, Table, Written};
use crate::error::{CaliberError, CaliberResult, WriteCause};
use crate::pg::advisory::{lock_for_transaction, tree_key};
use crate::pg::datum::Value;
use crate::pg::memory;
use crate::pg::snapshot::{transaction_keeps_snapshot, ActiveSnapshot};
use std::collections::HashSet;
use uuid::Uuid;

/// Ancestors that a trajectory may have.
const MAX_ANCESTORS: usize = 10_000;

const PARENT_CHECK: &str = "caliber_trajectory_parent_check";

/// A trajectory as a tree sees it.
#[derive(Debug, Clone, Copy)]
struct Node {
    id: Uuid,
    parent: Option<Uuid>,
    root: Option<Uuid>,
}

impl Node {
    /// The root of the tree that this node is in.
    fn tree(&self) -> Uuid {
        self.root.unwrap_or(self.id)
    }
}

/// Which version of the tree to look at.
#[derive(Clone, Copy)]
enum As {
    /// As of now, at every isolation level.
    Latest,
    /// As this transaction sees it.
    Transaction,
}

fn nodes(table: &Table, by: usize, value: Uuid, view: As) -> CaliberResult<Vec<Node>> {
    let _snapshot = match view {
        As::Latest => ActiveSnapshot::latest(),
        As::Transaction => ActiveSnapshot::for_write(),
    };
    let want = [TRAJECTORY_ID, PARENT_TRAJECTORY_ID, ROOT_TRAJECTORY_ID];
    let rows = memory::scratch(|| table.engine().peek(table, by, value, &want))?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(Node {
                id: row[0]?,
                parent: row[1],
                root: row[2],
            })
        })
        .collect())
}

fn node(table: &Table, id: Uuid, view: As) -> CaliberResult<Option<Node>> {
    Ok(nodes(table, TRAJECTORY_ID, id, view)?.into_iter().next())
}

fn changed() -> CaliberError {
    CaliberError::serialization("could not serialize access due to concurrent update")
}

/// Locks the parent's tree against moves and returns the root of a new child.
/// A parent that is not there locks nothing and is left to the foreign key.
///
/// # Errors
/// 40001 if the transaction keeps a snapshot in which the parent's root differs.
pub(super) fn join(table: &Table, parent: Uuid) -> CaliberResult<Uuid> {
    let seen = if transaction_keeps_snapshot() {
        match node(table, parent, As::Transaction)? {
            None => return Ok(parent),
            seen => seen,
        }
    } else {
        None
    };
    let mut locked = HashSet::new();
    let latest = loop {
        let Some(latest) = node(table, parent, As::Latest)? else {
            return Ok(parent);
        };
        let key = tree_key(latest.tree());
        if !locked.insert(key) {
            break latest;
        }
        if locked.len() > 1 {
            counters::add(Counter::PathTreeRetry);
        }
        lock_for_transaction(key, false);
    };
    if seen.is_some_and(|seen| seen.root != latest.root) {
        return Err(changed());
    }
    Ok(latest.tree())
}

/// Moves trajectory `id` below `parent` with the other `changes`, and gives it
/// and everything below it the new root. False if there is no such row, or a
/// trigger vetoes the change.
///
/// # Errors
/// 23514 for a cycle, 54000 for more than 10,000 ancestors, 40001, 42501.
pub(super) fn move_to(
    table: &Table,
    id: Uuid,
    parent: Option<Uuid>,
    mut changes: Changes,
) -> CaliberResult<bool> {
    let (row, new_parent) = lock_trees(table, id, parent)?;
    crate::wait::at("tree.locked");
    let engine = table.engine();
    // A row that the caller does not see is left to the UPDATE, which finds
    // none: no rule may tell that it is there.
    let may_hide = table.has_policies() || transaction_keeps_snapshot();
    let row = if may_hide && !engine.exists(table, Value::uuid(id))? {
        None
    } else {
        row
    };
    let new_parent = match new_parent {
        Some(latest) if transaction_keeps_snapshot() => {
            match node(table, latest.id, As::Transaction)? {
                // Left to the foreign key, which does not see it either.
                None => None,
                Some(seen) if seen.root != latest.root => return Err(changed()),
                Some(_) => Some(latest),
            }
        }
        other => other,
    };
    let root = parent.map(|parent| new_parent.map_or(parent, |p| p.tree()));
    let mut below = Vec::new();
    if let Some(row) = row {
        if parent != Some(id) {
            check_ancestors(table, id, new_parent)?;
            if root.unwrap_or(id) != row.tree() {
                below = descendants(table, id)?;
            }
        }
    }
    changes.push((ROOT_TRAJECTORY_ID, Value::maybe_uuid(root)));
    if engine.update(table, Value::uuid(id), &changes)? != Written::Done {
        return Ok(false);
    }
    if !below.is_empty() {
        let changes = vec![
            (ROOT_TRAJECTORY_ID, Value::uuid(root.unwrap_or(id))),
            (UPDATED_AT, Value::transaction_start()),
        ];
        engine.update_each(table, &below, &changes)?;
    }
    Ok(true)
}

/// Takes the locks of both trees, smaller key first, and returns row and new
/// parent as they are then. Roots that turn out to be others are locked too.
fn lock_trees(
    table: &Table,
    id: Uuid,
    parent: Option<Uuid>,
) -> CaliberResult<(Option<Node>, Option<Node>)> {
    let mut locked = HashSet::new();
    loop {
        let row = node(table, id, As::Latest)?;
        let new_parent = match parent {
            Some(parent) => node(table, parent, As::Latest)?,
            None => None,
        };
        let mut wanted: Vec<u64> = [row, new_parent]
            .into_iter()
            .flatten()
            .map(|n| tree_key(n.tree()))
            .filter(|key| !locked.contains(key))
            .collect();
        if wanted.is_empty() {
            return Ok((row, new_parent));
        }
        if !locked.is_empty() {
            counters::add(Counter::PathTreeRetry);
        }
        wanted.sort_unstable();
        for key in wanted {
            if locked.insert(key) {
                lock_for_transaction(key, true);
            }
        }
    }
}

/// Walks up from the new parent.
fn check_ancestors(table: &Table, id: Uuid, parent: Option<Node>) -> CaliberResult<()> {
    let mut next = parent;
    let mut count = 0;
    while let Some(ancestor) = next {
        if ancestor.id == id {
            return Err(table.refused(
                WriteCause::Check,
                format!("trajectory {id} cannot be among its own ancestors"),
                Some(PARENT_CHECK),
            ));
        }
        count += 1;
        if count > MAX_ANCESTORS {
            return Err(table.refused(
                WriteCause::Limit,
                format!("trajectory {id} would have more than {MAX_ANCESTORS} ancestors"),
                None,
            ));
        }
        next = match ancestor.parent {
            Some(parent) => node(table, parent, As::Latest)?,
            None => None,
        };
    }
    Ok(())
}

/// Everything below `id`, as of now.
///
/// # Errors
/// 40001 if the transaction keeps a snapshot that does not see one of them.
fn descendants(table: &Table, id: Uuid) -> CaliberResult<Vec<Uuid>> {
    let keeps = transaction_keeps_snapshot();
    let mut known = HashSet::from([id]);
    let mut found = Vec::new();
    let mut open = vec![id];
    while let Some(parent) = open.pop() {
        for child in nodes(table, PARENT_TRAJECTORY_ID, parent, As::Latest)? {
            if !known.insert(child.id) {
                continue;
            }
            if keeps && node(table, child.id, As::Transaction)?.is_none() {
                return Err(changed());
            }
            found.push(child.id);
            open.push(child.id);
        }
    }
    // In the order in which an index scan of the keys would find them.
    found.sort_unstable();
    Ok(found)
}

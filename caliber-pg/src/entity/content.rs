//! What artifacts and notes do alike: both have a content with its hash, and a
//! ttl.

use super::ttl;
use super::updates::{self, Field};
use crate::engine::{Changes, Entity};
use crate::error::CaliberResult;
use crate::pg::datum::{JsonbArg, Value};
use crate::pg::hash::sha256;

/// Where these columns are.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// `content`
    pub content: usize,
    /// `content_hash`
    pub content_hash: usize,
    /// `ttl`
    pub ttl: usize,
    /// `updated_at`
    pub updated_at: usize,
}

/// Reads `updates`: the columns that it names, a new hash with a new content,
/// and the time. `forms` are those that the ttl may have.
///
/// # Errors
/// As [`updates::read`]; 22023 for a ttl of another form.
pub fn changes(
    entity: &Entity,
    updates: &JsonbArg,
    fields: &[Field],
    columns: Columns,
    forms: &[&str],
) -> CaliberResult<Changes> {
    let mut changes = updates::read(entity, updates, fields)?;
    let named = |column: usize| changes.iter().find(|c| c.0 == column).map(|c| c.1);
    if let Some(ttl) = named(columns.ttl).filter(|ttl| !ttl.is_null()) {
        ttl::checked(entity.name, &ttl, forms)?;
    }
    let content = named(columns.content);
    if let Some(content) = content.filter(|_| !crate::fault::active("stale_content_hash")) {
        changes.push((columns.content_hash, sha256(content)));
    }
    changes.push((columns.updated_at, Value::transaction_start()));
    Ok(changes)
}

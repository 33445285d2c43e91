//! `caliber_init`: looks at everything first, then makes what is missing.

use pgrx::pg_sys::Oid;

use super::definition::{self, Index, Names, Table};
use super::{inspect, row_type, TABLES};
use crate::error::{AgentError, CaliberError, CaliberResult, RelationProblem, Rule, StorageError};
use crate::pg::catalog::{self, ClassEntry};
use crate::pg::nearest::{element_type, HALFVEC_DIMENSIONS};
use crate::pg::relation::qualified;

/// The oldest pgvector that has what we use.
const VECTOR_VERSION: [u32; 3] = [0, 8, 0];
/// The tables that have a column `embedding`.
const WITH_EMBEDDING: [&str; 2] = ["caliber_artifact", "caliber_note"];

/// Does the whole call; the lines of its report.
pub fn run(schema: Oid, dimensions: Option<i32>) -> CaliberResult<Vec<String>> {
    dimensions.map_or(Ok(()), check_dimensions)?;
    catalog::refuse_if_read_only(c"caliber_init()");
    catalog::check_may_create_in(schema);
    catalog::lock_extension(c"caliber_pg");
    catalog::with_fixed_settings(|| {
        let [version, vector] = inspect::vector().unwrap_or_default();
        check_vector_version(&version)?;
        let names = Names {
            schema: catalog::quoted_schema(schema),
            vector,
        };
        let plan = TABLES.map(|name| look(schema, &names, name, dimensions));
        let plan = plan.into_iter().collect::<CaliberResult<Vec<_>>>()?;
        let owner = owner_of_new_tables(&plan);
        Ok(carry_out(&plan, &names, owner))
    })
}

/// What is known of one table before anything is changed.
struct Step {
    table: Table,
    found: Option<ClassEntry>,
    differences: Vec<String>,
    /// For each index of the table, whether it is there.
    indexed: Vec<bool>,
}

/// Looks at one table; refuses what stands in its place but is something else.
fn look(
    schema: Oid,
    names: &Names,
    name: &'static str,
    dimensions: Option<i32>,
) -> CaliberResult<Step> {
    let mut table = definition::table(name).unwrap_or_else(|why| catalog::internal_error(why));
    if let Some(dimensions) = dimensions.filter(|_| WITH_EMBEDDING.contains(&name)) {
        table.indexes.push(embedding_index(name, dimensions));
    }
    let found = find(schema, names, &table)?;
    let (differences, indexed) = match found {
        Some(found) => {
            let mut present = inspect::indexes(found.oid);
            present.retain(|index| index.usable);
            let indexed = table.indexes.iter().map(|index| {
                let wanted = inspect::index_signature(found.oid, names, index);
                present.iter().any(|index| index.matches(&wanted))
            });
            let indexed: Vec<bool> = indexed.collect();
            for (index, _) in table
                .indexes
                .iter()
                .zip(&indexed)
                .filter(|(_, &there)| !there)
            {
                check_name_is_free(schema, names, index)?;
            }
            (inspect::differences(found.oid, names, &table), indexed)
        }
        None => (Vec::new(), vec![false; table.indexes.len()]),
    };
    Ok(Step {
        table,
        found,
        differences,
        indexed,
    })
}

/// The table, if there is one; refuses what is not ours, or not of this version.
pub(super) fn find(schema: Oid, names: &Names, table: &Table) -> CaliberResult<Option<ClassEntry>> {
    let name = table.name;
    if let Some(detail) = inspect::row_type_mismatch(schema, names, table) {
        let hint = "Use ALTER EXTENSION caliber_pg UPDATE, and load the library of that version.";
        return Err(wrong_shape(schema, name, detail, hint.to_owned()));
    }
    let found = catalog::relation(schema, name);
    if let Some(found) = found {
        check_is_ours(schema, names, name, found)?;
    }
    Ok(found)
}

/// Refuses what has the name of an index that is to be made: one of that name that is
/// not valid, or something else.
fn check_name_is_free(schema: Oid, names: &Names, index: &Index) -> CaliberResult<()> {
    let Some(name) = index.name() else {
        return Ok(());
    };
    if catalog::relation(schema, name).is_none() {
        return Ok(());
    }
    Err(CaliberError::from(AgentError::State {
        message: format!("\"{name}\" is there, but is not the {} of caliber_pg", index.title),
        hint: Some(format!(
            "If it is that index and not valid, run REINDEX INDEX {}.{name}; otherwise rename or drop it. Then call caliber_init() again.",
            names.schema
        )),
    }))
}

fn embedding_index(table: &str, dimensions: i32) -> Index {
    // The dimensions were checked.
    let element = element_type(dimensions).unwrap_or_default();
    definition::embedding_index(table, element, dimensions)
        .unwrap_or_else(|why| catalog::internal_error(why))
}

fn check_is_ours(schema: Oid, names: &Names, name: &str, found: ClassEntry) -> CaliberResult<()> {
    let row_type = row_type(name);
    if found.is_table_of(crate::pg::relation::type_by_name(schema, &row_type)) {
        return Ok(());
    }
    let quoted = &names.schema;
    let detail = format!("It is not a table of type {quoted}.{row_type}.");
    let hint = if found.is_table() {
        format!("ALTER TABLE {quoted}.{name} OF {quoted}.{row_type}")
    } else {
        "Rename or drop it, then call caliber_init() again.".to_owned()
    };
    Err(wrong_shape(schema, name, detail, hint))
}

fn wrong_shape(schema: Oid, table: &str, detail: String, hint: String) -> CaliberError {
    let table = qualified(schema, table);
    CaliberError::from(StorageError::SpiError(RelationProblem::WrongShape {
        table,
        detail,
        hint,
    }))
}

/// Who gets the new tables, if not the caller: the owner of `caliber_trajectory`.
/// Raises 42501 if the caller could not give them away.
fn owner_of_new_tables(plan: &[Step]) -> Option<Oid> {
    let trajectory = plan.iter().find(|step| step.table.name == TABLES[0])?;
    let owner = trajectory.found?.owner;
    let nothing_new = plan.iter().all(|step| step.found.is_some());
    if nothing_new || owner == catalog::current_user() {
        return None;
    }
    catalog::check_may_give_to(owner);
    Some(owner)
}

/// Makes what is missing; a line for each object. New tables change hands last,
/// while the caller needs them no more.
fn carry_out(plan: &[Step], names: &Names, owner: Option<Oid>) -> Vec<String> {
    let mut report = Vec::new();
    for step in plan {
        let name = step.table.name;
        if step.found.is_some() {
            report.push(format!("exists table {name}"));
        } else {
            catalog::execute(&names.fill(&step.table.statement));
            report.push(format!("created table {name}"));
        }
        let differences = step.differences.iter();
        report.extend(differences.map(|line| format!("differs: {name}: {line}")));
        for (index, present) in step.table.indexes.iter().zip(&step.indexed) {
            if *present {
                report.push(format!("exists {}", index.title));
            } else {
                catalog::execute(&names.fill(&index.statement));
                report.push(format!("created {}", index.title));
            }
        }
    }
    if let Some(owner) = owner.map(catalog::quoted_role) {
        for step in plan.iter().filter(|step| step.found.is_none()) {
            let (schema, name) = (&names.schema, step.table.name);
            catalog::execute(&format!("ALTER TABLE {schema}.{name} OWNER TO {owner}"));
        }
    }
    report
}

fn check_dimensions(dimensions: i32) -> CaliberResult<()> {
    if (1..=HALFVEC_DIMENSIONS).contains(&dimensions) {
        return Ok(());
    }
    let message = format!(
        "embedding_dimensions must be between 1 and {HALFVEC_DIMENSIONS}, not {dimensions}"
    );
    Err(CaliberError::argument(Rule::Value, message, None))
}

fn check_vector_version(version: &str) -> CaliberResult<()> {
    if version_number(version).is_some_and(|number| number >= VECTOR_VERSION) {
        return Ok(());
    }
    let [major, minor, patch] = VECTOR_VERSION;
    let message = format!(
        "extension \"vector\" must be version {major}.{minor}.{patch} or newer, not \"{version}\""
    );
    let hint = "Install a newer pgvector, then use ALTER EXTENSION vector UPDATE.";
    let hint = Some(hint.to_owned());
    Err(CaliberError::argument(Rule::Unsupported, message, hint))
}

/// `0.8.0`, `0.10`, `1.0.0-dev` as numbers that can be compared.
fn version_number(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        part[..digits].parse().ok()
    });
    let major = parts.next()??;
    let mut rest = || parts.next().flatten().unwrap_or(0);
    Some([major, rest(), rest()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for refused in ["0.7.4", "0.5", "", "unpackaged"] {
            assert!(check_vector_version(refused).is_err(), "{refused}");
        }
        for accepted in ["0.8.0", "0.8", "0.8.5", "0.10.0", "1.0", "1.0.0-dev"] {
            assert!(check_vector_version(accepted).is_ok(), "{accepted}");
        }
    }
}

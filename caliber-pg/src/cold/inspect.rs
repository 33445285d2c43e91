//! What the catalogs say is there, in the words of the SQL files.
//!
//! Expressions are compared as PostgreSQL prints them (`catalog::canonical` on our
//! side, `pg_get_expr` on the other). Constraints and indexes are put together from
//! catalog columns: `pg_get_constraintdef` reads under the transaction's snapshot
//! and would miss what another session made since.

use pgrx::pg_sys::Oid;

use super::definition::{Constraint, Index, Key, Names, Table};
use crate::pg::catalog::{self, query, Expression};

/// The version and the schema (quoted where needed) of pgvector, which our own
/// extension requires.
pub fn vector() -> Option<[String; 2]> {
    let rows = query(
        "SELECT e.extversion, quote_ident(n.nspname)
           FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
          WHERE e.extname = 'vector'",
    );
    rows.into_iter().next().map(texts)
}

/// In what a row type is not what this library knows. Attributes that a later
/// version added at the end are fine.
pub fn row_type_mismatch(schema: Oid, names: &Names, table: &Table) -> Option<String> {
    let Some(oid) = crate::pg::relation::type_by_name(schema, &super::row_type(table.name)) else {
        return Some("The type does not exist.".to_owned());
    };
    // The server resolves the expected types: that of vector in its own schema.
    let resolved = table.attributes.iter().map(|attribute| {
        let name = match attribute.type_name.as_str() {
            "vector" => names.fill("@vector@.vector"),
            other => other.to_owned(),
        };
        format!("pg_typeof(NULL::{name})::text")
    });
    let resolved = resolved.collect::<Vec<_>>().join(", ");
    let types = query(&format!("SELECT {resolved}")).into_iter().flatten();
    let found = query(&format!(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod)
           FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
          WHERE t.oid = {} AND a.attnum > 0 AND NOT a.attisdropped
          ORDER BY a.attnum",
        oid.to_u32()
    ));
    let mut found = found.into_iter().map(texts::<2>);
    let wanted = table.attributes.iter().zip(types);
    wanted
        .enumerate()
        .find_map(|(position, (attribute, type_name))| {
            let should = format!("{} {}", attribute.name, type_name.unwrap_or_default());
            let is = found.next().map(|[name, kind]| format!("{name} {kind}"));
            if is.as_ref() == Some(&should) {
                return None;
            }
            let (position, is) = (position + 1, is.unwrap_or_else(|| "missing".to_owned()));
            Some(format!(
                "Attribute {position} is {is}, but {should} is expected."
            ))
        })
}

/// How an existing table differs from its file.
pub fn differences(relation: Oid, names: &Names, table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    columns(relation, names, table, &mut lines);
    constraints(relation, names, table, &mut lines);
    options(relation, table, &mut lines);
    lines
}

fn columns(relation: Oid, names: &Names, table: &Table, lines: &mut Vec<String>) {
    let found = query(&format!(
        "SELECT a.attname, a.attnotnull::text, coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
                CASE WHEN a.attcollation IN (0, 'pg_catalog.default'::regcollation) THEN 'default'
                     ELSE a.attcollation::regcollation::text END
           FROM pg_attribute a
                LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          WHERE a.attrelid = {} AND a.attnum > 0 AND NOT a.attisdropped
          ORDER BY a.attnum",
        relation.to_u32()
    ));
    for [name, not_null, default, collation] in found.into_iter().map(texts) {
        if let Some(attribute) = table.attributes.iter().find(|a| a.name == name) {
            let wanted = if attribute.collate_c {
                "\"C\""
            } else {
                "default"
            };
            if collation != wanted {
                lines.push(format!(
                    "collation of column {name} is {collation}, not {wanted}"
                ));
            }
        }
        // Attributes of a later version have no description here.
        let Some(column) = table.columns.iter().find(|column| column.name == name) else {
            continue;
        };
        match (column.not_null, not_null == "true") {
            (true, false) => lines.push(format!("column {name} is not NOT NULL")),
            (false, true) => lines.push(format!("column {name} is NOT NULL")),
            _ => {}
        }
        let wanted = match &column.default {
            Some(text) => {
                catalog::canonical(relation, Expression::Default(&name, &names.fill(text)))
            }
            None => String::new(),
        };
        if squeezed(&wanted) != squeezed(&default) {
            let shown = |text: &str| {
                if text.is_empty() {
                    "none".to_owned()
                } else {
                    squeezed(text)
                }
            };
            let (is, should) = (shown(&default), shown(&wanted));
            lines.push(format!("default of column {name} is {is}, not {should}"));
        }
    }
}

fn constraints(relation: Oid, names: &Names, table: &Table, lines: &mut Vec<String>) {
    // conenforced and conperiod exist from 18 on: read through jsonb. The contypes
    // left out: n (NOT NULL, seen with the columns), t (constraint triggers).
    let found = query(&format!(
        "SELECT c.conname,
                CASE c.contype
                     WHEN 'c' THEN format('CHECK (%s)', pg_get_expr(c.conbin, c.conrelid))
                     WHEN 'p' THEN format('PRIMARY KEY (%s)', k.columns)
                     WHEN 'u' THEN format('UNIQUE (%s)', k.columns)
                     WHEN 'f' THEN format('FOREIGN KEY (%s) REFERENCES %I.%I (%s)',
                                          k.columns, n.nspname, r.relname, f.columns)
                     ELSE 'EXCLUDE' END
                || CASE WHEN i.indnullsnotdistinct THEN ' NULLS NOT DISTINCT' ELSE '' END
                || CASE WHEN i.indnatts > i.indnkeyatts THEN ' INCLUDE' ELSE '' END
                || CASE WHEN to_jsonb(c) ->> 'conperiod' = 'true' THEN ' PERIOD' ELSE '' END
                || CASE WHEN c.contype = 'f' AND c.confmatchtype <> 's' THEN ' MATCH FULL' ELSE '' END
                || CASE WHEN c.contype = 'f' AND c.confupdtype <> 'a' THEN ' ON UPDATE ' || CASE c.confupdtype WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END ELSE '' END
                || CASE WHEN c.contype = 'f' AND c.confdeltype <> 'a' THEN ' ON DELETE ' || CASE c.confdeltype WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END ELSE '' END
                || CASE WHEN c.connoinherit AND c.contype = 'c' THEN ' NO INHERIT' ELSE '' END
                || CASE WHEN c.condeferrable THEN ' DEFERRABLE' ELSE '' END
                || CASE WHEN to_jsonb(c) ->> 'conenforced' = 'false' THEN ' NOT ENFORCED'
                        WHEN NOT c.convalidated THEN ' NOT VALID' ELSE '' END
           FROM pg_constraint c
                LEFT JOIN pg_index i ON i.indexrelid = c.conindid AND c.contype IN ('p', 'u')
                LEFT JOIN pg_class r ON r.oid = c.confrelid
                LEFT JOIN pg_namespace n ON n.oid = r.relnamespace
                CROSS JOIN LATERAL (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY o.n) AS columns
                   FROM unnest(c.conkey) WITH ORDINALITY o (attnum, n)
                        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = o.attnum) k
                CROSS JOIN LATERAL (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY o.n) AS columns
                   FROM unnest(c.confkey) WITH ORDINALITY o (attnum, n)
                        JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = o.attnum) f
          WHERE c.conrelid = {} AND c.contype IN ('c', 'p', 'u', 'f', 'x')
          ORDER BY c.conname",
        relation.to_u32()
    ));
    let mut found: Vec<[String; 2]> = found.into_iter().map(texts).collect();
    for (name, wanted) in &table.constraints {
        let wanted = match wanted {
            Constraint::Check(text) => {
                let condition =
                    catalog::canonical(relation, Expression::Condition(&names.fill(text)));
                format!("CHECK ({condition})")
            }
            Constraint::Key(text) => names.fill(text),
        };
        match found.iter().position(|[found, _]| found == name) {
            None => lines.push(format!("constraint {name} is missing")),
            Some(at) => {
                let [_, is] = found.remove(at);
                let (is, wanted) = (squeezed(&is), squeezed(&wanted));
                if is != wanted {
                    lines.push(format!("constraint {name} is {is}, not {wanted}"));
                }
            }
        }
    }
    for [name, is] in found {
        lines.push(format!(
            "constraint {name} is not one of caliber_pg: {}",
            squeezed(&is)
        ));
    }
}

fn options(relation: Oid, table: &Table, lines: &mut Vec<String>) {
    let found = query(&format!(
        "SELECT option FROM pg_class c CROSS JOIN LATERAL unnest(c.reloptions) option
          WHERE c.oid = {} AND option <> 'fillfactor=100'",
        relation.to_u32()
    ));
    let found: Vec<String> = found
        .into_iter()
        .map(texts)
        .map(|[option]| option)
        .collect();
    let missing = table
        .options
        .iter()
        .filter(|option| !found.contains(option));
    lines.extend(missing.map(|option| format!("storage option {option} is missing")));
    let extra = found
        .iter()
        .filter(|option| !table.options.contains(option));
    lines.extend(extra.map(|option| format!("storage option {option} is not one of caliber_pg")));
}

/// An index as the catalog has it.
pub struct Found {
    /// The index.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// Whether it may be read: not one that is being made, dropped, or was left behind.
    pub valid: bool,
    /// Whether it can serve as one of ours.
    pub usable: bool,
    /// In the words of [`index_signature`].
    pub signature: String,
}

impl Found {
    /// Has it the keys and the predicate of a wanted index? A unique one serves where
    /// any does.
    pub fn matches(&self, wanted: &str) -> bool {
        self.signature == wanted || self.signature.strip_prefix("UNIQUE ") == Some(wanted)
    }
}

/// The indexes of a table, by name.
pub fn indexes(relation: Oid) -> Vec<Found> {
    let found = query(&format!(
        "SELECT i.indexrelid::text, c.relname, f.valid::text,
                (f.valid AND i.indimmediate AND NOT i.indisexclusion)::text,
                CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
                || CASE WHEN i.indnullsnotdistinct THEN 'NULLS NOT DISTINCT ' ELSE '' END
                || am.amname || ' (' || k.keys || ')'
                || coalesce(' WHERE ' || pg_get_expr(i.indpred, i.indrelid), '')
           FROM pg_index i
                JOIN pg_class c ON c.oid = i.indexrelid
                JOIN pg_am am ON am.oid = c.relam
                CROSS JOIN LATERAL (SELECT i.indisvalid AND i.indisready AND i.indislive) f (valid)
                CROSS JOIN LATERAL (SELECT string_agg(
                       pg_get_indexdef(i.indexrelid, o.n, false)
                       || CASE WHEN o.n > i.indnkeyatts THEN ' INCLUDED' ELSE '' END
                       || CASE WHEN a.attnum IS NULL OR o.n > i.indnkeyatts
                                 OR i.indcollation[o.n - 1] = a.attcollation THEN ''
                               ELSE ' COLLATE ' || i.indcollation[o.n - 1] END
                       || CASE WHEN o.n > i.indnkeyatts THEN ''
                               WHEN p.opcdefault AND (p.opcintype = a.atttypid
                                    OR p.opcintype = 'anyarray'::regtype AND t.typcategory = 'A') THEN ''
                               ELSE format(' %I.%I', n.nspname, p.opcname) END
                       || CASE WHEN i.indoption[o.n - 1] <> 0 THEN ' OPTION ' || i.indoption[o.n - 1]
                               ELSE '' END, ', ' ORDER BY o.n) AS keys
                  FROM generate_series(1, i.indnatts::integer) o (n)
                       LEFT JOIN pg_attribute a
                              ON a.attrelid = i.indrelid AND a.attnum = i.indkey[o.n - 1] AND a.attnum <> 0
                       LEFT JOIN pg_type t ON t.oid = a.atttypid
                       LEFT JOIN pg_opclass p ON o.n <= i.indnkeyatts AND p.oid = i.indclass[o.n - 1]
                       LEFT JOIN pg_namespace n ON n.oid = p.opcnamespace) k
          WHERE i.indrelid = {} ORDER BY c.relname",
        relation.to_u32()
    ));
    let read = |[oid, name, valid, usable, signature]: [String; 5]| Found {
        oid: Oid::from(oid.parse::<u32>().unwrap_or_default()),
        name,
        valid: valid == "true",
        usable: usable == "true",
        signature: squeezed(&signature),
    };
    found.into_iter().map(texts).map(read).collect()
}

/// What an index of a file looks like in the catalog of this table. Its name plays no part.
pub fn index_signature(relation: Oid, names: &Names, index: &Index) -> String {
    let key = |key: &Key| match key {
        Key::Column(name) => name.clone(),
        Key::Expression(text, class) => {
            let expression = catalog::canonical(relation, Expression::Key(&names.fill(text)));
            format!("({expression}) {}", names.fill(class))
        }
    };
    let keys = index.keys.iter().map(key).collect::<Vec<_>>().join(", ");
    let unique = if index.unique { "UNIQUE " } else { "" };
    let mut signature = format!("{unique}{} ({keys})", index.method);
    if let Some(predicate) = &index.predicate {
        let predicate = catalog::canonical(relation, Expression::Condition(&names.fill(predicate)));
        signature.push_str(&format!(" WHERE {predicate}"));
    }
    squeezed(&signature)
}

/// A row's columns, NULL as an empty text.
fn texts<const N: usize>(row: Vec<Option<String>>) -> [String; N] {
    let mut row = row.into_iter();
    std::array::from_fn(|_| row.next().flatten().unwrap_or_default())
}

/// White space as single blanks: `pg_get_expr` breaks lines in CASE.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Rows as they lie on their pages, compared between judges byte for byte: how
//! each value is stored is part of what a statement does.

use crate::entity::{Clock, Table};
use crate::judge::Bench;
use crate::value::Type;
use anyhow::{bail, ensure, Result};

/// Prepares every judge for [`same`]; false where the server has no pageinspect.
pub(super) fn can_look(bench: &mut Bench) -> Result<bool> {
    let Some(first) = bench.judges.first_mut() else {
        bail!("no judges")
    };
    let available = first
        .session()
        .value("SELECT 1 FROM pg_available_extensions WHERE name = 'pageinspect'")?;
    if available.is_some() {
        bench.prepare("CREATE EXTENSION pageinspect")?;
    }
    Ok(available.is_some())
}

/// How a value of variable length is stored, as [`stored`] calls it: one that is
/// told by its own bytes, and NULL.
pub(super) const KINDS: [&str; 6] = ["short ", "whole ", "compressed ", "long ", "empty ", "-"];

/// The stored form of each visible row of a table: presence and length of
/// values, and the bytes of each column but for moments that the call makes,
/// which differ from run to run, and ids, which have one form. Of a long value
/// the sizes count, not the identity.
fn stored(table: &Table) -> String {
    let name = table.name;
    let bytes: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.clock == Clock::None && !column.name.ends_with("_pid"))
        .map(|(number, column)| {
            let (n, ty, column) = (number + 1, column.ty, column.name);
            let kind = match ty {
                Type::Uuid => return format!("' {column}=', r.{column}"),
                Type::Bool | Type::Int | Type::Real | Type::Time => "''".to_owned(),
                Type::Uuids | Type::Texts => format!("CASE WHEN r.{column} = '{{}}' THEN 'empty ' ELSE {} END", kind(n)),
                _ => kind(n),
            };
            // A pointer to a long value: tag 1, kind 18 (on disk), sizes, then identities.
            format!(
                "' {column}=', coalesce({kind} || encode(CASE WHEN get_byte(x.t_attrs[{n}], 0) = 1 AND length(x.t_attrs[{n}]) = 18
                    THEN substr(x.t_attrs[{n}], 3, 8) ELSE x.t_attrs[{n}] END, 'hex'), '-')"
            )
        })
        .collect();
    format!(
        "SELECT concat(x.t_infomask & 7, ' ', x.t_infomask2 & 2047, ' ', x.t_hoff, ' ', x.t_bits, {})
        FROM generate_series(0, pg_relation_size('{name}') / current_setting('block_size')::int - 1) p,
            heap_page_item_attrs(get_raw_page('{name}', p::int), '{name}'::regclass) x, {name} r
        WHERE r.ctid = format('(%s,%s)', p, x.lp)::tid",
        bytes.join(", ")
    )
}

/// What the first byte of an attribute says of it, on a little-endian machine.
fn kind(n: usize) -> String {
    format!(
        "CASE WHEN get_byte(x.t_attrs[{n}], 0) = 1 THEN 'long ' WHEN get_byte(x.t_attrs[{n}], 0) & 1 = 1 THEN 'short '
            WHEN get_byte(x.t_attrs[{n}], 0) & 3 = 2 THEN 'compressed ' ELSE 'whole ' END"
    )
}

/// The stored rows of a table, after they are found to be the same everywhere.
pub(super) fn same(bench: &mut Bench, table: &Table) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for judge in &mut bench.judges {
        let mut rows = judge.look(&stored(table))?;
        rows.sort();
        all.push((judge.engine, rows));
    }
    let Some((_, client)) = all.pop() else {
        bail!("no judges")
    };
    for (engine, rows) in &all {
        ensure!(
            *rows == client,
            "{}: {} stores {rows:#?}\nnot {client:#?}",
            table.name,
            engine.name()
        );
    }
    Ok(client.into_iter().flatten().collect())
}

//! Foreign keys, as the catalog has them: every reference has its row.

use pgrx::pg_sys::Oid;
use std::collections::HashMap;

use crate::pg::catalog;

/// A foreign key of a table.
pub struct ForeignKey {
    /// The table that it refers to.
    pub refers_to: Oid,
    /// Its name, for messages.
    pub name_of_other: String,
    /// The rows without what they refer to: key and problem.
    pub query: String,
}

/// The foreign keys of tables that rows must meet, by table; each table comes with the
/// column that names its rows.
///
/// The queries are those of RI_Initial_Check (ri_triggers.c), with the operators of the
/// constraint. One that is NOT ENFORCED, or with PERIOD (both 18), is left out; so are
/// the copies that a key to a partitioned table has for each partition.
pub fn all<'a>(tables: impl Iterator<Item = (Oid, &'a str)>) -> HashMap<Oid, Vec<ForeignKey>> {
    let tables: HashMap<Oid, &str> = tables.collect();
    let oids: Vec<String> = tables.keys().map(|oid| oid.to_u32().to_string()).collect();
    // One query for all tables: planning it costs more than reading.
    let found = catalog::query(&format!(
        "SELECT c.conrelid::oid, c.conname, c.confmatchtype, c.confrelid::oid, r.relname,
                format('%s%I.%I', CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, n.nspname, r.relname),
                format('ONLY %I.%I', cn.nspname, cr.relname),
                string_agg(format('p.%I OPERATOR(%I.%s) t.%I%s', pa.attname, opn.nspname, op.oprname, ca.attname,
                       CASE WHEN pa.attcollation <> 0 AND pa.attcollation <> ca.attcollation
                            THEN (SELECT format(' COLLATE %I.%I', ln.nspname, l.collname)
                                    FROM pg_collation l JOIN pg_namespace ln ON ln.oid = l.collnamespace
                                   WHERE l.oid = pa.attcollation)
                            ELSE '' END), ' AND ' ORDER BY k.n),
                string_agg(format('t.%I', ca.attname), ', ' ORDER BY k.n)
           FROM pg_constraint c
                JOIN pg_class r ON r.oid = c.confrelid
                JOIN pg_namespace n ON n.oid = r.relnamespace
                JOIN pg_class cr ON cr.oid = c.conrelid
                JOIN pg_namespace cn ON cn.oid = cr.relnamespace
                CROSS JOIN LATERAL unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY k (child, parent, op, n)
                JOIN pg_attribute ca ON ca.attrelid = c.conrelid AND ca.attnum = k.child
                JOIN pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = k.parent
                JOIN pg_operator op ON op.oid = k.op
                JOIN pg_namespace opn ON opn.oid = op.oprnamespace
          WHERE c.conrelid IN ({}) AND c.contype = 'f' AND c.conparentid = 0
            AND coalesce(to_jsonb(c) ->> 'conenforced', 'true') = 'true'
            AND coalesce(to_jsonb(c) ->> 'conperiod', 'false') = 'false'
          GROUP BY c.oid, c.conrelid, c.conname, c.confmatchtype, c.confrelid, r.relname, r.relkind, n.nspname, cr.relname, cn.nspname
          ORDER BY c.conname",
        oids.join(", ")
    ));
    let text = |row: &[Option<String>], i: usize| row[i].clone().unwrap_or_default();
    let read = |row: Vec<Option<String>>| {
        let [relation, constraint, match_type, refers_to, name_of_other, other, table, equal, columns] =
            std::array::from_fn(|i| text(&row, i));
        // A row of columns IS NOT NULL if each is; its opposite for the other rows.
        let whole = format!("ROW({columns}) IS NOT NULL");
        let partly = match match_type.as_str() {
            "f" => format!(" OR NOT ({whole}) AND NOT (ROW({columns}) IS NULL)"),
            _ => String::new(),
        };
        let problem = format!("no such row in {name_of_other}: foreign key \"{constraint}\"");
        let problem = problem.replace('\'', "''");
        let oid = |text: String| Oid::from(text.parse::<u32>().unwrap_or_default());
        let relation = oid(relation);
        let key = tables.get(&relation).copied().unwrap_or_default();
        let foreign_key = ForeignKey {
            refers_to: oid(refers_to),
            name_of_other,
            query: format!(
                "SELECT t.{key}::text, '{problem}' FROM {table} t
                  WHERE {whole} AND NOT EXISTS (SELECT FROM {other} p WHERE {equal}){partly}"
            ),
        };
        (relation, foreign_key)
    };
    let mut all: HashMap<Oid, Vec<ForeignKey>> = HashMap::new();
    for (relation, foreign_key) in found.into_iter().map(read) {
        all.entry(relation).or_default().push(foreign_key);
    }
    all
}

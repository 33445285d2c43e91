//! The SQL files, read: what a table should look like.
//!
//! The files keep to a few habits, and this reader knows no more than these: one
//! `CREATE TABLE … OF … (…) [WITH (…)];` a file, whose elements are columns
//! (`name [NOT NULL] [DEFAULT expression]`) and named table constraints; then
//! `CREATE [UNIQUE] INDEX [name] ON table [USING method] (…) [WHERE …];`.
//! Placeholders `@schema@` and `@vector@` stand for schema names, quoted where needed;
//! they are filled in after reading, so that no name can disturb the reader.

/// What the placeholders of the SQL files stand for.
pub struct Names {
    /// The schema of the extension, quoted where needed.
    pub schema: String,
    /// The schema of pgvector, quoted where needed.
    pub vector: String,
}

impl Names {
    /// `text` with its placeholders filled in. One pass: a schema whose name looks
    /// like a placeholder is safe.
    pub fn fill(&self, text: &str) -> String {
        let mut parts = text.split('@');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        while let Some(name) = parts.next() {
            filled.push_str(match name {
                "schema" => &self.schema,
                "vector" => &self.vector,
                other => other,
            });
            filled.push_str(parts.next().unwrap_or_default());
        }
        filled
    }
}

/// One attribute of a row type.
#[derive(Debug, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type, as SQL writes it.
    pub type_name: String,
    /// Whether it is COLLATE "C".
    pub collate_c: bool,
}

/// What a table's file says of one column.
#[derive(Debug, Default, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether it is NOT NULL, by itself or as part of the primary key.
    pub not_null: bool,
    /// The text of its default.
    pub default: Option<String>,
}

/// A table's constraint.
#[derive(Debug, PartialEq)]
pub enum Constraint {
    /// CHECK, with the condition's text.
    Check(String),
    /// Any other: its text.
    Key(String),
}

/// One key column of an index.
#[derive(Debug, PartialEq)]
pub enum Key {
    /// A plain column, by the default operator class of its type.
    Column(String),
    /// An expression and its operator class.
    Expression(String, String),
}

/// An index as a file gives it.
#[derive(Debug, PartialEq)]
pub struct Index {
    /// The whole statement.
    pub statement: String,
    /// How the report names it.
    pub title: String,
    /// Whether it is UNIQUE.
    pub unique: bool,
    /// The access method.
    pub method: String,
    /// Its keys, in order.
    pub keys: Vec<Key>,
    /// The text of its predicate.
    pub predicate: Option<String>,
}

impl Index {
    /// Its name, if the statement gives it one.
    pub fn name(&self) -> Option<&str> {
        let (_, rest) = self.statement.split_once("INDEX ")?;
        let name = rest.split_whitespace().next()?;
        (name != "ON").then_some(name)
    }
}

/// A table as its files give it.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The attributes of its row type.
    pub attributes: Vec<Attribute>,
    /// The CREATE TABLE statement.
    pub statement: String,
    /// What is said of each attribute, in the same order.
    pub columns: Vec<Column>,
    /// The constraints, by name.
    pub constraints: Vec<(String, Constraint)>,
    /// The storage options, as `name=value`.
    pub options: Vec<String>,
    /// The indexes that are not part of a constraint.
    pub indexes: Vec<Index>,
}

const TYPES: &str = include_str!("../../sql/types.sql");
const EMBEDDING: &str = include_str!("../../sql/embedding.sql");

/// The table's file. A table without one is found by the test below.
fn file(table: &str) -> &'static str {
    match table {
        "caliber_trajectory" => include_str!("../../sql/tables/trajectory.sql"),
        "caliber_scope" => include_str!("../../sql/tables/scope.sql"),
        "caliber_artifact" => include_str!("../../sql/tables/artifact.sql"),
        "caliber_note" => include_str!("../../sql/tables/note.sql"),
        "caliber_turn" => include_str!("../../sql/tables/turn.sql"),
        "caliber_agent" => include_str!("../../sql/tables/agent.sql"),
        "caliber_lock" => include_str!("../../sql/tables/lock.sql"),
        "caliber_message" => include_str!("../../sql/tables/message.sql"),
        "caliber_delegation" => include_str!("../../sql/tables/delegation.sql"),
        "caliber_handoff" => include_str!("../../sql/tables/handoff.sql"),
        "caliber_conflict" => include_str!("../../sql/tables/conflict.sql"),
        _ => "",
    }
}

/// Reads a table's definition; what it returns as an error is a mistake in the files.
pub fn table(name: &'static str) -> Result<Table, String> {
    let attributes = attributes(&super::row_type(name))?;
    let mut statements = statements(file(name)).into_iter();
    let statement = statements
        .next()
        .ok_or_else(|| format!("no SQL file for {name}"))?;
    let (head, body, tail) = parenthesis(&statement)?;
    if head.trim() != format!("CREATE TABLE @schema@.{name} OF @schema@.{name}_row") {
        return Err(format!("unexpected statement: {head}"));
    }
    let blank = |attribute: &Attribute| Column {
        name: attribute.name.clone(),
        ..Column::default()
    };
    let mut columns: Vec<Column> = attributes.iter().map(blank).collect();
    let mut constraints = Vec::new();
    for element in list(body) {
        let (first, rest) = word(&element);
        if first == "CONSTRAINT" {
            let (constraint, text) = word(rest);
            if let Some(keys) = text.strip_prefix("PRIMARY KEY ") {
                for key in list(parenthesis(keys)?.1) {
                    column(&mut columns, &key)?.not_null = true;
                }
            }
            let constraint_text = match text.strip_prefix("CHECK ") {
                Some(check) => Constraint::Check(parenthesis(check)?.1.trim().to_owned()),
                None => Constraint::Key(text.to_owned()),
            };
            constraints.push((constraint.to_owned(), constraint_text));
        } else {
            let column = column(&mut columns, first)?;
            let default = rest
                .strip_prefix("NOT NULL")
                .inspect(|_| column.not_null = true);
            let default = default.unwrap_or(rest).trim_start();
            match default.strip_prefix("DEFAULT ") {
                Some(default) => column.default = Some(default.to_owned()),
                None if default.is_empty() => {}
                None => return Err(format!("unexpected option of a column: {element}")),
            }
        }
    }
    let options = match tail.trim().strip_prefix("WITH ") {
        Some(options) => list(parenthesis(options)?.1)
            .iter()
            .map(|o| o.replace(' ', ""))
            .collect(),
        None => Vec::new(),
    };
    let indexes = statements.map(index).collect::<Result<_, _>>()?;
    Ok(Table {
        name,
        attributes,
        statement,
        columns,
        constraints,
        options,
        indexes,
    })
}

/// The index on a table's embeddings of `dimensions` dimensions, of the element type
/// `vector` or `halfvec`.
pub fn embedding_index(table: &str, element: &str, dimensions: i32) -> Result<Index, String> {
    let statement = statements(EMBEDDING).into_iter().next().unwrap_or_default();
    index(
        statement
            .replace("@table@", table)
            .replace("@type@", element)
            .replace("@n@", &dimensions.to_string()),
    )
}

fn column<'a>(columns: &'a mut [Column], name: &str) -> Result<&'a mut Column, String> {
    let found = columns.iter_mut().find(|column| column.name == name);
    found.ok_or_else(|| format!("no attribute for column {name}"))
}

/// The attributes of a row type.
fn attributes(row_type: &str) -> Result<Vec<Attribute>, String> {
    let head = format!("CREATE TYPE {row_type} AS ");
    let statements = statements(TYPES);
    let found = statements
        .iter()
        .find_map(|statement| statement.strip_prefix(&head));
    let body = parenthesis(found.ok_or_else(|| format!("no type {row_type}"))?)?.1;
    let read = |element: String| {
        let (name, rest) = word(&element);
        let plain = rest.strip_suffix(" COLLATE \"C\"");
        Attribute {
            name: name.to_owned(),
            type_name: plain.unwrap_or(rest).to_owned(),
            collate_c: plain.is_some(),
        }
    };
    Ok(list(body).into_iter().map(read).collect())
}

fn index(statement: String) -> Result<Index, String> {
    let text = statement.strip_prefix("CREATE ").unwrap_or_default();
    let (head, keys, tail) = parenthesis(text)?;
    let (target, method) = head
        .trim()
        .split_once(" USING ")
        .unwrap_or((head.trim(), "btree"));
    let key = |text: String| match text.starts_with('(') {
        true => parenthesis(&text)
            .map(|(_, inner, class)| Key::Expression(inner.to_owned(), class.trim().to_owned())),
        false => Ok(Key::Column(text)),
    };
    let title = text.replace("@schema@.", "").replace("@vector@.", "");
    Ok(Index {
        title: title
            .replacen("UNIQUE INDEX", "unique index", 1)
            .replacen("INDEX ON", "index on", 1)
            .replacen(" ON ", " on ", 1),
        unique: target.starts_with("UNIQUE "),
        method: method.to_owned(),
        keys: list(keys).into_iter().map(key).collect::<Result<_, _>>()?,
        predicate: tail.trim().strip_prefix("WHERE ").map(str::to_owned),
        statement,
    })
}

/// The statements of a file, without comments, white space as single blanks.
fn statements(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join(" ");
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    code.split(';')
        .map(words)
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The first word, and the rest.
fn word(text: &str) -> (&str, &str) {
    text.trim().split_once(' ').unwrap_or((text.trim(), ""))
}

/// What stands before, in and after the first parenthesis.
fn parenthesis(text: &str) -> Result<(&str, &str, &str), String> {
    let mut depth = 0;
    let mut start = None;
    for (at, c) in text.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        match (start, depth) {
            (None, 1) => start = Some(at),
            (Some(start), 0) => return Ok((&text[..start], &text[start + 1..at], &text[at + 1..])),
            _ => {}
        }
    }
    Err(format!("no closed parenthesis in: {text}"))
}

/// The elements of a list that is separated by commas.
fn list(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut elements = vec![String::new()];
    for c in text.chars() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        match elements.last_mut() {
            Some(last) if c != ',' || depth > 0 => last.push(c),
            _ => elements.push(String::new()),
        }
    }
    elements
        .iter()
        .map(|element| element.trim().to_owned())
        .collect()
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_file_that_can_be_read() {
        for name in super::super::TABLES {
            let table = table(name).unwrap_or_else(|problem| panic!("{name}: {problem}"));
            let key = &table.columns[0];
            assert!(key.not_null, "{name}: the first column is the key");
            assert_eq!(key.default.as_deref(), Some("@schema@.caliber_new_id()"));
            assert_eq!(table.constraints[0].0, format!("{name}_pkey"));
        }
    }

    #[test]
    fn placeholders_are_filled_in_one_pass() {
        let names = Names {
            schema: "\"@vector@\"".into(),
            vector: "v".into(),
        };
        assert_eq!(names.fill("@schema@.a @vector@.b"), "\"@vector@\".a v.b");
    }

    #[test]
    fn an_index_on_embeddings_names_type_size_and_class() -> Result<(), String> {
        let index = embedding_index("caliber_note", "halfvec", 3072)?;
        let key = "embedding::@vector@.halfvec(3072)";
        let class = "@vector@.halfvec_cosine_ops";
        assert_eq!(index.keys, [Key::Expression(key.into(), class.into())]);
        assert_eq!(index.method, "hnsw");
        assert_eq!(
            index.predicate.as_deref(),
            Some("@vector@.vector_dims(embedding) = 3072")
        );
        Ok(())
    }
}

use super::{operations, vector, Entity, Kind, Operation, ENTITIES};
use std::collections::HashSet;
use std::path::Path;

/// Kinds that an entity does not have, and why.
const WITHOUT: [(&str, Kind, &str); 7] = [
    ("turn", Kind::Update, "turns are append only"),
    ("turn", Kind::Hot, "turns are append only"),
    (
        "lock",
        Kind::Update,
        "only acquire changes a column that an index covers",
    ),
    ("message", Kind::Hot, "that is receive, a kind of its own"),
    ("delegation", Kind::Hot, "every verb changes the status"),
    ("handoff", Kind::Hot, "every verb changes the status"),
    ("conflict", Kind::Hot, "every verb changes the status"),
];

/// Functions that return rows of a table and are no list of 100, and why. Nor is
/// `caliber_delegation_list_pending(NULL)`, which reads and sorts all that are pending, nor a
/// search of one task, which compares all its rows.
const NO_LIST: [(&str, &str); 3] = [
    (
        "caliber_agent_list_stale",
        "reads the whole table, as api.md says",
    ),
    (
        "caliber_note_query_by_trajectory",
        "reads and sorts all of a task, from a GIN index",
    ),
    ("caliber_message_receive", "writes; a kind of its own"),
];

fn all() -> Vec<(&'static Entity, &'static Operation)> {
    let mut all = operations();
    all.extend(vector::operations());
    all
}

/// A file of the repository.
fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_name_in_a_statement_is_an_argument() {
    for (_, operation) in all() {
        let text = operation.numbered();
        let left = text.replace("::", "").replace("\": ", "");
        let names = left.contains(" :") || left.contains("(:");
        assert!(!names, "{}: {text}", operation.function);
        for (i, argument) in operation.arguments.iter().enumerate() {
            let n = i + 1 + usize::from(operation.makes_id());
            let used = text.contains(&format!("${n}"));
            assert!(used, "{}: {} is not used", operation.function, argument.0);
        }
    }
}

#[test]
fn every_entity_has_all_kinds_that_it_can_have() {
    for entity in ENTITIES {
        let has = |kind| entity.operations.iter().any(|o| o.kind == kind);
        assert!(has(Kind::Get) && has(Kind::List), "{}", entity.name);
        assert!(has(Kind::Create) || has(Kind::Lock), "{}", entity.name);
        for kind in [Kind::Update, Kind::Hot] {
            let without = WITHOUT.iter().find(|w| (w.0, w.1) == (entity.name, kind));
            let (name, why) = (entity.name, without.map(|w| w.2));
            assert_eq!(has(kind), why.is_none(), "{name} {kind:?}: {why:?}");
        }
    }
}

#[test]
fn every_list_is_measured() {
    let functions =
        read("verification/src/suite/snapshots/verification__suite__catalog__functions.snap");
    let lines: Vec<&str> = functions.lines().collect();
    let mut found = 0;
    for pair in lines.windows(2) {
        let returns = pair[1].trim_start();
        if !(returns.starts_with("-> SETOF caliber_") && returns.contains("_row,")) {
            continue;
        }
        let name = pair[0].split('(').next().unwrap_or_default();
        let measured = operations()
            .iter()
            .any(|(_, o)| o.kind == Kind::List && o.function == name);
        let why = NO_LIST.iter().find(|(function, _)| *function == name);
        assert_ne!(measured, why.is_some(), "{name}");
        found += 1;
    }
    assert!(found > 20, "{found} functions");
}

#[test]
fn labels_and_identifiers_tell_operations_apart() {
    let (mut labels, mut identifiers) = (HashSet::new(), HashSet::new());
    for (entity, operation) in all() {
        let label = operation.label();
        assert!(
            labels.insert((entity.name, label.clone())),
            "{} {label}",
            entity.name
        );
        let identifier = operation.identifier();
        // PostgreSQL cuts names at 63 bytes.
        let longest = format!("args_{identifier}_ids");
        assert!(longest.len() <= 63, "{longest}");
        assert!(identifiers.insert(identifier.clone()), "{identifier}");
    }
}

/// The words of everything that says what an index covers: its columns, expressions and
/// predicate.
fn indexed(entity: &Entity) -> HashSet<String> {
    let text = read(&format!("caliber-pg/sql/tables/{}.sql", entity.name));
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    let lines = lines.filter(|line| {
        ["INDEX ", "PRIMARY KEY ", "UNIQUE "]
            .iter()
            .any(|said| line.contains(said))
    });
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.map(str::to_owned).collect()
}

/// The columns that a statement changes.
fn changed(operation: &Operation) -> Vec<&'static str> {
    let after = operation.statement.split("SET ").nth(1).unwrap_or_default();
    let set = after.split("WHERE ").next().unwrap_or_default();
    let words: Vec<&str> = set.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[1] == "=");
    pairs.map(|pair| pair[0]).collect()
}

#[test]
fn updates_are_of_the_kind_that_the_indexes_make_them() {
    for (entity, operation) in operations() {
        let covered = match operation.kind {
            Kind::Update => true,
            Kind::Hot | Kind::Receive => false,
            _ => continue,
        };
        let (indexed, changed) = (indexed(entity), changed(operation));
        assert!(!changed.is_empty(), "{}", operation.function);
        let found = changed.iter().any(|&column| indexed.contains(column));
        assert_eq!(found, covered, "{}: {changed:?}", operation.function);
    }
}

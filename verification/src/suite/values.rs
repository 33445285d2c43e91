//! Values at their limits, in every column that a create fills: a megabyte that
//! compresses and one that does not, every character, nothing, the longest
//! numbers, the most and the fewest dimensions, thousands of ids. Each comes back,
//! and is stored as the client's INSERT stores it (`integrity.md` §6.1).

use super::stored;
use crate::entity::{self, samples, Column, Entity, Function, Kind, Param, Table};
use crate::judge::{execute, Bench, Engine};
use crate::plan::{Call, Plan, Step};
use crate::runner::{Context, Outcome, Test};
use crate::value::{Type, Value};
use anyhow::{ensure, Context as _, Result};
use uuid::Uuid;

/// All tests.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "values::at_their_limits",
        "the longest, the emptiest and every character come back, stored as plain SQL stores them",
        at_their_limits,
    )]
}

/// What a row is filled with.
#[derive(Clone, Copy)]
enum Fill {
    /// A megabyte that does not compress; the most dimensions; many different ids.
    Noise,
    /// A megabyte that does; many times the same id.
    Repetition,
    /// Every code point but NUL and the surrogates.
    Unicode,
    /// The same, of the basic plane.
    Plane,
    /// Nothing, which is not NULL; the fewest dimensions.
    Nothing,
    /// Numbers of JSON that no machine type holds.
    Numbers,
}

const FILLS: [Fill; 5] = [
    Fill::Noise,
    Fill::Repetition,
    Fill::Unicode,
    Fill::Nothing,
    Fill::Numbers,
];

const MEGABYTE: usize = 1 << 20;
/// What an entry of a B-tree holds, beside ids and an enumerated text.
const ENTRY: usize = 2500;
/// As many ids, or texts, as an array gets.
const MANY: u32 = 10_000;
/// pgvector's limit.
const DIMENSIONS: u32 = 16_000;

fn at_their_limits(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::open_fresh(&context.server, &Engine::JUDGES)?;
    let bytes = stored::can_look(&mut bench)?;
    let mut values = 0;
    let entities = context.share(entity::all().to_vec());
    for entity in &entities {
        values += of(&mut bench, *entity, bytes).with_context(|| entity.table().entity)?;
        bench.reset(false, true)?;
    }
    // A lock has the fewest.
    ensure!(values > entities.len(), "only {values} values");
    let bytes = if bytes { "" } else { ", bytes not compared" };
    Ok(Outcome::Passed(format!(
        "{values} values of {} entities{bytes}",
        entities.len()
    )))
}

/// A row for each fill; returns how many values it was.
fn of(bench: &mut Bench, entity: &'static dyn Entity, bytes: bool) -> Result<usize> {
    let table = entity.table();
    let mut steps = Vec::new();
    let mut fills = FILLS.iter();
    let (mut rows, mut values) = (0, 0);
    for (call, _) in samples::of(entity) {
        let Some((of, function)) = entity::function_named(&call.function) else {
            continue;
        };
        if of.table().entity != table.entity {
            steps.push(Step::Call(call));
            continue;
        }
        let Some(fill) = fills.next().filter(|_| function.kind == Kind::Create) else {
            break;
        };
        let (filled, count) = filled(call, table, function, *fill);
        let id = filled.given("id").cloned().unwrap_or(Value::Null);
        steps.extend([Step::Call(filled), Step::Call(entity.get(id))]);
        rows += 1;
        values += count;
    }
    ensure!(rows == FILLS.len(), "only {rows} creates");
    steps.push(Step::Amcheck);
    let plan = Plan {
        property: "values".to_owned(),
        entity: table.entity.to_owned(),
        on_duplicate_return: false,
        savepoint_each: false,
        steps,
    };
    let stats = execute(bench, &plan)?;
    ensure!(stats.errors == 0, "{} calls were refused", stats.errors);
    if bytes {
        let seen = stored::same(bench, table)?;
        // Of a lock, whatever is asked for, the second is busy.
        ensure!(
            seen.len() == rows || table.entity == "lock",
            "{} rows are stored",
            seen.len()
        );
    }
    Ok(values)
}

/// A create whose columns hold what they may of this, and how many they are.
fn filled(call: Call, table: &Table, function: &Function, fill: Fill) -> (Call, usize) {
    let mut count = 0;
    let mut filled = call;
    let mut whole = Vec::new();
    for param in function.params {
        // An agent's type beside an agent would be refused.
        let beside = param.name.ends_with("agent_type")
            && filled.given(param.name).is_none_or(Value::is_null);
        let value = value_for(table, param, fill).filter(|_| !beside);
        let kind = value.as_ref().map(std::mem::discriminant);
        // Four megabytes are enough once for each type.
        let value = match (fill, kind) {
            (Fill::Unicode, Some(kind)) if whole.contains(&kind) => {
                value_for(table, param, Fill::Plane)
            }
            _ => value,
        };
        whole.extend(kind);
        if let Some(value) = value {
            filled = filled.with(param.name, value);
            count += 1;
        }
    }
    (filled, count)
}

/// The value for a parameter; `None` where the fill has none that it takes.
fn value_for(table: &Table, param: &Param, fill: Fill) -> Option<Value> {
    let column = table
        .columns
        .iter()
        .find(|known| known.name == param.name)?;
    if !column.one_of.is_empty() || !param.one_of.is_empty() {
        return None;
    }
    let value = match column.ty {
        Type::Text => text_for(table, column, fill)?,
        Type::Json => json_for(fill),
        Type::Bytes => Value::Bytes(bytes_for(fill)?),
        Type::Uuids => Value::Uuids(match fill {
            Fill::Noise => (0..MANY)
                .map(|n| Uuid::from_u128(u128::from(noise(n))))
                .collect(),
            Fill::Repetition => vec![Uuid::max(); MANY as usize],
            _ => Vec::new(),
        }),
        Type::Texts => Value::Texts(match fill {
            Fill::Noise => (0..MANY).map(|n| noise(n).to_string()).collect(),
            Fill::Repetition => vec!["capability".to_owned(); MANY as usize],
            Fill::Unicode => chunks(every_character()),
            Fill::Plane => chunks(basic_plane()),
            Fill::Nothing => vec![String::new(); 2],
            Fill::Numbers => Vec::new(),
        }),
        Type::Vector => Value::Vector(match fill {
            Fill::Noise => vector(DIMENSIONS, |n| format!("0.{}", noise(n) % 1_000_000 + 1)),
            Fill::Repetition => vector(DIMENSIONS, |_| "1".to_owned()),
            _ => vector(1, |_| "-3.4028235e38".to_owned()),
        }),
        _ => return None,
    };
    let empty = param.not_empty && value.text().is_some_and(|text| text.is_empty());
    (!empty && (param.takes.0)(&value)).then_some(value)
}

fn text_for(table: &Table, column: &Column, fill: Fill) -> Option<Value> {
    // Where an index holds the value too, it is as long as an entry may be.
    let indexed = table
        .indexes
        .iter()
        .any(|index| index.columns.contains(&column.name));
    Some(match fill {
        Fill::Noise if indexed => Value::Text(noisy(ENTRY)),
        Fill::Noise => Value::Text(noisy(MEGABYTE)),
        Fill::Repetition => {
            let unit = "again ".to_owned();
            let length = if indexed { 40 * ENTRY } else { MEGABYTE };
            let times = u32::try_from(length / unit.len()).unwrap_or_default();
            Value::Repeat { unit, times }
        }
        Fill::Unicode | Fill::Plane if indexed => return None,
        Fill::Unicode => Value::Text(every_character().collect()),
        Fill::Plane => Value::Text(basic_plane().collect()),
        Fill::Nothing => Value::of(""),
        Fill::Numbers => return None,
    })
}

fn json_for(fill: Fill) -> Value {
    let member = |text: String| {
        let text = serde_json::Value::String(text);
        format!("{{\"value\": {text}}}")
    };
    Value::Json(match fill {
        Fill::Noise => member(noisy(MEGABYTE)),
        Fill::Repetition => member("again ".repeat(MEGABYTE / 6)),
        Fill::Unicode => member(every_character().collect()),
        Fill::Plane => member(basic_plane().collect()),
        Fill::Nothing => "{}".to_owned(),
        Fill::Numbers => {
            let digits = "1234567890".repeat(100);
            format!(
                "{{\"value\": [{digits}, -{digits}, 0.{digits}, 1e-1000, -1e-1000, 1e1000, 0.{}]}}",
                "0".repeat(1000)
            )
        }
    })
}

fn bytes_for(fill: Fill) -> Option<String> {
    Some(match fill {
        Fill::Noise => (0..u32::try_from(MEGABYTE / 8).unwrap_or_default())
            .map(|n| format!("{:016x}", noise(n)))
            .collect(),
        Fill::Repetition => "00ff".repeat(MEGABYTE / 2),
        Fill::Nothing => String::new(),
        Fill::Unicode | Fill::Plane | Fill::Numbers => return None,
    })
}

fn vector(dimensions: u32, item: impl Fn(u32) -> String) -> String {
    let items: Vec<String> = (0..dimensions).map(item).collect();
    format!("[{}]", items.join(","))
}

fn every_character() -> impl Iterator<Item = char> {
    '\u{1}'..=char::MAX
}

fn basic_plane() -> impl Iterator<Item = char> {
    '\u{1}'..='\u{ffff}'
}

/// Characters in texts that fit into any index.
fn chunks(characters: impl Iterator<Item = char>) -> Vec<String> {
    let all: Vec<char> = characters.collect();
    all.chunks(500).map(|part| part.iter().collect()).collect()
}

/// Text that does not compress: no three letters of it come again soon.
fn noisy(length: usize) -> String {
    (0..u32::try_from(length).unwrap_or_default())
        .filter_map(|n| char::from_u32(u32::from(b'#') + u32::try_from(noise(n) % 90).ok()?))
        .collect()
}

/// Numbers without a pattern, the same each time (splitmix64).
fn noise(n: u32) -> u64 {
    let mut z = u64::from(n)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

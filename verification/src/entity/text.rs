//! Generators of values that all entities share: text and JSON with their edges.

use crate::value::Value;
use proptest::prelude::*;

/// Text that may be empty.
pub fn any_text() -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Text(String::new())), 9 => some_text()].boxed()
}

/// Text that is not empty: short, quoted, every script, TOAST-sized.
pub fn some_text() -> BoxedStrategy<Value> {
    prop_oneof![
        8 => "[a-z]{1,12}".prop_map(Value::Text),
        4 => awkward().prop_map(Value::Text),
        4 => "\\PC{1,40}".prop_map(Value::Text),
        // Compressible TOAST, small in the plan.
        1 => ("[a-zé✓]{1,5}", 500u32..60_000).prop_map(|(unit, times)| Value::Repeat { unit, times }),
        // Incompressible: pushed out of line.
        1 => proptest::collection::vec(any::<u64>(), 150..600).prop_map(|words| {
            Value::Text(words.iter().map(|word| format!("{word:016x}")).collect())
        }),
    ]
    .boxed()
}

/// Text that is not empty and fits into an index entry.
pub fn some_short_text() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => "[a-z]{1,12}".prop_map(Value::Text),
        2 => awkward().prop_map(Value::Text),
        2 => "\\PC{1,40}".prop_map(Value::Text),
    ]
    .boxed()
}

/// An interval of which one can say what is older: see `model::moment::is_older`.
pub fn interval() -> BoxedStrategy<Value> {
    prop::sample::select(vec!["01:00:00", "1 day", "10 years", "-1 days"])
        .prop_map(|text| Value::Interval(text.to_owned()))
        .boxed()
}

/// Text that quoting, record output, JSON or LIKE could get wrong.
fn awkward() -> BoxedStrategy<String> {
    prop::sample::select(vec![
        "'",
        "\"",
        "\\",
        "\\\\'\"",
        "(,)",
        "{}",
        "NULL",
        "null",
        " ",
        "\t\n\r",
        "a\nb",
        "; DROP TABLE caliber_scope --",
        "$1 $$ %s %",
        "ß ẞ İ ı ǅ",
        "e\u{301} \u{202e}abc",
        "\u{1f469}\u{200d}\u{1f4bb}",
        "\u{10ffff}\u{fffd}\u{1}",
        "日本語テキスト",
    ])
    .prop_map(str::to_owned)
    .boxed()
}

/// The text of a jsonb value of any type, JSON null included.
pub fn json() -> BoxedStrategy<String> {
    let number = prop_oneof![
        any::<i32>().prop_map(|n| n.to_string()),
        Just("0".to_owned()),
        Just("-0.0".to_owned()),
        Just("1.10".to_owned()),
        Just("1e3".to_owned()),
        Just("123456789012345678901234567890.123456789000".to_owned()),
        Just("1e-20".to_owned()),
    ];
    let string = prop_oneof!["[a-z]{0,8}", "\\PC{0,20}", awkward()]
        .prop_map(|text| serde_json::Value::String(text).to_string());
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        number,
        string.clone(),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((string.clone(), inner), 0..4).prop_map(|pairs| {
                let pairs: Vec<String> = pairs
                    .into_iter()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
    .boxed()
}

/// A jsonb argument: NULL, or any JSON.
pub fn json_value() -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 4 => json().prop_map(Value::Json)].boxed()
}

/// `text[]`: empty, one, several, with what array syntax could get wrong.
pub fn texts() -> BoxedStrategy<Value> {
    let item = prop_oneof![
        4 => "[a-z]{1,8}",
        2 => awkward(),
        1 => Just(String::new()),
        1 => "\\PC{1,20}",
    ];
    prop_oneof![
        2 => Just(Value::Texts(Vec::new())),
        6 => proptest::collection::vec(item, 1..5).prop_map(Value::Texts),
        // TOAST-sized.
        1 => (1usize..40).prop_map(|n| Value::Texts(vec!["capability ".repeat(20); n])),
    ]
    .boxed()
}

/// `uuid[]` over these ids, some of them twice.
pub fn id_array(ids: Vec<uuid::Uuid>) -> BoxedStrategy<Value> {
    prop_oneof![
        2 => Just(Value::Uuids(Vec::new())),
        6 => proptest::collection::vec(prop::sample::select(ids.clone()), 1..5).prop_map(Value::Uuids),
        1 => (30usize..200).prop_map(move |n| {
            Value::Uuids(ids.iter().copied().cycle().take(n).collect())
        }),
    ]
    .boxed()
}

/// A moment that lies behind, or ahead, of any run, as far as there are any.
pub fn moment() -> BoxedStrategy<Value> {
    prop::sample::select(vec![
        "2001-02-03 04:05:06.789+00",
        "1999-12-31 23:59:59.999999+00",
        "-infinity",
        // The least, a known one, and the greatest that there are.
        "4714-11-24 00:00:00+00 BC",
        "0044-03-15 00:00:00+00 BC",
        "294276-12-31 23:59:59.999999+00",
        "2101-01-01 00:00:00+00",
        "9999-12-31 00:00:00+00",
        "infinity",
    ])
    .prop_map(|text| Value::Time(text.to_owned()))
    .boxed()
}

/// An argument that is left out, NULL, or made by `strategy`.
pub fn optional(strategy: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![2 => Just(None), 1 => Just(Some(Value::Null)), 5 => strategy.prop_map(Some)].boxed()
}

/// A member `"key": value` of an `updates` object, from a generated value.
#[must_use]
pub fn member(key: &str, value: &Value) -> String {
    let json = value.json();
    format!("{}: {json}", serde_json::Value::String(key.to_owned()))
}

/// An `updates` object from some of its members, each at most once.
pub fn updates(members: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    let optional: Vec<BoxedStrategy<Option<String>>> = members
        .into_iter()
        .map(|member| proptest::option::weighted(0.4, member).boxed())
        .collect();
    optional
        .prop_map(|members| {
            let members: Vec<String> = members.into_iter().flatten().collect();
            format!("{{{}}}", members.join(", "))
        })
        .boxed()
}

/// The member `embedding` of an `updates` object: as a string, as an array of
/// numbers, or null.
pub fn embedding_member(embedding: BoxedStrategy<Value>) -> BoxedStrategy<String> {
    (embedding, 0..5u8)
        .prop_map(|(embedding, form)| match form {
            0 => "\"embedding\": null".to_owned(),
            1 | 2 => member("embedding", &embedding),
            _ => format!("\"embedding\": {}", embedding.text().unwrap_or_default()),
        })
        .boxed()
}

/// The SHA-256 of a text's UTF-8 bytes; NULL for NULL.
#[must_use]
pub fn hash(text: &Value) -> Value {
    use sha2::{Digest, Sha256};
    let Some(text) = text.text() else {
        return Value::Null;
    };
    let digits = Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Value::Bytes(digits)
}

/// A JSON object of a create's arguments but for those given outside, as an
/// element of a `*_many`. (Huge text is not repeated there.)
#[must_use]
pub fn object(call: &crate::plan::Call, outside: &[&str]) -> String {
    let members: Vec<String> = call
        .args
        .iter()
        .filter(|(name, _)| !outside.contains(&name.as_str()))
        .map(|(name, value)| member(name, value))
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// `max_rows` of a list, as an argument.
pub fn max_rows() -> BoxedStrategy<Option<Value>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Value::Null)),
        1 => Just(Some(Value::Int(0))),
        1 => Just(Some(Value::Int(i64::from(i32::MAX)))),
        3 => (1i64..4).prop_map(|n| Some(Value::Int(n))),
    ]
    .boxed()
}

/// `max_rows` and `after` of a list, as arguments.
pub fn page(ids: Vec<Value>) -> BoxedStrategy<(Option<Value>, Option<Value>)> {
    (max_rows(), optional(prop::sample::select(ids))).boxed()
}

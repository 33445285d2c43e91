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

/// An argument that is left out, NULL, or made by `strategy`.
pub fn optional(strategy: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![2 => Just(None), 1 => Just(Some(Value::Null)), 5 => strategy.prop_map(Some)].boxed()
}

/// A member `"key": value` of an `updates` object, from a generated value.
#[must_use]
pub fn member(key: &str, value: &Value) -> String {
    let json = match value {
        Value::Json(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => "null".to_owned(),
        other => serde_json::Value::String(other.text().unwrap_or_default()).to_string(),
    };
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

/// `max_rows` and `after` of a list, as arguments.
pub fn page(ids: Vec<Value>) -> BoxedStrategy<(Option<Value>, Option<Value>)> {
    let rows = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Value::Null)),
        1 => Just(Some(Value::Int(0))),
        1 => Just(Some(Value::Int(i64::from(i32::MAX)))),
        3 => (1i64..4).prop_map(|n| Some(Value::Int(n))),
    ];
    (rows, optional(prop::sample::select(ids))).boxed()
}

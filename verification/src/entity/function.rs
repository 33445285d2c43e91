//! Functions as the harness knows them: parameters, defaults, and what
//! `api.md` §1.4 step 1 says about each.

use crate::value::Value;
use std::fmt;

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Scalar,
    /// One row, or NULL.
    Row,
    /// A set: rows, ids, or a row with something beside it.
    Set,
}

/// What kind of call a function is; the properties choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Makes a row.
    Create,
    /// Makes many.
    Many,
    /// Reads one row.
    Get,
    /// Takes `updates`.
    Update,
    /// Moves a row through its life.
    Verb,
    /// Returns rows.
    List,
    /// Removes a row.
    Delete,
    /// A function of the harness, in each judge's database, that writes what
    /// only SQL can write (an old timestamp, an unreadable value).
    Helper,
}

/// Which texts a parameter takes, beyond `not_empty` and `one_of`.
#[derive(Clone, Copy)]
pub struct Takes(pub fn(&Value) -> bool);

impl fmt::Debug for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Takes")
    }
}

/// A parameter and what `api.md` §1.4 says about it.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Name.
    pub name: &'static str,
    /// Whether NULL is refused with 22004.
    pub not_null: bool,
    /// Whether the empty text is refused with 22023.
    pub not_empty: bool,
    /// The values an enumerated text may take.
    pub one_of: &'static [&'static str],
    /// The default; `None` if the argument must be given.
    pub default: Option<Default>,
    /// What it takes; anything else is 22023.
    pub takes: Takes,
    /// Expressions that are refused with 22023.
    pub refuses: &'static [&'static str],
}

/// A parameter's default.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// Text.
    Text(&'static str),
    /// A boolean.
    Bool(bool),
    /// `'{}'::jsonb`.
    Object,
    /// `'{}'::uuid[]`.
    NoIds,
    /// `'{}'::text[]`.
    NoTexts,
}

impl Default {
    /// The value.
    #[must_use]
    pub fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(value) => Value::Int(value),
            Self::Text(text) => Value::of(text),
            Self::Bool(flag) => Value::Bool(flag),
            Self::Object => Value::Json("{}".to_owned()),
            Self::NoIds => Value::Uuids(Vec::new()),
            Self::NoTexts => Value::Texts(Vec::new()),
        }
    }
}

/// A parameter that must be given and not be NULL.
#[must_use]
pub const fn required(name: &'static str) -> Param {
    Param {
        name,
        not_null: true,
        not_empty: false,
        one_of: &[],
        default: None,
        takes: Takes(|_| true),
        refuses: &[],
    }
}

/// A parameter with the default NULL.
#[must_use]
pub const fn optional(name: &'static str) -> Param {
    Param {
        not_null: false,
        default: Some(Default::Null),
        ..required(name)
    }
}

/// A parameter with another default; NULL is refused.
#[must_use]
pub const fn defaulted(name: &'static str, default: Default) -> Param {
    Param {
        default: Some(default),
        ..required(name)
    }
}

/// `uuid[]`, by default empty.
#[must_use]
pub const fn ids(name: &'static str) -> Param {
    defaulted(name, Default::NoIds).refuses(&[
        "ARRAY[NULL]::uuid[]",
        "ARRAY[[gen_random_uuid()], [gen_random_uuid()]]",
        "ARRAY[gen_random_uuid(), NULL]",
    ])
}

/// `text[]`, by default empty.
#[must_use]
pub const fn texts(name: &'static str) -> Param {
    defaulted(name, Default::NoTexts).refuses(&[
        "ARRAY[NULL]::text[]",
        "ARRAY[['a'], ['b']]::text[]",
        "ARRAY['a', NULL, 'b']",
    ])
}

impl Param {
    /// Refuses the empty text.
    #[must_use]
    pub const fn not_empty(self) -> Self {
        Self {
            not_empty: true,
            ..self
        }
    }

    /// Refuses text outside the set.
    #[must_use]
    pub const fn one_of(self, values: &'static [&'static str]) -> Self {
        Self {
            one_of: values,
            ..self
        }
    }

    /// Has this default.
    #[must_use]
    pub const fn default(self, value: Default) -> Self {
        Self {
            default: Some(value),
            ..self
        }
    }

    /// Accepts NULL though it must be given.
    #[must_use]
    pub const fn or_null(self) -> Self {
        Self {
            not_null: false,
            ..self
        }
    }

    /// Refuses these expressions.
    #[must_use]
    pub const fn refuses(self, expressions: &'static [&'static str]) -> Self {
        Self {
            refuses: expressions,
            ..self
        }
    }

    /// Refuses values that the function does not take; `expressions` are some.
    #[must_use]
    pub const fn takes(
        self,
        takes: fn(&Value) -> bool,
        expressions: &'static [&'static str],
    ) -> Self {
        Self {
            takes: Takes(takes),
            refuses: expressions,
            ..self
        }
    }
}

/// The last two parameters of every list.
pub const PAGE: [Param; 2] = [optional("max_rows"), optional("after")];

/// A function of the extension.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// SQL name.
    pub name: &'static str,
    /// What it returns.
    pub shape: Shape,
    /// What it does.
    pub kind: Kind,
    /// Parameters in order.
    pub params: &'static [Param],
}

/// A function.
#[must_use]
pub const fn function(
    name: &'static str,
    kind: Kind,
    shape: Shape,
    params: &'static [Param],
) -> Function {
    Function {
        name,
        shape,
        kind,
        params,
    }
}

//! Reading the `updates` argument: a jsonb object, member by member, without
//! losing a digit.

use super::datum::Value;
use pgrx::pg_sys;

/// A member's value.
#[derive(Clone, Copy)]
pub struct Json {
    value: pg_sys::JsonbValue,
}

/// What kind of JSON a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`
    Null,
    /// A string.
    String,
    /// A number.
    Number,
    /// `true` or `false`
    Boolean,
    /// An array or an object.
    Container,
}

/// The members of a jsonb object, or None if the value is no object.
pub fn object_members(object: Value) -> Option<Vec<(String, Json)>> {
    let mut members = Vec::new();
    // SAFETY: the argument is jsonb (its declared type). The iterator is used
    // as jsonfuncs.c uses it; values point into the detoasted datum, which
    // lives as long as the call's memory context.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(object.datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let header = (*jsonb).root.header;
        if header & pg_sys::JB_FOBJECT == 0 {
            return None;
        }
        let mut iterator = pg_sys::JsonbIteratorInit(std::ptr::addr_of_mut!((*jsonb).root));
        let mut value = pg_sys::JsonbValue::default();
        let mut key = String::new();
        loop {
            let token = pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true);
            match token {
                pg_sys::JsonbIteratorToken::WJB_KEY => key = string_of(&value),
                pg_sys::JsonbIteratorToken::WJB_VALUE => {
                    members.push((std::mem::take(&mut key), Json { value }));
                }
                pg_sys::JsonbIteratorToken::WJB_DONE => return Some(members),
                _ => {}
            }
        }
    }
}

/// Calls a built-in function.
///
/// # Safety
/// The arguments are of the function's types.
unsafe fn call(
    function: unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
    arguments: &[Option<pg_sys::Datum>],
) -> Option<Value> {
    // SAFETY: the caller's promise.
    unsafe { pgrx::direct_function_call_as_datum(function, arguments) }.map(Value::of)
}

/// The text of a string value, in UTF-8.
fn string_of(value: &pg_sys::JsonbValue) -> String {
    // SAFETY: called for keys and strings only, whose `string` member is set.
    unsafe {
        let s = value.val.string;
        Value::of(pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(
            s.val, s.len,
        )))
        .as_text()
        .unwrap_or_default()
    }
}

impl Json {
    /// What kind of JSON this is.
    pub fn kind(&self) -> JsonKind {
        match self.value.type_ {
            pg_sys::jbvType::jbvNull => JsonKind::Null,
            pg_sys::jbvType::jbvString => JsonKind::String,
            pg_sys::jbvType::jbvNumeric => JsonKind::Number,
            pg_sys::jbvType::jbvBool => JsonKind::Boolean,
            _ => JsonKind::Container,
        }
    }

    /// A string as `text`; None for anything else.
    pub fn as_text(&self) -> Option<Value> {
        if self.kind() != JsonKind::String {
            return None;
        }
        // SAFETY: the value is a string, whose pointer and length are set.
        unsafe {
            let s = self.value.val.string;
            Some(Value::of(pg_sys::Datum::from(
                pg_sys::cstring_to_text_with_len(s.val, s.len),
            )))
        }
    }

    /// A string as `uuid`; None for anything else. Raises 22P02 as uuid_in.
    pub fn as_uuid(&self) -> Option<Value> {
        let text = self.as_text()?;
        // SAFETY: text_to_cstring takes a text datum; uuid_in takes a C string.
        unsafe {
            let c = pg_sys::text_to_cstring(text.datum.cast_mut_ptr());
            call(pg_sys::uuid_in, &[Some(pg_sys::Datum::from(c))])
        }
    }

    /// A whole number as `integer`: None for anything else, or for a fraction.
    /// Raises 22003 as numeric_int4 if it is too large.
    pub fn as_int4(&self) -> Option<Value> {
        if self.kind() != JsonKind::Number {
            return None;
        }
        // SAFETY: the value is a number, whose numeric pointer is set; the
        // functions take numeric and int4 arguments.
        unsafe {
            let number = Some(pg_sys::Datum::from(self.value.val.numeric));
            let digits = Some(pg_sys::Datum::from(0i32));
            let whole = call(pg_sys::numeric_trunc, &[number, digits])?;
            let equal = call(pg_sys::numeric_eq, &[number, Some(whole.datum)])?;
            if equal.as_bool() != Some(true) {
                return None;
            }
            call(pg_sys::numeric_int4, &[number])
        }
    }

    /// Any value as `jsonb`; JSON null is SQL NULL.
    pub fn as_jsonb(&self) -> Value {
        if self.kind() == JsonKind::Null {
            return Value::NULL;
        }
        let mut value = self.value;
        // SAFETY: the value came from an iterator over a living jsonb.
        unsafe { Value::of(pg_sys::Datum::from(pg_sys::JsonbValueToJsonb(&mut value))) }
    }
}

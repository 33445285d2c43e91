//! Reading jsonb arguments, member by member and element by element, without
//! losing a digit.

use super::datum::Value;
use super::encoding::to_server;
use pgrx::pg_sys;

/// A value inside a jsonb argument.
#[derive(Clone, Copy)]
pub struct Json {
    value: pg_sys::JsonbValue,
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Json").field(&self.kind()).finish()
    }
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
    // SAFETY: the argument is jsonb (its declared type); what is read points
    // into the detoasted datum, which lives as long as the call's memory context.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(object.datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        members(std::ptr::addr_of_mut!((*jsonb).root))
    }
}

/// The elements of a jsonb array, or None if the value is no array.
pub fn array_elements(array: Value) -> Option<Vec<Json>> {
    // SAFETY: as in `object_members`.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(array.datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        elements(std::ptr::addr_of_mut!((*jsonb).root))
    }
}

/// JSON text as `jsonb`. Raises 22P02 as jsonb_in.
pub fn parsed(text: &str) -> Value {
    let text = to_server(text);
    // SAFETY: jsonb_in takes a C string and returns a value or raises.
    let value = unsafe {
        let text = pg_sys::Datum::from(text.as_ptr());
        call(pg_sys::jsonb_in, &[Some(text)])
    };
    value.unwrap_or(Value::NULL)
}

/// Is the jsonb value an object?
pub fn is_object(value: Value) -> bool {
    // SAFETY: as in `object_members`.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(value.datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        (*jsonb).root.header & pg_sys::JB_FOBJECT != 0
    }
}

/// A jsonb object of these `text` members; those that are NULL are left out.
/// Names are ASCII.
pub fn object(members: &[(&str, Value)]) -> Value {
    let string = |bytes: &[u8]| {
        let mut value = pg_sys::JsonbValue {
            type_: pg_sys::jbvType::jbvString,
            ..Default::default()
        };
        value.val.string.len = bytes.len() as i32;
        value.val.string.val = bytes.as_ptr().cast_mut().cast();
        value
    };
    // SAFETY: the state is built as jsonb.c builds one; JsonbValueToJsonb
    // copies the bytes, which live until then.
    unsafe {
        let mut state: *mut pg_sys::JsonbParseState = std::ptr::null_mut();
        let begin = pg_sys::JsonbIteratorToken::WJB_BEGIN_OBJECT;
        pg_sys::pushJsonbValue(&mut state, begin, std::ptr::null_mut());
        let texts: Vec<(&str, Vec<u8>)> = members
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_bytes()?)))
            .collect();
        for (name, text) in &texts {
            let (mut key, mut value) = (string(name.as_bytes()), string(text));
            let of_key = pg_sys::JsonbIteratorToken::WJB_KEY;
            pg_sys::pushJsonbValue(&mut state, of_key, &mut key);
            let of_value = pg_sys::JsonbIteratorToken::WJB_VALUE;
            pg_sys::pushJsonbValue(&mut state, of_value, &mut value);
        }
        let end = pg_sys::JsonbIteratorToken::WJB_END_OBJECT;
        let object = pg_sys::pushJsonbValue(&mut state, end, std::ptr::null_mut());
        Value::of(pg_sys::Datum::from(pg_sys::JsonbValueToJsonb(object)))
    }
}

/// `object || with`: the members of both objects, those of `with` in place of
/// others of their name.
pub fn merged(object: Value, with: Value) -> Value {
    // SAFETY: jsonb_concat takes two jsonb values.
    let both = unsafe {
        call(
            pg_sys::jsonb_concat,
            &[Some(object.datum), Some(with.datum)],
        )
    };
    both.unwrap_or(object)
}

/// The members of an object container (jsonb_util.c), or None.
///
/// # Safety
/// `container` is a valid jsonb container, to which the result points.
unsafe fn members(container: *mut pg_sys::JsonbContainer) -> Option<Vec<(String, Json)>> {
    let mut members = Vec::new();
    // SAFETY: the caller's promise; the iterator is used as jsonfuncs.c uses it.
    unsafe {
        if (*container).header & pg_sys::JB_FOBJECT == 0 {
            return None;
        }
        let mut iterator = pg_sys::JsonbIteratorInit(container);
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

/// The elements of an array container, or None; a scalar is none.
///
/// # Safety
/// As [`members`].
unsafe fn elements(container: *mut pg_sys::JsonbContainer) -> Option<Vec<Json>> {
    let mut elements = Vec::new();
    // SAFETY: as in `members`.
    unsafe {
        let header = (*container).header;
        if header & pg_sys::JB_FARRAY == 0 || header & pg_sys::JB_FSCALAR != 0 {
            return None;
        }
        let mut iterator = pg_sys::JsonbIteratorInit(container);
        let mut value = pg_sys::JsonbValue::default();
        loop {
            let token = pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true);
            match token {
                pg_sys::JsonbIteratorToken::WJB_ELEM => elements.push(Json { value }),
                pg_sys::JsonbIteratorToken::WJB_DONE => return Some(elements),
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

    /// The container that the value is, if it is one.
    fn container(&self) -> Option<*mut pg_sys::JsonbContainer> {
        if self.value.type_ != pg_sys::jbvType::jbvBinary {
            return None;
        }
        // SAFETY: a binary value has its container set.
        Some(unsafe { self.value.val.binary.data })
    }

    /// The members of an object; None for anything else.
    pub fn members(&self) -> Option<Vec<(String, Json)>> {
        // SAFETY: the container belongs to a living jsonb.
        unsafe { members(self.container()?) }
    }

    /// The elements of an array; None for anything else.
    pub fn elements(&self) -> Option<Vec<Json>> {
        // SAFETY: the container belongs to a living jsonb.
        unsafe { elements(self.container()?) }
    }

    /// A string as `timestamptz`; None for anything else. Raises 22007 and
    /// 22008 as timestamptz_in.
    pub fn as_timestamp(&self) -> Option<Value> {
        let text = self.as_text()?;
        // SAFETY: timestamptz_in takes a C string, an OID and a typmod.
        unsafe {
            let c = pg_sys::text_to_cstring(text.datum.cast_mut_ptr());
            let none = Some(pg_sys::Datum::from(pg_sys::Oid::INVALID));
            let typmod = Some(pg_sys::Datum::from(-1i32));
            call(
                pg_sys::timestamptz_in,
                &[Some(pg_sys::Datum::from(c)), none, typmod],
            )
        }
    }

    /// A number as `real`; None for anything else. Raises 22003 as
    /// numeric_float4 if it is out of range.
    pub fn as_real(&self) -> Option<Value> {
        if self.kind() != JsonKind::Number {
            return None;
        }
        // SAFETY: the value is a number, whose numeric pointer is set.
        unsafe {
            let number = Some(pg_sys::Datum::from(self.value.val.numeric));
            call(pg_sys::numeric_float4, &[number])
        }
    }

    /// An array of strings as `uuid[]`; None for anything else. Raises 22P02 as
    /// uuid_in.
    pub fn as_uuid_array(&self) -> Option<Value> {
        let ids: Option<Vec<_>> = self
            .elements()?
            .iter()
            .map(|e| e.as_uuid().and_then(|id| id.as_uuid()))
            .collect();
        Some(Value::uuid_array(&ids?))
    }

    /// A string, or an array of numbers, as pgvector's `vector`, whose OID is
    /// `kind`; None for anything else. Raises what its input function raises.
    pub fn as_vector(&self, kind: pg_sys::Oid) -> Option<Value> {
        // SAFETY: the strings are NUL-terminated; the input function of a type
        // takes a C string, the type's parameter and a typmod.
        unsafe {
            let literal = match self.as_text() {
                Some(text) => pg_sys::text_to_cstring(text.datum.cast_mut_ptr()),
                None => {
                    let numbers = self.elements()?;
                    if numbers.iter().any(|n| n.kind() != JsonKind::Number) {
                        return None;
                    }
                    let container = self.container()?;
                    pg_sys::JsonbToCString(std::ptr::null_mut(), container, 0)
                }
            };
            let (mut input, mut parameter) = (pg_sys::Oid::INVALID, pg_sys::Oid::INVALID);
            pg_sys::getTypeInputInfo(kind, &mut input, &mut parameter);
            Some(Value::of(pg_sys::OidInputFunctionCall(
                input, literal, parameter, -1,
            )))
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

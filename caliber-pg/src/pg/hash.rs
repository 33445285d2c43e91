//! SHA-256 of texts.

use super::datum::Value;
use super::encoding::utf8_bytes;
use pgrx::pg_sys;

/// The SHA-256 of a text's UTF-8 bytes, as `bytea`; NULL for NULL. In a
/// SQL_ASCII database the bytes are taken as they are: nobody knows their
/// encoding.
pub fn sha256(text: Value) -> Value {
    let Some(bytes) = text.as_bytes() else {
        return Value::NULL;
    };
    let bytes = Value::bytea(&utf8_bytes(bytes));
    // SAFETY: sha256_bytea (cryptohashfuncs.c) takes a bytea and is strict.
    let hash =
        unsafe { pgrx::direct_function_call_as_datum(pg_sys::sha256_bytea, &[Some(bytes.datum)]) };
    hash.map_or(Value::NULL, Value::of)
}

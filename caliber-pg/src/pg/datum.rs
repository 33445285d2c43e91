//! Values on their way into and out of rows, and the arguments of functions.
//!
//! A value travels as PostgreSQL's own datum: text that arrives compressed or
//! out of line is stored as the SQL statement would store it.

use super::encoding::{from_server_bytes, to_server};
use super::relation::ColumnType;
use pgrx::callconv::{Arg as PgrxArg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, FromDatum};
use pgrx::nullable::Nullable;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};
use std::marker::PhantomData;
use uuid::Uuid;

/// A column value or NULL, of a type known from the column.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub(crate) datum: pg_sys::Datum,
    pub(crate) null: bool,
}

impl Value {
    /// SQL NULL.
    pub const NULL: Value = Value {
        datum: pg_sys::Datum::null(),
        null: true,
    };

    /// Wraps a datum that is known not to be NULL.
    pub(crate) fn of(datum: pg_sys::Datum) -> Self {
        Self { datum, null: false }
    }

    /// Wraps a datum with its null flag.
    pub(crate) fn new(datum: pg_sys::Datum, null: bool) -> Self {
        Self { datum, null }
    }

    /// Is this NULL?
    pub fn is_null(&self) -> bool {
        self.null
    }

    /// A `text` value, converted to the server's encoding.
    pub fn text(text: &str) -> Self {
        let text = to_server(text);
        // SAFETY: the text is a C string, which is copied.
        unsafe { Self::of(pg_sys::Datum::from(pg_sys::cstring_to_text(text.as_ptr()))) }
    }

    /// A `uuid` value.
    pub fn uuid(id: Uuid) -> Self {
        // SAFETY: palloc returns 16 writable bytes, the size of pg_uuid_t.
        unsafe {
            let p = pg_sys::palloc(16).cast::<u8>();
            std::ptr::copy_nonoverlapping(id.as_bytes().as_ptr(), p, 16);
            Self::of(pg_sys::Datum::from(p))
        }
    }

    /// A `uuid` value or NULL.
    pub fn maybe_uuid(id: Option<Uuid>) -> Self {
        id.map_or(Self::NULL, Self::uuid)
    }

    /// A `boolean` value.
    pub fn boolean(value: bool) -> Self {
        Self::of(pg_sys::Datum::from(value))
    }

    /// An `integer` value.
    pub fn int4(value: i32) -> Self {
        Self::of(pg_sys::Datum::from(value))
    }

    /// A `bigint` value.
    pub fn int8(value: i64) -> Self {
        Self::of(pg_sys::Datum::from(value))
    }

    /// A `double precision` value.
    pub fn float8(value: f64) -> Self {
        Self::of(pg_sys::Datum::from(value.to_bits()))
    }

    /// A `bytea` value.
    pub fn bytea(bytes: &[u8]) -> Self {
        // SAFETY: the bytes are copied; a bytea is a varlena as text is.
        unsafe {
            Self::of(pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(
                bytes.as_ptr().cast(),
                bytes.len() as i32,
            )))
        }
    }

    /// A `timestamptz` value, in microseconds since 2000-01-01.
    pub fn timestamp(microseconds: i64) -> Self {
        Self::int8(microseconds)
    }

    /// The wall clock, as `clock_timestamp()`.
    pub fn wall_clock() -> Self {
        // SAFETY: reads the clock, takes no argument.
        Self::int8(unsafe { pg_sys::GetCurrentTimestamp() })
    }

    /// The wall clock minus an interval, as `clock_timestamp() - interval`.
    /// Raises 22008 beyond the range of timestamps.
    pub fn wall_clock_minus(interval: Value) -> Self {
        Self::wall_clock().minus(interval)
    }

    /// A moment minus an interval. Raises 22008 beyond the range of timestamps.
    pub fn minus(self, interval: Value) -> Self {
        let arguments = [Some(self.datum), Some(interval.datum)];
        // SAFETY: the function takes a timestamptz and an interval.
        let moment = unsafe {
            pgrx::direct_function_call_as_datum(pg_sys::timestamptz_mi_interval, &arguments)
        };
        moment.map_or(Self::NULL, Self::of)
    }

    /// Start of the current transaction, as `now()` (R15.1).
    pub fn transaction_start() -> Self {
        if crate::fault::active("wall_clock_created_at") {
            // SAFETY: reads the clock, takes no argument.
            return Self::int8(unsafe { pg_sys::GetCurrentTimestamp() });
        }
        // SAFETY: reads a backend variable, takes no argument.
        Self::int8(unsafe { pg_sys::GetCurrentTransactionStartTimestamp() })
    }

    /// Reads a `uuid`; NULL is None.
    pub fn as_uuid(&self) -> Option<Uuid> {
        if self.null {
            return None;
        }
        // SAFETY: the caller's column or argument has type uuid, whose datum
        // points at 16 bytes that live as long as the row or argument.
        let bytes = unsafe { *self.datum.cast_mut_ptr::<[u8; 16]>() };
        Some(Uuid::from_bytes(bytes))
    }

    /// Reads a `boolean`; NULL is None.
    pub fn as_bool(&self) -> Option<bool> {
        (!self.null).then(|| self.datum.value() as u8 != 0)
    }

    /// Reads an `integer`; NULL is None.
    pub fn as_int4(&self) -> Option<i32> {
        (!self.null).then(|| self.datum.value() as i32)
    }

    /// Reads a `bigint`, or a `timestamptz` in microseconds since 2000-01-01;
    /// NULL is None.
    pub fn as_int8(&self) -> Option<i64> {
        (!self.null).then(|| self.datum.value() as i64)
    }

    /// Reads a `real`; NULL is None.
    pub fn as_real(&self) -> Option<f32> {
        (!self.null).then(|| f32::from_bits(self.datum.value() as u32))
    }

    /// Gives the bytes of a value of variable length to `work`, for `text` in the
    /// server's encoding; NULL is None. What was unpacked is free again afterwards.
    pub fn with_bytes<T>(&self, work: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if self.null {
            return None;
        }
        // SAFETY: the value is a varlena; the detoasted copy or the value
        // itself stays allocated while `work` has the slice, which nothing that
        // `work` returns can borrow from. The copy is nobody else's.
        unsafe {
            let mut v = self.datum.cast_mut_ptr::<pg_sys::varlena>();
            // What pg_detoast_datum_packed (fmgr.c) gives back as it is.
            let is_plain =
                pgrx::varatt_is_4b_u(v) || pgrx::varatt_is_1b(v) && !pgrx::varatt_is_1b_e(v);
            if !is_plain {
                v = pg_sys::pg_detoast_datum_packed(v);
            }
            let len = pgrx::varsize_any_exhdr(v);
            let data = pgrx::vardata_any(v).cast::<u8>();
            let done = work(std::slice::from_raw_parts(data, len));
            if !is_plain && !crate::fault::active("unpacked_kept") {
                pg_sys::pfree(v.cast());
            }
            Some(done)
        }
    }

    /// A copy of these bytes; NULL is None.
    pub fn as_bytes(&self) -> Option<Vec<u8>> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// Which of these words of ours, which are ASCII, a text is; NULL is none.
    pub fn word_among(&self, words: &[&str]) -> Option<usize> {
        let find = |text: &[u8]| words.iter().position(|word| text == word.as_bytes());
        self.with_bytes(find).flatten()
    }

    /// A `text` value as a Rust string, for messages and comparisons with
    /// ASCII words; NULL is None.
    pub fn as_text(&self) -> Option<String> {
        self.with_bytes(from_server_bytes)
    }
}

/// What matters of an array before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayShape {
    /// Empty or of one dimension, without NULLs.
    Plain,
    /// More than one dimension.
    Dimensions,
    /// Some element is NULL.
    Nulls,
}

impl Value {
    /// The shape of an array that is not NULL.
    pub fn array_shape(&self) -> ArrayShape {
        // SAFETY: the caller's argument is an array, a varlena, of which a
        // detoasted copy or the value itself is read.
        unsafe {
            let array = pg_sys::pg_detoast_datum(self.datum.cast_mut_ptr());
            let array = array.cast::<pg_sys::ArrayType>();
            if (*array).ndim > 1 {
                ArrayShape::Dimensions
            } else if pg_sys::array_contains_nulls(array) {
                ArrayShape::Nulls
            } else {
                ArrayShape::Plain
            }
        }
    }

    /// A `uuid[]` value.
    pub fn uuid_array(ids: &[Uuid]) -> Self {
        let mut datums: Vec<pg_sys::Datum> = ids.iter().map(|&id| Self::uuid(id).datum).collect();
        // SAFETY: `datums` holds uuid datums: 16 bytes, by reference, aligned
        // to char; construct_array copies them.
        unsafe {
            Self::of(pg_sys::Datum::from(pg_sys::construct_array(
                datums.as_mut_ptr(),
                datums.len() as i32,
                pg_sys::UUIDOID,
                16,
                false,
                b'c' as std::ffi::c_char,
            )))
        }
    }

    /// A copy in the current memory context, independent of the row.
    pub fn copied(&self, kind: ColumnType) -> Self {
        if self.null {
            return *self;
        }
        match kind {
            ColumnType::Uuid => self.as_uuid().map_or(Self::NULL, Self::uuid),
            ColumnType::Text
            | ColumnType::Jsonb
            | ColumnType::Bytea
            | ColumnType::Vector
            | ColumnType::UuidArray
            | ColumnType::TextArray => {
                // SAFETY: these types are varlenas; the copy is palloc'd.
                let copy = unsafe { pg_sys::pg_detoast_datum_copy(self.datum.cast_mut_ptr()) };
                Self::of(pg_sys::Datum::from(copy))
            }
            ColumnType::Timestamp
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Real
            | ColumnType::Bool => *self,
        }
    }

    /// IS NOT DISTINCT FROM, for two values of a column of this type. Values of
    /// variable length are compared by bytes, as text's deterministic equality
    /// does.
    pub fn same(&self, other: &Self, kind: ColumnType) -> bool {
        if self.null || other.null {
            return self.null && other.null;
        }
        match kind {
            ColumnType::Uuid => self.as_uuid() == other.as_uuid(),
            ColumnType::Text
            | ColumnType::Jsonb
            | ColumnType::Bytea
            | ColumnType::Vector
            | ColumnType::UuidArray
            | ColumnType::TextArray => {
                self.with_bytes(|a| other.with_bytes(|b| a == b)).flatten() == Some(true)
            }
            ColumnType::Bool => self.as_bool() == other.as_bool(),
            ColumnType::Int4 => self.as_int4() == other.as_int4(),
            ColumnType::Real => self.as_real() == other.as_real(),
            ColumnType::Timestamp | ColumnType::Int8 => self.datum.value() == other.datum.value(),
        }
    }
}

/// A SQL type that may be an argument.
pub trait SqlType {
    /// Its name in CREATE FUNCTION.
    const SQL: &'static str;
}

macro_rules! sql_types {
    ($($(#[$doc:meta])* $name:ident = $sql:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;
        impl SqlType for $name {
            const SQL: &'static str = $sql;
        }
    )*};
}

sql_types! {
    /// `uuid`
    UuidType = "uuid";
    /// `text`
    TextType = "text";
    /// `jsonb`
    JsonbType = "jsonb";
    /// `integer`
    Int4Type = "int";
    /// `boolean`
    BoolType = "boolean";
    /// `bigint`
    Int8Type = "bigint";
    /// `real`
    RealType = "real";
    /// `timestamp with time zone`
    TimestampType = "timestamptz";
    /// `interval`
    IntervalType = "interval";
    /// `uuid[]`
    UuidArrayType = "uuid[]";
    /// `text[]`
    TextArrayType = "text[]";
    /// `vector` of pgvector
    VectorType = "vector";
}

/// An argument of a SQL function: the caller's datum, unchanged.
#[derive(Debug, Clone, Copy)]
pub struct Argument<T> {
    datum: pg_sys::Datum,
    of: PhantomData<T>,
}

/// A `uuid` argument.
pub type UuidArg = Option<Argument<UuidType>>;
/// A `text` argument.
pub type TextArg = Option<Argument<TextType>>;
/// A `jsonb` argument.
pub type JsonbArg = Option<Argument<JsonbType>>;
/// An `integer` argument.
pub type IntArg = Option<Argument<Int4Type>>;

/// A `boolean` argument.
pub type BoolArg = Option<Argument<BoolType>>;
/// A `bigint` argument.
pub type BigintArg = Option<Argument<Int8Type>>;
/// A `real` argument.
pub type RealArg = Option<Argument<RealType>>;
/// A `timestamptz` argument.
pub type TimestampArg = Option<Argument<TimestampType>>;
/// An `interval` argument.
pub type IntervalArg = Option<Argument<IntervalType>>;
/// A `uuid[]` argument.
pub type UuidArrayArg = Option<Argument<UuidArrayType>>;
/// A `text[]` argument.
pub type TextArrayArg = Option<Argument<TextArrayType>>;
/// A `vector` argument.
pub type VectorArg = Option<Argument<VectorType>>;

/// What an argument is as a value: its datum, or NULL.
pub trait ToValue {
    /// The value to store or compare.
    fn value(&self) -> Value;
}

impl ToValue for Value {
    fn value(&self) -> Value {
        *self
    }
}

impl<T> ToValue for Option<Argument<T>> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::NULL, |a| Value::of(a.datum))
    }
}

impl<T> FromDatum for Argument<T> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then_some(Self {
            datum,
            of: PhantomData,
        })
    }
}

// SAFETY: the datum is kept as it came and given back as it came; its type is
// the one the function was declared with (SqlTranslatable below).
unsafe impl<'fcx, T> ArgAbi<'fcx> for Argument<T> {
    unsafe fn unbox_arg_unchecked(arg: PgrxArg<'_, 'fcx>) -> Self {
        // SAFETY: from_polymorphic_datum above accepts any datum.
        let found = unsafe { arg.unbox_arg_using_from_datum::<Self>() };
        found.unwrap_or(Self {
            datum: pg_sys::Datum::null(),
            of: PhantomData,
        })
    }

    unsafe fn unbox_nullable_arg(arg: PgrxArg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum::<Self>() }.into()
    }
}

// SAFETY: the SQL name is the type whose datum the argument carries.
unsafe impl<T: SqlType> SqlTranslatable for Argument<T> {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::literal(T::SQL))
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::literal(T::SQL)))
    }
}

/// A `uuid` result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub Uuid);

// SAFETY: `Value::uuid` makes a datum of the declared type.
unsafe impl BoxRet for Id {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the datum is palloc'd in the caller's context.
        unsafe { fcinfo.return_raw_datum(Value::uuid(self.0).datum) }
    }
}

// SAFETY: the datum made above is a uuid.
unsafe impl SqlTranslatable for Id {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::literal("uuid"))
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::literal("uuid")))
    }
}

//! What the cold path needs of the server beyond SQL text: rights, the lock on the extension, catalog look-ups and
//! queries that see the latest state at every isolation level, and expressions
//! as the server itself would print them.
//!
//! Every function may raise PostgreSQL's own ERROR, which passes through.

use std::ffi::CStr;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};
use pgrx::IntoDatum;

use super::encoding::{from_server, to_server};
use super::error::{raise_report, Report, SqlState};

/// A relation as `pg_class` describes it.
#[derive(Clone, Copy, Debug)]
pub struct ClassEntry {
    /// Its OID.
    pub oid: pg_sys::Oid,
    /// `relkind`: `r` for a table.
    pub kind: u8,
    /// The row type that the table is declared OF, if any.
    pub row_type: Option<pg_sys::Oid>,
    /// The role that owns it.
    pub owner: pg_sys::Oid,
}

impl ClassEntry {
    /// Whether this is a table, of the row type that is named.
    pub fn is_table_of(&self, row_type: Option<pg_sys::Oid>) -> bool {
        self.is_table() && row_type.is_some() && self.row_type == row_type
    }

    /// Whether this is an ordinary table.
    pub fn is_table(&self) -> bool {
        self.kind == pg_sys::RELKIND_RELATION
    }
}

/// The relation of that name in that schema (never by search_path).
pub fn relation(schema: pg_sys::Oid, name: &str) -> Option<ClassEntry> {
    let name = to_server(name);
    // SAFETY: `name` lives through the calls; the tuple is checked for null,
    // is one of pg_class (RELOID) and is released after its last use.
    unsafe {
        let oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(oid));
        if tuple.is_null() {
            return None;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
        let found = ClassEntry {
            oid,
            kind: (*form).relkind as u8,
            row_type: valid((*form).reloftype),
            owner: (*form).relowner,
        };
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}

/// The name of a schema, quoted where SQL needs it.
pub fn quoted_schema(schema: pg_sys::Oid) -> String {
    // SAFETY: get_namespace_name returns null or a palloc'd string;
    // quote_identifier returns its argument or a palloc'd copy.
    unsafe {
        let name = pg_sys::get_namespace_name(schema);
        if name.is_null() {
            return String::new();
        }
        from_server(pg_sys::quote_identifier(name))
    }
}

/// Raises 25006 in a read-only transaction and on a standby, 25000 in a
/// parallel operation, in PostgreSQL's words.
pub fn refuse_if_read_only(what: &CStr) {
    // SAFETY: both only read `what`, a valid C string, for their message.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(what.as_ptr());
        pg_sys::PreventCommandIfParallelMode(what.as_ptr());
    }
}

/// Raises PostgreSQL's 42501 unless the current user may create in the schema.
pub fn check_may_create_in(schema: pg_sys::Oid) {
    super::rights::check_schema_usage(schema);
    super::compat::privileges::check_schema_right(schema, pg_sys::ACL_CREATE);
}

/// Raises PostgreSQL's 42501 unless the current user may give an object to `role`.
pub fn check_may_give_to(role: pg_sys::Oid) {
    super::compat::privileges::check_may_give_to(role);
}

/// The current user, whose rights count.
pub fn current_user() -> pg_sys::Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetUserId() }
}

/// The name of a role, quoted where SQL needs it.
pub fn quoted_role(role: pg_sys::Oid) -> String {
    // SAFETY: with noerr = false the name is never null.
    unsafe {
        from_server(pg_sys::quote_identifier(pg_sys::GetUserNameFromId(
            role, false,
        )))
    }
}

/// Takes the extension's catalog object to the end of the transaction, so that
/// two sessions exclude each other here (and `DROP EXTENSION` waits).
pub fn lock_extension(name: &CStr) {
    // SAFETY: `name` is a valid C string; both functions take any OID. A missing
    // extension raises, also if it went away while we waited.
    unsafe {
        let extension = pg_sys::get_extension_oid(name.as_ptr(), false);
        pg_sys::LockDatabaseObject(
            pg_sys::ExtensionRelationId,
            extension,
            0,
            pg_sys::ExclusiveLock as pg_sys::LOCKMODE,
        );
        pg_sys::get_extension_oid(name.as_ptr(), false);
    }
}

/// Runs `work` with a search_path that holds nothing of the user's, and with
/// names quoted only where needed; the settings are those of the caller again
/// afterwards. (If `work` raises, the abort of the (sub)transaction restores them.)
pub fn with_fixed_settings<T>(work: impl FnOnce() -> T) -> T {
    let settings = [
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"quote_all_identifiers", c"off"),
        // Catalog queries are written in the order in which they are best joined;
        // trying all others costs more than reading.
        (c"join_collapse_limit", c"1"),
    ];
    super::guc::with(&settings, work)
}

/// Runs one statement with the rights of the caller.
pub fn execute(sql: &str) {
    let sql = to_server(sql);
    // SAFETY: SPI is connected and finished here; an ERROR in between is
    // cleaned up by the abort of the (sub)transaction.
    unsafe {
        pg_sys::SPI_connect();
        check_spi(pg_sys::SPI_execute(sql.as_ptr(), false, 0));
        pg_sys::SPI_finish();
    }
}

/// SPI reports by code what only a mistake of ours can cause, for example a COPY.
fn check_spi(code: i32) {
    if code < 0 {
        internal_error(format!("SPI_execute failed with code {code}"));
    }
}

/// Raises XX000 for what cannot happen unless this library is wrong.
pub fn internal_error(message: String) -> ! {
    let mut report = Report::new(SqlState::new("XX000"));
    report.message = message;
    raise_report(&report)
}

/// The rows of a query, as text, seen under a snapshot taken now: a catalog
/// row that another session has just committed is there at every isolation level.
pub fn query(sql: &str) -> Vec<Vec<Option<String>>> {
    let sql = to_server(sql);
    // SAFETY: as in `execute`. The snapshot is popped after the query, and by the
    // abort if it raises. `SPI_tuptable` is that of the query just run: `numvals`
    // tuples of the `natts` columns of its descriptor; its strings are copied
    // before SPI_finish frees them.
    unsafe {
        pg_sys::SPI_connect();
        pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        check_spi(pg_sys::SPI_execute(sql.as_ptr(), true, 0));
        pg_sys::PopActiveSnapshot();
        let mut rows = Vec::new();
        let table = pg_sys::SPI_tuptable;
        if !table.is_null() {
            let descriptor = (*table).tupdesc;
            for row in 0..(*table).numvals as usize {
                let tuple = *(*table).vals.add(row);
                let value = |column| {
                    let text = pg_sys::SPI_getvalue(tuple, descriptor, column);
                    (!text.is_null()).then(|| from_server(text))
                };
                rows.push((1..=(*descriptor).natts).map(value).collect());
            }
        }
        pg_sys::SPI_finish();
        rows
    }
}

/// What an expression stands for in a table's definition.
#[derive(Clone, Copy, Debug)]
pub enum Expression<'a> {
    /// A CHECK constraint's, or the predicate of an index.
    Condition(&'a str),
    /// The key of an index.
    Key(&'a str),
    /// The default of the column that is named.
    Default(&'a str, &'a str),
}

/// The expression as PostgreSQL prints it once it is stored (`pg_get_expr`), so
/// that what we would create can be compared with what is there.
pub fn canonical(relation: pg_sys::Oid, expression: Expression) -> String {
    let text = match expression {
        Expression::Condition(text) | Expression::Key(text) | Expression::Default(_, text) => {
            to_server(text)
        }
    };
    // SAFETY: the steps of cookConstraint and cookDefault (heap.c). raw_parser in
    // this mode returns one RawStmt around a SELECT with one target, or raises.
    // The relation stays open, and locked to the end of the transaction, while
    // the parse state refers to it. All memory is of the caller's short-lived
    // context.
    unsafe {
        let opened = pg_sys::relation_open(relation, pg_sys::AccessShareLock as i32);
        let parsed =
            pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_PLPGSQL_EXPR);
        let statement = first::<pg_sys::RawStmt>(parsed);
        let select = (*statement).stmt.cast::<pg_sys::SelectStmt>();
        let raw = (*first::<pg_sys::ResTarget>((*select).targetList)).val;

        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        (*state).p_sourcetext = text.as_ptr();
        let item = pg_sys::addRangeTableEntryForRelation(
            state,
            opened,
            pg_sys::AccessShareLock as i32,
            std::ptr::null_mut(),
            false,
            true,
        );
        pg_sys::addNSItemToQuery(state, item, true, true, true);
        let node = match expression {
            Expression::Condition(_) => {
                let kind = pg_sys::ParseExprKind::EXPR_KIND_CHECK_CONSTRAINT;
                let node = pg_sys::transformExpr(state, raw, kind);
                let node = pg_sys::coerce_to_boolean(state, node, c"CHECK".as_ptr());
                pg_sys::assign_expr_collations(state, node);
                node
            }
            Expression::Key(_) => {
                let kind = pg_sys::ParseExprKind::EXPR_KIND_INDEX_EXPRESSION;
                let node = pg_sys::transformExpr(state, raw, kind);
                pg_sys::assign_expr_collations(state, node);
                node
            }
            Expression::Default(column, _) => {
                let column = to_server(column);
                let number = pg_sys::get_attnum(relation, column.as_ptr());
                let (mut typ, mut typmod, mut collation) =
                    (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
                pg_sys::get_atttypetypmodcoll(
                    relation,
                    number,
                    &mut typ,
                    &mut typmod,
                    &mut collation,
                );
                pg_sys::cookDefault(state, raw, typ, typmod, column.as_ptr(), 0)
            }
        };
        let stored = pg_sys::cstring_to_text(pg_sys::nodeToString(node.cast()));
        let printed = pgrx::direct_function_call_as_datum(
            pg_sys::pg_get_expr,
            &[Some(pg_sys::Datum::from(stored)), relation.into_datum()],
        );
        pg_sys::relation_close(opened, pg_sys::NoLock as i32);
        printed.map_or_else(String::new, |text| {
            from_server(pg_sys::text_to_cstring(text.cast_mut_ptr()))
        })
    }
}

/// The first node of a list.
///
/// # Safety
/// `list` is a list of pointers to `T` with at least one element.
unsafe fn first<T>(list: *mut pg_sys::List) -> *mut T {
    // SAFETY: the caller's promise; a list's cells are `elements`.
    unsafe { (*(*list).elements).ptr_value.cast() }
}

/// Text that a function returns, in whatever encoding the database has (pgrx's
/// `String` leaves UTF-8 as it is): it may hold names of the user's.
#[derive(Debug)]
pub struct ServerText(pub String);

// SAFETY: the datum is a palloc'd text, in the context of the function's caller.
unsafe impl BoxRet for ServerText {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        let text = to_server(&self.0);
        // SAFETY: the SQL type is text, see below; `text` is copied.
        unsafe {
            let datum = pg_sys::Datum::from(pg_sys::cstring_to_text(text.as_ptr()));
            fcinfo.return_raw_datum(datum)
        }
    }
}

// SAFETY: maps to the SQL type of the datum that is returned.
unsafe impl SqlTranslatable for ServerText {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::literal("TEXT"))
    }

    fn return_sql() -> Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::literal("TEXT")))
    }
}

fn valid(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    (oid != pg_sys::InvalidOid).then_some(oid)
}

//! The settings, prefix `caliber`, all changeable by everyone in a session.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// `caliber.engine`: how rows are stored and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum EngineSetting {
    /// Direct heap access.
    #[name = c"heap"]
    Heap,
    /// SPI with kept plans.
    #[name = c"sql"]
    Sql,
    /// SPI, planned at each call.
    #[name = c"sql_oneshot"]
    SqlOneshot,
}

/// `caliber.on_duplicate`: what a create does with an id that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum OnDuplicate {
    /// Raise 23505.
    #[name = c"error"]
    Error,
    /// Return the id and write nothing.
    #[name = c"return"]
    Return,
}

static ENGINE: GucSetting<EngineSetting> = GucSetting::<EngineSetting>::new(EngineSetting::Heap);
static NOTIFY: GucSetting<bool> = GucSetting::<bool>::new(true);
static ON_DUPLICATE: GucSetting<OnDuplicate> = GucSetting::<OnDuplicate>::new(OnDuplicate::Error);

/// The engine asked for.
pub fn engine() -> EngineSetting {
    ENGINE.get()
}

/// Are messages announced?
pub fn notify() -> bool {
    NOTIFY.get()
}

/// What to do with an id that exists.
pub fn on_duplicate() -> OnDuplicate {
    ON_DUPLICATE.get()
}

/// Defines the settings; called once when the library is loaded.
pub fn register() {
    GucRegistry::define_enum_guc(
        c"caliber.engine",
        c"How rows are stored and found.",
        c"heap: direct heap access; sql: SPI with kept plans; sql_oneshot: SPI planned at each call.",
        &ENGINE,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"caliber.notify",
        c"Announces messages with NOTIFY when their transaction commits.",
        c"Off leaves the announcement out; receivers must then poll.",
        &NOTIFY,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"caliber.on_duplicate",
        c"What a create does when a row with the given id exists.",
        c"error raises unique_violation; return writes nothing and returns the id.",
        &ON_DUPLICATE,
        GucContext::Userset,
        GucFlags::default(),
    );
    crate::fault::register();
    crate::wait::register();
    crate::pg::reserve_setting_prefix();
}

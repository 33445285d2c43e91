//! Seeded faults: realistic mistakes, each in one place, that the verification
//! must catch. Without the cargo feature `faults` nothing of this is compiled.

/// Every fault by name, with the mistake it stands for.
pub const FAULTS: &[(&str, &str)] = &[
    ("skip_index_entry", "one index of a table gets no entries"),
    (
        "hot_flag_ignored",
        "no index entries after an update that is not HOT",
    ),
    (
        "no_command_counter_increment",
        "a write is not visible to the next command",
    ),
    (
        "stale_command_id",
        "a read misses what its own statement wrote",
    ),
    (
        "wall_clock_created_at",
        "timestamps show the wall clock instead of the transaction's start",
    ),
    (
        "skip_foreign_key",
        "AFTER ROW triggers, foreign keys among them, are not queued",
    ),
    ("skip_privileges", "table rights are not checked"),
    (
        "weak_relation_lock",
        "a writer locks the table like a reader",
    ),
    (
        "after_includes_start",
        "a page of a list repeats the last row of the page before",
    ),
    ("illegal_transition", "a final state may be left"),
];

#[cfg(feature = "faults")]
static FAULT: pgrx::guc::GucSetting<Option<std::ffi::CString>> =
    pgrx::guc::GucSetting::<Option<std::ffi::CString>>::new(None);

/// Is this fault switched on?
#[cfg(feature = "faults")]
pub fn active(name: &str) -> bool {
    debug_assert!(FAULTS.iter().any(|f| f.0 == name));
    FAULT.get().is_some_and(|f| f.to_bytes() == name.as_bytes())
}

/// Is this fault switched on? Never, in a build without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn active(_name: &str) -> bool {
    false
}

/// Defines `caliber.fault`.
#[cfg(feature = "faults")]
pub fn register() {
    pgrx::guc::GucRegistry::define_string_guc(
        c"caliber.fault",
        c"The deliberate mistake to make.",
        c"For the verification only.",
        &FAULT,
        pgrx::guc::GucContext::Userset,
        pgrx::guc::GucFlags::default(),
    );
}

/// Defines nothing, in a build without the feature.
#[cfg(not(feature = "faults"))]
pub fn register() {}

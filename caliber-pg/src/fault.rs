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
    (
        "lossy_page_skipped",
        "a page of which a bitmap knows no more counts as empty",
    ),
    (
        "bitmap_not_rechecked",
        "rows of a lossy page are not checked again",
    ),
    (
        "ended_rows_listed",
        "lists and searches show what has ended",
    ),
    (
        "ttl_transaction_clock",
        "a ttl is compared with the transaction's start",
    ),
    (
        "stale_content_hash",
        "an update of the content leaves its hash",
    ),
    (
        "loops_uninterrupted",
        "loops over rows do not ask whether the statement was cancelled",
    ),
    (
        "commit_allocates",
        "memory is allocated when a transaction has been committed",
    ),
    (
        "read_inside_read",
        "a read in the middle of another does not know which versions replace which",
    ),
    (
        "search_stops_early",
        "a search ends with the first batch of the index",
    ),
    (
        "lock_lost_savepoint",
        "a rollback to a savepoint does not undo what a session lock took or gave back",
    ),
    (
        "lock_rows_left",
        "rows of level transaction survive their transaction",
    ),
    (
        "lock_stale_snapshot",
        "acquire reads under the transaction's snapshot",
    ),
    (
        "lock_no_recheck",
        "a row that was dead is deleted without asking again",
    ),
    (
        "lock_no_holder_tag",
        "two sessions acquire for one agent at once",
    ),
    (
        "lock_transaction_clock",
        "leases end by the transaction's start",
    ),
    (
        "lock_released_at_once",
        "a session lock is given back before its transaction commits",
    ),
    ("lock_release_any", "another session's lock may be released"),
    ("lock_extend_expired", "an expired lease may be extended"),
    (
        "lock_busy_keeps",
        "an acquire that comes to nothing keeps what it took until the transaction ends",
    ),
    (
        "lock_old_version_only",
        "a row that is being updated is locked in its old version only",
    ),
    (
        "lock_swept_in_vain",
        "an acquire that a trigger vetoes has deleted the dead rows in its way",
    ),
    (
        "lock_trigger_acquires",
        "a trigger that acquires the resource whose lock is being written has it too",
    ),
    (
        "lock_immortal_session",
        "a session lock outlives its session",
    ),
    (
        "claim_waits",
        "a receiver of messages waits for rows that another has locked",
    ),
    (
        "claim_not_rechecked",
        "a message that was received meanwhile is received again",
    ),
    (
        "consulted_stays_open",
        "what a verb has read stays open while it writes",
    ),
    ("list_nulls_first", "a list merges rows without a key first"),
    (
        "claim_of_new_key",
        "a message that got another key meanwhile is received",
    ),
    (
        "notify_as_given",
        "an announcement says what was sent, not what a trigger made of it",
    ),
    (
        "message_transaction_clock",
        "messages expire by the transaction's start",
    ),
    (
        "sequence_unlocked",
        "turns are numbered without the scope's lock",
    ),
    (
        "sequence_old_snapshot",
        "turns are numbered under the transaction's snapshot",
    ),
    ("closed_scope_open", "a closed scope takes turns"),
    (
        "element_default_missing",
        "an argument that an element does not give is NULL, not its default",
    ),
    (
        "element_unknown_key",
        "keys of an element that nobody knows are passed over",
    ),
    (
        "vetoed_ids_left_out",
        "a row that a trigger vetoed has no place among the ids",
    ),
    (
        "heartbeat_transaction_clock",
        "a heartbeat is the transaction's start",
    ),
    (
        "list_repeats",
        "a row that several ranges of a list give comes several times",
    ),
    (
        "row_header_kept",
        "a row of a list still says which transactions wrote and locked it",
    ),
    (
        "other_ranks_unlisted",
        "rows of a rank or state that a user lets in are in no list",
    ),
    (
        "any_agent_eligible",
        "an agent that work is not addressed to may accept it",
    ),
    (
        "late_complete",
        "an agent from which work was taken back may complete it",
    ),
    (
        "loser_leaves_child",
        "an agent that accepts too late leaves a trajectory behind",
    ),
    (
        "old_snapshot_update",
        "at REPEATABLE READ a row that others changed is changed all the same",
    ),
    (
        "accept_trigger_order",
        "accepting fires the triggers of the move before those of the child",
    ),
    (
        "partial_predicate_ignored",
        "partial indexes get entries for every row",
    ),
    (
        "deferred_recheck_lost",
        "deferrable keys are never checked again",
    ),
    ("before_triggers_skipped", "BEFORE ROW triggers do not fire"),
    (
        "statement_triggers_skipped",
        "statement triggers do not fire",
    ),
    (
        "constraints_skipped",
        "NOT NULL and CHECK constraints are not looked at",
    ),
    (
        "replica_identity_skipped",
        "published tables are written without a replica identity",
    ),
    (
        "update_locks_first",
        "an update locks the row before it writes it",
    ),
    (
        "named_columns_lost",
        "an update does not say which columns it sets",
    ),
    (
        "lock_row_by_key_only",
        "the end of a transaction lock takes whatever row has its key",
    ),
    (
        "lock_row_cascades",
        "the end of a transaction lock sets off the actions of keys that refer to it",
    ),
    (
        "veto_not_looked_at",
        "a verb that a trigger vetoes is false, whatever the trigger did",
    ),
    (
        "purge_follows_own_triggers",
        "a purge deletes the versions that its own triggers made",
    ),
    (
        "own_row_of_key_missed",
        "a row that another transaction deleted is shown beside ours of the same key",
    ),
    (
        "first_of_key_only",
        "of two rows of a key, ours and one deleted since, only one is written",
    ),
    (
        "purge_not_rechecked",
        "a purge deletes what was not to be deleted any more when it got the lock",
    ),
    (
        "row_memory_kept",
        "what a call of many rows needs for one is freed at its end",
    ),
    (
        "latest_without_own",
        "a tree and a sequence do not see what the calling statement wrote",
    ),
    ("veto_unnoticed", "a vetoed row counts as written"),
    (
        "newest_not_rechecked",
        "an update takes the newest version whatever became of it",
    ),
    (
        "lost_update",
        "an update of a newer version writes the values of the older one",
    ),
    (
        "scan_stops_early",
        "a scan ends at the first row that does not pass",
    ),
    ("rules_ignored", "rules of a table do not apply"),
    ("policies_ignored", "row policies do not apply"),
    ("children_ignored", "rows of child tables are left out"),
    (
        "predicate_not_implied",
        "a list reads a partial index that does not hold all its rows",
    ),
    ("invalid_index_used", "an index that is not valid is read"),
    (
        "read_lock_dropped",
        "a read gives its table's lock back at once",
    ),
    ("pin_kept", "a call does not give back the page of its row"),
    (
        "unpacked_kept",
        "a long text that a row is asked for stays unpacked until the call ends",
    ),
    ("random_again", "random bytes are given out again"),
    (
        "own_collation_scan",
        "an index is chosen whatever its collation",
    ),
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

//! The executor state of one writing statement: what standard_ExecutorStart,
//! ExecInitModifyTable and standard_ExecutorEnd set up and tear down, without a
//! plan.

use crate::counters::{self, Counter};
use crate::engine::Table;
use crate::error::{CaliberError, CaliberResult, StorageError, WriteCause, WriteFailure};
use crate::pg::compat::{self, NewEntries};
use crate::pg::rights::{self, Command, RangeTable, Rights};
use crate::pg::snapshot;
use pgrx::pg_sys;

/// A running statement. If an ERROR unwinds, or our own code returns an error
/// (which is raised as one), the (sub)transaction's abort ends it.
pub(super) struct Statement {
    pub(super) estate: *mut pg_sys::EState,
    pub(super) info: *mut pg_sys::ResultRelInfo,
    pub(super) transition: *mut pg_sys::TransitionCaptureState,
    pub(super) relation: pg_sys::Relation,
    epq: *mut pg_sys::EPQState,
    caller: pg_sys::MemoryContext,
    command: Command,
}

impl Statement {
    /// Starts a statement under the active snapshot, up to and including its
    /// BEFORE STATEMENT triggers. `rights` names the columns of the statement,
    /// which decide over UPDATE OF triggers, lock modes and DETAIL texts.
    pub(super) fn begin(table: &Table, rights: &Rights) -> Self {
        let [statement] = Self::parts([(table, rights)]);
        statement.fire_before();
        statement
    }

    /// One statement that writes several tables, as the ModifyTable nodes of
    /// one plan do: with one snapshot, command id and queue of triggers. No
    /// trigger has been fired yet.
    pub(super) fn parts<const N: usize>(parts: [(&Table, &Rights); N]) -> [Self; N] {
        // SAFETY: the relations are open and locked RowExclusive. The calls are
        // made in the order of execMain.c; everything is allocated in the
        // executor's own context.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let caller = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            (*estate).es_snapshot = pg_sys::GetActiveSnapshot();
            (*estate).es_output_cid = pg_sys::GetCurrentCommandId(true);
            let mut range_table = RangeTable::default();
            for (table, rights) in parts {
                range_table.append(rights::range_table(&table.relation, rights));
            }
            compat::init_range_table(estate, &range_table);
            pg_sys::AfterTriggerBeginQuery();
            let mut index = 0;
            parts.map(|(table, rights)| {
                index += 1;
                Self::part(estate, caller, table, rights, index)
            })
        }
    }

    /// The part of a statement that writes the table with this index in the
    /// range table (ExecInitModifyTable, nodeModifyTable.c).
    ///
    /// # Safety
    /// `estate` is new, with its range table, and its context is current.
    unsafe fn part(
        estate: *mut pg_sys::EState,
        caller: pg_sys::MemoryContext,
        table: &Table,
        rights: &Rights,
        index: pg_sys::Index,
    ) -> Self {
        let relation = table.relation.ptr;
        let command = rights.command;
        // SAFETY: the caller's promise; the relation is open.
        unsafe {
            // CheckValidResultRel: published tables need a replica identity.
            if !crate::fault::active("replica_identity_skipped") {
                pg_sys::CheckCmdReplicaIdentity(relation, command.cmd_type());
            }
            let info: *mut pg_sys::ResultRelInfo =
                compat::make_node(pg_sys::NodeTag::T_ResultRelInfo);
            pg_sys::ExecInitResultRelation(estate, info, index);
            if (*(*relation).rd_rel).relhasindex {
                pg_sys::ExecOpenIndices(info, false);
            }
            if crate::fault::active("skip_foreign_key") && !(*info).ri_TrigDesc.is_null() {
                // The descriptor is this statement's own copy.
                (*(*info).ri_TrigDesc).trig_insert_after_row = false;
                (*(*info).ri_TrigDesc).trig_update_after_row = false;
                (*(*info).ri_TrigDesc).trig_delete_after_row = false;
            }
            let epq =
                pg_sys::palloc0(std::mem::size_of::<pg_sys::EPQState>()).cast::<pg_sys::EPQState>();
            compat::init_epq(epq, estate);
            let transition = pg_sys::MakeTransitionCaptureState(
                (*info).ri_TrigDesc,
                table.relation.oid(),
                command.cmd_type(),
            );
            Self {
                estate,
                info,
                transition,
                relation,
                epq,
                caller,
                command,
            }
        }
    }

    /// Fires the BEFORE STATEMENT triggers.
    pub(super) fn fire_before(&self) {
        if crate::fault::active("statement_triggers_skipped") {
            return;
        }
        // SAFETY: the state was made by `part` and is not finished.
        unsafe {
            match self.command {
                Command::Insert => pg_sys::ExecBSInsertTriggers(self.estate, self.info),
                Command::Update => pg_sys::ExecBSUpdateTriggers(self.estate, self.info),
                Command::Delete => pg_sys::ExecBSDeleteTriggers(self.estate, self.info),
                Command::Select | Command::SelectForKeyShare | Command::SelectForNoKeyUpdate => {}
            }
        }
    }

    /// Queues the AFTER STATEMENT triggers.
    fn fire_after(&self) {
        if crate::fault::active("statement_triggers_skipped") {
            return;
        }
        // SAFETY: as in `fire_before`.
        unsafe {
            let (estate, info, transition) = (self.estate, self.info, self.transition);
            match self.command {
                Command::Insert => pg_sys::ExecASInsertTriggers(estate, info, transition),
                Command::Update => pg_sys::ExecASUpdateTriggers(estate, info, transition),
                Command::Delete => pg_sys::ExecASDeleteTriggers(estate, info, transition),
                Command::Select | Command::SelectForKeyShare | Command::SelectForNoKeyUpdate => {}
            }
        }
    }

    /// Ends the statement: AFTER STATEMENT triggers, then the queue of
    /// immediate triggers (foreign keys among them), then makes its work
    /// visible to the next command.
    pub(super) fn finish(self) {
        Self::finish_parts([self]);
    }

    /// Ends a statement of several parts, in the order in which they end.
    pub(super) fn finish_parts<const N: usize>(parts: [Self; N]) {
        // SAFETY: as standard_ExecutorFinish and standard_ExecutorEnd
        // (execMain.c): the state was made by `parts`, is that of all of them,
        // and is not used again.
        unsafe {
            for part in &parts {
                part.fire_after();
            }
            let Some(Self { estate, caller, .. }) = parts.first() else {
                return;
            };
            crate::wait::at("statement.queued");
            pg_sys::AfterTriggerEndQuery(*estate);
            crate::wait::at("statement.checked");
            for part in &parts {
                pg_sys::EvalPlanQualEnd(part.epq);
            }
            pg_sys::ExecResetTupleTable((**estate).es_tupleTable, false);
            pg_sys::ExecCloseResultRelations(*estate);
            pg_sys::ExecCloseRangeTableRelations(*estate);
            pg_sys::MemoryContextSwitchTo(*caller);
            pg_sys::FreeExecutorState(*estate);
        }
        snapshot::command_done();
    }

    /// A slot for tuples of the table, which the statement owns.
    pub(super) fn new_slot(&self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: the list of slots is the executor state's, reset in `finish`.
        unsafe {
            pg_sys::table_slot_create(
                self.relation,
                std::ptr::addr_of_mut!((*self.estate).es_tupleTable),
            )
        }
    }

    /// Runs the work on one of many rows, and frees what it allocated for the row
    /// (ResetPerTupleExprContext, executor.h).
    ///
    /// The statement's own context is current meanwhile, as in ExecModifyTable
    /// (nodeModifyTable.c): there the server keeps, when it first needs it, what it
    /// uses for all rows (ExecCallTriggerFunc, trigger.c: what is known of the
    /// trigger's function).
    pub(super) fn in_row_context<T>(
        &self,
        work: impl FnOnce() -> CaliberResult<T>,
    ) -> CaliberResult<T> {
        // SAFETY: the executor state is valid until `finish`; the per-tuple context is
        // NULL or the executor state's, and nothing of a finished row is used again.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*self.estate).es_query_cxt);
            let result = work()?;
            pg_sys::MemoryContextSwitchTo(caller);
            let context = (*self.estate).es_per_tuple_exprcontext;
            if !context.is_null() && !crate::fault::active("row_memory_kept") {
                pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
            Ok(result)
        }
    }

    /// The trigger descriptor, if the table has triggers.
    pub(super) fn triggers(&self) -> Option<&pg_sys::TriggerDesc> {
        // SAFETY: ri_TrigDesc is NULL or a copy owned by the executor state.
        unsafe { (*self.info).ri_TrigDesc.as_ref() }
    }

    /// NOT NULL and CHECK constraints of the tuple in `slot`.
    pub(super) fn check_constraints(&self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the slot holds a tuple of the relation.
        unsafe {
            (*slot).tts_tableOid = (*self.relation).rd_id;
            let skip = crate::fault::active("constraints_skipped");
            if !skip && !(*(*self.relation).rd_att).constr.is_null() {
                pg_sys::ExecConstraints(self.info, slot, self.estate);
            }
        }
    }

    /// Entries in every index that needs one; the indexes to recheck later.
    pub(super) fn index(
        &self,
        slot: *mut pg_sys::TupleTableSlot,
        update: bool,
        entries: NewEntries,
    ) -> *mut pg_sys::List {
        // SAFETY: the slot holds the tuple just written, and the indexes were
        // opened in `begin`.
        unsafe {
            if (*self.info).ri_NumIndices == 0 || entries == NewEntries::None {
                return std::ptr::null_mut();
            }
            if crate::fault::active("skip_index_entry") {
                // The last index of the list gets no entry.
                (*self.info).ri_NumIndices -= 1;
                let recheck =
                    compat::insert_index_entries(self.info, slot, self.estate, update, entries);
                (*self.info).ri_NumIndices += 1;
                return recheck;
            }
            if crate::fault::active("partial_predicate_ignored") {
                for i in 0..(*self.info).ri_NumIndices as usize {
                    let index = *(*self.info).ri_IndexRelationInfo.add(i);
                    (*index).ii_Predicate = std::ptr::null_mut();
                }
            }
            let recheck =
                compat::insert_index_entries(self.info, slot, self.estate, update, entries);
            if !recheck.is_null() {
                counters::add(Counter::PathDeferredKey);
            }
            if crate::fault::active("deferred_recheck_lost") {
                return std::ptr::null_mut();
            }
            recheck
        }
    }

    /// The state that BEFORE ROW triggers would re-evaluate a plan with.
    pub(super) fn epq(&self) -> *mut pg_sys::EPQState {
        self.epq
    }

    /// The command id of this statement's writes.
    pub(super) fn command_id(&self) -> pg_sys::CommandId {
        // SAFETY: the executor state is valid until `finish`.
        unsafe { (*self.estate).es_output_cid }
    }
}

impl Statement {
    /// 27000 as nodeModifyTable.c words it: a BEFORE trigger, or a function it
    /// called, changed the row that this statement is about to change.
    ///
    /// GetTupleForTrigger (trigger.c) says "updated" for a delete too.
    pub(super) fn changed_by_trigger(&self, for_trigger: bool) -> CaliberError {
        let (verb, wrap): (_, fn(WriteFailure) -> StorageError) = match self.command {
            Command::Delete if !for_trigger => ("deleted", StorageError::DeleteFailed),
            Command::Delete => ("updated", StorageError::DeleteFailed),
            _ => ("updated", StorageError::UpdateFailed),
        };
        CaliberError::from(wrap(WriteFailure {
            cause: WriteCause::ChangedByTrigger,
            reason: format!(
                "tuple to be {verb} was already modified by an operation triggered by the current command"
            ),
            hint: Some(
                "Consider using an AFTER trigger instead of a BEFORE trigger to propagate changes to other rows."
                    .into(),
            ),
            object: None,
        }))
    }
}

/// 40001 as nodeModifyTable.c words it.
pub(super) fn concurrent_update() -> CaliberError {
    CaliberError::serialization("could not serialize access due to concurrent update")
}

/// 40001 as nodeModifyTable.c words it.
pub(super) fn concurrent_delete() -> CaliberError {
    CaliberError::serialization("could not serialize access due to concurrent delete")
}

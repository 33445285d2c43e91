//! The one table of errors: variant, SQLSTATE, and how a report looks.

use crate::error::*;
use uuid::Uuid;

fn every_kind() -> Vec<(&'static str, CaliberError)> {
    let write = |cause| WriteFailure {
        cause,
        reason: "reason".into(),
        hint: None,
        object: None,
    };
    let rule = |rule| CaliberError::argument(rule, "message", None);
    let transaction = |cause| {
        CaliberError::from(StorageError::TransactionFailed {
            cause,
            reason: "reason".into(),
        })
    };
    vec![
        (
            "Storage(NotFound)",
            StorageError::NotFound {
                entity: "scope",
                id: Uuid::nil(),
            }
            .into(),
        ),
        (
            "Storage(InsertFailed(State))",
            StorageError::InsertFailed(write(WriteCause::State)).into(),
        ),
        (
            "Storage(UpdateFailed(Check))",
            StorageError::UpdateFailed(write(WriteCause::Check)).into(),
        ),
        (
            "Storage(UpdateFailed(Limit))",
            StorageError::UpdateFailed(write(WriteCause::Limit)).into(),
        ),
        (
            "Storage(UpdateFailed(State))",
            StorageError::UpdateFailed(write(WriteCause::State)).into(),
        ),
        (
            "Storage(UpdateFailed(Forbidden))",
            StorageError::UpdateFailed(write(WriteCause::Forbidden)).into(),
        ),
        (
            "Storage(DeleteFailed(ChangedByTrigger))",
            StorageError::DeleteFailed(write(WriteCause::ChangedByTrigger)).into(),
        ),
        (
            "Storage(TransactionFailed(ReadOnly))",
            transaction(TransactionCause::ReadOnly),
        ),
        (
            "Storage(TransactionFailed(Parallel))",
            transaction(TransactionCause::Parallel),
        ),
        (
            "Storage(TransactionFailed(Recovery))",
            transaction(TransactionCause::Recovery),
        ),
        (
            "Storage(TransactionFailed(Serialization))",
            transaction(TransactionCause::Serialization),
        ),
        (
            "Storage(IndexError)",
            StorageError::IndexError {
                table: "s.t".into(),
                columns: "a, b".into(),
                repair: "repair".into(),
            }
            .into(),
        ),
        (
            "Storage(SpiError(Missing))",
            StorageError::SpiError(RelationProblem::Missing {
                table: "s.t".into(),
            })
            .into(),
        ),
        (
            "Storage(SpiError(WrongShape))",
            StorageError::SpiError(RelationProblem::WrongShape {
                table: "s.t".into(),
                detail: "detail".into(),
                hint: "hint".into(),
            })
            .into(),
        ),
        ("Validation(NotNull)", rule(Rule::NotNull)),
        ("Validation(Value)", rule(Rule::Value)),
        ("Validation(RowCount)", rule(Rule::RowCount)),
        ("Validation(Range)", rule(Rule::Range)),
        ("Validation(Text)", rule(Rule::Text)),
        ("Validation(Timestamp)", rule(Rule::Timestamp)),
        ("Validation(TimestampRange)", rule(Rule::TimestampRange)),
        ("Validation(Unsupported)", rule(Rule::Unsupported)),
        (
            "Agent(State)",
            AgentError::State {
                message: "message".into(),
                hint: None,
            }
            .into(),
        ),
        (
            "Agent(NotEligible)",
            AgentError::NotEligible {
                message: "message".into(),
            }
            .into(),
        ),
        (
            "Agent(Unknown)",
            AgentError::Unknown {
                message: "message".into(),
                object: ConstraintName {
                    schema: "s".into(),
                    table: "t".into(),
                    constraint: "c".into(),
                },
            }
            .into(),
        ),
    ]
}

#[test]
fn every_variant_has_its_sqlstate() {
    let table: String = every_kind()
        .iter()
        .map(|(name, error)| {
            let report = error.report();
            format!(
                "{} {name}: {}{}\n",
                error.sqlstate().as_str(),
                report.message,
                report
                    .hint
                    .map(|h| format!(" HINT {h}"))
                    .unwrap_or_default()
            )
        })
        .collect();
    insta::assert_snapshot!("sqlstates", table);
}

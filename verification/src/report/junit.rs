//! `junit.xml`, for whatever shows the results of a CI run.

use super::{majors, Run};
use crate::runner::Outcome;
use anyhow::Result;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// A suite for each major; a major that could not be had is an error in its suite.
pub(super) fn junit(run: &Run<'_>) -> Result<String> {
    let mut report = Report::new("caliber_pg");
    report.set_time(run.time);
    for major in majors(run.summary) {
        let mut suite = TestSuite::new(format!("PostgreSQL {major}"));
        suite.add_property(("VERIFY_SEED", run.seed.to_string().as_str()));
        for test in run.summary.reports.iter().filter(|t| t.major == major) {
            let status = match &test.outcome {
                Ok(Outcome::Passed(_)) => TestCaseStatus::success(),
                Ok(Outcome::NotCovered(why)) => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(why.as_str());
                    status
                }
                Err(why) => failure(NonSuccessKind::Failure, why),
            };
            let mut case = TestCase::new(test.name.as_str(), status);
            case.set_time(test.time);
            suite.add_test_case(case);
        }
        if let Some(why) = run.summary.missing.get(&major) {
            let status = if run.summary.skipped.contains(&major) {
                let mut status = TestCaseStatus::skipped();
                status.set_message(why.as_str());
                status
            } else {
                failure(NonSuccessKind::Error, why)
            };
            suite.add_test_case(TestCase::new(format!("pg{major}"), status));
        }
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

fn failure(kind: NonSuccessKind, why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(why.lines().next().unwrap_or_default());
    status.set_description(why);
    status
}

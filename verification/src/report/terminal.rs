//! What is said in the terminal at the end.

use super::{cases, lines, majors, Run};
use crate::runner::{Outcome, Report, Summary};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Property × entity × major, for the terminal: verdict, cases, seconds.
#[must_use]
pub fn table(summary: &Summary) -> String {
    let lines = lines(summary);
    let majors = majors(summary);
    let width = lines.iter().map(|l| l.property.len()).max().unwrap_or(0);
    let mut text = String::new();
    for line in &lines {
        text += &format!("{:width$}  {:<11}", line.property, line.entity);
        for major in &majors {
            let cell = line.reports.get(major).map_or_else(
                || "-".to_owned(),
                |report| {
                    let sign = match &report.outcome {
                        Ok(Outcome::Passed(_)) => "ok",
                        Ok(Outcome::NotCovered(_)) => "not covered",
                        Err(_) => "FAILED",
                    };
                    let cases = cases(report).map_or_else(String::new, |n| format!(" {n} cases"));
                    format!("{sign}{cases} {:.1} s", report.time.as_secs_f64())
                },
            );
            text += &format!("  {major}: {cell:<20}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// What failed and what was not covered, and where the report is; the last line is the
/// counts.
pub fn print(run: &Run<'_>, written: &Result<[PathBuf; 2]>) {
    let summary = run.summary;
    let failed: Vec<&Report> = summary
        .reports
        .iter()
        .filter(|report| report.outcome.is_err())
        .collect();
    for report in &failed {
        if let Err(why) = &report.outcome {
            println!("\n---- {} failed: {}\n{why}", report.name, report.promise);
        }
    }
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for report in &summary.reports {
        if let Ok(Outcome::NotCovered(why)) = &report.outcome {
            reasons.entry(why).or_default().push(&report.name);
        }
    }
    println!();
    for (why, names) in &reasons {
        println!("not covered: {} ({why})", names.join(", "));
    }
    for (major, why) in &summary.missing {
        let allowed = if summary.skipped.contains(major) {
            ", as VERIFY_SKIP allows"
        } else {
            ""
        };
        println!(
            "not covered: PostgreSQL {major}{allowed}: {}",
            why.lines().next().unwrap_or_default()
        );
    }
    match written {
        Ok([page, junit]) => println!("as a page: {}; {}", page.display(), junit.display()),
        Err(error) => println!("the report cannot be written: {error:#}"),
    }
    let passed = summary
        .reports
        .iter()
        .filter(|report| matches!(report.outcome, Ok(Outcome::Passed(_))))
        .count();
    println!(
        "test result: {}. {passed} passed; {} failed; {} not covered; {} majors not covered; {:.0} s; VERIFY_SEED={}",
        if summary.succeeded() { "ok" } else { "FAILED" },
        failed.len(),
        reasons.values().map(Vec::len).sum::<usize>(),
        summary.missing.len(),
        run.time.as_secs_f64(),
        run.seed
    );
}

//! `report.html`: one page that stands alone, good on a phone and in print.

use super::{cases, lines, majors, Run};
use crate::config::Major;
use crate::runner::{Outcome, Report};
use std::collections::BTreeMap;

pub(super) fn page(run: &Run<'_>) -> String {
    let good = run.summary.succeeded();
    let title = if good {
        "All is well"
    } else {
        "Something is wrong"
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>caliber_pg: {title}</title><style>{}</style></head><body>\n\
         <h1 class=\"{}\">{} {title}</h1>\n<p class=\"soft\">{} cases a property · {} · <code>VERIFY_SEED={}</code></p>\n\
         {}{}{}{}{}{}</body></html>\n",
        include_str!("style.css"),
        if good { "good" } else { "bad" },
        if good { "✓" } else { "✗" },
        run.cases,
        minutes(run.time.as_secs()),
        run.seed,
        sums(run),
        failures(run),
        matrix(run),
        topics(run),
        slowest(run),
        uncovered(run),
    )
}

fn minutes(seconds: u64) -> String {
    format!("{} min {} s", seconds / 60, seconds % 60)
}

fn sums(run: &Run<'_>) -> String {
    let reports = &run.summary.reports;
    let passed = reports
        .iter()
        .filter(|r| matches!(r.outcome, Ok(Outcome::Passed(_))))
        .count();
    let failed = reports.iter().filter(|r| r.outcome.is_err()).count();
    let rest = reports.len() - passed - failed;
    let item = |class: &str, n: usize, words: &str| {
        format!("<li><b class=\"{class}\">{n}</b>{words}</li>")
    };
    let servers: String = run
        .servers
        .iter()
        .map(|(major, server)| format!("<dt>PostgreSQL {major}</dt><dd>{}</dd>", escape(server)))
        .collect();
    format!(
        "<ul class=\"sums\">{}{}{}{}</ul>\n<dl>{servers}</dl>\n",
        item("good", passed, "passed"),
        item(if failed > 0 { "bad" } else { "dim" }, failed, "failed"),
        item("dim", rest, "not covered"),
        item(
            if run.summary.missing.is_empty() {
                "dim"
            } else {
                "bad"
            },
            run.summary.missing.len(),
            "majors not covered"
        ),
    )
}

fn failures(run: &Run<'_>) -> String {
    let article = |report: &Report| {
        let why = report.outcome.as_ref().err()?;
        let replay = why.lines().find_map(|line| line.strip_prefix("replay: "));
        let replay = replay.map_or_else(String::new, |line| {
            format!("<p>Replay: <code>{}</code></p>", escape(line))
        });
        Some(format!(
            "<article><h3 class=\"bad\">{}</h3><p class=\"soft\">{}</p>{replay}<pre>{}</pre></article>\n",
            escape(&report.name),
            escape(&report.promise),
            escape(why)
        ))
    };
    let all: String = run.summary.reports.iter().filter_map(article).collect();
    if all.is_empty() {
        return all;
    }
    format!("<h2>What failed</h2>\n{all}")
}

/// What stands in the cell of one or several tests.
fn sign(reports: &[&Report]) -> (&'static str, &'static str) {
    if reports.iter().any(|report| report.outcome.is_err()) {
        ("bad", "✗")
    } else if reports
        .iter()
        .any(|r| matches!(r.outcome, Ok(Outcome::Passed(_))))
    {
        ("good", "✓")
    } else {
        ("dim", "–")
    }
}

/// Property × entity; in each cell the majors, with cases and time when pointed at.
fn matrix(run: &Run<'_>) -> String {
    let lines = lines(run.summary);
    if lines.is_empty() {
        return String::new();
    }
    let mut entities: Vec<&str> = Vec::new();
    let mut properties: Vec<(&str, &str)> = Vec::new();
    for line in &lines {
        if !entities.contains(&line.entity) {
            entities.push(line.entity);
        }
        if !properties.iter().any(|(name, _)| *name == line.property) {
            properties.push((line.property, line.promise));
        }
    }
    let head: String = entities
        .iter()
        .map(|name| format!("<th>{}</th>", escape(name)))
        .collect();
    let row = |(property, promise): &(&str, &str)| {
        let cell = |entity: &&str| {
            let is_it = |l: &&super::Line<'_>| l.property == *property && l.entity == *entity;
            let Some(line) = lines.iter().find(is_it) else {
                return "<td></td>".to_owned();
            };
            let marks: String = line
                .reports
                .iter()
                .map(|(major, report)| {
                    let (class, sign) = sign(&[report]);
                    let told = format!(
                        "PostgreSQL {major}: {} cases, {:.1} s",
                        cases(report).unwrap_or("no"),
                        report.time.as_secs_f64()
                    );
                    format!("<span class=\"{class}\" title=\"{told}\">{sign}</span>")
                })
                .collect();
            format!("<td>{marks}</td>")
        };
        let cells: String = entities.iter().map(cell).collect();
        format!(
            "<tr><th title=\"{}\">{}</th>{cells}</tr>\n",
            escape(promise),
            escape(property)
        )
    };
    let rows: String = properties.iter().map(row).collect();
    let list: Vec<String> = majors(run.summary).iter().map(Major::to_string).collect();
    format!(
        "<h2>Properties by entity</h2>\n<p class=\"soft\">One mark for each of PostgreSQL {}; a single one where a run’s majors share the tests.</p>\n\
         <div class=\"wide\"><table><thead><tr><th></th>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>\n",
        list.join(", ")
    )
}

/// The first part of a test's name.
fn topic(report: &Report) -> &str {
    let name = report.name.split_once("::").map_or("", |(_, name)| name);
    name.split("::").next().unwrap_or_default()
}

/// Every topic: how many tests on each major, and where the time goes.
fn topics(run: &Run<'_>) -> String {
    let majors = majors(run.summary);
    let mut topics: BTreeMap<&str, Vec<&Report>> = BTreeMap::new();
    for report in &run.summary.reports {
        topics.entry(topic(report)).or_default().push(report);
    }
    let time = |reports: &[&Report]| -> f64 { reports.iter().map(|r| r.time.as_secs_f64()).sum() };
    let most = topics
        .values()
        .map(|reports| time(reports))
        .fold(1.0, f64::max);
    let row = |(topic, reports): (&&str, &Vec<&Report>)| {
        let cell = |major: &Major| {
            let own: Vec<&Report> = reports
                .iter()
                .copied()
                .filter(|r| r.major == *major)
                .collect();
            let (class, sign) = sign(&own);
            format!("<td class=\"{class}\">{sign} {}</td>", own.len())
        };
        let cells: String = majors.iter().map(cell).collect();
        let seconds = time(reports);
        format!(
            "<tr><th>{}</th>{cells}<td class=\"n\">{seconds:.0} s</td>\
             <td><span class=\"bar\" style=\"width:{:.1}rem\"></span></td></tr>\n",
            escape(topic),
            14.0 * seconds / most
        )
    };
    let rows: String = topics.iter().map(row).collect();
    let head: String = majors
        .iter()
        .map(|major| format!("<th>{major}</th>"))
        .collect();
    format!(
        "<h2>All topics</h2>\n<div class=\"wide\"><table><thead><tr><th></th>{head}<th>time</th><th></th></tr></thead>\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn slowest(run: &Run<'_>) -> String {
    let mut reports: Vec<&Report> = run.summary.reports.iter().collect();
    reports.sort_by_key(|report| std::cmp::Reverse(report.time));
    reports.truncate(15);
    let most = reports
        .first()
        .map_or(1.0, |r| r.time.as_secs_f64())
        .max(0.1);
    let row = |report: &&Report| {
        let seconds = report.time.as_secs_f64();
        format!(
            "<tr><th>{}</th><td class=\"n\">{seconds:.1} s</td>\
             <td><span class=\"bar\" style=\"width:{:.1}rem\"></span></td></tr>\n",
            escape(&report.name),
            14.0 * seconds / most
        )
    };
    let rows: String = reports.iter().map(row).collect();
    format!("<h2>The slowest tests</h2>\n<div class=\"wide\"><table><tbody>\n{rows}</tbody></table></div>\n")
}

fn uncovered(run: &Run<'_>) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for report in &run.summary.reports {
        if let Ok(Outcome::NotCovered(why)) = &report.outcome {
            reasons.entry(why).or_default().push(&report.name);
        }
    }
    let item =
        |why: &str, names: &str| format!("<dt>{}</dt><dd>{}</dd>", escape(why), escape(names));
    let mut items: String = run
        .summary
        .missing
        .iter()
        .map(|(m, why)| item(&format!("PostgreSQL {m}"), why))
        .collect();
    items.extend(
        reasons
            .iter()
            .map(|(why, names)| item(why, &names.join(", "))),
    );
    if items.is_empty() {
        return items;
    }
    format!("<h2>Not covered</h2>\n<dl>{items}</dl>\n")
}

/// Text for HTML and for its attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

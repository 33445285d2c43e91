//! The report as one page that stands alone: good on a phone, in print, dark and light.

mod bars;
mod cards;
mod footer;
mod glance;
mod html;
mod plot;
mod scale;
mod tables;

use crate::backend::Measured;
use crate::entity::vector::DIMENSIONS;
use crate::report::{Finding, MajorReport, Report};
use crate::upkeep::PROMISED;
use html::{escape, grouped};

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let commit = escape(&report.commit);
    let majors: String = report.majors.iter().map(|m| major(report, m)).collect();
    let links: String = report
        .majors
        .iter()
        .map(|m| format!("<a href=\"#pg{0}\">PostgreSQL {0}</a>", m.major))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>caliber_pg {commit}: how fast</title>\
         <style>{}</style></head><body>\n<h1>How fast is caliber_pg?</h1>\n\
         <p class=\"soft\">commit {commit} · {} run · {} · {}</p>\n{}\
         <p>Every ratio is our time as a share of somebody else’s, for the same work, on the same server, in runs that alternate. \
         Below 1 we are faster. A bar is what this project allows itself.</p>\n\
         <nav>{links}</nav>\n{majors}{}</body></html>\n",
        include_str!("style.css"),
        escape(&report.effort),
        escape(&report.when),
        escape(&report.machine),
        glance::section(report),
        footer::section(report),
    )
}

fn major(report: &Report, major: &MajorReport) -> String {
    let mut text = format!("<h2 id=\"pg{0}\">PostgreSQL {0}</h2>\n", major.major);
    if let Some(failure) = &major.failure {
        text += &format!(
            "<p class=\"failure\"><b>✗ This run ended early.</b> {}</p>\n",
            escape(failure)
        );
    }
    text += &format!("<p class=\"soft\">{}</p>\n", conditions(report, major));
    if report.majors.len() > 1 {
        let all = report.judged().into_iter();
        let own: Vec<Finding> = all.filter(|f| f.major == major.major).collect();
        text += &glance::sums(&own);
    }
    text += &backend(
        "Cost inside a backend",
        "New rows refer to 500 parents in turn; “500 hot rows” are read again and again.",
        &major.backend,
    );
    text += &backend(
        "Cost of vectors",
        &format!("Every artifact and note has an embedding of {DIMENSIONS} dimensions, under HNSW indexes."),
        &major.vectors,
    );
    text += &socket(major);
    text += &notify(major);
    text += &growth(major);
    text + &upkeep(major)
}

/// What was measured, and on what; where a run ended early, as much of it as is known.
fn conditions(report: &Report, major: &MajorReport) -> String {
    let mut all = vec![
        format!("caliber_pg {}", report.commit),
        major.version.clone(),
    ];
    if !major.image.is_empty() {
        all.push(format!("image {}", major.image));
    }
    let settings = major.settings.iter();
    all.extend(settings.map(|(name, value)| format!("{name} = {value}")));
    all.retain(|words| !words.is_empty());
    escape(&all.join("; "))
}

fn backend(title: &str, more: &str, all: &[Measured]) -> String {
    let Some(first) = all.first() else {
        return String::new();
    };
    format!(
        "<h3>{title}</h3>\n<p class=\"soft\">{} rows of each entity; {} pairs of runs after one that warms caches and plans; ids in \
         random order, each once. {more}</p>\n{}{}",
        grouped(first.rows.into()),
        first.pairs,
        bars::charts(all),
        tables::backend(all)
    )
}

fn socket(major: &MajorReport) -> String {
    let Some(first) = major.socket.first() else {
        return String::new();
    };
    format!(
        "<h3>Over the socket: latency</h3>\n<p class=\"soft\">{} rows of each entity at the start; 1,000 argument rows a connection in \
         random order, 500 parents in turn; {} pairs of slices of {} ms after one that warms up; announcements off. In transactions \
         p50, p95 and p99 are of the calls alone; their COMMIT is in the time a call (the inverse of throughput).</p>\n{}{}",
        grouped(first.rows.into()),
        first.pairs,
        first.slice,
        cards::socket(&major.socket),
        tables::socket(&major.socket)
    )
}

fn notify(major: &MajorReport) -> String {
    if major.notify.is_empty() {
        return String::new();
    }
    let rows = major.socket.first().map(|c| c.rows);
    let rows = rows.or(major.backend.first().map(|m| m.rows));
    let rows = rows.map_or(String::new(), |rows| {
        format!(
            "{} rows of each entity at the start; ",
            grouped(rows.into())
        )
    });
    format!(
        "<h3>What NOTIFY costs</h3>\n<p>Messages a second, each its own transaction. NOTIFY’s lock spans the commit, for us as for \
         everybody.</p>\n<p class=\"soft\">{rows}synchronous_commit off; agents in turn; the median of alternating slices ± its \
         spread, after one that warms up; not judged.</p>\n{}",
        tables::notify(&major.notify)
    )
}

fn growth(major: &MajorReport) -> String {
    let calls = |p: &crate::growth::Point| (p.calls, p.pairs);
    let points = major.growth.iter().flat_map(|s| &s.points).map(calls);
    let (Some(fewest), Some(most)) = (points.clone().min(), points.max()) else {
        return String::new();
    };
    let calls = if fewest.0 == most.0 {
        grouped(most.0.into())
    } else {
        format!("{} to {}", grouped(fewest.0.into()), grouped(most.0.into()))
    };
    format!(
        "<h3>Growth</h3>\n<p class=\"soft\">{calls} calls in each of {} statements after one that warms up; ids at random; fillfactor \
         of the table as created, in the table below.</p>\n{}{}",
        most.1,
        cards::growth(&major.growth),
        tables::growth(&major.growth)
    )
}

fn upkeep(major: &MajorReport) -> String {
    if major.upkeep.is_empty() {
        return String::new();
    }
    format!(
        "<h3>What many updates leave behind</h3>\n<p>{:.0} % HOT are promised, tables of a bounded size, and memory that stays \
         flat.</p>\n<p class=\"soft\">Committed in transactions of 1,000, each of another row in scattered order, with autovacuum \
         on.</p>\n{}",
        PROMISED * 100.0,
        tables::upkeep(&major.upkeep)
    )
}

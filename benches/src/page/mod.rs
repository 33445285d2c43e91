//! The report as one page that stands alone: good on a phone, in print, dark and light.

mod bars;
mod cards;
mod tables;

use crate::bar::Verdict;
use crate::report::{Finding, MajorReport, Report};

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let title = format!("caliber_pg {}: how fast", report.commit);
    let majors: String = report.majors.iter().map(|m| major(report, m)).collect();
    let links: String = report
        .majors
        .iter()
        .map(|m| format!("<a href=\"#pg{0}\">PostgreSQL {0}</a>", m.major))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{}</style></head><body>\n<h1>How fast is caliber_pg?</h1>\n\
         <p class=\"soft\">commit {} · {} run · {} · {}</p>\n{}\
         <p>Every figure is a ratio: our time as a share of somebody else’s, for the same work, on the same server, in runs that \
         alternate. Below 1 we are faster. The upright mark is the bar that this project sets itself.</p>\n\
         <nav>{links}</nav>\n{majors}{}</body></html>\n",
        include_str!("style.css"),
        escape(&report.commit),
        escape(&report.effort),
        escape(&report.when),
        escape(&report.machine),
        sums(&report.judged()),
        footer(report),
    )
}

fn major(report: &Report, major: &MajorReport) -> String {
    let mut text = format!(
        "<h2 id=\"pg{0}\">PostgreSQL {0}</h2>\n<p class=\"soft\">{1}</p>\n",
        major.major,
        escape(&major.version)
    );
    if report.majors.len() > 1 {
        let own: Vec<Finding> = report
            .judged()
            .into_iter()
            .filter(|finding| finding.major == major.major)
            .collect();
        text += &sums(&own);
    }
    text += &bars::section(&major.backend);
    text += &tables::backend(&major.backend);
    text += &cards::socket(&major.socket);
    text += &tables::socket(&major.socket);
    text += &tables::notify(&major.notify);
    text += &cards::growth(&major.growth);
    text += &tables::growth(&major.growth);
    text += &tables::upkeep(&major.upkeep);
    text
}

/// How many bars were met, and how many were not.
fn sums(findings: &[Finding]) -> String {
    let count = |class: &str| findings.iter().filter(|f| name(f.verdict) == class).count();
    let item = |class: &str, sign: &str, words: &str| {
        let n = count(class);
        if n == 0 && class != "met" && class != "missed" {
            return String::new();
        }
        format!("<li><b class=\"{class}\">{sign} {n}</b>{words}</li>")
    };
    format!(
        "<ul class=\"sums\">{}{}{}{}</ul>\n",
        item("met", "✓", "bars met"),
        item("near", "≈", "missed within the run’s spread"),
        item("missed", "✗", "missed"),
        item("noisy", "?", "not compared: too noisy"),
    )
}

fn footer(report: &Report) -> String {
    let settings = |m: &MajorReport| -> String {
        let all: Vec<String> = m
            .settings
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        format!(
            "<p class=\"soft\">PostgreSQL {}: {}; image {}</p>",
            m.major,
            escape(&all.join(", ")),
            escape(&m.image)
        )
    };
    let servers: String = report.majors.iter().map(settings).collect();
    format!(
        "<footer><h2>How it is measured</h2>\
         <p><b>Inside a backend</b>: one statement calls the function over generated arguments, in one session, timed by the client \
         from sending it to its answer; nothing is subtracted. In each round every contender does the same calls, our function twice; \
         the order is reversed in the next. A ratio is the median over the rounds, ± half the distance of its quartiles; <i>noise</i> is \
         that of our function against itself, and above 10 % nothing is judged. Writes are rolled back and vacuumed between rounds. \
         Ids are looked up and updated in random order, each once; new rows refer to 500 parents in turn. \
         Session: {}.</p>\
         <p><b>kept</b>: raw SPI with a plan prepared once, names and operators qualified. <b>one-shot</b>: the same, parsed and planned \
         at each call. <b>PL/pgSQL</b>: the same statement in a function. <b>floor</b>: for new rows COPY from a file of the same rows, \
         without foreign key checks, to which 1.6 µs for each key are added; for reads an index probe with everything opened once.</p>\
         <p><b>Over the socket</b>: the same statement prepared by the client against a prepared SELECT of our function, in alternating \
         slices of time, fsync on.</p>{servers}</footer>",
        escape(&report.session)
    )
}

/// The class of a verdict.
fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::None => "none",
        Verdict::Met => "met",
        Verdict::Near => "near",
        Verdict::Missed { .. } => "missed",
        Verdict::Noisy => "noisy",
    }
}

/// Text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

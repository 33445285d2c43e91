//! Ratios as bars, with the bar that is promised marked.

use super::html::{at_most, class, escape, judged};
use super::scale::Scale;
use crate::backend::{Compared, Measured};
use crate::bar::{Baseline, STRETCH_GET};

const CHARTS: [(Baseline, &str); 3] = [
    (Baseline::Kept, "Against SQL with kept plans"),
    (Baseline::OneShot, "Against SQL planned at each call"),
    (Baseline::Floor, "Against the least that PostgreSQL can do"),
];

/// One chart for each baseline.
pub(super) fn charts(measured: &[Measured]) -> String {
    CHARTS
        .iter()
        .map(|&(baseline, title)| chart(measured, baseline, title))
        .collect()
}

/// The goal beyond the bar, where there is one.
pub(super) fn stretch(kind: &str, baseline: Baseline) -> Option<f64> {
    (baseline == Baseline::Kept && kind.starts_with("get")).then_some(STRETCH_GET)
}

/// What exactly was done, where the kind does not say it already.
pub(super) fn more(m: &Measured) -> &'static str {
    if m.kind.ends_with(m.title) {
        ""
    } else {
        m.title
    }
}

fn chart(measured: &[Measured], baseline: Baseline, title: &str) -> String {
    let rows: Vec<(&Measured, &Compared)> = measured
        .iter()
        .filter_map(|m| Some((m, m.against.iter().find(|c| c.baseline == baseline)?)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let scale = Scale::of(
        rows.iter()
            .map(|(_, c)| c.ratio.median.max(c.allowed.unwrap_or(0.0))),
    );
    let mut text = format!("<h4>{title}</h4>\n<div class=\"bars\">");
    let mut entity = "";
    for &(m, c) in &rows {
        if m.entity != entity {
            entity = m.entity;
            text += &format!("<div class=\"e\">{entity}</div>");
        }
        text += &row(m, c, scale);
    }
    format!("{text}</div>\n<p class=\"soft\">{}</p>\n", below(&rows))
}

/// What the lines mean.
fn below(rows: &[(&Measured, &Compared)]) -> String {
    let mut words = "dotted: as fast as the other".to_owned();
    if rows.iter().any(|(_, c)| c.allowed.is_some()) {
        words += "; thick mark: the bar";
    }
    let gets: Vec<bool> = rows
        .iter()
        .filter_map(|(m, c)| Some(c.ratio.median <= stretch(&m.kind, c.baseline)?))
        .collect();
    if !gets.is_empty() {
        words += &format!(
            "; thin mark: the stretch goal of a get, {STRETCH_GET:.2}, not judged: {} of {} are there",
            gets.iter().filter(|&&there| there).count(),
            gets.len()
        );
    }
    words
}

fn row(m: &Measured, c: &Compared, scale: Scale) -> String {
    let mut inside = scale.bar(c.ratio.median);
    if let Some(goal) = stretch(&m.kind, c.baseline) {
        inside += &scale.line("stretch", goal);
    }
    if let Some(allowed) = c.allowed {
        inside += &scale.line("goal", allowed);
    }
    let ratio = format!("{:.2}", c.ratio.median);
    let allowed = c.allowed.map_or(String::new(), at_most);
    format!(
        "<span class=\"l\">{} <small>{}</small></span>\
         <span class=\"v\">{} <small>{allowed}</small></span>{}",
        escape(&m.kind),
        escape(more(m)),
        judged(&ratio, c.verdict),
        scale.picture(class(c.verdict), &inside, &ratio),
    )
}

//! Ratios as bars, with the bar that is promised marked.

use super::{escape, name};
use crate::backend::{Compared, Measured};
use crate::bar::Baseline;
use crate::terminal::mark;

const CHARTS: [(Baseline, &str); 3] = [
    (Baseline::Kept, "Against SQL with kept plans"),
    (Baseline::OneShot, "Against SQL planned at each call"),
    (Baseline::Floor, "Against the least that PostgreSQL can do"),
];

/// One chart for each baseline.
pub(super) fn section(measured: &[Measured]) -> String {
    if measured.is_empty() {
        return String::new();
    }
    let charts: String = CHARTS
        .iter()
        .map(|&(baseline, title)| chart(measured, baseline, title))
        .collect();
    format!("<h3>Cost inside a backend</h3>\n{charts}")
}

fn chart(measured: &[Measured], baseline: Baseline, title: &str) -> String {
    let rows: Vec<(&Measured, &Compared)> = measured
        .iter()
        .filter_map(|m| Some((m, m.against.iter().find(|c| c.baseline == baseline)?)))
        .collect();
    // To the longest bar, so that 1 is at the same place in every row.
    let longest = rows
        .iter()
        .map(|(_, c)| c.ratio.median.max(c.allowed.unwrap_or(0.0)))
        .fold(1.1, f64::max);
    let mut text = format!("<h4>{title}</h4>\n<div class=\"bars\">");
    let mut entity = "";
    for (m, c) in rows {
        if m.entity != entity {
            entity = m.entity;
            text += &format!("<div class=\"e\">{entity}</div>");
        }
        text += &row(m, c, longest);
    }
    text + "</div>\n<p class=\"soft\">dotted: as fast as the other; the mark: the bar</p>\n"
}

fn row(m: &Measured, c: &Compared, longest: f64) -> String {
    let at = |ratio: f64| (ratio / longest * 100.0).min(100.0);
    let class = name(c.verdict);
    let goal = c.allowed.map_or(String::new(), |allowed| {
        format!(
            "<line class=\"goal\" x1=\"{0:.2}\" x2=\"{0:.2}\" y1=\"0\" y2=\"10\" stroke-width=\"2.5\" vector-effect=\"non-scaling-stroke\"/>",
            at(allowed)
        )
    });
    let allowed = c.allowed.map_or(String::new(), |a| format!(" of {a:.2}"));
    let (ratio, one) = (c.ratio.median, at(1.0));
    format!(
        "<div style=\"display:contents\" title=\"{}\"><span class=\"l\">{}</span>\
         <span class=\"v {class}\">{ratio:.2}{allowed} {}</span>\
         <svg class=\"{class}\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{ratio:.2}\">\
         <rect class=\"track\" width=\"100\" height=\"10\"/><rect class=\"bar\" y=\"1.5\" width=\"{:.2}\" height=\"7\"/>\
         <line class=\"one\" x1=\"{one:.2}\" x2=\"{one:.2}\" y1=\"0\" y2=\"10\" vector-effect=\"non-scaling-stroke\"/>{goal}</svg></div>",
        escape(m.title),
        escape(m.kind),
        mark(c.verdict),
        at(ratio),
    )
}

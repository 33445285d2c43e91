//! Small pictures side by side: distributions of latency, and cost by number of rows.

use super::html::{at_most, escape, judged, key};
use super::plot::{short, Plot};
use crate::growth::{Point, Series};
use crate::socket::{Compared, Judged};

/// Latency over the socket: one picture for each comparison.
pub(super) fn socket(all: &[Compared]) -> String {
    let mut text = format!(
        "<p>Microseconds of a call (logarithmic) by percentile; to the right are the slowest calls. {}{}</p>\n",
        key("ours", "our function"),
        key("theirs", "the client’s own statement")
    );
    let mut what = "";
    for compared in all {
        if compared.what != what {
            if !what.is_empty() {
                text += "</div>\n";
            }
            what = &compared.what;
            text += &format!("<h4>{}</h4><div class=\"cards\">", escape(what));
        }
        text += &latency(compared);
    }
    text + "</div>\n"
}

fn latency(compared: &Compared) -> String {
    // The last percentile is the slowest call of all: chance.
    let curve = |curve: &[f64]| -> Vec<(f64, f64)> {
        let points = curve.iter().take(100).enumerate();
        points.map(|(i, &v)| (i as f64 / 99.0, v)).collect()
    };
    let (client, ours) = (curve(&compared.client.curve), curve(&compared.ours.curve));
    let name = format!(
        "{}, {}: latency by percentile",
        escape(&compared.what),
        compared.conditions
    );
    let mut plot = Plot::of(client.iter().chain(&ours).map(|&(_, v)| v), &name);
    plot.line("theirs", &client);
    plot.line("ours", &ours);
    plot.below(0.0, "0", "middle");
    plot.below(50.0 / 99.0, "50", "middle");
    plot.below(1.0, "99 %", "end");
    let [p50, p95, p99, time] = &compared.ratios;
    let cell = |words: &str, j: &Judged| {
        let ratio = judged(&format!("{:.2}", j.ratio.median), j.verdict);
        format!("<span>{words} {ratio}</span>")
    };
    format!(
        "<figure><h4>{}</h4>{}<figcaption>{} {} {} {}</figcaption></figure>\n",
        compared.conditions,
        plot.end(),
        cell("p50", p50),
        cell("p95", p95),
        cell("p99", p99),
        cell("time", time),
    )
}

/// Cost by number of rows: one picture for each operation.
pub(super) fn growth(all: &[Series]) -> String {
    let figures: String = all.iter().map(series).collect();
    format!(
        "<p>Microseconds of a call by the number of rows present (both logarithmic). {}{} Allowed is growth with the logarithm, \
         from the fewest rows to the most and in each step.</p>\n<div class=\"cards\">{figures}</div>\n",
        key("ours", "median"),
        key("ours thin", "99th percentile")
    )
}

fn series(series: &Series) -> String {
    let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else {
        return String::new();
    };
    let (low, high) = (f64::from(first.rows).ln(), f64::from(last.rows).ln());
    let x = |rows: u32| (f64::from(rows).ln() - low) / (high - low).max(1e-9);
    let line = |value: fn(&Point) -> f64| -> Vec<(f64, f64)> {
        let points = series.points.iter();
        points.map(|p| (x(p.rows), value(p))).collect()
    };
    let (p50, p99) = (line(|p| p.p50.median), line(|p| p.p99.median));
    let what = escape(&series.what);
    let name = format!("{what}: time by number of rows");
    let mut plot = Plot::of(p50.iter().chain(&p99).map(|&(_, v)| v), &name);
    plot.line("ours thin", &p99);
    plot.line("ours", &p50);
    for (i, point) in series.points.iter().enumerate() {
        let anchor = match i {
            0 => "start",
            i if i + 1 == series.points.len() => "end",
            _ => "middle",
        };
        plot.below(x(point.rows), &short(f64::from(point.rows)), anchor);
    }
    let steps: String = series
        .steps
        .iter()
        .map(|step| judged(&format!(" {:.2}", step.growth), step.verdict))
        .collect();
    let pages = series.pages_growth.map(|growth| {
        let growth = judged(&format!("{growth:.2}"), series.pages_verdict);
        format!(" <span>pages × {growth}</span>")
    });
    let floor = series.floor_growth;
    let floor = floor.map(|growth| format!(" <span>the floor × {growth:.2}</span>"));
    let beside = pages.or(floor).unwrap_or_default();
    format!(
        "<figure><h4>{what}</h4>{}<figcaption><span>× {} <small>{}</small></span> <span>steps ×{steps}</span>{beside}</figcaption></figure>\n",
        plot.end(),
        judged(&format!("{:.2}", series.growth), series.verdict),
        at_most(series.allowed),
    )
}

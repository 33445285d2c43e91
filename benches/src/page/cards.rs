//! Small pictures side by side: distributions of latency, and cost by number of rows.

use super::{escape, name};
use crate::growth::Series;
use crate::socket::Compared;
use crate::terminal::mark;

const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 120.0;
/// Room for the numbers of the axes.
const LEFT: f64 = 34.0;
const BOTTOM: f64 = 16.0;

/// A picture with a logarithmic upright axis.
struct Plot {
    low: f64,
    high: f64,
    text: String,
}

impl Plot {
    /// For values between these.
    fn new(low: f64, high: f64) -> Self {
        let (low, high) = (low.max(0.01) * 0.9, high * 1.15);
        let mut plot = Self {
            low,
            high,
            text: format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">"),
        };
        let mut decade = 10_f64.powf(low.log10().floor());
        while decade < high {
            for step in [1.0, 2.0, 5.0] {
                let value = decade * step;
                // Few lines over a wide range, more over a narrow one.
                if (low..=high).contains(&value) && (step < 1.5 || high / low < 30.0) {
                    plot.text += &format!(
                        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
                         <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>",
                        plot.y(value),
                        LEFT - 4.0,
                        plot.y(value) + 3.0,
                        short(value)
                    );
                }
            }
            decade *= 10.0;
        }
        plot
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        (HEIGHT - BOTTOM) * (1.0 - share) + 2.0
    }

    /// A line through points whose x is between 0 and 1.
    fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let steps: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{:.1} {:.1}", place(x), self.y(y)))
            .collect();
        self.text += &format!("<path class=\"{class}\" d=\"M{}\"/>", steps.join("L"));
    }

    fn below(&mut self, x: f64, words: &str, anchor: &str) {
        self.text += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{words}</text>",
            place(x),
            HEIGHT - 3.0
        );
    }

    fn end(self) -> String {
        self.text + "</svg>"
    }
}

fn place(x: f64) -> f64 {
    LEFT + (WIDTH - LEFT - 3.0) * x
}

/// A number in three characters or so.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

/// Latency over the socket: one picture for each comparison.
pub(super) fn socket(all: &[Compared]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text = "<h3>Over the socket: latency</h3>\n<p>Microseconds of a call (logarithmic) by percentile; \
        to the right are the slowest calls.<span class=\"key\" style=\"background:var(--ours)\"></span>our function\
        <span class=\"key\" style=\"background:var(--theirs)\"></span>the client’s own statement</p>\n"
        .to_owned();
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
    let curves = [&compared.client.curve, &compared.ours.curve];
    let all = || curves.iter().flat_map(|curve| &curve[..=99]).copied();
    let mut plot = Plot::new(all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max));
    for (class, curve) in ["theirs", "ours"].into_iter().zip(curves) {
        let points: Vec<(f64, f64)> = curve[..=99]
            .iter()
            .enumerate()
            .map(|(i, &v)| (i as f64 / 99.0, v))
            .collect();
        plot.line(class, &points);
    }
    plot.below(0.0, "0", "middle");
    plot.below(50.0 / 99.0, "50", "middle");
    plot.below(1.0, "99 %", "end");
    let [p50, _, p99, time] = &compared.ratios;
    let cell = |words: &str, judged: &crate::socket::Judged| {
        format!(
            "{words} <span class=\"{}\">{:.2} {}</span>",
            name(judged.verdict),
            judged.ratio.median,
            mark(judged.verdict)
        )
    };
    format!(
        "<figure><h4>{}</h4>{}<figcaption>{} · {} · {}</figcaption></figure>",
        compared.conditions,
        plot.end(),
        cell("p50", p50),
        cell("p99", p99),
        cell("time", time),
    )
}

/// Cost by number of rows: one picture for each operation.
pub(super) fn growth(all: &[Series]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let figures: String = all.iter().map(series).collect();
    format!(
        "<h3>Growth</h3>\n<p>Microseconds of a call by the number of rows present (both logarithmic): thick the median, dashed the \
         99th percentile. Allowed is growth with the logarithm.</p>\n<div class=\"cards\">{figures}</div>\n"
    )
}

fn series(series: &Series) -> String {
    let values = || {
        series
            .points
            .iter()
            .flat_map(|p| [p.p50.median, p.p99.median])
    };
    let mut plot = Plot::new(
        values().fold(f64::MAX, f64::min),
        values().fold(0.0, f64::max),
    );
    let (first, last) = match (series.points.first(), series.points.last()) {
        (Some(first), Some(last)) => (f64::from(first.rows).ln(), f64::from(last.rows).ln()),
        _ => return String::new(),
    };
    let x = |rows: u32| (f64::from(rows).ln() - first) / (last - first).max(1e-9);
    let line = |value: fn(&crate::growth::Point) -> f64| -> Vec<(f64, f64)> {
        series
            .points
            .iter()
            .map(|p| (x(p.rows), value(p)))
            .collect()
    };
    plot.line("ours thin", &line(|p| p.p99.median));
    plot.line("ours", &line(|p| p.p50.median));
    for (i, point) in series.points.iter().enumerate() {
        let anchor = match i {
            0 => "start",
            i if i + 1 == series.points.len() => "end",
            _ => "middle",
        };
        plot.below(x(point.rows), &short(f64::from(point.rows)), anchor);
    }
    format!(
        "<figure><h4>{}</h4>{}<figcaption>× {:.2} (≤ {:.2}) <span class=\"{}\">{}</span></figcaption></figure>",
        escape(&series.what),
        plot.end(),
        series.growth,
        series.allowed,
        name(series.verdict),
        mark(series.verdict),
    )
}

//! What comes first: the whole result at a glance.

use super::bars::stretch;
use super::html::{at_most, class, escape, judged};
use super::scale::Scale;
use crate::bar::{Baseline, Verdict, NOISE, STRETCH_GET};
use crate::report::{Finding, Report};
use crate::socket::RATIOS;

/// How many of the missed bars are named; the rest is marked below.
const NAMED: usize = 12;

/// The headline, the sums, a picture, and what was missed.
pub(super) fn section(report: &Report) -> String {
    let findings = report.judged();
    let mut text = format!(
        "<p class=\"headline\">{}</p>\n",
        headline(report, &findings)
    );
    for major in &report.majors {
        if major.failure.is_some() {
            text += &format!(
                "<p class=\"failure\">✗ The run on <a href=\"#pg{0}\">PostgreSQL {0}</a> ended early: not everything was measured there.</p>\n",
                major.major
            );
        }
    }
    text += &sums(&findings);
    text += &pictures(report);
    text + &missed(&findings)
}

fn headline(report: &Report, findings: &[Finding]) -> String {
    let whole = report.majors.iter().all(|major| major.failure.is_none());
    let met = of(findings, "met");
    match findings.len() - of(findings, "none") {
        0 => "Nothing was judged.".to_owned(),
        all if met == all && whole => format!("All {all} bars are met."),
        all => format!("{met} of {all} bars are met."),
    }
}

fn of(findings: &[Finding], verdict: &str) -> usize {
    let all = findings.iter();
    all.filter(|f| class(f.verdict) == verdict).count()
}

/// How many bars were met, and how many were not.
pub(super) fn sums(findings: &[Finding]) -> String {
    let item = |class: &str, sign: &str, words: &str| {
        let n = of(findings, class);
        if n == 0 && class != "met" && class != "missed" {
            return String::new();
        }
        format!("<li><b class=\"{class}\">{sign} {n}</b>{words}</li>")
    };
    format!(
        "<ul class=\"sums\">{}{}{}{}</ul>\n",
        item("met", "✓", "met"),
        item("near", "≈", "missed, within the run’s spread"),
        item("missed", "✗", "missed"),
        item(
            "noisy",
            "?",
            &format!("not judged: noise above {:.0} %", NOISE * 100.0)
        ),
    )
}

/// Many ratios in one row.
struct Strip {
    label: String,
    ratios: Vec<(f64, Verdict)>,
    /// What is allowed, each number once.
    allowed: Vec<f64>,
    stretch: Option<f64>,
}

impl Strip {
    fn new(label: &str, stretch: Option<f64>) -> Self {
        Self {
            label: label.to_owned(),
            ratios: Vec::new(),
            allowed: Vec::new(),
            stretch,
        }
    }

    fn add(&mut self, ratio: f64, allowed: Option<f64>, verdict: Verdict) {
        self.ratios.push((ratio, verdict));
        if let Some(allowed) = allowed {
            if !self.allowed.iter().any(|a| (a - allowed).abs() < 1e-9) {
                self.allowed.push(allowed);
                self.allowed.sort_by(f64::total_cmp);
            }
        }
    }

    fn row(&self, scale: Scale) -> String {
        let lines = |class: &str, all: &[f64]| -> String {
            all.iter().map(|&ratio| scale.line(class, ratio)).collect()
        };
        let strokes: String = self
            .ratios
            .iter()
            .map(|&(ratio, verdict)| scale.line(&format!("stroke {}", class(verdict)), ratio))
            .collect();
        let stretch: Vec<f64> = self.stretch.into_iter().collect();
        let inside = lines("stretch", &stretch) + &lines("goal", &self.allowed) + &strokes;
        let ratios = || self.ratios.iter().map(|&(ratio, _)| ratio);
        let (low, high) = (
            ratios().fold(f64::INFINITY, f64::min),
            ratios().fold(f64::NEG_INFINITY, f64::max),
        );
        let range = if self.ratios.len() == 1 {
            format!("{low:.2}")
        } else {
            format!("{low:.2} – {high:.2}")
        };
        let allowed: Vec<String> = self.allowed.iter().map(|&a| at_most(a)).collect();
        format!(
            "<span class=\"l\">{} <small>{}</small></span><span class=\"v\">{range} <small>{}</small></span>{}",
            escape(&self.label),
            self.ratios.len(),
            allowed.join(" or "),
            scale.picture("", &inside, &range)
        )
    }
}

/// Every ratio to a kept plan and to the client's statement as a stroke.
fn pictures(report: &Report) -> String {
    let (kept, client) = (kept(report), client(report));
    let scale = Scale::of(kept.iter().chain(&client).flat_map(|strip| {
        let ratios = strip.ratios.iter().map(|&(ratio, _)| ratio);
        ratios.chain(strip.allowed.iter().copied())
    }));
    let chart = |title: &str, strips: &[Strip]| -> String {
        if strips.is_empty() {
            return String::new();
        }
        let rows: String = strips.iter().map(|strip| strip.row(scale)).collect();
        format!("<div class=\"e\">{title}</div>{rows}")
    };
    let charts = chart("Our time as a share of SQL’s with a kept plan", &kept)
        + &chart(
            "Over the socket, as a share of the client’s own statement",
            &client,
        );
    if charts.is_empty() {
        return charts;
    }
    let goal = if kept.iter().any(|strip| strip.stretch.is_some()) {
        format!("; thin mark: a goal beyond the bar, {STRETCH_GET:.2}")
    } else {
        String::new()
    };
    format!(
        "<div class=\"bars\">{charts}</div>\n<p class=\"soft\">Each stroke is one comparison, their number beside the name; further left is faster. \
         Dotted: as fast as the other; thick mark: the bar{goal}.</p>\n"
    )
}

/// By kind of operation; the lists together.
fn kept(report: &Report) -> Vec<Strip> {
    let mut strips: Vec<Strip> = Vec::new();
    let measured = report
        .majors
        .iter()
        .flat_map(|major| major.backend.iter().chain(&major.vectors));
    for m in measured {
        let kind = if m.kind.starts_with("list") {
            "list"
        } else {
            m.kind.as_str()
        };
        for c in m.against.iter().filter(|c| c.baseline == Baseline::Kept) {
            let at = match strips.iter().position(|strip| strip.label == kind) {
                Some(at) => at,
                None => {
                    strips.push(Strip::new(kind, stretch(kind, c.baseline)));
                    strips.len() - 1
                }
            };
            strips[at].add(c.ratio.median, c.allowed, c.verdict);
        }
    }
    strips
}

/// By what is compared.
fn client(report: &Report) -> Vec<Strip> {
    let mut strips: Vec<Strip> = RATIOS.iter().map(|name| Strip::new(name, None)).collect();
    for compared in report.majors.iter().flat_map(|major| &major.socket) {
        for (strip, judged) in strips.iter_mut().zip(&compared.ratios) {
            strip.add(judged.ratio.median, judged.allowed, judged.verdict);
        }
    }
    strips.retain(|strip| !strip.ratios.is_empty());
    strips
}

/// What was missed, the worst first.
fn missed(findings: &[Finding]) -> String {
    let mut missed: Vec<(f64, &Finding)> = findings
        .iter()
        .filter_map(|finding| match finding.verdict {
            Verdict::Missed { by } => Some((by, finding)),
            _ => None,
        })
        .collect();
    if missed.is_empty() {
        return String::new();
    }
    missed.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let items: String = missed
        .iter()
        .take(NAMED)
        .map(|(_, f)| {
            format!(
                "<li>{} <span class=\"soft\">PostgreSQL {}</span> <span class=\"n\">{} <small>{}</small></span></li>",
                escape(&f.what),
                f.major,
                judged(&format!("{:.2}", f.ratio), f.verdict),
                at_most(f.allowed)
            )
        })
        .collect();
    let rest = match missed.len().saturating_sub(NAMED) {
        0 => String::new(),
        rest => format!("<p class=\"soft\">and {rest} more, marked ✗ below</p>\n"),
    };
    format!("<h4>Missed</h4>\n<ul class=\"list\">{items}</ul>\n{rest}")
}

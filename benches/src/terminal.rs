//! What a run says in the terminal while it goes on.

use crate::backend::Measured;
use crate::bar::{Baseline, Verdict};
use crate::growth::{Series, TAIL};
use crate::report::Announced;
use crate::socket::{Compared, Conditions, Latency};
use crate::stats::Figure;
use crate::upkeep::Updates;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Progress with the time that is left, on stderr.
pub struct Progress {
    started: Instant,
    /// Shares of the whole, by how long each step usually takes.
    total: f64,
    done: f64,
    live: bool,
}

impl Progress {
    /// For work of so many units.
    #[must_use]
    pub fn new(total: f64) -> Self {
        Self {
            started: Instant::now(),
            total,
            done: 0.0,
            live: std::io::stderr().is_terminal(),
        }
    }

    /// Says what is being done.
    pub fn doing(&self, what: &str) {
        if self.live {
            eprint!("\r\x1b[K{} {what}", self.place());
            // Progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
    }

    /// So many units are done.
    pub fn done(&mut self, units: f64) {
        self.done += units;
        self.clear();
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.live {
            eprint!("\r\x1b[K");
        }
    }

    fn place(&self) -> String {
        let share = (self.done / self.total).clamp(0.0, 1.0);
        let passed = self.started.elapsed();
        let left = if share > 0.02 {
            format!(", {} left", minutes(passed.mul_f64((1.0 - share) / share)))
        } else {
            String::new()
        };
        format!("[{:3.0} %{left}]", share * 100.0)
    }

    /// How long it has taken.
    #[must_use]
    pub fn passed(&self) -> String {
        minutes(self.started.elapsed())
    }
}

/// `1:05` for 65 seconds.
#[must_use]
pub fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// The heading of the table of in-backend costs.
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<11} {:<28} {:>9} {:>6}  {:>22} {:>20} {:>11} {:>20}  ratio ± spread; kept plans: g generic, c custom",
        "entity", "operation", "µs", "noise", "× kept", "× one-shot", "× PL/pgSQL", "× floor"
    )
}

/// A line of the table of in-backend costs.
#[must_use]
pub fn line(measured: &Measured) -> String {
    let cell = |baseline| {
        let all = &measured.against;
        all.iter()
            .find(|c| c.baseline == baseline)
            .map_or(String::new(), |c| {
                let plan = c.plan.and_then(|plan| plan.chars().next());
                let plan = plan.map_or(String::new(), |letter| format!(" {letter}"));
                ratio(&c.ratio, c.allowed, c.verdict) + &plan
            })
    };
    format!(
        "{:<11} {:<28} {:>9.2} {:>5.1}%  {:>22} {:>20} {:>11} {:>20}",
        measured.entity,
        measured.kind,
        measured.ours.median,
        measured.noise() * 100.0,
        cell(Baseline::Kept),
        cell(Baseline::OneShot),
        cell(Baseline::PlPgSql),
        cell(Baseline::Floor),
    )
}

/// A ratio with its spread beside what is allowed, and whether it is.
#[must_use]
pub fn ratio(ratio: &Figure, allowed: Option<f64>, verdict: Verdict) -> String {
    let found = format!("{:.2}±{:.2}", ratio.median, ratio.spread);
    match allowed {
        None => found,
        Some(allowed) => format!("{found} (≤ {allowed:.2}) {}", mark(verdict)),
    }
}

/// The same of a number without spread.
fn number(found: f64, allowed: f64, verdict: Verdict) -> String {
    format!("{found:.2} (≤ {allowed:.2}) {}", mark(verdict))
}

/// One sign for a verdict.
#[must_use]
pub fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::None => " ",
        Verdict::Met => "✓",
        Verdict::Near => "≈",
        Verdict::Missed { .. } => "✗",
        Verdict::Noisy => "?",
    }
}

/// The heading of the table of comparisons over the socket.
#[must_use]
pub fn socket_heading() -> String {
    format!(
        "{:<44} {:<26} {:>18} {:>18}  × client: p50, p95, p99, time a call; ≤ 1.00 unless it says otherwise",
        "over the socket", "conditions", "ours p50/p95/p99", "client, µs"
    )
}

/// A line of the table of comparisons over the socket.
#[must_use]
pub fn socket_line(compared: &Compared) -> String {
    let latency = |l: &Latency| format!("{:.0}/{:.0}/{:.0}", l.p50, l.p95, l.p99);
    let ratios: Vec<String> = compared
        .ratios
        .iter()
        .map(|j| match j.allowed {
            Some(allowed) if (allowed - 1.0).abs() < 0.005 => {
                format!("{} {}", ratio(&j.ratio, None, j.verdict), mark(j.verdict))
            }
            allowed => ratio(&j.ratio, allowed, j.verdict),
        })
        .collect();
    format!(
        "{:<44} {:<26} {:>18} {:>18}  {}",
        compared.what,
        short(&compared.conditions),
        latency(&compared.ours),
        latency(&compared.client),
        ratios.join("  ")
    )
}

/// Conditions in little room.
fn short(conditions: &Conditions) -> String {
    format!(
        "{:>2} conn., {}, {}",
        conditions.connections,
        if conditions.transaction {
            "20 in a tx"
        } else {
            "autocommit"
        },
        if conditions.synchronous {
            "sync"
        } else {
            "async"
        }
    )
}

/// The table of growth.
#[must_use]
pub fn growth(all: &[Series]) -> String {
    let mut text = format!(
        "{:<40} {:>40} {:>17} {:>16} {:>17}  pages a call\n",
        "growth, ≤ log n", "p50 µs ± spread by rows", "steps", "fewest to most", "p99/p50"
    );
    for series in all {
        let points: Vec<String> = series
            .points
            .iter()
            .map(|p| format!("{:.1}±{:.1}", p.p50.median, p.p50.spread))
            .collect();
        let steps: Vec<String> = series
            .steps
            .iter()
            .map(|step| format!("{:.2} {}", step.growth, mark(step.verdict)))
            .collect();
        let tail = series
            .points
            .last()
            .map_or(f64::NAN, |p| p.p99.median / p.p50.median);
        text += &format!(
            "{:<40} {:>40} {:>17} {:>16} {:>17}  {}\n",
            series.what,
            points.join(" → "),
            steps.join(", "),
            number(series.growth, series.allowed, series.verdict),
            number(tail, TAIL, series.tail()),
            pages(series)
        );
    }
    text
}

/// Pages that a call touches, by number of rows.
fn pages(series: &Series) -> String {
    if let Some(growth) = series.floor_growth {
        let floors = series.points.iter().filter_map(|p| p.floor);
        let times: Vec<String> = floors.map(|f| format!("{:.2}", f.median)).collect();
        return format!("the floor: {} µs, × {growth:.2}", times.join(" → "));
    }
    let pages: Vec<String> = series
        .points
        .iter()
        .filter_map(|p| p.pages)
        .map(|n| format!("{n:.1}"))
        .collect();
    let grown = match (series.pages_growth, series.pages_allowed) {
        (Some(found), Some(allowed)) => {
            format!(": × {}", number(found, allowed, series.pages_verdict))
        }
        _ => String::new(),
    };
    pages.join(" → ") + &grown
}

/// What many updates leave behind.
#[must_use]
pub fn upkeep(all: &[Updates]) -> String {
    let lines: Vec<String> = all
        .iter()
        .map(|u| {
            format!(
                "{} × {} among {} rows (fillfactor {}, {} autovacuum runs): {:.1} % HOT {}; \
                 table {:.1} → {:.1} MB (≤ {:.1}) {}; \
                 backend by its contexts {:.0} → {:.0} kB, by the system {:.0} → {:.0} kB: grown by {:.0} (≤ {:.0}) {}",
                u.what,
                u.calls,
                u.rows,
                u.fillfactor,
                u.vacuums,
                u.hot * 100.0,
                mark(u.hot_verdict()),
                u.before,
                u.after,
                u.size_allowed,
                mark(u.size_verdict()),
                u.memory_before,
                u.memory_after,
                u.resident_before,
                u.resident_after,
                u.grown(),
                u.memory_allowed,
                mark(u.memory_verdict())
            )
        })
        .collect();
    lines.join("\n")
}

/// What announcements cost.
#[must_use]
pub fn notify(all: &[Announced]) -> String {
    let lines: Vec<String> = all
        .iter()
        .map(|a| {
            let rate = |rate: f64, spread: f64| format!("{rate:.0}±{:.0} %", spread * 100.0);
            format!(
                "{:>2} connections: ours {} messages a second, announced {}; client {}, announced {}; noise {:.1} %",
                a.connections,
                rate(a.off[0], a.off_spread[0]),
                rate(a.on[0], a.on_spread[0]),
                rate(a.off[1], a.off_spread[1]),
                rate(a.on[1], a.on_spread[1]),
                a.noise * 100.0
            )
        })
        .collect();
    lines.join("\n")
}

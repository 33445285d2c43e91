//! What a run says in the terminal while it goes on.

use crate::backend::Measured;
use crate::bar::{Baseline, Verdict};
use crate::growth::Series;
use crate::report::Announced;
use crate::socket::Compared;
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
        "{:<11} {:<20} {:>9} {:>6}  {:>18} {:>18} {:>10} {:>18}",
        "entity", "operation", "µs", "noise", "× kept", "× one-shot", "× PL/pgSQL", "× floor"
    )
}

/// A line of the table of in-backend costs.
#[must_use]
pub fn line(measured: &Measured) -> String {
    let cell = |baseline| {
        measured
            .against
            .iter()
            .find(|c| c.baseline == baseline)
            .map_or(String::new(), |c| {
                ratio(c.ratio.median, c.allowed, c.verdict)
            })
    };
    format!(
        "{:<11} {:<20} {:>9.2} {:>5.1}%  {:>18} {:>18} {:>10} {:>18}",
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

/// A ratio beside what is allowed, and whether it is.
#[must_use]
pub fn ratio(ratio: f64, allowed: Option<f64>, verdict: Verdict) -> String {
    match allowed {
        None => format!("{ratio:.2}"),
        Some(allowed) => format!("{ratio:.2} (≤ {allowed:.2}) {}", mark(verdict)),
    }
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
        "{:<44} {:<60} {:>26} {:>26}  × client: p50, p95, p99, time a call",
        "over the socket", "conditions", "ours µs p50/p95/p99", "client µs p50/p95/p99"
    )
}

/// A line of the table of comparisons over the socket.
#[must_use]
pub fn socket_line(compared: &Compared) -> String {
    let latency = |l: &crate::socket::Latency| format!("{:.0}/{:.0}/{:.0}", l.p50, l.p95, l.p99);
    let ratios: Vec<String> = compared
        .ratios
        .iter()
        .map(|j| format!("{:.2} {}", j.ratio.median, mark(j.verdict)))
        .collect();
    format!(
        "{:<44} {:<60} {:>26} {:>26}  {}",
        compared.what,
        compared.conditions.to_string(),
        latency(&compared.ours),
        latency(&compared.client),
        ratios.join("  ")
    )
}

/// The table of growth.
#[must_use]
pub fn growth(all: &[Series]) -> String {
    let mut text = format!(
        "{:<32} {:>40} {:>20} {:>10}  pages\n",
        "growth", "p50 µs by rows", "× (≤ log n)", "p99/p50"
    );
    for series in all {
        let points: Vec<String> = series
            .points
            .iter()
            .map(|p| format!("{:.1}", p.p50.median))
            .collect();
        let pages: Vec<String> = series
            .points
            .iter()
            .filter_map(|p| p.pages)
            .map(|n| n.to_string())
            .collect();
        let tail = series
            .points
            .last()
            .map_or(f64::NAN, |p| p.p99.median / p.p50.median);
        text += &format!(
            "{:<32} {:>40} {:>20} {:>8.2} {}  {}\n",
            series.what,
            points.join(" → "),
            ratio(series.growth, Some(series.allowed), series.verdict),
            tail,
            mark(series.tail()),
            pages.join(" → ")
        );
    }
    text
}

/// What many updates leave behind.
#[must_use]
pub fn upkeep(all: &[Updates]) -> String {
    let lines: Vec<String> = all
        .iter()
        .map(|u| {
            format!(
                "{} × {}: {:.1} % HOT {} (fillfactor {}), table {:.1} → {:.1} MB, backend {:.0} → {:.0} kB",
                u.what,
                u.calls,
                u.hot * 100.0,
                if u.met { "✓" } else { "✗" },
                u.fillfactor,
                u.before,
                u.after,
                u.memory_before,
                u.memory_after
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
            format!(
                "{:>2} connections: ours {:.0} messages a second, announced {:.0}; client {:.0}, announced {:.0}",
                a.connections, a.off[0], a.on[0], a.off[1], a.on[1]
            )
        })
        .collect();
    lines.join("\n")
}

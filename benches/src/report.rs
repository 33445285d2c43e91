//! What a run found, as it is written down.

use crate::backend::Measured;
use crate::bar::Verdict;
use crate::growth::{Series, TAIL};
use crate::socket::{self, RATIOS};
use crate::upkeep::{Updates, PROMISED};
use serde::Serialize;

/// A run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// When it ended, UTC.
    pub when: String,
    /// The commit that was measured; `+` if files had changes.
    pub commit: String,
    /// `quick` or `full`.
    pub effort: String,
    /// Processor, cores, kernel.
    pub machine: String,
    /// Settings of the measuring session.
    pub session: String,
    /// By major.
    pub majors: Vec<MajorReport>,
}

/// What was found on one major.
#[derive(Debug, Default, Serialize)]
pub struct MajorReport {
    /// Major.
    pub major: u16,
    /// `version()`.
    pub version: String,
    /// Image of the server.
    pub image: String,
    /// Settings of the server.
    pub settings: Vec<(String, String)>,
    /// Why it ended early, if it did; what was found until then is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Cost inside a backend.
    pub backend: Vec<Measured>,
    /// Cost of vectors, in a database with HNSW indexes.
    pub vectors: Vec<Measured>,
    /// Over the socket, announcements off.
    pub socket: Vec<socket::Compared>,
    /// The same path with and without announcements.
    pub notify: Vec<Announced>,
    /// Cost by number of rows.
    pub growth: Vec<Series>,
    /// What many updates leave behind.
    pub upkeep: Vec<Updates>,
}

impl MajorReport {
    /// Was nothing measured?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.backend.is_empty()
            && self.vectors.is_empty()
            && self.socket.is_empty()
            && self.notify.is_empty()
            && self.growth.is_empty()
            && self.upkeep.is_empty()
    }
}

/// Messages sent by many committers, with announcements and without.
#[derive(Clone, Debug, Serialize)]
pub struct Announced {
    /// Connections.
    pub connections: usize,
    /// Sends a second without announcements: ours and the client's.
    pub off: [f64; 2],
    /// Sends a second with announcements.
    pub on: [f64; 2],
    /// Spread of the first as a share of it.
    pub off_spread: [f64; 2],
    /// Spread of the second as a share of it.
    pub on_spread: [f64; 2],
    /// Slices of each.
    pub pairs: usize,
    /// How far two crews of clients were from each other, at most.
    pub noise: f64,
}

impl Announced {
    /// From what was measured without announcements and with them.
    #[must_use]
    pub fn of(connections: usize, off: &socket::Compared, on: &socket::Compared) -> Self {
        let rates = |c: &socket::Compared| [c.ours.throughput, c.client.throughput];
        let spreads = |c: &socket::Compared| [c.ours.throughput_spread, c.client.throughput_spread];
        let noise = |c: &socket::Compared| c.ratios[3].control.noise();
        Self {
            connections,
            off: rates(off),
            on: rates(on),
            off_spread: spreads(off),
            on_spread: spreads(on),
            pairs: off.pairs,
            noise: noise(off).max(noise(on)),
        }
    }
}

/// A bar that was missed by more than the run's spread, or could not be judged.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Major.
    pub major: u16,
    /// Which figure.
    pub what: String,
    /// Ratio.
    pub ratio: f64,
    /// Bar.
    pub allowed: f64,
    /// What came of it.
    pub verdict: Verdict,
}

impl Report {
    /// Everything that has a bar.
    #[must_use]
    pub fn judged(&self) -> Vec<Finding> {
        self.majors
            .iter()
            .flat_map(|major| {
                let backend = major.backend.iter().flat_map(of_backend);
                let socket = major.socket.iter().flat_map(of_socket);
                let growth = major.growth.iter().flat_map(of_growth);
                let upkeep = major.upkeep.iter().flat_map(of_upkeep);
                let all = backend.chain(socket).chain(growth).chain(upkeep);
                all.map(|finding| Finding {
                    major: major.major,
                    ..finding
                })
            })
            .collect()
    }
}

fn of_backend(measured: &Measured) -> Vec<Finding> {
    let name = format!("{} {}", measured.entity, measured.kind);
    let judged = measured.against.iter().filter_map(|compared| {
        Some(Finding {
            major: 0,
            what: format!("{name} × {}", compared.baseline.name()),
            ratio: compared.ratio.median,
            allowed: compared.allowed?,
            verdict: compared.verdict,
        })
    });
    judged.collect()
}

fn of_socket(compared: &socket::Compared) -> Vec<Finding> {
    let judged = RATIOS
        .iter()
        .zip(&compared.ratios)
        .filter_map(|(name, judged)| {
            Some(Finding {
                major: 0,
                what: format!(
                    "{}, {}: {name} × client",
                    compared.what, compared.conditions
                ),
                ratio: judged.ratio.median,
                allowed: judged.allowed?,
                verdict: judged.verdict,
            })
        });
    judged.collect()
}

fn of_growth(series: &Series) -> Vec<Finding> {
    let mut findings = vec![Finding {
        major: 0,
        what: format!("{}: growth from the fewest rows to the most", series.what),
        ratio: series.growth,
        allowed: series.allowed,
        verdict: series.verdict,
    }];
    if let Some(point) = series.points.last() {
        findings.push(Finding {
            major: 0,
            what: format!("{}: p99 × p50 among {} rows", series.what, point.rows),
            ratio: point.p99.median / point.p50.median,
            allowed: TAIL,
            verdict: series.tail(),
        });
    }
    // Of two sizes, the only step is the whole.
    for step in series.steps.iter().filter(|_| series.steps.len() > 1) {
        findings.push(Finding {
            major: 0,
            what: format!("{}: growth to {} rows", series.what, step.rows),
            ratio: step.growth,
            allowed: step.allowed,
            verdict: step.verdict,
        });
    }
    if let Some((ratio, allowed)) = series.pages_growth.zip(series.pages_allowed) {
        findings.push(Finding {
            major: 0,
            what: format!("{}: pages among the most rows × the fewest", series.what),
            ratio,
            allowed,
            verdict: series.pages_verdict,
        });
    }
    findings
}

fn of_upkeep(updates: &Updates) -> [Finding; 3] {
    let finding = |what: &str, ratio, allowed, verdict| Finding {
        major: 0,
        what: format!("{}: {what}", updates.what),
        ratio,
        allowed,
        verdict,
    };
    [
        finding(
            "updates that were not HOT",
            1.0 - updates.hot,
            1.0 - PROMISED,
            updates.hot_verdict(),
        ),
        finding(
            "megabytes of the table",
            updates.after,
            updates.size_allowed,
            updates.size_verdict(),
        ),
        finding(
            "kilobytes by which the backend grew",
            updates.grown(),
            updates.memory_allowed,
            updates.memory_verdict(),
        ),
    ]
}

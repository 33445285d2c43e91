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
    /// Cost inside a backend.
    pub backend: Vec<Measured>,
    /// Over the socket, announcements off.
    pub socket: Vec<socket::Compared>,
    /// The same path with and without announcements.
    pub notify: Vec<Announced>,
    /// Cost by number of rows.
    pub growth: Vec<Series>,
    /// What many updates leave behind.
    pub upkeep: Vec<Updates>,
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
                let upkeep = major.upkeep.iter().map(of_upkeep);
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
    findings
}

fn of_upkeep(updates: &Updates) -> Finding {
    Finding {
        major: 0,
        what: format!("{}: updates that were not HOT", updates.what),
        ratio: 1.0 - updates.hot,
        allowed: 1.0 - PROMISED,
        verdict: if updates.met {
            Verdict::Met
        } else {
            Verdict::Missed {
                by: (1.0 - updates.hot) / (1.0 - PROMISED) - 1.0,
            }
        },
    }
}

//! What only the end of a run can tell: which paths nobody took, and what the
//! logs of its servers say.

use crate::config::Major;
use crate::probes;
use crate::runner::{Outcome, Report, PASSED};
use crate::server::{complaints, Server, Servers};
use crate::session::Session;
use std::sync::Arc;
use std::time::Instant;

/// Complaints that are shown.
const SHOWN: usize = 10;

/// The reports of each major. Paths are counted only after a run of everything: one
/// of some tests proves nothing.
pub(crate) fn reports(is_whole: bool, majors: &[Major], servers: &Servers) -> Vec<Report> {
    let mut reports = Vec::new();
    for major in majors {
        let mut add = |name: &str, promise: &str, check: &dyn Fn() -> Result<Outcome, String>| {
            let began = Instant::now();
            let outcome = check();
            reports.push(Report {
                name: format!("pg{major}::{name}"),
                major: *major,
                promise: promise.to_owned(),
                time: began.elapsed(),
                outcome,
            });
        };
        if let (true, Ok(server)) = (is_whole, servers.get(*major)) {
            add(
                "probes::every_path",
                "every rare path of the extension was taken",
                &|| paths(&server),
            );
        }
        let started = servers.started(*major);
        if !started.is_empty() {
            add(
                "logs::no_complaints",
                "no server's log tells of a failed assertion, a crash or a leak",
                &|| logs(*major, &started),
            );
        }
    }
    reports
}

fn paths(server: &Server) -> Result<Outcome, String> {
    match probes::unreached(server.target()) {
        Some(names) if names.is_empty() => Ok(PASSED),
        // There is no nondeterministic collation to take over for.
        Some(names) if names.iter().eq([WITH_ICU]) && !has_icu(server)? => Ok(Outcome::NotCovered(
            format!("{WITH_ICU}: the server has no ICU"),
        )),
        Some(names) => Err(format!("never counted: {names:?}")),
        None => Err("no session was asked for its counters".to_owned()),
    }
}

/// The counter that only a server with ICU can reach.
const WITH_ICU: &str = "takeover.collation";

fn has_icu(server: &Server) -> Result<bool, String> {
    let sql = "SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'";
    let found = Session::connect(server.target()).and_then(|mut session| session.value(sql));
    found
        .map(|row| row.is_some())
        .map_err(|error| format!("{error:#}"))
}

fn logs(major: Major, started: &[Arc<Server>]) -> Result<Outcome, String> {
    let mut all = complaints::kept(major);
    all.extend(started.iter().flat_map(|server| server.complaints()));
    if !all.is_empty() {
        let count = all.len();
        all.truncate(SHOWN);
        return Err(format!("{count} complaints:\n{}", all.join("\n")));
    }
    if started.iter().all(|server| server.has_log()) {
        Ok(PASSED)
    } else {
        Ok(Outcome::NotCovered(
            "the log of a server given by URL cannot be read".to_owned(),
        ))
    }
}

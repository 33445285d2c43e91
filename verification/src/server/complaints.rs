//! What no server's log may tell of, whatever a test does to it: failed
//! assertions, crashes, and what a transaction has not given back.

use crate::config::Major;
use std::sync::Mutex;

/// WARNINGs at the end of a transaction, or of a memory context where those
/// are checked (servers with assertions on).
const WARNINGS: [&str; 11] = [
    // resowner.c: from 17 on in these words, before by kind.
    "resource was not closed",
    "refcount leak:",
    "reference leak:",
    "file leak:",
    "memory leak:",
    "leaked hash_seq_search scan",
    "transaction left non-empty SPI stack",
    "you don't own a lock of type",
    // aset.c and its like: written past the end, freed twice.
    "problem in alloc set",
    "problem in Generation",
    "problem in slab",
];

/// Lines of a backtrace that are shown.
const DEPTH: usize = 24;

/// Each complaint of a log, with the lines that belong to it.
#[must_use]
pub fn complaints(log: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !is_complaint(line) {
            continue;
        }
        let mut text = line.to_owned();
        let mut depth = 0;
        while let Some(next) = lines.next_if(|next| belongs(next)) {
            depth += 1;
            if depth <= DEPTH {
                text += "\n  ";
                text += next.trim_end();
            }
        }
        found.push(text);
    }
    found
}

fn is_complaint(line: &str) -> bool {
    if line.starts_with("TRAP: ") {
        return true;
    }
    // The rest of a message of several lines.
    if line.starts_with('\t') {
        return false;
    }
    let Some((severity, message)) = message(line) else {
        return false;
    };
    match severity {
        "PANIC" => true,
        "LOG" => message
            .split_once("was terminated by signal ")
            // 9 is what tests send.
            .is_some_and(|(_, signal)| !signal.starts_with('9')),
        "WARNING" => WARNINGS.iter().any(|words| message.contains(words)),
        _ => false,
    }
}

/// Severity and message of a line, behind the prefix (`… [pid] `).
fn message(line: &str) -> Option<(&str, &str)> {
    let (head, message) = line.split_once(":  ")?;
    let severity = head.rsplit(' ').next()?;
    Some((severity, message))
}

/// A line of the message before it, or of a backtrace.
fn belongs(line: &str) -> bool {
    line.starts_with('\t')
        || (line.contains("[0x") && line.ends_with(']'))
        || message(line).is_some_and(|(severity, _)| {
            ["DETAIL", "HINT", "CONTEXT", "STATEMENT", "BACKTRACE"].contains(&severity)
        })
}

/// What the servers of single tests had to complain of when they went.
static OF_OWN: Mutex<Vec<(Major, String)>> = Mutex::new(Vec::new());

/// Keeps a complaint until the end of the run.
pub(super) fn keep(major: Major, complaint: String) {
    if let Ok(mut kept) = OF_OWN.lock() {
        kept.push((major, complaint));
    }
}

/// What was kept of servers of this major.
pub(crate) fn kept(major: Major) -> Vec<String> {
    let kept = OF_OWN.lock().map(|kept| kept.clone()).unwrap_or_default();
    kept.into_iter()
        .filter(|(of, _)| *of == major)
        .map(|(_, complaint)| complaint)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_assertion_comes_with_its_backtrace() {
        let log = "\
2025-01-02 03:04:05.678 UTC [39] LOG:  checkpoint starting: time
TRAP: failed Assert(\"WindowObjectIsValid(winobj)\"), File: \"nodeWindowAgg.c\", Line: 3361, PID: 77
postgres: postgres a 172.17.0.1(5432) SELECT(ExceptionalCondition+0x57)[0x55d0]
/usr/lib/postgresql/18/lib/caliber_pg.so(+0x1c3a4)[0x7f1c]
2025-01-02 03:04:05.778 UTC [1] LOG:  client backend (PID 77) was terminated by signal 6: Aborted
2025-01-02 03:04:05.778 UTC [1] DETAIL:  Failed process was running: SELECT
\ttrap()
2025-01-02 03:04:05.779 UTC [1] LOG:  terminating any other active server processes";
        let found = complaints(log);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!(found[0].lines().count(), 3);
        assert!(found[1].ends_with("trap()"));
    }

    #[test]
    fn leaks_of_every_major() {
        for words in [
            "resource was not closed: buffer [0021] (rel=base/5/16390, blockNum=0, flags=0x93800000, refcount=1 1)",
            "buffer refcount leak: [021] (rel=base/5/16390, blockNum=0, flags=0x93800000, refcount=1 1)",
            "relcache reference leak: relation \"caliber_agent\" not closed",
            "problem in alloc set ExecutorState: detected write past chunk end in block 0x1, chunk 0x2",
        ] {
            let log = format!("2025-01-02 03:04:05.678 UTC [77] WARNING:  {words}");
            assert_eq!(complaints(&log).len(), 1, "{words}");
        }
    }

    #[test]
    fn what_tests_do_is_no_complaint() {
        let log = "\
2025-01-02 03:04:05.778 UTC [1] LOG:  server process (PID 77) was terminated by signal 9: Killed
2025-01-02 03:04:05.778 UTC [77] WARNING:  there is no transaction in progress
2025-01-02 03:04:05.778 UTC [77] ERROR:  resource was not closed: by its owner
2025-01-02 03:04:05.778 UTC [77] STATEMENT:  SELECT 'WARNING:  resource was not closed'
\tTRAP: in a statement
\t2025-01-02 03:04:05.778 UTC [77] PANIC:  in a statement";
        assert_eq!(complaints(log), Vec::<String>::new());
    }
}

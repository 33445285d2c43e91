//! Which rare paths were taken: the counters of the extension are those of a
//! backend, so each session of the heap engine is asked before it ends.

use crate::session::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// A server, by its port and address.
type Place = (String, u16);

/// Counters that nothing adds to yet: no state is compiled so far.
const NOT_YET: [&str; 1] = ["compiled.rebuild"];

static SEEN: Mutex<BTreeMap<Place, BTreeMap<String, i64>>> = Mutex::new(BTreeMap::new());

/// What a session asks before it ends.
pub(crate) const QUESTION: &str = "SELECT name, value FROM caliber_counters()";

fn place(target: &Target) -> Place {
    (target.host.clone(), target.port)
}

/// Adds what a session counted.
pub(crate) fn note(target: &Target, counters: impl Iterator<Item = (String, i64)>) {
    if let Ok(mut seen) = SEEN.lock() {
        let sums = seen.entry(place(target)).or_default();
        for (name, value) in counters {
            *sums.entry(name).or_default() += value;
        }
    }
}

/// The counters that no session on this server has reached; all of them are
/// missing if none was asked.
#[must_use]
pub fn unreached(target: &Target) -> Option<BTreeSet<String>> {
    let seen = SEEN.lock().ok()?;
    let sums = seen.get(&place(target))?;
    Some(
        sums.iter()
            .filter(|(name, value)| **value == 0 && !NOT_YET.contains(&name.as_str()))
            .map(|(name, _)| name.clone())
            .collect(),
    )
}

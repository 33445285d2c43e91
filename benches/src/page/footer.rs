//! How it is measured, in words.

use super::html::escape;
use crate::bar::{FOREIGN_KEY, NOISE};
use crate::report::Report;
use crate::socket::Path;

/// What holds for all figures of their kind.
pub(super) fn section(report: &Report) -> String {
    format!(
        "<footer><h2>How it is measured</h2>\
         <p><b>Inside a backend</b>: one statement calls the function over generated arguments, in one session, timed by the client \
         from sending it to its answer; nothing is subtracted. In each round every contender does the same calls, our function twice; \
         the order is reversed in the next. The first round warms caches and plans and is not counted. A ratio is the median over the \
         rounds, ± half the distance of its quartiles. Writes are rolled back and vacuumed before the next contender starts. Ids are \
         looked up and updated in random order, each once; new rows refer to 500 parents in turn. Session: {session}.</p>\
         <p><b>Noise</b>: the same thing is measured twice alongside, as a control pair; noise is how far their ratio is from 1, or its \
         spread, whichever is greater. Above {noise:.0} % nothing is judged.</p>\
         <p><b>kept</b>: raw SPI with a plan prepared once, names and operators qualified. <b>PL/pgSQL</b>: the same statement in a \
         function. Both run with generic or custom plans, whichever was faster in a trial before. <b>one-shot</b>: the same statement, \
         parsed and planned at each call. <b>floor</b>: for new rows COPY from a file of the same rows, without foreign key checks, to \
         which {key} µs for each key are added; for reads an index probe with everything opened once.</p>\
         <p><b>HOT</b>: an update can only be HOT where its page has room. For these races the pages were given room where the \
         table’s own fillfactor leaves none; the table says with which fillfactor they ran, and what share of the updates was HOT in \
         the race and on the table as it was created.</p>\
         {socket}\
         <p><b>Growth</b>: each call is timed by a clock inside the backend, at several numbers of rows; a figure is the median over \
         statements of many calls. Allowed is growth with the logarithm of the number of rows. The floor of a get is the mean \
         of a bare probe for as many other rows: what it grows by are the processor's caches and the height of the index.</p></footer>",
        session = escape(&report.session),
        noise = NOISE * 100.0,
        key = FOREIGN_KEY,
        socket = socket(report),
    )
}

/// Names what was compared, so that nobody takes it for everything.
fn socket(report: &Report) -> String {
    let mut names: Vec<&str> = Vec::new();
    let all = report.majors.iter().flat_map(|major| &major.socket);
    for compared in all.filter(|c| c.path != Path::Message) {
        if !names.contains(&compared.what.as_str()) {
            names.push(&compared.what);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    format!(
        "<p><b>Over the socket</b>: the same statement prepared by the client against a prepared SELECT of our function, in alternating \
         slices of time; the first pair warms up and is not counted. Noise is of a second crew of clients against the first. Not every \
         operation is compared, but these {}: {}.</p>",
        names.len(),
        escape(&names.join(", "))
    )
}

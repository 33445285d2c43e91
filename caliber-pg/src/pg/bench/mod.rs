//! What the benches measure the extension against, as raw C functions: SQL through SPI with
//! kept plans, SQL planned at each call, and the bare probe that is the floor of reads.
//! Compiled only with the cargo feature `bench`, never in a release.
//!
//! The benches declare the functions in SQL, one for each statement, with the signature of the
//! function that is measured and one last argument, the statement, which has a default and is
//! looked at once in a query. Arguments go from the call to SPI as they came: no rival could do
//! less. A statement may consist of several, separated by `;` on a line of its own; one that
//! returns false ends the call with NULL.

mod entry;
mod probe;
mod statement;

//! The model: rows in memory, and what `api.md` says must come of a call.
//! It decides steps 1 and 3 of §1.4, computes what the statements need, and
//! knows which rows are there; the words of step 4 are the client's business.

mod arguments;
mod verdict;
mod world;

pub use arguments::{check_arguments, Args, Refusal, Updates};
pub use verdict::{
    delete, get, insert, list, moved, present, refused, update, Answer, Client, Expect, Verdict,
};
pub use world::{Row, World};

//! The model: rows in memory, and what `api.md` says must come of a call.
//! It decides steps 1 and 3 of §1.4, computes what the statements need, and
//! knows which rows are there; the words of step 4 are the client's business.

mod arguments;
mod many;
pub mod moment;
mod updates;
mod verdict;
mod world;

pub use arguments::{check_arguments, Args, Refusal};
pub use many::insert_all;
pub use updates::{not_empty, read_many, Updates};
pub use verdict::{
    delete, ended, get, helper, insert, judge, limit, limit_sql, list, list_by, look, moved,
    present, refuse, refused, repeat, rows, set_list, update, Answer, Client, Expect, Made,
    Verdict,
};
pub use world::{Row, World};

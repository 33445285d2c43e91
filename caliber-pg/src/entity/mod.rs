//! The entities: one file each, with columns, life cycle and SQL functions.

// A SQL function has as many arguments as the API gives it.
#![allow(clippy::too_many_arguments)]

pub mod args;
pub mod life;
pub mod scope;
pub mod trajectory;
mod tree;
pub mod updates;

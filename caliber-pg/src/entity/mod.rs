//! The entities: one file each, with columns, life cycle and SQL functions.

pub mod args;
pub mod life;
pub mod scope;
pub mod trajectory;
mod tree;
pub mod updates;

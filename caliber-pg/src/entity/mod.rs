//! The entities: one file each, with columns, life cycle and SQL functions.

// A SQL function has as many arguments as the API gives it.
#![allow(clippy::too_many_arguments)]

pub mod agent;
pub mod args;
pub mod artifact;
pub mod common;
pub mod conflict;
pub mod content;
pub mod delegation;
mod eligibility;
pub mod handoff;
pub mod life;
pub mod lock;
pub mod many;
pub mod message;
pub mod note;
pub mod scope;
pub mod search;
pub mod trajectory;
mod tree;
pub mod ttl;
pub mod turn;
pub mod updates;

/// All of them.
pub static ALL: [&crate::engine::Entity; 11] = [
    &trajectory::TRAJECTORY,
    &scope::SCOPE,
    &artifact::ARTIFACT,
    &note::NOTE,
    &turn::TURN,
    &agent::AGENT,
    &lock::LOCK,
    &message::MESSAGE,
    &delegation::DELEGATION,
    &handoff::HANDOFF,
    &conflict::CONFLICT,
];

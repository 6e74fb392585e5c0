//! The kinds of checks beside the round trip, each before what it exists to find, and what is said of each step.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod efficiency;
mod explain;
mod identity;
mod policy;
mod queue;
mod queues;
mod shards;
mod visibility;

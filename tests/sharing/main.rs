//! Which check a verdict comes from: rounds, verdicts that callers and sidecars share, breakers, groups of caches, and
//! settings that change meanwhile.

#[path = "../support/mod.rs"]
mod support;

mod age;
mod breaker;
mod callers;
mod fleet;
mod groups;
mod masking;
mod reload;
mod rounds;
mod shards;
mod since;
mod targets;
mod transitions;

//! Memcached: each way to one, rings of several, proxies before them, and each state that a health check must see.

#[path = "../support/mod.rs"]
mod support;

mod django;
mod proxies;
mod rings;
mod slow;
mod states;
mod ways;

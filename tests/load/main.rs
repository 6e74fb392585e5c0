//! Tests that need the machine, or measure their own process. Each test holds `support::alone()`, so that they run
//! one after the other.

#[path = "../support/mod.rs"]
mod support;

mod dead;
mod dials;
mod starved;
mod storm;

//! What needs the machine, or measures the process that it runs in. Each test holds `support::alone()`, so that they run
//! one after the other.

#[path = "../support/mod.rs"]
mod support;

mod dead;
mod dials;
mod flood;
mod starved;
mod storm;

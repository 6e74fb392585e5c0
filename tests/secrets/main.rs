//! Secrets: marked ones are put in every place that can hold one, every output is searched for them, and the memory and the
//! children of the sidecar are looked at from outside.
//!
//! `places` has the configurations, `outputs` drives the program and collects what it says, `marks` makes the secrets and finds
//! them again, and `mutations` plants leaks in the source to show that the search finds them. Servers that quote credentials in many
//! spellings are in `tests/cli/secrets_in_answers.rs`, mistakes in configurations in `tests/config/secrets.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod children;
mod marks;
mod memory;
mod mutations;
mod outputs;
mod places;
mod search;
mod serving;
#[path = "../support/mod.rs"]
mod support;

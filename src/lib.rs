//! cache-canary says whether the caches that an application depends on really work.
//!
//! For each configured cache it writes a canary, a key with a value made for this one check, and
//! reads it back with a sentinel for a default. Whatever comes back other than that value means
//! unhealthy, now, and not after a client's failure budget has run out.
//!
//! Start with `check::round_trip`: it writes a canary to a node and reads it back. A request's way is `request ->
//! selection -> checks -> outcomes -> report -> response`; the modules below are in reading order, and each
//! imports only from those above it.

// Enums with a stable name for each variant.
#[macro_use]
mod named;

// The operator's name for a configured cache.
pub mod alias;

// A mutex that a panic does not poison.
mod mutex;

// Spans of time, as people read them.
mod span;

// The parts of a check's one deadline, in one table.
mod budget;

// What a check came to: cause, fault, outcome, status, report. Pure, no I/O.
pub mod outcome;

// What was written, turned into a valid configuration or into an error that points at the place.
pub mod config;

// Certificates and keys from files, for TLS in either direction.
mod pem;

// Servers' texts, without the credentials that they quote.
pub(crate) mod redaction;

// The idea of the product, as types: the canary, and the sentinel that no cache can hold.
pub mod canary;

// Which phase a running check is in, and how long each took.
pub mod progress;

// Aliases resolved: which are checked, and which are skipped and why.
mod catalog;

// A cache that can be written and read, and the backends that are one.
#[deny(clippy::disallowed_methods)]
pub mod cache;

// What is done to a node: the kinds of check.
#[deny(clippy::disallowed_methods)]
mod check;

// Which nodes an alias has, and a round of checks over them.
#[deny(clippy::disallowed_methods)]
mod topology;

// What the checks of an entry came to over time: since when, what changed, what was counted.
pub mod record;

// Which checks run when: selection, sharing, deadline.
#[deny(clippy::disallowed_methods)]
pub mod checker;

// What every request is answered from: the checks in force, the groups, the sidecar's own life.
pub mod app;

// Memory that was freed, given back to the system.
mod heap;

// Logs, which hold up no answer.
pub mod telemetry;

// The router, the representations, and the server under them.
pub mod http;

// Caches of our own, for the demo and for tests that need a server to lie.
pub mod embedded;

// The commands.
pub mod cli;

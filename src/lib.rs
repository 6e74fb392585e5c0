//! cache-canary reports whether the caches that an application depends on really work.
//!
//! For each configured cache it writes a canary, a key with a value made for this one check, and
//! reads it back with a sentinel for a default. If anything other than that value comes back, the
//! cache is unhealthy at once, and not only after a client's failure budget has run out.
//!
//! Start with `check::round_trip`: it writes a canary to a node and reads it back. A request's path is `request ->
//! selection -> checks -> outcomes -> report -> response`; the modules below are in reading order, and each
//! imports only from those above it.

// Enums with a stable name for each variant.
#[macro_use]
mod named;

// The operator's name for a configured cache.
pub mod alias;

// Tasks and counters, which a model of what races replaces.
mod sync;

// A mutex that a panic does not poison.
mod mutex;

// Spans of time, as people read them.
mod span;

// The parts of a check's one deadline, in one table.
mod budget;

// The results of checks: cause, fault, outcome, status, report. Pure, no I/O.
pub mod outcome;

// The configuration as written, turned into a valid one or into an error that points at the place.
pub mod config;

// The parts of a certificate that the TLS library does not give.
mod x509;

// Certificates and keys from files, for TLS in either direction.
mod pem;

// The trusted certificates, from a file or of the system.
mod trust;

// Servers' texts, without the credentials that they quote.
pub(crate) mod redaction;

// The idea of the product, as types: the canary, and the sentinel that no cache can hold.
pub mod canary;

// The phase of a running check, and the duration of each.
pub mod progress;

// The checked aliases, and the skipped ones with the reason.
mod catalog;

// The shard of a key, as the clients of a sharded Redis choose it.
mod shard_ring;

// The interface for reads from and writes to a cache, and the backends that implement it.
#[deny(clippy::disallowed_methods)]
pub mod cache;

// The kinds of check of a node.
#[deny(clippy::disallowed_methods)]
mod check;

// The nodes of an alias, and a round of checks over them.
#[deny(clippy::disallowed_methods)]
mod topology;

// The results of an entry's checks over time: its status, changes and counters.
pub mod record;

// The execution of checks: selection, sharing, deadline.
#[deny(clippy::disallowed_methods)]
pub mod checker;

// The state that every request is answered from: the checks in force, the groups, the sidecar's life cycle.
pub mod app;

// The return of memory to the system.
mod heap;

// Logs, which never delay an answer.
pub mod telemetry;

// The router, the representations, and the server under them.
pub mod http;

// Embedded caches, for the demo and for tests that need a faulty server.
pub mod embedded;

// The commands.
pub mod cli;

// The properties of everything that reads the bytes of others, for tests alone.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;

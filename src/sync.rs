//! The parts of the runtime whose order decides a race. A test can take them from a [`model`], which explores the orders.

#[cfg(test)]
pub(crate) mod model;

#[cfg(test)]
pub(crate) use model::{Counter, spawn};
#[cfg(not(test))]
pub(crate) use {std::sync::atomic::AtomicU64 as Counter, tokio::spawn};

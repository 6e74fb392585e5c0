//! [`Mutex`]: the standard library's, without poisoning.

use std::sync::{self, MutexGuard, PoisonError};

/// A mutex that a panic does not poison. Each holder leaves its value whole at every step, and in a release a panic ends
/// the program anyway.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Waits for the value.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(test)]
        crate::sync::model::wait_until(|| !matches!(self.0.try_lock(), Err(sync::TryLockError::WouldBlock)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! TODO.

use async_trait::async_trait;

use super::{Look, Makings, Seat};
use crate::cache::SetupError;
use crate::config::{Backend, checks};
use crate::outcome::Fault;
use crate::progress::{NodeProgress, Progress};

/// TODO
pub(crate) struct Visibility {
    config: checks::Visibility,
}

impl Visibility {
    pub(super) fn new(
        config: &checks::Visibility,
        _backend: &Backend,
        _makings: &Makings,
    ) -> Result<Self, SetupError> {
        Ok(Self { config: config.clone() })
    }
}

#[async_trait]
impl Look for Visibility {
    fn begin(&self) {}

    async fn look(&self, _seat: &Seat, _progress: &NodeProgress) -> Result<(), Fault> {
        let _ = &self.config;
        Ok(())
    }

    fn judge(&self, _progress: &Progress) {}
}

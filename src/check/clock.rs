//! TODO.

use async_trait::async_trait;

use super::{Look, Seat};
use crate::config::checks;
use crate::outcome::Fault;
use crate::progress::{NodeProgress, Progress};

/// TODO
pub(crate) struct Clock {
    config: checks::Clock,
}

impl Clock {
    pub(super) fn new(config: &checks::Clock) -> Self {
        Self { config: config.clone() }
    }
}

#[async_trait]
impl Look for Clock {
    fn begin(&self) {}

    async fn look(&self, _seat: &Seat, _progress: &NodeProgress) -> Result<(), Fault> {
        let _ = &self.config;
        Ok(())
    }

    fn judge(&self, _progress: &Progress) {}
}

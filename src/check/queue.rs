//! TODO.

use async_trait::async_trait;

use super::{Look, Seat};
use crate::config::checks;
use crate::outcome::Fault;
use crate::progress::{NodeProgress, Progress};

/// TODO
pub(crate) struct Queue {
    config: checks::Queue,
}

impl Queue {
    pub(super) fn new(config: &checks::Queue) -> Self {
        Self { config: config.clone() }
    }
}

#[async_trait]
impl Look for Queue {
    fn begin(&self) {}

    async fn look(&self, _seat: &Seat, _progress: &NodeProgress) -> Result<(), Fault> {
        let _ = &self.config;
        Ok(())
    }

    fn judge(&self, _progress: &Progress) {}
}

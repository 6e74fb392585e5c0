//! TODO.

use async_trait::async_trait;

use super::{Look, Seat};
use crate::config::checks;
use crate::outcome::Fault;
use crate::progress::{NodeProgress, Progress};

/// TODO
pub(crate) struct Efficiency {
    config: checks::Efficiency,
}

impl Efficiency {
    pub(super) fn new(config: &checks::Efficiency) -> Self {
        Self { config: config.clone() }
    }
}

#[async_trait]
impl Look for Efficiency {
    fn begin(&self) {}

    async fn look(&self, _seat: &Seat, _progress: &NodeProgress) -> Result<(), Fault> {
        let _ = &self.config;
        Ok(())
    }

    fn judge(&self, _progress: &Progress) {}
}

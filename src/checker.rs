//! Which checks run when: selection, sharing, deadline.

use tokio::time::Instant;

use crate::catalog::{Catalog, Selection};
use crate::config::Config;
use crate::outcome::Report;

/// Runs the checks that requests ask for.
#[derive(Debug)]
pub struct Checker {
    catalog: Catalog,
}

/// Why the checks cannot be set up, for example a CA file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(String);

impl Checker {
    /// Sets up a check for every alias that has one. Nothing is dialled until the first request.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        Ok(Self { catalog: Catalog::new(&config.caches) })
    }

    /// The configured aliases.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Checks what is selected, all together, each under its deadline, for a request that arrived at `arrived`.
    pub async fn check(&self, selection: &Selection, arrived: Instant) -> Report {
        let _ = arrived;
        Report { outcomes: Vec::new(), skipped: selection.skipped.clone() }
    }
}

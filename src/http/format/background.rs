//! [`Background`]: what a sidecar knows beside a report.

use crate::app::Setup;
use crate::catalog::Selection;
use crate::outcome::Outcome;
use crate::record::Since;

/// What a sidecar knows beside a report.
#[derive(Debug, Clone, Default)]
pub struct Background<'a> {
    /// The start of the status of each outcome, in their order, if it is known.
    pub since: Vec<Option<Since>>,
    /// The name of this sidecar, for callers with access to details.
    pub instance: Option<&'a str>,
}

impl<'a> Background<'a> {
    /// Of a report of `selection`.
    pub(crate) fn of(setup: &'a Setup, selection: &Selection) -> Self {
        let since = setup.checker.records(selection).map(|record| record.since()).collect();
        Self { since, instance: Some(&setup.instance) }
    }

    /// The start of the status of `outcome`, at `place` in the report. A later check may have another one by now.
    pub(super) fn since(&self, place: usize, outcome: &Outcome) -> Option<Since> {
        let since = self.since.get(place).copied().flatten();
        since.filter(|since| since.status == outcome.status())
    }
}

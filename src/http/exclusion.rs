//! `Exclusion`: the parts that `?exclude=` removes from a probe.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use crate::app::Setup;
use crate::catalog::Selection;

/// The parts that `?exclude=` removes from a probe. They are not checked at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclusion {
    /// `true` if the sidecar itself is excluded.
    pub own: bool,
    /// The other excluded names, as the probe lists them, in the configured order.
    pub listed: Vec<String>,
    /// The names that match no part of the probe.
    pub unmatched: Vec<String>,
}

impl Exclusion {
    /// The parts of `asked` that `names` remove, and the selection that is left. A name is one under which the probe
    /// lists a check, such as `cache.main` or `cache.main.queue`, or a word of a group, such as `main` for all checks
    /// of that alias; `own` is the name of the sidecar's own line.
    pub(super) fn of<'a>(
        names: &BTreeSet<String>,
        own: &str,
        setup: &Setup,
        asked: &'a Selection,
    ) -> (Self, Cow<'a, Selection>) {
        let mut exclusion = Self::default();
        if names.is_empty() {
            return (exclusion, Cow::Borrowed(asked));
        }
        let listed: HashMap<_, _> = listed(setup, asked).collect();
        let mut out = Selection::default();
        for name in names {
            if name == own {
                exclusion.own = true;
                continue;
            }
            let word = || setup.checker.catalog().named([name.as_str()]).unwrap_or_default();
            let meant = listed.get(name).cloned().unwrap_or_else(word).within(asked);
            if meant.is_empty() {
                exclusion.unmatched.push(name.clone());
            }
            out.add(meant);
        }
        let left = asked.without(&out);
        exclusion.listed = self::listed(setup, &asked.without(&left)).map(|(name, _)| name).collect();
        (exclusion, Cow::Owned(left))
    }
}

/// Each part of a selection, with the name under which a probe lists it.
fn listed<'a>(setup: &'a Setup, selection: &'a Selection) -> impl Iterator<Item = (String, Selection)> + 'a {
    let checks = selection.checks.iter().zip(setup.checker.records(selection)).map(|(&check, record)| {
        let one = Selection { checks: vec![check], skipped: Vec::new() };
        (format!("cache.{}", record.entry()), one)
    });
    let skipped = selection.skipped.iter().map(|skipped| {
        let one = Selection { checks: Vec::new(), skipped: vec![skipped.clone()] };
        (format!("cache.{}", skipped.alias), one)
    });
    checks.chain(skipped)
}

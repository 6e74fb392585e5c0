//! The verdict on views that show, or do not show, the writes and deletes through the alias. No I/O.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::canary::CanaryVerdict;
use crate::check::words;
use crate::outcome::{Cause, Fault, Figure, Finding, Measure, Status};

/// The operation through the alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A canary was written.
    Write,
    /// A canary was deleted.
    Delete,
}

/// The timing of a view's sight of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// Before it was due.
    InTime,
    /// Later, while it was watched.
    Late,
    /// Not while it was watched.
    Never,
}

/// The sight of one canary in a view.
#[derive(Debug, Clone)]
pub(super) struct CanarySight {
    pub(super) what: What,
    pub(super) timing: Timing,
    /// The time from the acknowledgment to the first look that showed it, or to the last one that did not.
    pub(super) lag: Duration,
    /// The time at which the alias acknowledged it.
    pub(super) acked: Instant,
    /// The fault of a value there that this program did not write.
    pub(super) odd: Option<Fault>,
}

/// A fault of one server of a view.
#[derive(Debug, Clone)]
pub(super) struct Met {
    /// The server's place in the view.
    pub(super) server: usize,
    pub(super) cause: Cause,
    pub(super) said: String,
}

/// The sights and faults in one view of one server of the alias.
#[derive(Debug, Default)]
pub(super) struct SeenView {
    pub(super) sights: Vec<CanarySight>,
    pub(super) faults: Vec<Met>,
}

/// The sights of each server of the alias, in each view.
pub(super) type SeenByServer = BTreeMap<Arc<str>, Vec<SeenView>>;

/// The time since when a view, by its place, has not followed a server of the alias: it missed a delete then, and has not
/// shown all writes of any later check. If the deleted canary no longer shows because it has expired, the view may still
/// miss the next delete.
pub(super) type Estranged = HashMap<(Arc<str>, usize), Instant>;

impl What {
    /// `true` if the value under a canary's key is the one that this operation leaves there.
    pub(super) fn is_shown_by(self, verdict: &CanaryVerdict) -> bool {
        match self {
            Self::Write => *verdict == CanaryVerdict::Intact,
            Self::Delete => matches!(verdict, CanaryVerdict::Masked { .. }),
        }
    }

    fn figure(self) -> Figure {
        match self {
            Self::Write => Figure::WriteLag,
            Self::Delete => Figure::DeleteLag,
        }
    }
}

/// The findings and figures of a check that ends `now`. `estranged` holds the earlier state, and is updated.
pub(super) fn judge(
    views: &[Arc<str>],
    seen_by_server: &SeenByServer,
    estranged: &mut Estranged,
    now: Instant,
) -> (Vec<Finding>, Vec<Measure>) {
    estranged.retain(|(server, _), _| seen_by_server.contains_key(server));
    let (mut findings, mut measures) = (Vec::new(), Vec::new());
    for (place, view) in views.iter().enumerate() {
        let mut faults: Vec<&Met> = Vec::new();
        let mut lags = HashMap::new();
        for (server, seen) in
            seen_by_server.iter().filter_map(|(server, seen)| Some((server, seen.get(place)?)))
        {
            for met in &seen.faults {
                // The probe of another server of the alias may have met the same fault.
                if !faults.iter().any(|known| (known.server, known.cause) == (met.server, met.cause)) {
                    faults.push(met);
                }
            }
            for sight in &seen.sights {
                let lag: &mut Duration = lags.entry(sight.what.figure()).or_default();
                *lag = sight.lag.max(*lag);
            }
            let since = follow(estranged, (server.clone(), place), &seen.sights);
            let pair = SeenPair { view, server, sights: &seen.sights };
            findings.extend(pair.findings(since.map(|since| now - since)));
            if let Some(since) = since {
                let lag = lags.entry(What::Delete.figure()).or_default();
                *lag = (now - since).max(*lag);
            }
        }
        let about = format!("view {view}");
        findings.extend(faults.iter().map(|met| Finding::new(Status::Down, met.cause, &about, &met.said)));
        for what in [What::Write, What::Delete] {
            let figure = what.figure();
            let lag = lags.get(&figure).map(Duration::as_secs_f64);
            measures.extend(lag.map(|value| Measure { figure, of: Some(view.clone()), value }));
        }
    }
    (findings, measures)
}

/// Records if the view of a pair follows its server, and returns the time since when it does not.
fn follow(estranged: &mut Estranged, pair: (Arc<str>, usize), sights: &[CanarySight]) -> Option<Instant> {
    let never = |what| sights.iter().filter(move |sight| sight.what == what && sight.timing == Timing::Never);
    if let Some(missed) = never(What::Delete).map(|sight| sight.acked).min() {
        return Some(*estranged.entry(pair).or_insert(missed));
    }
    if sights.iter().any(|sight| sight.what == What::Write) && never(What::Write).next().is_none() {
        estranged.remove(&pair);
    }
    estranged.get(&pair).copied()
}

/// The sights of one server in one view.
struct SeenPair<'a> {
    view: &'a str,
    server: &'a str,
    sights: &'a [CanarySight],
}

impl SeenPair<'_> {
    fn findings(&self, estranged: Option<Duration>) -> Vec<Finding> {
        let Self { view, server, sights } = self;
        let about = format!("view {view}");
        let find = |status, cause, said: &str| Finding::new(status, cause, &about, said);
        let mut findings = Vec::new();
        if let Some(Fault { cause, said, .. }) = sights.iter().find_map(|sight| sight.odd.as_ref()) {
            let said = format!("{said} (canary written to {server})");
            findings.push(find(Status::Down, *cause, &said));
        }
        if let Some((sight, of)) = self.worst(What::Delete) {
            let lag = words::time(sight.lag);
            let said = match sight.timing {
                Timing::Never => {
                    format!("still shows the canary {lag} after its delete at {server}{of}")
                }
                Timing::InTime | Timing::Late => {
                    format!("showed the canary for {lag} after its delete at {server}{of}")
                }
            };
            findings.push(find(Status::Down, Cause::InvisibleDelete, &said));
        } else if let Some(ago) = estranged {
            let ago = words::time(ago);
            let said = format!("missed a delete at {server} {ago} ago, and has not shown every write since");
            findings.push(find(Status::Down, Cause::InvisibleDelete, &said));
        }
        if let Some((sight, of)) = self.worst(What::Write) {
            let lag = words::time(sight.lag);
            let said = match sight.timing {
                Timing::Never => {
                    format!("does not show the canary {lag} after its write to {server}{of}")
                }
                Timing::InTime | Timing::Late => {
                    format!("took {lag} to show the canary written to {server}{of}")
                }
            };
            findings.push(find(Status::Degraded, Cause::InvisibleWrite, &said));
        }
        findings
    }

    /// The worst of the canaries that were not shown in time, and the number of these, if there are several canaries.
    fn worst(&self, what: What) -> Option<(&CanarySight, String)> {
        let all = || self.sights.iter().filter(|sight| sight.what == what);
        let wrong = || all().filter(|sight| sight.timing != Timing::InTime && sight.odd.is_none());
        let worst = wrong().max_by_key(|sight| (sight.timing == Timing::Never, sight.lag))?;
        let mut of = String::new();
        if all().count() > 1 {
            // Writing to a `String` cannot fail.
            let _ = write!(of, " ({} of {} canaries)", wrong().count(), all().count());
        }
        Some((worst, of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Phase;

    use Timing::{InTime, Late, Never};
    use What::{Delete, Write};

    /// One server in one view, over several checks.
    struct Views {
        estranged: Estranged,
        began: Instant,
    }

    fn sight(what: What, timing: Timing, lag: u64, acked: Instant) -> CanarySight {
        CanarySight { what, timing, lag: Duration::from_millis(lag), acked, odd: None }
    }

    impl Views {
        fn new() -> Self {
            Self { estranged: Estranged::new(), began: Instant::now() }
        }

        /// A check so many seconds after the beginning, with these sights in the one view.
        fn check(&mut self, seconds: u64, seen: &[(What, Timing, u64)]) -> (Vec<Finding>, Vec<Measure>) {
            let now = self.began + Duration::from_secs(seconds);
            let sights = seen.iter().map(|&(what, timing, lag)| sight(what, timing, lag, now)).collect();
            let seen = SeenView { sights, faults: Vec::new() };
            judge(
                &["view".into()],
                &SeenByServer::from([("alias".into(), vec![seen])]),
                &mut self.estranged,
                now,
            )
        }
    }

    fn said(findings: &[Finding]) -> Vec<(Status, Cause, &str)> {
        findings.iter().map(|finding| (finding.status, finding.cause, &*finding.said)).collect()
    }

    #[test]
    fn a_timely_view_is_measured_and_has_no_finding() {
        let (findings, measures) =
            Views::new().check(0, &[(Write, InTime, 2), (Delete, InTime, 1), (Write, InTime, 3)]);
        assert_eq!(findings, []);
        let measures: Vec<_> = measures.iter().map(|measure| (measure.figure, measure.value)).collect();
        let expected = [(Figure::WriteLag, 0.003), (Figure::DeleteLag, 0.001)];
        assert_eq!(measures, expected);
    }

    #[test]
    fn a_late_write_is_degraded_and_a_late_delete_down() {
        let late =
            |what| Views::new().check(0, &[(what, Late, 20), (Write, InTime, 1), (Delete, InTime, 1)]).0;
        let write = "took 20ms to show the canary written to alias (1 of 2 canaries)";
        assert_eq!(said(&late(Write)), [(Status::Degraded, Cause::InvisibleWrite, write)]);
        let delete = "showed the canary for 20ms after its delete at alias (1 of 2 canaries)";
        assert_eq!(said(&late(Delete)), [(Status::Down, Cause::InvisibleDelete, delete)]);
    }

    #[test]
    fn a_view_that_missed_a_delete_is_down_until_it_shows_a_write() {
        let mut views = Views::new();
        let lagging = [(Write, Never, 190), (Delete, InTime, 1)];
        let cause = |findings: &[Finding]| findings.first().map(|finding| finding.cause);
        let invisible = |seconds, views: &mut Views| cause(&views.check(seconds, &lagging).0);
        assert_eq!(invisible(0, &mut views), Some(Cause::InvisibleWrite));
        let (findings, _) = views.check(10, &[(Write, Never, 190), (Delete, Never, 190)]);
        assert_eq!(said(&findings)[0].2, "still shows the canary 190ms after its delete at alias");
        let (findings, measures) = views.check(40, &lagging);
        let expected = "missed a delete at alias 30s ago, and has not shown every write since";
        assert_eq!(said(&findings)[0], (Status::Down, Cause::InvisibleDelete, expected));
        assert!(measures[1].value >= 30.0, "{measures:?}");
        assert_eq!(
            cause(&views.check(50, &[(Write, Late, 90), (Delete, InTime, 1)]).0),
            Some(Cause::InvisibleWrite)
        );
        assert_eq!(invisible(60, &mut views), Some(Cause::InvisibleWrite), "it has shown a write since");
    }

    #[test]
    fn a_server_that_is_gone_is_forgotten() {
        let mut views = Views::new();
        views.check(0, &[(Delete, Never, 190)]);
        assert_eq!(views.estranged.len(), 1);
        judge(&["view".into()], &SeenByServer::new(), &mut views.estranged, views.began);
        assert_eq!(views.estranged.len(), 0);
    }

    #[test]
    fn a_foreign_value_and_a_failed_view_are_down_on_any_server() {
        let now = Instant::now();
        let odd = Some(Fault::new(Cause::Corrupt, Phase::Read, "5 bytes that are no canary were found"));
        let seen = || {
            let sights = vec![CanarySight { odd: odd.clone(), ..sight(Write, Never, 190, now) }];
            let fault = |said: &str| Met { server: 0, cause: Cause::Refused, said: said.to_owned() };
            SeenView { sights, faults: vec![fault("in connect")] }
        };
        let seen_by_server = SeenByServer::from([("a".into(), vec![seen()]), ("b".into(), vec![seen()])]);
        let (findings, _) = judge(&["view".into()], &seen_by_server, &mut Estranged::new(), now);
        assert!(
            findings.iter().all(|finding| finding.status == Status::Down && &*finding.about == "view view")
        );
        let causes: Vec<_> = findings.iter().map(|finding| finding.cause).collect();
        assert_eq!(causes, [Cause::Corrupt, Cause::Corrupt, Cause::Refused]);
        assert!(findings[1].said.ends_with("(canary written to b)"), "{}", findings[1].said);
    }
}

//! [`ServerProbe`]: one server of the alias is probed, through the alias and through every view.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::verdict::{SeenView, Timing, What};
use super::view::{Expected, ShownCanary, View, WatchDeadline};
use crate::cache::SetError;
use crate::canary::{Canary, CanaryVerdict, Key, Series, Unset};
use crate::check::{ProbeTarget, round_trip};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;

/// A place for canaries on one server: two keys, used in turn.
pub(super) struct Spot {
    series: Series,
    /// The canary that was left standing, and the time of its write.
    standing: Mutex<Option<(Arc<Canary>, Instant)>>,
    /// `true` if its keys are on their way to another server, with a slot of a cluster.
    leaves: AtomicBool,
}

/// The probe of one server.
pub(super) struct ServerProbe<'a> {
    pub(super) target: &'a ProbeTarget,
    pub(super) progress: &'a NodeProgress,
    pub(super) views: &'a [View],
    pub(super) spots: Vec<Arc<Spot>>,
    pub(super) until: WatchDeadline,
    pub(super) write_within: Duration,
    pub(super) delete_within: Duration,
    /// The sights in each view.
    pub(super) seen: Vec<SeenView>,
}

/// The most repeats of a write or delete whose result is no evidence.
const MOST_REPEATS: u32 = 2;

impl Spot {
    pub(super) fn new(series: Series) -> Self {
        Self { series, standing: Mutex::default(), leaves: AtomicBool::new(false) }
    }

    /// Its keys.
    pub(super) fn keys(&self) -> [Key; 2] {
        self.series.keys()
    }

    /// `true` if its keys are on their way to another server.
    pub(super) fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }

    /// Records that its keys are on their way.
    fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// The canary that was left standing, unless it has expired.
    fn standing(&self) -> Option<Arc<Canary>> {
        let standing = self.standing.lock();
        let (canary, since) = standing.as_ref()?;
        (since.elapsed() < self.series.ttl()).then(|| canary.clone())
    }
}

impl ServerProbe<'_> {
    /// Writes a new canary at each spot, deletes the one that was left standing there, and watches both in all views.
    /// If none was left standing, one is written and watched first, so that the deleted canary was visible before.
    ///
    /// All writes come before the first delete: a delete would make room in a full memcached.
    pub(super) async fn make(&mut self) -> Result<(), Fault> {
        let (mut expected, mut earlier, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for place in 0..self.spots.len() {
            if let Some(canary) = self.spots[place].standing() {
                earlier.push((place, canary));
            } else {
                let written = self.write(place, |series| Some(series.next())).await?;
                first.push((place, written.canary.clone()));
                expected.push(written);
            }
            expected.push(self.write(place, |series| Some(series.next())).await?);
        }
        for (place, canary) in earlier {
            expected.push(self.delete(place, canary).await?);
        }
        if first.is_empty() {
            return self.watch(expected, self.until).await;
        }
        self.watch(expected, self.until.half(self.write_within)).await?;
        let mut expected = Vec::new();
        for (place, canary) in first {
            expected.push(self.delete(place, canary).await?);
        }
        self.watch(expected, self.until).await
    }

    /// Writes a canary through the alias. If a kept connection turns out to have been closed, another canary is
    /// written, once.
    async fn write(&self, place: usize, next: impl Fn(&Series) -> Option<Canary>) -> Result<Expected, Fault> {
        let Self { target, progress, .. } = self;
        let spot = &self.spots[place];
        for _ in 0..2 {
            let Some(canary) = next(&spot.series).map(Arc::new) else { break };
            let doubt = spot.series.doubt(&canary);
            let set = target.cache.set(&canary, progress).await;
            let acked = Instant::now();
            match set {
                Ok(()) => {
                    doubt.answered();
                    spot.series.settle(&canary);
                    *spot.standing.lock() = Some((canary.clone(), acked));
                    return Ok(Expected {
                        place,
                        canary,
                        what: What::Write,
                        acked,
                        within: self.write_within,
                    });
                }
                Err(SetError::KeptConnectionClosed) => {}
                Err(SetError::Fault(fault)) => {
                    if fault.cause == Cause::OutOfMemory {
                        // As in a round trip: an expired canary would make room for a new one.
                        for spot in &self.spots {
                            target.cache.renew(&spot.keys(), spot.series.ttl()).await;
                        }
                    }
                    return Err(self.met_at(spot, fault));
                }
            }
        }
        Err(progress.fault(Cause::Unreachable, "the server closes every connection without an answer"))
    }

    /// Deletes a canary through the alias.
    async fn delete(&self, place: usize, canary: Arc<Canary>) -> Result<Expected, Fault> {
        let spot = &self.spots[place];
        let deleted = self.target.cache.delete(canary.key(), self.progress).await;
        let acked = Instant::now();
        deleted.map_err(|fault| self.met_at(spot, fault))?;
        spot.series.removed(&canary);
        Ok(Expected { place, canary, what: What::Delete, acked, within: self.delete_within })
    }

    /// Watches the expected canaries in every view. A canary that a view does not show is evidence against the view only
    /// if the alias shows it: a server that hung executes writes and deletes that an earlier check gave up on, and may
    /// evict or be flushed between two commands. In that case the write or delete is repeated.
    async fn watch(&mut self, mut expected: Vec<Expected>, until: WatchDeadline) -> Result<(), Fault> {
        for repeat in 0.. {
            if expected.is_empty() {
                break;
            }
            if Instant::now() >= until.last {
                return Err(self.progress.fault(Cause::TimedOut, "no time was left to check the views"));
            }
            let until_due = WatchDeadline { over: Duration::ZERO, ..until };
            let shown = self.look_around(&expected, until_due).await?;
            let may_repeat = repeat < MOST_REPEATS && Instant::now() < until.last;
            let mut again = Vec::new();
            for (index, expected) in expected.iter().enumerate() {
                let never = shown.iter().filter(|(_, shown)| shown.is_never(index));
                let never: Vec<_> = never.map(|(_, shown)| &shown.verdict).collect();
                if never.is_empty() {
                    continue;
                }
                match self.doubted(expected, &never).await? {
                    Some(_) if may_repeat => again.push(index),
                    Some(fault) if expected.what == What::Write => return Err(fault),
                    None | Some(_) => {}
                }
            }
            let evidence = shown.into_iter().filter(|(_, shown)| !again.contains(&shown.expected)).collect();
            self.watch_further(&expected, evidence, until).await?;
            let mut repeated = Vec::new();
            for index in again {
                let Expected { place, canary, what, .. } = &expected[index];
                repeated.push(match what {
                    // The new canary has the key of the one that was written last.
                    What::Write => self.write(*place, Series::next_over_resident).await?,
                    What::Delete => self.delete(*place, canary.clone()).await?,
                });
            }
            expected = repeated;
        }
        Ok(())
    }

    /// Records the canaries that were `shown`. The others are watched further, to measure how long they take.
    async fn watch_further(
        &mut self,
        expected: &[Expected],
        shown: Vec<(usize, ShownCanary)>,
        until: WatchDeadline,
    ) -> Result<(), Fault> {
        let is_never = |index| shown.iter().any(|(_, shown)| shown.is_never(index));
        let missed: Vec<_> = (0..expected.len()).filter(|index| is_never(*index)).collect();
        let mut later = Vec::new();
        if !missed.is_empty() && Instant::now() < until.last {
            let expected: Vec<_> = missed.iter().map(|index| expected[*index].clone()).collect();
            later = self.look_around(&expected, until).await?;
        }
        for (view, ShownCanary { expected, mut sight, .. }) in shown {
            let is_same =
                |(of, shown): &&(usize, ShownCanary)| *of == view && missed[shown.expected] == expected;
            if sight.timing == Timing::Never
                && let Some((_, shown)) = later.iter().find(is_same)
            {
                sight = shown.sight.clone();
                if sight.timing == Timing::InTime {
                    // It was due before this watch began.
                    sight.timing = Timing::Late;
                }
            }
            self.seen[view].sights.push(sight);
        }
        Ok(())
    }

    /// The fault that excuses the views for a canary that they never showed correctly, if there is one.
    async fn doubted(&self, expected: &Expected, shown: &[&CanaryVerdict]) -> Result<Option<Fault>, Fault> {
        let Expected { place, canary, what, .. } = expected;
        let spot = &self.spots[*place];
        match what {
            What::Write => {
                let read = self.target.cache.get(canary.key(), Unset::new(), self.progress).await;
                let verdict =
                    read.map_err(|fault| self.met_at(spot, fault)).map(|read| canary.judge(&read))?;
                Ok((verdict != CanaryVerdict::Intact).then(|| round_trip::fault(&verdict, self.progress)))
            }
            What::Delete => {
                let late = |verdict: &&&CanaryVerdict| match verdict {
                    CanaryVerdict::Stale { sequence, .. } => spot.series.is_in_doubt(*sequence),
                    CanaryVerdict::Intact
                    | CanaryVerdict::Masked { .. }
                    | CanaryVerdict::Foreign { .. }
                    | CanaryVerdict::Corrupt { .. } => false,
                };
                Ok(shown.iter().find(late).map(|verdict| round_trip::fault(verdict, self.progress)))
            }
        }
    }

    /// Watches the expected canaries at every server of every view, all at the same time. A server that had a fault is
    /// skipped.
    async fn look_around(
        &mut self,
        expected: &[Expected],
        until: WatchDeadline,
    ) -> Result<Vec<(usize, ShownCanary)>, Fault> {
        self.progress.enter(Phase::Read);
        let mut watches = Vec::new();
        for (view, (ways, seen)) in self.views.iter().zip(&self.seen).enumerate() {
            for (place, server) in ways.servers.iter().enumerate() {
                let is_here =
                    |(_, expected): &(usize, &Expected)| ways.place(expected.canary.key()) == Some(place);
                let here: Vec<_> = expected.iter().enumerate().filter(is_here).collect();
                if here.is_empty() || seen.faults.iter().any(|met| met.server == place) {
                    continue;
                }
                let progress = self.progress;
                watches.push(async move { (view, place, server.watch(&here, until, progress).await) });
            }
        }
        let mut all = Vec::new();
        for (view, place, watched) in join_all(watches).await {
            match watched {
                Ok(shown) => all.extend(shown.into_iter().map(|shown| (view, shown))),
                Err(fault) if self.is_of_move(&fault) => {
                    // The fault does not name the key.
                    self.spots.iter().for_each(|spot| spot.leave());
                    return Err(fault);
                }
                Err(fault) => self.seen[view].faults.push(self.views[view].met(place, &fault)),
            }
        }
        Ok(all)
    }

    /// `true` if a fault means that a key is on its way from one primary of a cluster to another.
    fn is_of_move(&self, fault: &Fault) -> bool {
        let said = |word| fault.said.starts_with(word);
        self.target.share.is_some() && fault.cause == Cause::Redirected && (said("ASK ") || said("TRYAGAIN "))
    }

    /// Passes on a fault of the alias with the keys of a spot, and records it if these are on their way.
    fn met_at(&self, spot: &Spot, fault: Fault) -> Fault {
        if self.is_of_move(&fault) {
            spot.leave();
        }
        fault
    }
}

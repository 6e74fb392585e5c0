//! The round trip: a canary is written to a node and read back. This is the core of the project.

use tokio::time::Instant;

use super::Failed;
use crate::cache::{Cache, SetError};
use crate::canary::{Canary, CanaryVerdict, LateWrites, Series, Unset};
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::{Depth, NodeProgress};

/// The round trips to one server.
pub(crate) struct RoundTrips {
    cache: Box<dyn Cache>,
    series: Vec<Series>,
}

impl RoundTrips {
    /// Round trips with at least one series of canaries. With more than one, each round writes a canary of each.
    pub(crate) fn new(cache: Box<dyn Cache>, series: Vec<Series>) -> Self {
        Self { cache, series }
    }

    /// `true` if nothing has come over the server's kept connection since the last round trip.
    pub(super) fn is_quiet(&self) -> bool {
        self.cache.is_quiet()
    }

    /// Makes the round trip of each series, one after the other, and records them in `progress`. If every canary was
    /// read back, that of the first series is returned.
    pub(super) async fn make(&self, progress: &NodeProgress) -> Result<Option<WrittenCanary>, Failed> {
        if progress.depth() == Depth::Glance {
            return Box::pin(self.glance(progress)).await;
        }
        let mut first = None;
        let mut lost = 0;
        for series in &self.series {
            let trip = RoundTrip { cache: &*self.cache, series, progress, decided: lost > 0 };
            match trip.make().await {
                Some(canary) => first = first.or(Some(canary)),
                None => lost += 1,
            }
        }
        if lost == 0 {
            progress.conclude(Ok(()));
            return Ok(first);
        }
        // This is rare, so it is boxed and takes no room in every check's future.
        Box::pin(self.say_more(lost, progress)).await;
        Err(Failed)
    }

    /// Reads the canaries of an earlier round: the one of each series that was read back last. That shows that the server
    /// is reachable and keeps its data, and not that it accepts writes.
    async fn glance(&self, progress: &NodeProgress) -> Result<Option<WrittenCanary>, Failed> {
        for series in &self.series {
            if let Err(fault) = self.find(series, progress).await {
                progress.conclude(Err(fault));
                return Err(Failed);
            }
        }
        progress.conclude(Ok(()));
        Ok(None)
    }

    async fn find(&self, series: &Series, progress: &NodeProgress) -> Result<(), Fault> {
        let gone = || Fault::new(Cause::Masked, Phase::Read, "the earlier canary is gone");
        let key = series.resident().ok_or_else(gone)?;
        let read = self.cache.get_first(&key, Unset::new(), progress).await?;
        if series.is_resident(&read) { Ok(()) } else { Err(gone()) }
    }

    /// Adds details to a fault: the number of canaries that it applies to, and the command that the server still
    /// answers, so that a probe without data would miss the fault.
    async fn say_more(&self, lost: usize, progress: &NodeProgress) {
        let Some(Err(mut fault)) = progress.verdict() else { return };
        if self.series.len() > 1 {
            fault = fault.of_several(lost, self.series.len());
            progress.conclude(Err(fault.clone()));
        }
        match fault.phase {
            Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Auth => {}
            // A server that redirects is healthy.
            Phase::Write | Phase::Read if fault.cause == Cause::Redirected => {}
            Phase::Write | Phase::Read => {
                if let Some(command) = self.cache.answers(progress).await {
                    progress.conclude(Err(fault.although_it_answers(command)));
                }
            }
        }
    }
}

/// A canary that was written and read back.
#[derive(Debug)]
pub(crate) struct WrittenCanary {
    /// The canary.
    pub(crate) canary: Box<Canary>,
    /// The time at which its write was acknowledged.
    pub(crate) at: Instant,
}

/// One round trip of one canary.
struct RoundTrip<'a> {
    cache: &'a dyn Cache,
    series: &'a Series,
    progress: &'a NodeProgress,
    /// `true` if another canary was lost before this one, and the verdict stands.
    decided: bool,
}

impl RoundTrip<'_> {
    /// Two operations: a write, whose answer is awaited, and then a read, both without a retry. Returns the
    /// canary, if it was read back; otherwise the fault is concluded.
    ///
    /// A check that gives up at its deadline leaves a write on its way, and a server that hung executes it
    /// later, perhaps between a later check's write and its read; and so it may with the write of a check that
    /// runs at the same time. So if the read finds a write that was not answered before this one began, the check
    /// starts over with a new canary. Each such write arrives only once: if it is found a second time, it was
    /// there all along.
    async fn make(&self) -> Option<WrittenCanary> {
        let mut late = None;
        loop {
            let (canary, earlier) = self.write().await?;
            let at = Instant::now();
            match self.read(&canary).await {
                Ok(CanaryVerdict::Intact) => {
                    self.series.settle(&canary);
                    return Some(WrittenCanary { canary, at });
                }
                Ok(CanaryVerdict::Stale { sequence, .. })
                    if late != Some(sequence) && earlier.contains(sequence) =>
                {
                    late = Some(sequence);
                }
                // Without a reason, the cause may be found by a closer look.
                Ok(masked @ CanaryVerdict::Masked { why: None }) => {
                    self.conclude(fault(&masked, self.progress));
                    Box::pin(self.look_closer()).await;
                    return None;
                }
                Ok(other) => {
                    self.conclude(fault(&other, self.progress));
                    return None;
                }
                Err(fault) => {
                    self.conclude(fault);
                    return None;
                }
            }
        }
    }

    /// Writes a canary, and returns it with the earlier ones that may arrive after it. If a kept connection turns out to
    /// have been closed, the check starts over, once.
    async fn write(&self) -> Option<(Box<Canary>, LateWrites)> {
        for _ in 0..2 {
            let canary = Box::new(self.series.next());
            match self.set(&canary).await {
                Ok(earlier) => return Some((canary, earlier)),
                Err(SetError::KeptConnectionClosed) => {}
                Err(SetError::Fault(fault)) => {
                    let full = fault.cause == Cause::OutOfMemory;
                    self.conclude(fault);
                    if full {
                        // An expired canary would make room for a new one, and a full memcached would seem up once
                        // per time to live.
                        self.cache.renew(&self.series.keys(), self.series.ttl()).await;
                    }
                    return None;
                }
            }
        }
        let said = "the server closes every connection without an answer";
        self.conclude(self.progress.fault(Cause::Unreachable, said));
        None
    }

    fn conclude(&self, fault: Fault) {
        if !self.decided {
            self.progress.conclude(Err(fault));
        }
    }

    /// Writes one canary. Until the server answers, the write is in doubt.
    async fn set(&self, canary: &Canary) -> Result<LateWrites, SetError> {
        let doubt = self.series.doubt(canary);
        self.cache.set(canary, self.progress).await?;
        Ok(doubt.answered())
    }

    async fn read(&self, canary: &Canary) -> Result<CanaryVerdict, Fault> {
        let read = self.cache.get(canary.key(), Unset::new(), self.progress).await?;
        Ok(canary.judge(&read))
    }

    /// Tells `stale` from `masked`, after a canary was lost. The one before it may still be under the other
    /// key: if a canary written over that one is acknowledged and the earlier one is read, writes are dropped
    /// while reads are real. The node is down either way; this only adds detail.
    async fn look_closer(&self) {
        let Some(canary) = self.series.next_over_resident() else { return };
        if self.set(&canary).await.is_err() {
            return;
        }
        if let Ok(stale @ CanaryVerdict::Stale { .. }) = self.read(&canary).await {
            self.conclude(fault(&stale, self.progress));
        }
    }
}

/// The fault that a verdict other than intact means.
pub(crate) fn fault(verdict: &CanaryVerdict, progress: &NodeProgress) -> Fault {
    let (cause, said) = match verdict {
        CanaryVerdict::Intact | CanaryVerdict::Masked { why: None } => {
            (Cause::Masked, "the read found no value".to_owned())
        }
        CanaryVerdict::Masked { why: Some(why) } => (Cause::Masked, why.to_string()),
        CanaryVerdict::Stale { age, .. } => {
            (Cause::Stale, format!("the read found a canary that is {} ms older", age.as_millis()))
        }
        CanaryVerdict::Foreign { instance } => {
            let instance = progress.redaction().text(instance);
            (
                Cause::Foreign,
                format!("the read found a canary of instance {instance}, written to another key"),
            )
        }
        CanaryVerdict::Corrupt { len } => {
            (Cause::Corrupt, format!("the read found {len} bytes that are not a canary"))
        }
    };
    Fault::new(cause, Phase::Read, &said)
}

//! The round trip: a canary is written to each node and read back. Everything else in the project stands
//! around this.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use tower::Service;

use crate::cache::{Cache, SetError};
use crate::canary::{Canary, Sentinel, Series, Verdict};
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::{NodeProgress, Progress};

/// The round trip through each node of an alias.
#[derive(Clone)]
pub struct RoundTrip {
    nodes: Arc<[Node]>,
}

/// One server behind an alias.
pub struct Node {
    cache: Box<dyn Cache>,
    series: Series,
}

impl RoundTrip {
    /// The round trip through these nodes, which are checked all together.
    #[must_use]
    pub fn new(nodes: Vec<Node>) -> Self {
        Self { nodes: nodes.into() }
    }
}

impl Service<Arc<Progress>> for RoundTrip {
    type Response = ();
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, progress: Arc<Progress>) -> Self::Future {
        let nodes = self.nodes.clone();
        async move {
            join_all(nodes.iter().zip(progress.nodes()).map(|(node, progress)| node.check(progress))).await;
            Ok(())
        }
        .boxed()
    }
}

impl Node {
    /// A node, and the canaries that are written to it.
    #[must_use]
    pub fn new(cache: Box<dyn Cache>, series: Series) -> Self {
        Self { cache, series }
    }

    /// Two operations: a write, whose answer is awaited, and then a read. Neither is tried again.
    ///
    /// A check that gives up at its deadline leaves a write on its way, and a server that hung takes it up
    /// when it goes on, perhaps between a later check's write and its read. So where the read finds a write
    /// that was never answered, the check starts over with a new canary. Each arrives but once: what is found
    /// a second time was there all along.
    async fn check(&self, progress: &NodeProgress) {
        let mut late = None;
        while let Some(found) = self.look(late, progress).await {
            late = Some(found);
        }
    }

    /// One write and one read, and the verdict; or, in its place, a canary that has arrived late, other than
    /// `late`.
    async fn look(&self, late: Option<u64>, progress: &NodeProgress) -> Option<u64> {
        let canary = match self.write(progress).await {
            Ok(canary) => canary,
            Err(fault) => {
                let full = fault.cause == Cause::OutOfMemory;
                progress.conclude(Err(fault));
                if full {
                    // An expired canary would make room for one, and a full memcached look up once for every
                    // time to live.
                    self.cache.renew(self.series.keys(), self.series.ttl()).await;
                }
                return None;
            }
        };
        match self.read(&canary, progress).await {
            Ok(Verdict::Stale { sequence, .. })
                if late != Some(sequence) && self.series.is_in_doubt(sequence) =>
            {
                return Some(sequence);
            }
            Err(fault) => progress.conclude(Err(fault)),
            Ok(Verdict::Intact) => {
                self.series.settle(&canary);
                progress.conclude(Ok(()));
            }
            Ok(Verdict::Masked) => {
                progress.conclude(Err(fault(&Verdict::Masked)));
                self.look_closer(progress).await;
            }
            Ok(other) => progress.conclude(Err(fault(&other))),
        }
        None
    }

    /// Writes a canary. Where a kept connection turns out to have been closed, the check starts over, once.
    async fn write(&self, progress: &NodeProgress) -> Result<Canary, Fault> {
        for _ in 0..2 {
            let canary = self.series.next();
            match self.set(&canary, progress).await {
                Ok(()) => return Ok(canary),
                Err(SetError::Fault(fault)) => return Err(fault),
                Err(SetError::KeptConnectionClosed) => {}
            }
        }
        Err(progress.fault(Cause::Unreachable, "the server closes every connection without an answer"))
    }

    /// Has a canary stored. Until that is answered its write is in doubt.
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        let doubt = self.series.doubt(canary);
        self.cache.set(canary, progress).await?;
        doubt.answered();
        Ok(())
    }

    async fn read(&self, canary: &Canary, progress: &NodeProgress) -> Result<Verdict, Fault> {
        let read = self.cache.get(canary.key(), Sentinel::new(), progress).await?;
        Ok(canary.judge(&read))
    }

    /// Tells `stale` from `masked`, after a canary was lost. The one before it may still stand under the
    /// other key: when a canary written over that one is acknowledged and the earlier one is read, writes are
    /// dropped while reads are real. The node is down either way; this only says more.
    async fn look_closer(&self, progress: &NodeProgress) {
        let Some(canary) = self.series.next_over_resident() else { return };
        if self.set(&canary, progress).await.is_err() {
            return;
        }
        if let Ok(stale @ Verdict::Stale { .. }) = self.read(&canary, progress).await {
            progress.conclude(Err(fault(&stale)));
        }
    }
}

/// The fault that a verdict other than intact is.
fn fault(verdict: &Verdict) -> Fault {
    let (cause, said) = match verdict {
        Verdict::Intact | Verdict::Masked => (Cause::Masked, "nothing was found".to_owned()),
        Verdict::Stale { age, .. } => {
            (Cause::Stale, format!("the canary of {} ms before was found", age.as_millis()))
        }
        Verdict::Foreign { instance } => {
            (Cause::Foreign, format!("a canary of instance {instance}, meant for another key, was found"))
        }
        Verdict::Corrupt { len } => (Cause::Corrupt, format!("{len} bytes that are no canary were found")),
    };
    Fault::new(cause, Phase::Read, &said)
}

//! [`BreakerLayer`]: a circuit breaker, as a layer around the cache of a node.
//!
//! It saves dials to a dead server. Like the breakers in cache clients (`HashClient` of pymemcache), it drops writes
//! and answers reads with the default while it is open. A check detects this one as it would detect theirs, and no
//! other code knows of it. Three states:
//!
//! - closed: everything goes through. Checks that could not reach the server are counted; after `after` of them in a
//!   row, it opens. Any answer of the server, an error included, resets the count. A shortage in the sidecar itself,
//!   such as of file descriptors, does neither.
//! - open: nothing goes through for the time `open_for`.
//! - half-open: one check goes through, alone. An answer closes the breaker; no answer opens it again.

use std::ptr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::Instant;
use tower::Layer;

use super::{Cache, SetError};
use crate::canary::{Canary, Key, Read, Unset};
use crate::config;
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;

/// Puts a breaker around each cache that it is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BreakerLayer(config::BreakerConfig);

impl BreakerLayer {
    pub(crate) fn new(settings: config::BreakerConfig) -> Self {
        Self(settings)
    }
}

impl Layer<Box<dyn Cache>> for BreakerLayer {
    type Service = Box<dyn Cache>;

    fn layer(&self, cache: Box<dyn Cache>) -> Box<dyn Cache> {
        Box::new(Breaker { cache, settings: self.0, state: Mutex::default() })
    }
}

struct Breaker {
    cache: Box<dyn Cache>,
    settings: config::BreakerConfig,
    state: Mutex<BreakerState>,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// The number of checks in a row that could not reach the server.
    dead: u32,
    /// The state of the breaker, if it is not closed.
    open: Option<OpenBreaker>,
    /// Checks whose write was dropped, each with the reason for its read. If the breaker closed in between, the read would
    /// find another check's canary.
    dropped: Vec<(CheckId, Arc<str>)>,
}

#[derive(Debug)]
struct OpenBreaker {
    since: SystemTime,
    /// The time since when it is open and the last fault, in words.
    why: Arc<str>,
    /// The time from which on a check goes through.
    until: Instant,
    /// The check that goes through.
    trial: Option<CheckId>,
}

/// The check that a call belongs to: the address of its progress, which is unique while the check runs.
type CheckId = usize;

fn check(progress: &NodeProgress) -> CheckId {
    ptr::from_ref(progress).addr()
}

/// `true` if the server was not reached or did not answer, which costs the time to dial or to wait. A server that answers
/// with an error is there, and the check reports the fault itself.
fn is_dead(fault: &Fault) -> bool {
    let dialed = match fault.phase {
        Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Auth => true,
        Phase::Write | Phase::Read => false,
    };
    let reached = !matches!(
        fault.cause,
        Cause::Unresolvable
            | Cause::Refused
            | Cause::TimedOut
            | Cause::Tls
            | Cause::Auth
            | Cause::Unreachable
    );
    dialed || !reached
}

impl Breaker {
    /// `true` if the write of a check goes through; its read goes the same way.
    fn takes_write(&self, progress: &NodeProgress) -> bool {
        let check = check(progress);
        let mut state = self.state.lock();
        let BreakerState { open, dropped, .. } = &mut *state;
        dropped.retain(|(other, _)| *other != check);
        let Some(open) = open else { return true };
        let now = Instant::now();
        // A call after the verdict is no check. A trial without a result for this long gives its place to the next.
        if open.trial != Some(check) && now >= open.until && progress.verdict().is_none() {
            open.trial = Some(check);
            open.until = now + self.settings.open_for;
        }
        let takes = open.trial == Some(check);
        if !takes {
            dropped.push((check, open.why.clone()));
        }
        takes
    }

    /// The reason why a further part of a check does not go through, if it does not.
    fn refuses(&self, progress: &NodeProgress) -> Option<Arc<str>> {
        let check = check(progress);
        let mut state = self.state.lock();
        if let Some(place) = state.dropped.iter().position(|(other, _)| *other == check) {
            return Some(state.dropped.swap_remove(place).1);
        }
        state.open.as_ref().filter(|open| open.trial != Some(check)).map(|open| open.why.clone())
    }

    /// The server has answered.
    fn close(&self) {
        let mut state = self.state.lock();
        state.dead = 0;
        state.open = None;
    }

    /// A check could not reach the server.
    fn count(&self, progress: &NodeProgress, fault: &Fault) {
        if progress.verdict().is_some() {
            // It was counted with an earlier canary of the same check.
            return;
        }
        let until = Instant::now() + self.settings.open_for;
        let mut state = self.state.lock();
        state.dead = state.dead.saturating_add(1);
        let since = match &state.open {
            Some(open) if open.trial == Some(check(progress)) => open.since,
            None if state.dead >= self.settings.after => SystemTime::now(),
            // Either the check began before the breaker opened, or too few have failed so far.
            Some(_) | None => return,
        };
        state.open = Some(OpenBreaker { since, why: words(since, fault), until, trial: None });
    }

    /// A trial has ended without contact to the server: another check takes its place.
    fn release(&self, progress: &NodeProgress) {
        if let Some(open) = self.state.lock().open.as_mut().filter(|open| open.trial == Some(check(progress)))
        {
            open.trial = None;
            open.until = Instant::now();
        }
    }
}

/// `circuit breaker open since 2026-11-22T22:37:21Z; last fault: refused in connect: Connection refused (os error 111)`.
fn words(since: SystemTime, fault: &Fault) -> Arc<str> {
    // A machine without a clock may report a time before 1970, which the format does not support.
    let since = humantime::format_rfc3339_seconds(since.max(UNIX_EPOCH));
    format!("circuit breaker open since {since}; last fault: {fault}").into()
}

#[async_trait]
impl Cache for Breaker {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        if !self.takes_write(progress) {
            return Ok(());
        }
        let call = Call::begin(self, progress);
        let set = self.cache.set(canary, progress).await;
        match &set {
            // The read decides, or the check starts over.
            Ok(()) | Err(SetError::KeptConnectionClosed) => call.goes_on(),
            Err(SetError::Fault(fault)) => call.came_to(Some(fault)),
        }
        set
    }

    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        if let Some(why) = self.refuses(progress) {
            return Ok(Read::Default(default.because(&why)));
        }
        let call = Call::begin(self, progress);
        let read = self.cache.get(key, default, progress).await;
        call.came_to(read.as_ref().err());
        read
    }

    async fn get_first(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        if let Some(why) = self.refuses(progress) {
            return Ok(Read::Default(default.because(&why)));
        }
        // This read replaces a check and is none, so the breaker does not count it.
        self.cache.get_first(key, default, progress).await
    }

    fn is_quiet(&self) -> bool {
        self.cache.is_quiet()
    }

    async fn delete(&self, key: &Key, progress: &NodeProgress) -> Result<(), Fault> {
        if self.refuses(progress).is_some() {
            return Ok(());
        }
        self.cache.delete(key, progress).await
    }

    async fn renew(&self, keys: &[Key], ttl: Duration) {
        let is_open = self.state.lock().open.is_some();
        if !is_open {
            self.cache.renew(keys, ttl).await;
        }
    }

    async fn answers(&self, progress: &NodeProgress) -> Option<&'static str> {
        if self.refuses(progress).is_some() {
            return None;
        }
        self.cache.answers(progress).await
    }
}

/// A call that went through. If it is dropped before it is over, the check's deadline has struck.
struct Call<'a> {
    breaker: &'a Breaker,
    progress: &'a NodeProgress,
    is_over: bool,
}

impl<'a> Call<'a> {
    fn begin(breaker: &'a Breaker, progress: &'a NodeProgress) -> Self {
        Self { breaker, progress, is_over: false }
    }

    fn goes_on(mut self) {
        self.is_over = true;
    }

    fn came_to(mut self, fault: Option<&Fault>) {
        self.is_over = true;
        match fault {
            // The server was not even dialed.
            Some(fault) if fault.is_own => self.breaker.release(self.progress),
            Some(fault) if is_dead(fault) => self.breaker.count(self.progress, fault),
            Some(_) | None => self.breaker.close(),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Self { breaker, progress, is_over } = self;
        if *is_over {
            return;
        }
        if progress.is_withdrawn() || progress.lacks_our_own() {
            // The server is no part of the alias any more, or was not even dialed. Neither is a failure of the server.
            breaker.release(progress);
        } else {
            breaker.count(progress, &progress.fault(Cause::TimedOut, ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt as _;
    use rustix::io::Errno;

    use super::super::dial::io_fault;
    use super::*;
    use crate::alias::Alias;
    use crate::canary::{CanaryVerdict, KeyNames, Series};
    use crate::outcome::Role;
    use crate::progress::Progress;

    /// The fate of a write.
    #[derive(Clone, Copy)]
    enum Way {
        Hangs,
        /// The sidecar has no files left to dial with.
        HasNoFiles,
        /// It waits for something that the sidecar lacks.
        WaitsForUs,
        Works,
    }

    /// A cache that is empty.
    struct Scripted {
        way: Arc<Mutex<Way>>,
    }

    #[async_trait]
    impl Cache for Scripted {
        async fn set(&self, _: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
            let way = *self.way.lock();
            match way {
                Way::Hangs => pending().await,
                Way::WaitsForUs => {
                    let fault = progress.fault(Cause::TimedOut, "no thread").of_our_own();
                    progress.foresee(Some(fault));
                    pending().await
                }
                Way::HasNoFiles => Err(io_fault(progress, &Errno::MFILE.into()).into()),
                Way::Works => Ok(()),
            }
        }

        async fn get(&self, _: &Key, default: Unset, _: &NodeProgress) -> Result<Read, Fault> {
            Ok(Read::Default(default))
        }

        async fn delete(&self, _: &Key, _: &NodeProgress) -> Result<(), Fault> {
            Ok(())
        }

        async fn renew(&self, _: &[Key], _: Duration) {}

        async fn answers(&self, _: &NodeProgress) -> Option<&'static str> {
            None
        }
    }

    struct Bench {
        cache: Box<dyn Cache>,
        way: Arc<Mutex<Way>>,
        progress: Progress,
        series: Series,
    }

    impl Bench {
        /// A breaker that opens after one dead check.
        fn new() -> Self {
            let way = Arc::new(Mutex::new(Way::Hangs));
            let layer =
                BreakerLayer::new(config::BreakerConfig { after: 1, ..config::BreakerConfig::default() });
            let cache = layer.layer(Box::new(Scripted { way: way.clone() }));
            let alias = Alias::try_from("main").unwrap();
            let series =
                Series::new(&KeyNames::new("", &"test".into(), &alias, "node"), Duration::from_mins(1));
            Self { cache, way, progress: Progress::begin(), series }
        }

        fn goes(&self, way: Way) {
            *self.way.lock() = way;
        }

        fn check(&self) -> Arc<NodeProgress> {
            self.progress.node(&"node".into(), Role::Server)
        }

        /// `true` if a write is answered at once; one that hangs is dropped.
        fn writes(&self, check: &NodeProgress) -> bool {
            let canary = self.series.next();
            matches!(self.cache.set(&canary, check).now_or_never(), Some(Ok(())))
        }

        /// `true` if a read is answered by the breaker itself.
        fn read_is_dropped(&self, check: &NodeProgress) -> bool {
            let canary = self.series.next();
            let read = self.cache.get(canary.key(), Unset::new(), check).now_or_never();
            matches!(canary.judge(&read.unwrap().unwrap()), CanaryVerdict::Masked { why: Some(_) })
        }
    }

    #[test]
    fn a_check_that_was_dropped_is_dead_unless_its_server_was_taken_out() {
        for withdrawn in [true, false] {
            let bench = Bench::new();
            let (one, other) = (bench.check(), bench.check());
            if withdrawn {
                one.withdraw();
            }
            assert!(!bench.writes(&one), "it hangs");
            bench.goes(Way::Works);
            assert!(bench.writes(&other));
            assert_eq!(bench.read_is_dropped(&other), !withdrawn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_of_a_removed_server_leaves_its_place_to_the_next() {
        let bench = Bench::new();
        let [first, trial, next] = [(); 3].map(|()| bench.check());
        assert!(!bench.writes(&first), "it hangs");
        tokio::time::advance(config::BreakerConfig::default().open_for).await;
        trial.withdraw();
        assert!(!bench.writes(&trial), "it hangs");
        bench.goes(Way::Works);
        assert!(bench.writes(&next));
        assert!(!bench.read_is_dropped(&next), "it went through");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_without_resources_neither_opens_nor_closes_the_breaker_nor_delays_others() {
        for lack in [Way::HasNoFiles, Way::WaitsForUs] {
            lack_of(lack).await;
        }
    }

    async fn lack_of(lack: Way) {
        let bench = Bench::new();
        let [poor, through, dead, trial, next, beside] = [(); 6].map(|()| bench.check());
        bench.goes(lack);
        assert!(!bench.writes(&poor));
        bench.goes(Way::Works);
        assert!(bench.writes(&through));
        assert!(!bench.read_is_dropped(&through), "it is closed");
        bench.goes(Way::Hangs);
        assert!(!bench.writes(&dead), "it opens");
        tokio::time::advance(config::BreakerConfig::default().open_for).await;
        bench.goes(lack);
        assert!(!bench.writes(&trial), "it goes through");
        bench.goes(Way::Works);
        assert!(bench.writes(&next));
        assert!(bench.writes(&beside));
        assert!(bench.read_is_dropped(&beside), "it was open still");
        assert!(!bench.read_is_dropped(&next), "and this one went through");
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_that_was_not_written_is_not_read_although_the_breaker_closes_in_between() {
        let bench = Bench::new();
        let [first, trial, beside, after] = [(); 4].map(|()| bench.check());
        assert!(!bench.writes(&first), "it hangs");
        bench.goes(Way::Works);
        tokio::time::advance(config::BreakerConfig::default().open_for).await;
        assert!(bench.writes(&trial));
        assert!(bench.writes(&beside), "it is dropped");
        assert!(!bench.read_is_dropped(&trial), "it closes the breaker");
        assert!(bench.read_is_dropped(&beside));
        assert!(bench.writes(&after));
        assert!(!bench.read_is_dropped(&after));
    }
}

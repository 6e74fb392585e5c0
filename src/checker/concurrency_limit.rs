//! The concurrency limit, as a layer: thousands of checks that are asked for at once begin a few at a time.
//!
//! A check that waits for its cache needs memory for it. Healthy caches answer as fast as they are asked, so that few
//! checks wait at a time; to begin thousands before the first answer is taken would have all of them wait.
//!
//! Caches that hang hold up the others by an eighth of the deadline at most, however many they are: a check that is not
//! over after its turn makes room for two, so that each turn twice as many begin. Only time in which the sidecar could
//! have taken an answer counts.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use crate::budget;

/// The number that begin at a time: enough that neither side waits for the other, in memory of no account.
const AT_A_TIME: usize = 64;

/// A turn that ends so much too late was too short for the sidecar, and says nothing of the cache: twice as many checks
/// would have less time each. Timers are exact to a millisecond.
const BUSY: Duration = Duration::from_millis(3);

/// The most turns of a check. A machine may be busy for ever, and its caches hang nonetheless.
const TURNS: u32 = 4;

/// Lets the checks that it is put around begin a few at a time.
#[derive(Debug, Clone)]
pub(super) struct ConcurrencyLimitLayer(Arc<Permits>);

impl ConcurrencyLimitLayer {
    /// The limit for `checks` with this deadline; none where they are few.
    pub(super) fn of(checks: usize, timeout: Duration) -> Option<Self> {
        (checks > AT_A_TIME).then(|| Self(Arc::new(Permits::new(timeout))))
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, check: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit { check, places: self.0.clone() }
    }
}

/// A check that waits for its turn.
#[derive(Clone)]
pub(super) struct ConcurrencyLimit<S> {
    check: S,
    places: Arc<Permits>,
}

impl<S> Service<Instant> for ConcurrencyLimit<S>
where
    S: Service<Instant, Error = Infallible, Response: Send, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<S::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Instant) -> Self::Future {
        let Self { check, places } = self.clone();
        async move {
            let place = places.take().await;
            // Boxed, so that those which wait for their turn hold no room for it.
            Box::pin(place.make(check, arrived)).await
        }
        .boxed()
    }
}

/// The places of checks that have begun.
#[derive(Debug)]
struct Permits {
    /// The deadline of the checks.
    deadline: Duration,
    free: Semaphore,
    /// The number of places that are to be taken away as they are given back.
    owed: AtomicUsize,
}

impl Permits {
    fn new(deadline: Duration) -> Self {
        Self { deadline, free: Semaphore::new(AT_A_TIME), owed: AtomicUsize::new(0) }
    }

    async fn take(&self) -> Permit<'_> {
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        // The semaphore is never closed.
        Permit { places: self, has_made_room: false }
    }

    fn add(&self) {
        let pay = |owed: usize| owed.checked_sub(1);
        if self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_err() {
            self.free.add_permits(1);
        }
    }

    fn remove(&self) {
        if self.free.forget_permits(1) == 0 {
            self.owed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The place of one check, until it is over.
struct Permit<'a> {
    places: &'a Permits,
    has_made_room: bool,
}

impl Permit<'_> {
    /// Makes a check in it.
    async fn make<S: Service<Instant>>(
        mut self,
        check: S,
        arrived: Instant,
    ) -> Result<S::Response, S::Error> {
        let deadline = self.places.deadline;
        // No check waits longer for a cache's sake, and a sidecar that is short of time is no cache's fault.
        let spent = budget::BEFORE_CHECK.of(deadline);
        let counted_from = Instant::now().checked_sub(spent).unwrap_or(arrived).max(arrived);
        let mut check = pin!(check.oneshot(counted_from));
        for _ in 0..TURNS {
            let due = Instant::now() + budget::TURN.of(deadline);
            if let Ok(outcome) = timeout_at(due, check.as_mut()).await {
                return outcome;
            }
            if due.elapsed() <= BUSY {
                break;
            }
        }
        self.make_room();
        check.await
    }

    /// Gives the place to another check, and one more beside.
    fn make_room(&mut self) {
        self.has_made_room = true;
        self.places.add();
        self.places.add();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.has_made_room {
            self.places.remove();
        } else {
            self.places.add();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;
    use tokio::time::sleep;
    use tower::service_fn;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(640);

    /// The log of the checks of a test.
    #[derive(Default)]
    struct Seen {
        running: AtomicUsize,
        most: AtomicUsize,
        /// The beginning of each, and the arrival that it counts from.
        begun: Mutex<Vec<(Instant, Instant)>>,
    }

    /// Asks for `count` checks at once, each of which takes the time of `takes` for its number.
    async fn ask(limit: &ConcurrencyLimitLayer, count: u32, takes: impl Fn(u32) -> Duration) -> Arc<Seen> {
        let seen = Arc::new(Seen::default());
        let arrived = Instant::now();
        let checks = (0..count).map(|number| {
            let (seen, time) = (seen.clone(), takes(number));
            let check = service_fn(move |arrived: Instant| {
                let seen = seen.clone();
                async move {
                    seen.begun.lock().unwrap().push((Instant::now(), arrived));
                    seen.most.fetch_max(seen.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(time).await;
                    seen.running.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(())
                }
                .boxed()
            });
            limit.layer(check).oneshot(arrived)
        });
        join_all(checks).await;
        seen
    }

    fn limit() -> ConcurrencyLimitLayer {
        ConcurrencyLimitLayer::of(10_000, TIMEOUT).unwrap()
    }

    #[test]
    fn a_few_checks_have_no_concurrency_limit() {
        assert!(ConcurrencyLimitLayer::of(AT_A_TIME, TIMEOUT).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_of_answered_checks_run_a_few_at_a_time() {
        let seen = ask(&limit(), 10_000, |_| Duration::from_millis(1)).await;
        assert_eq!(seen.begun.lock().unwrap().len(), 10_000);
        assert_eq!(seen.most.load(Ordering::SeqCst), AT_A_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn hung_checks_delay_the_others_by_an_eighth_of_the_deadline_and_keep_the_limit_as_it_was() {
        let limit = limit();
        for _ in 0..2 {
            let began = Instant::now();
            let seen =
                ask(&limit, 10_000, |number| if number % 4 == 0 { TIMEOUT } else { Duration::ZERO }).await;
            let latest = seen.begun.lock().unwrap().iter().map(|(at, _)| *at).max().unwrap();
            assert!(latest - began <= TIMEOUT / 8, "{:?}", latest - began);
            let healthy = ask(&limit, 1000, |_| Duration::from_millis(1)).await;
            assert_eq!(healthy.most.load(Ordering::SeqCst), AT_A_TIME);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_is_short_of_time_begins_no_more_at_a_time() {
        let running = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let (limit, arrived) = (limit(), Instant::now());
        let checks = (0..500).map(|_| {
            let running = running.clone();
            let check = service_fn(move |_| {
                let running = running.clone();
                async move {
                    let [now, most] = &*running;
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    for _ in 0..3 {
                        // The sidecar's own work for it.
                        tokio::time::advance(Duration::from_micros(300)).await;
                    }
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(())
                }
                .boxed()
            });
            limit.layer(check).oneshot(arrived)
        });
        join_all(checks).await;
        assert_eq!(running[1].load(Ordering::SeqCst), AT_A_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_begins_late_still_has_a_part_of_the_deadline() {
        let limit = limit();
        let in_time = ask(&limit, 1, |_| Duration::ZERO).await;
        let (at, counted_from) = in_time.begun.lock().unwrap()[0];
        assert_eq!(at, counted_from);
        // The arrival is long ago.
        let late = Arc::new(Mutex::new(None));
        let seen = late.clone();
        let check = service_fn(move |arrived: Instant| {
            *seen.lock().unwrap() = Some(arrived);
            async { Ok::<_, Infallible>(()) }.boxed()
        });
        tokio::time::advance(TIMEOUT * 3).await;
        limit.layer(check).oneshot(at).await.unwrap();
        assert_eq!(late.lock().unwrap().unwrap() + TIMEOUT, Instant::now() + TIMEOUT / 4);
    }
}

//! [`Gate`]: the limit of simultaneous dials, and of the time for which a server may leave one unanswered.
//!
//! A server that does not answer holds a socket, and thousands of them would hold all that a process may have. So a dial
//! needs a place. Three rules reserve places for the servers that answer:
//!
//! 1. There are two lanes. A server that did not answer the last dial is dialed in the second, and waits only for others
//!    like it.
//! 2. An unanswered dial has its place for a turn, and after that only until another dial waits for it.
//! 3. A turn is an eighth of the deadline, or less, so that all waiting dials have theirs within half of the deadline.
//!
//! A server that answers does so within milliseconds: it is dialed in every check, for any number of silent others.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::budget;
use crate::outcome::{Cause, Fault};
use crate::progress::NodeProgress;

/// The most places of a lane. More would be answered no sooner: to begin a dial takes tens of microseconds, and in the
/// milliseconds that a server needs for its answer one thread begins a few hundred.
const PLACES: usize = 512;

/// The gate that every dial has to pass.
#[derive(Debug)]
pub(super) struct Gate {
    lanes: [DialLane; 2],
    deadline: Duration,
}

/// `true` if the last dial of a server was left without any answer.
#[derive(Debug, Default)]
pub(super) struct Silence(AtomicBool);

#[derive(Debug)]
struct DialLane {
    places: Semaphore,
    size: usize,
    waiting: AtomicUsize,
    /// The most dials that waited at once since none waited.
    crowd: AtomicUsize,
}

impl Gate {
    /// The gate of checks that have this deadline.
    pub(super) fn new(deadline: Duration) -> Self {
        // Half of the allowed files is for established connections.
        let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
        let places = files.map_or(PLACES, |files| PLACES.min(files / 4)).max(1);
        Self { lanes: [(); 2].map(|()| DialLane::new(places)), deadline }
    }

    /// Waits for a place, and connects. The error means that the server does not answer while other dials wait.
    pub(super) async fn pass<C: Future>(
        &self,
        connect: C,
        silence: &Silence,
        progress: &NodeProgress,
    ) -> Result<C::Output, Fault> {
        let lane = &self.lanes[usize::from(silence.is_known())];
        let _place = lane.place(progress).await;
        let unanswered = Unanswered(silence);
        let mut connect = pin!(connect);
        let began = Instant::now();
        let mut ends = began + self.turn(lane);
        loop {
            if let Ok(connected) = timeout_at(ends, connect.as_mut()).await {
                unanswered.answered();
                return Ok(connected);
            }
            // The thread may have been busy while the answer came: the system has it by now.
            yield_now().await;
            if let Some(connected) = connect.as_mut().now_or_never() {
                unanswered.answered();
                return Ok(connected);
            }
            let waiting = lane.waiting();
            if waiting > 0 && began.elapsed() >= self.turn(lane) {
                let waited = began.elapsed().as_millis();
                let said = format!(
                    "no answer after {waited} ms; stopped early because {waiting} other connections wait"
                );
                return Err(progress.fault(Cause::TimedOut, &said));
            }
            ends = Instant::now() + self.turn(lane);
        }
    }

    /// The time for which a dial in this lane keeps its place while others wait.
    fn turn(&self, lane: &DialLane) -> Duration {
        let share = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let all = lane.size + lane.crowd.load(Ordering::Relaxed);
        let each = budget::DIALS.of(self.deadline) * share(lane.size) / share(all);
        each.min(budget::DIAL_TURN.of(self.deadline))
    }
}

impl DialLane {
    fn new(size: usize) -> Self {
        Self { places: Semaphore::new(size), size, waiting: AtomicUsize::new(0), crowd: AtomicUsize::new(0) }
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for a free place, first come, first served.
    async fn place(&self, progress: &NodeProgress) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let _waiting = Waiting::begin(self);
        let said = format!("not attempted: {} other connection attempts have no answer yet", self.size);
        let before = progress.foresee(Some(progress.fault(Cause::TimedOut, &said).of_our_own()));
        // The semaphore is never closed, so this cannot fail.
        let place = self.places.acquire().await.ok();
        progress.foresee(before);
        place
    }
}

/// Counts a waiting dial while it exists.
struct Waiting<'a>(&'a DialLane);

impl<'a> Waiting<'a> {
    fn begin(lane: &'a DialLane) -> Self {
        let waiting = lane.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        lane.crowd.fetch_max(waiting, Ordering::Relaxed);
        Self(lane)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.crowd.store(0, Ordering::Relaxed);
        }
    }
}

impl Silence {
    fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A dial without an answer. A dial that is given up, at the deadline or before, stays unanswered.
struct Unanswered<'a>(&'a Silence);

impl Unanswered<'_> {
    fn answered(self) {
        self.0.0.store(false, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::{join_all, select_all};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::outcome::{CheckKind, Needs, Role};
    use crate::progress::Progress;

    const DEADLINE: Duration = Duration::from_millis(800);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn gate(places: usize) -> Gate {
        Gate { lanes: [(); 2].map(|()| DialLane::new(places)), deadline: DEADLINE }
    }

    /// Dials a server that answers after so long; returns `true` if it was connected, and the time until that was known.
    async fn dial(gate: &Gate, silence: &Silence, answers: Option<Duration>) -> (bool, Duration) {
        let progress = Progress::begin();
        let node = progress.node(&"cache:6379".into(), Role::Server);
        let connect = async {
            match answers {
                Some(after) => sleep(after).await,
                None => pending().await,
            }
        };
        let passed = timeout(DEADLINE, gate.pass(connect, silence, &node)).await;
        (matches!(passed, Ok(Ok(()))), progress.began().elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_of_silent_servers_take_no_turn_from_one_that_answers() {
        for holes in [0, 60, 100, 1000] {
            let (gate, silences) = (gate(50), (0..holes).map(|_| Silence::default()).collect::<Vec<_>>());
            let dead = join_all(silences.iter().map(|silence| dial(&gate, silence, None)));
            let healthy = Silence::default();
            let (dead, (connected, after)) = tokio::join!(dead, dial(&gate, &healthy, Some(ms(1))));
            assert!(connected, "{holes} others");
            assert!(after <= DEADLINE * 5 / 8 + ms(1), "{after:?} behind {holes} others");
            assert!(dead.iter().all(|(connected, _)| !connected));
            // From now on the silent servers wait only for each other.
            let dead = join_all(silences.iter().map(|silence| dial(&gate, silence, None)));
            let again = async {
                sleep(ms(5)).await;
                dial(&gate, &healthy, Some(ms(1))).await
            };
            let (dead, (connected, after)) = tokio::join!(dead, again);
            assert_eq!((connected, after), (true, ms(1)), "{holes} others");
            assert!(dead.iter().all(|(connected, _)| !connected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_again_is_found_among_thousands_of_silent_ones() {
        let (gate, silences) = (gate(50), (0..1000).map(|_| Silence::default()).collect::<Vec<_>>());
        join_all(silences.iter().map(|silence| dial(&gate, silence, None))).await;
        assert!(silences.iter().all(Silence::is_known));
        let answers = |place: usize| (place == 999).then_some(ms(1));
        let second = silences.iter().enumerate().map(|(place, silence)| dial(&gate, silence, answers(place)));
        let connected: Vec<_> = join_all(second).await.into_iter().map(|(connected, _)| connected).collect();
        assert_eq!(connected.iter().position(|&connected| connected), Some(999));
        assert!(!silences[999].is_known() && silences[0].is_known());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_servers_are_dialed_at_a_time_than_there_are_places() {
        let gate = gate(10);
        // This lane counts the dials under way.
        let (dialed, most) = (DialLane::new(0), AtomicUsize::new(0));
        let (progress, silence) = (Progress::begin(), Silence::default());
        join_all((0..200).map(|_| async {
            let node = progress.node(&"cache:6379".into(), Role::Server);
            let connect = async {
                let _dialed = Waiting::begin(&dialed);
                most.fetch_max(dialed.waiting(), Ordering::Relaxed);
                pending::<()>().await;
            };
            timeout(DEADLINE, gate.pass(connect, &silence, &node)).await
        }))
        .await;
        assert_eq!(most.load(Ordering::Relaxed), 10);
        assert_eq!(
            gate.lanes.each_ref().map(|lane| (lane.places.available_permits(), lane.waiting())),
            [(10, 0); 2]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_may_take_its_time_while_no_other_dial_waits() {
        let gate = gate(1);
        assert_eq!(dial(&gate, &Silence::default(), Some(ms(700))).await, (true, ms(700)));
        let (first, second) = (Silence::default(), Silence::default());
        let dials = tokio::join!(dial(&gate, &first, Some(ms(700))), dial(&gate, &second, Some(ms(300))));
        assert_eq!(dials, ((false, ms(100)), (true, ms(400))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_for_an_abandoned_or_missing_dial_is_reported() {
        let (gate, progress) = (gate(1), Progress::begin());
        let nodes = ["one", "two", "three"].map(|name| progress.node(&name.into(), Role::Server));
        let silences = [(); 3].map(|()| Silence::default());
        let dials = nodes.iter().zip(&silences).map(|(node, silence)| {
            Box::pin(async { node.conclude(gate.pass(pending(), silence, node).await) })
        });
        // The first has had its turn, the second has it now, and the third is not dialed yet.
        let _ = timeout(ms(101), select_all(dials).then(|((), _, others)| join_all(others))).await;
        let alias = "main".try_into().unwrap();
        let outcome = progress.outcome(alias, CheckKind::RoundTrip, Needs::default());
        let said =
            outcome.nodes.iter().map(|node| node.fault.as_ref().map(|fault| (fault.cause, &*fault.said)));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                Some((
                    Cause::TimedOut,
                    "no answer after 100 ms; stopped early because 2 other connections wait"
                )),
                Some((Cause::TimedOut, "no answer after 101 ms")),
                Some((Cause::TimedOut, "not attempted: 1 other connection attempts have no answer yet")),
            ]
        );
        assert_eq!(gate.pass(ready(7), &silences[0], &nodes[0]).await, Ok(7));
    }
}

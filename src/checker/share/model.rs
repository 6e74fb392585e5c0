//! Models of sharing, rule by rule: callers arrive at any moment, checks take any time, and something comes over their
//! connections.

use std::collections::HashSet;
use std::sync::Mutex as PlainMutex;
use std::time::SystemTime;

use shuttle::future::{spawn as start, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use tokio::time::{sleep, sleep_until};
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use super::*;
use crate::alias::Alias;
use crate::outcome::{Cause, CheckKind, Fault, Needs, NodeOutcome, Phase, Phases};
use crate::sync::model::{Switches, explore, is_at_locks, pass, rest, switch, tick};

const MAX_AGE: Duration = ms(2);

pub(in crate::checker) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The kept connection of a cache, as `cache/connection.rs` has it.
#[derive(Debug, Default)]
pub(in crate::checker) struct Link(PlainMutex<LinkState>);

#[derive(Debug, Default)]
struct LinkState {
    kept: Option<Connection>,
    opened: u32,
    /// `true` if something comes over the kept connection right after the next look at it.
    stirs_after_look: bool,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::checker) struct Connection {
    number: u32,
    is_quiet: bool,
    is_watched: bool,
}

impl Link {
    fn state(&self) -> std::sync::MutexGuard<'_, LinkState> {
        self.0.lock().unwrap()
    }

    /// Begins a check: on the kept connection if that is quiet, and else on a new one.
    pub(in crate::checker) fn take(&self) -> Connection {
        let mut state = self.state();
        if let Some(kept) = state.kept.take().filter(|kept| kept.is_quiet) {
            return kept;
        }
        state.opened += 1;
        Connection { number: state.opened, is_quiet: true, is_watched: false }
    }

    /// Ends a check.
    pub(in crate::checker) fn keep(&self, connection: Connection) {
        let kept = Connection { is_watched: false, ..connection };
        if self.state().kept.replace(kept).is_some() {
            note_activity();
        }
    }

    /// Something comes over the kept connection right after the next look, before the caller goes on.
    pub(in crate::checker) fn stir_after_look(&self) {
        self.state().stirs_after_look = true;
    }

    /// Something comes over the kept connection. Returns its number, if there is one.
    pub(in crate::checker) fn stir(&self) -> Option<u32> {
        let mut state = self.state();
        let kept = state.kept.as_mut()?;
        kept.is_quiet = false;
        let (number, was_watched) = (kept.number, std::mem::take(&mut kept.is_watched));
        drop(state);
        if was_watched {
            note_activity();
        }
        Some(number)
    }
}

impl Quiet for Arc<Link> {
    fn is_quiet(&self) -> bool {
        let mut state = self.state();
        let was_quiet = state.kept.as_mut().is_none_or(|kept| {
            kept.is_watched = true;
            kept.is_quiet
        });
        let stirs = std::mem::take(&mut state.stirs_after_look);
        drop(state);
        if stirs {
            self.stir();
        }
        was_quiet
    }
}

/// The time that a check takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Until the schedule goes on with it.
    Any,
    /// As long as it may, or a time at random.
    Long,
}

/// A cache, its callers, and everything that they see.
struct World {
    share: SharedCheck<BoxCloneSyncService<Instant, Arc<Outcome>, Infallible>, Arc<Link>>,
    link: Arc<Link>,
    seen: Arc<PlainMutex<Seen>>,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    /// Every check that a caller has joined.
    joined: Vec<Joined>,
    /// The connections over which something came.
    stirred: HashSet<u32>,
    /// The checks that run: beginning and deadline.
    running: Vec<(Instant, Instant)>,
    begun: u64,
    answered: usize,
}

impl World {
    /// A cache whose checks take so long, with this deadline, and which is up or not.
    fn new(timeout: Duration, takes: Takes, is_up: bool) -> Arc<Self> {
        let alias = Alias::try_from("main").unwrap();
        let record = Arc::new(Record::new(&alias, CheckKind::RoundTrip, &Arc::default()));
        let (link, seen) = (Arc::new(Link::default()), Arc::new(PlainMutex::<Seen>::default()));
        let check = {
            let (link, seen) = (link.clone(), seen.clone());
            service_fn(move |arrived: Instant| {
                check(link.clone(), seen.clone(), (arrived, arrived + timeout), takes, is_up)
            })
        };
        let layer = ShareLayer::new(&record, MAX_AGE, timeout, link.clone());
        Arc::new(Self { share: layer.layer(BoxCloneSyncService::new(check)), link, seen, timeout })
    }

    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.seen.lock().unwrap())
    }

    /// A caller: joins a check, waits for the outcome, and judges both. Returns the beginning of the check.
    async fn call(self: Arc<Self>) -> Instant {
        let arrived = Instant::now();
        let (known, stirred) = self.seen(|seen| (seen.joined.clone(), seen.stirred.clone()));
        let joined = self.share.join(arrived);
        let is_new = known.iter().all(|known| !Arc::ptr_eq(&known.0, &joined.0));
        self.seen(|seen| seen.joined.push(joined.clone()));
        let is_void = |joined: &Joined| joined.ended().is_some_and(|outcome| is_void(outcome, &stirred));
        assert!(!is_void(&joined), "rule 4: something had come over its connection");
        if !is_at_locks() {
            // Between locks another caller may begin a check meanwhile.
            let latest =
                known.iter().filter(|known| known.began().is_some()).max_by_key(|known| known.began());
            let latest =
                latest.filter(|latest| arrived <= latest.began().unwrap() + MAX_AGE && !is_void(latest));
            let waits = known.iter().find(|known| known.began().is_none());
            assert!(!is_new || latest.or(waits).is_none(), "rule 1: it is young, or has not begun");
        }
        joined.outcome().await;
        assert!(!is_void(&joined), "rule 4: something had come over its connection before it ended");
        let began = joined.began().unwrap();
        assert!(arrived.saturating_duration_since(began) <= MAX_AGE, "rule 1: too old");
        self.seen(|seen| seen.answered += 1);
        began
    }

    /// Waits until all of so many callers were answered, and judges the counts.
    fn end(&self, callers: usize) {
        pass(self.timeout.min(ms(40)));
        self.seen(|seen| assert_eq!(seen.answered, callers, "each caller has an answer"));
        let sharing = self.share.record().known().sharing;
        let counts = Lookup::ALL.map(|lookup| sharing.times(Through::Process, lookup).unwrap());
        let begun = self.seen(|seen| seen.begun);
        assert_eq!((counts.iter().sum::<u64>(), counts[1] + counts[2]), (callers as u64, begun));
        assert!(self.share.0.state.lock().next.is_none(), "no check waits that has begun");
    }
}

/// `true` if the outcome is up, and something has come over its connection.
fn is_void(outcome: &Outcome, stirred: &HashSet<u32>) -> bool {
    outcome.status() == Status::Up && stirred.contains(&outcome.connections)
}

/// A check from its beginning, which judges rules 2 and 3, to its end.
async fn check(
    link: Arc<Link>,
    seen: Arc<PlainMutex<Seen>>,
    (arrived, deadline): (Instant, Instant),
    takes: Takes,
    is_up: bool,
) -> Result<Arc<Outcome>, Infallible> {
    let (began, connection) = (Instant::now(), link.take());
    {
        let mut seen = seen.lock().unwrap();
        let max_wait = budget::SHARED_WAIT.of(deadline - arrived);
        let ran = seen.running.iter().map(|&(earlier, _)| began - earlier).min();
        assert!(ran.is_none_or(|ran| ran >= max_wait), "rule 2: one after the other");
        seen.running.push((began, deadline));
        let overlap = seen.running.iter().filter(|(_, deadline)| *deadline > began).count();
        assert!(overlap <= 8, "rule 3: {overlap} checks overlap");
        seen.begun += 1;
    }
    match takes {
        Takes::Any => yield_now().await,
        Takes::Long if thread_rng().gen_bool(0.7) => sleep_until(deadline).await,
        Takes::Long => sleep(ms(thread_rng().gen_range(0..4)).min(deadline - began)).await,
    }
    seen.lock().unwrap().running.retain(|running| *running != (began, deadline));
    link.keep(connection);
    let fault = (!is_up).then(|| Fault::new(Cause::Refused, Phase::Connect, ""));
    let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), fault)];
    let (alias, kind) = (Alias::try_from("main").unwrap(), CheckKind::RoundTrip);
    let times = ((began, SystemTime::now()), began.elapsed());
    let outcome = Outcome::plain(alias, kind, times.0, times.1, nodes, Needs::default());
    Ok(Arc::new(Outcome { connections: connection.number, ..outcome }))
}

/// Rule 1: "A check is shared by the callers that arrive before it has begun, or within `max_age` of its beginning. No other
/// caller gets its verdict." Rule 2: "The caches see one check after the other."
#[test]
fn callers_share_a_young_check_or_one_that_waits_and_checks_run_one_after_the_other() {
    explore(Switches::Locks, "Share, rules 1 and 2: 3 callers, 4 ticks with a max_age of 2", || {
        let world = World::new(Duration::from_secs(8), Takes::Any, true);
        for _ in 0..3 {
            start(world.clone().call());
        }
        for _ in 0..4 {
            tick(ms(1));
        }
        world.end(3);
    });
}

/// Rule 2: "While a check runs that a caller may not share, the next one waits until that has ended", with callers of which
/// none may share the check that runs.
#[test]
fn one_check_waits_for_all_callers_that_may_not_share_the_one_that_runs() {
    explore(
        Switches::Locks,
        "Share, rule 2: 4 callers, of which 3 come too late for the first's check",
        || {
            let world = World::new(Duration::from_secs(8), Takes::Any, true);
            start(world.clone().call());
            tick(ms(1));
            tick(ms(2));
            for _ in 0..3 {
                start(world.clone().call());
            }
            tick(ms(1));
            world.end(4);
        },
    );
}

/// Rule 3: "It does not wait for longer than an eighth of the deadline. So at most eight checks of an alias overlap when a cache
/// hangs, and a caller behind a check that hangs still gets its answer within its own deadline."
#[test]
fn behind_checks_that_hang_each_caller_has_its_answer_in_time_and_eight_checks_overlap_at_most() {
    explore(Switches::Locks, "Share, rule 3: 16 callers of a cache that hangs, within 2 deadlines", || {
        let timeout = ms(16);
        let world = World::new(timeout, Takes::Long, true);
        for _ in 0..16 {
            let (world, at) = (world.clone(), ms(thread_rng().gen_range(0..32)));
            start(async move {
                sleep(at).await;
                let arrived = Instant::now();
                let began = world.call().await;
                assert!(began <= arrived + budget::SHARED_WAIT.of(timeout), "rule 3: it waits too long");
                assert!(arrived.elapsed() <= timeout, "rule 3: late: {:?}", arrived.elapsed());
            });
        }
        pass(ms(40));
        world.end(16);
    });
}

/// Rule 4: "A verdict is given to no caller any more once something has come over a connection that it was made on."
#[test]
fn no_caller_gets_a_verdict_after_something_came_over_its_connection() {
    explore(Switches::Locks, "Share, rule 4: 2 callers after another, something comes twice, 1 tick", || {
        let world = World::new(Duration::from_secs(8), Takes::Any, true);
        start(world.clone().call());
        rest();
        for _ in 0..2 {
            start(world.clone().call());
        }
        let stirred = world.clone();
        start(async move {
            for _ in 0..2 {
                if let Some(number) = stirred.link.stir() {
                    stirred.seen(|seen| seen.stirred.insert(number));
                }
                yield_now().await;
            }
        });
        tick(ms(1));
        world.end(3);
    });
}

/// `SharedCheck::stands` reads the counter "before the look, so that an event during the look is not missed".
#[test]
fn what_comes_while_a_connection_is_looked_at_counts_for_the_next_caller() {
    explore(
        Switches::Waits,
        "Share, rule 4: a caller, another during whose look something comes, a third",
        || {
            let world = World::new(Duration::from_secs(8), Takes::Any, true);
            start(world.clone().call());
            rest();
            world.link.stir_after_look();
            start(world.clone().call());
            rest();
            world.seen(|seen| seen.stirred.insert(1));
            start(world.clone().call());
            world.end(3);
        },
    );
}

/// `SharedCheck::stands`: "A verdict that is down stays so for its time: a closed connection is no sign that the cache is back."
/// The judge of rule 1 asks for it.
#[test]
fn a_verdict_that_is_down_stays_so_for_its_time_whatever_comes() {
    explore(Switches::Locks, "Share, a verdict that is down: 3 callers, something comes, 2 ticks", || {
        let world = World::new(Duration::from_secs(8), Takes::Any, false);
        for _ in 0..3 {
            start(world.clone().call());
        }
        let stirred = world.clone();
        start(async move {
            stirred.link.stir();
        });
        tick(ms(1));
        tick(ms(2));
        world.end(3);
    });
}

/// "Makes sure that a check has an outcome, even if it ends without one": no caller waits for ever.
#[test]
fn callers_of_a_check_that_is_dropped_get_an_outcome() {
    explore(Switches::Locks, "Share, a check that is dropped: 2 callers", || {
        let alias = Alias::try_from("main").unwrap();
        let record = Arc::new(Record::new(&alias, CheckKind::RoundTrip, &Arc::default()));
        let joined = Joined::default();
        let guard = VerdictGuard { joined: joined.clone(), record, arrived: Instant::now() };
        let callers = [joined.clone(), joined].map(|joined| {
            start(async move {
                assert_ne!(joined.outcome().await.status(), Status::Up);
            })
        });
        switch();
        drop(guard);
        for caller in callers {
            shuttle::future::block_on(caller).unwrap();
        }
    });
}

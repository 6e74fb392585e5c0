//! Models of gathering: callers of several checks and of one, at any moment, over caches that something may come from.

use std::sync::Mutex as PlainMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use shuttle::future::{spawn as start, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use tokio::time::sleep;
use tower::layer::layer_fn;

use super::*;
use crate::cache::{Cache, SetError};
use crate::canary::{Canary, Key, Read, Unset};
use crate::checker::share::Quiet;
use crate::checker::share::model::{Connection, Link, ms};
use crate::checker::{Checker, redis_at};
use crate::config::Config;
use crate::outcome::{Fault, Outcome, Status};
use crate::progress::NodeProgress;
use crate::sync::model::{Switches, explore, pass, tick};

const MAX_AGE: Duration = ms(2);
const TIMEOUT: Duration = ms(16);
const CACHES: usize = 2;

/// Scripted caches behind a checker, and everything that their callers see.
struct World {
    checker: Checker,
    nodes: Arc<[Node; CACHES]>,
    seen: PlainMutex<Seen>,
}

#[derive(Debug, Default)]
struct Node {
    link: Arc<Link>,
    checks: AtomicUsize,
    hangs: bool,
}

#[derive(Debug, Default)]
struct Seen {
    /// The selection of each caller.
    callers: Vec<Selection>,
    /// The outcomes over whose connections something came.
    void: Vec<Arc<Outcome>>,
    reports: Vec<Arc<Report>>,
}

/// A cache of one node, which holds one canary.
struct Scripted {
    nodes: Arc<[Node; CACHES]>,
    number: usize,
    held: PlainMutex<(String, Option<Connection>)>,
}

#[async_trait]
impl Cache for Scripted {
    async fn set(&self, canary: &Canary, _: &NodeProgress) -> Result<(), SetError> {
        let node = &self.nodes[self.number];
        node.checks.fetch_add(1, Ordering::Relaxed);
        let connection = node.link.take();
        if node.hangs {
            sleep(ms(thread_rng().gen_range(0..20))).await;
        } else {
            yield_now().await;
        }
        *self.held.lock().unwrap() = (canary.value().to_owned(), Some(connection));
        Ok(())
    }

    async fn get(&self, _: &Key, _: Unset, _: &NodeProgress) -> Result<Read, Fault> {
        let (value, connection) = &*self.held.lock().unwrap();
        if let &Some(connection) = connection {
            self.nodes[self.number].link.keep(connection);
        }
        Ok(Read::Value(value.clone().into_bytes()))
    }

    async fn delete(&self, _: &Key, _: &NodeProgress) -> Result<(), Fault> {
        Ok(())
    }

    async fn renew(&self, _: &[Key], _: Duration) {}

    async fn answers(&self, _: &NodeProgress) -> Option<&'static str> {
        None
    }

    fn is_quiet(&self) -> bool {
        self.nodes[self.number].link.is_quiet()
    }
}

impl World {
    fn new(hangs: bool) -> Arc<Self> {
        let nodes: Arc<[Node; CACHES]> = Arc::new(std::array::from_fn(|_| Node { hangs, ..Node::default() }));
        let (made, of_caches) = (AtomicUsize::new(0), nodes.clone());
        let layer = layer_fn(move |_: Box<dyn Cache>| -> Box<dyn Cache> {
            let number = made.fetch_add(1, Ordering::Relaxed);
            Box::new(Scripted { nodes: of_caches.clone(), number, held: PlainMutex::default() })
        });
        let caches = (0..CACHES).map(|number| redis_at(&format!("cache-{number}"), 1));
        let config =
            Config { max_age: MAX_AGE, timeout: TIMEOUT, caches: caches.collect(), ..Config::default() };
        let checker = Checker::layered(&config, layer).unwrap();
        Arc::new(Self { checker, nodes, seen: PlainMutex::default() })
    }

    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.seen.lock().unwrap())
    }

    fn all(&self) -> Selection {
        self.checker.catalog().all()
    }

    fn one(&self, number: usize) -> Selection {
        self.checker.catalog().named([format!("cache-{number}").as_str()]).unwrap()
    }

    /// A caller: asks for a report, and judges it.
    async fn call(self: Arc<Self>, selection: Selection) {
        let arrived = Instant::now();
        let void = self.seen(|seen| {
            seen.callers.push(selection.clone());
            seen.void.clone()
        });
        let report = self.checker.check(&selection, arrived).await;
        assert_eq!(report.outcomes.len(), selection.checks.len(), "an outcome for each check");
        for outcome in &report.outcomes {
            let age = arrived.saturating_duration_since(outcome.began);
            assert!(age <= MAX_AGE, "too old: {age:?}");
            let is_void = void.iter().any(|void| Arc::ptr_eq(void, outcome));
            assert!(!is_void, "something had come over its connection");
        }
        assert!(arrived.elapsed() <= TIMEOUT || !self.nodes[0].hangs, "late");
        self.seen(|seen| seen.reports.push(report));
    }

    /// Something comes over the kept connection of a cache.
    fn stir(&self, number: usize) {
        if self.nodes[number].link.stir().is_none() {
            return;
        }
        let latest = self.checker.records(&self.one(number)).next().unwrap().latest();
        self.seen(|seen| seen.void.extend(latest.filter(|latest| latest.status() == Status::Up)));
    }

    /// Waits until all callers were answered, and judges the checks and the counts.
    fn end(&self, callers: usize) {
        pass(TIMEOUT * 2);
        assert_eq!(self.seen(|seen| seen.reports.len()), callers, "each caller has a report");
        self.checker.write_down_sharing();
        for (number, node) in self.nodes.iter().enumerate() {
            let selection = self.one(number);
            let asked = self.seen(|seen| {
                let asks = |asked: &&Selection| asked.checks.contains(&selection.checks[0]);
                seen.callers.iter().filter(asks).count() as u64
            });
            let sharing = self.checker.records(&selection).next().unwrap().known().sharing;
            let counts = Lookup::ALL.map(|lookup| sharing.times(Through::Process, lookup).unwrap());
            assert_eq!(counts.iter().sum::<u64>(), asked, "each caller counts once");
            assert_eq!(counts[1] + counts[2], node.checks.load(Ordering::Relaxed) as u64);
        }
    }
}

/// "No report holds a verdict that is too old for its caller", and each caller counts once.
#[test]
fn no_report_holds_a_verdict_that_is_too_old_for_its_caller() {
    explore(
        Switches::Locks,
        "Gatherings, ages: 3 callers of all after 1 of one, 5 ticks with a max_age of 2",
        || {
            let world = World::new(false);
            for selection in [world.one(0), world.all(), world.all(), world.all()] {
                start(world.clone().call(selection));
                tick(ms(1));
            }
            tick(ms(1));
            world.end(4);
        },
    );
}

/// "Each of its callers could have joined every one of those checks alone": rule 4 of sharing is true of a report too.
#[test]
fn no_report_holds_a_verdict_after_something_came_over_its_connection() {
    explore(
        Switches::Locks,
        "Gatherings, connections: 3 callers of all, 1 of one, something comes from each cache",
        || {
            let world = World::new(false);
            for selection in [world.all(), world.all(), world.one(1), world.all()] {
                start(world.clone().call(selection));
            }
            let stirring = world.clone();
            start(async move {
                for number in 0..CACHES {
                    stirring.stir(number);
                    yield_now().await;
                }
            });
            tick(ms(1));
            world.end(4);
        },
    );
}

/// The same after a report that was too old: the new one is not known to stand.
#[test]
fn a_new_report_is_looked_at_although_the_one_before_it_stood() {
    explore(
        Switches::Waits,
        "Gatherings, a new report: 2 callers, then 2 too late to share, something comes",
        || {
            let world = World::new(false);
            for _ in 0..2 {
                start(world.clone().call(world.all()));
                pass(ms(1));
            }
            pass(ms(2));
            start(world.clone().call(world.all()));
            pass(ms(1));
            let stirring = world.clone();
            start(async move { stirring.stir(0) });
            start(world.clone().call(world.all()));
            world.end(4);
        },
    );
}

/// "... and each keeps the deadline of its first caller", over caches that hang.
#[test]
fn each_caller_of_a_report_has_it_within_its_own_deadline() {
    explore(
        Switches::Waits,
        "Gatherings, the deadline: 10 callers within 2 deadlines, of caches that hang",
        || {
            let world = World::new(true);
            for number in 0..10 {
                let selection = if number % 3 == 0 { world.one(number % 2) } else { world.all() };
                let (world, at) = (world.clone(), ms(thread_rng().gen_range(0..32)));
                start(async move {
                    sleep(at).await;
                    world.call(selection).await;
                });
            }
            pass(ms(36));
            world.end(10);
        },
    );
}

/// Callers of the same checks share one report, if they come together.
#[test]
fn callers_that_come_together_have_one_report() {
    explore(Switches::Locks, "Gatherings, one report: 3 callers of all at one time", || {
        let world = World::new(false);
        for _ in 0..3 {
            start(world.clone().call(world.all()));
        }
        world.end(3);
        world.seen(|seen| {
            assert!(seen.reports.iter().all(|report| Arc::ptr_eq(report, &seen.reports[0])));
        });
    });
}

//! A cache that hung and goes on: it takes up the writes that earlier checks gave up waiting for, when it
//! suits it. A scripted cache makes each of them arrive at the worst moment, between a later check's write
//! and its read.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_canary::cache::{Cache, SetError};
use cache_canary::canary::{Canary, Key, Read, Unset};
use cache_canary::checker::Checker;
use cache_canary::outcome::{Cause, Fault, Phase, Status};
use cache_canary::progress::NodeProgress;
use tower::Layer;

use crate::support::in_process::{self, one_cache, redis_at};

/// The fate of a write in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Stored,
    /// Not answered; on their way until the cache goes on.
    Hung,
    /// Acknowledged and dropped.
    Dropped,
    /// One is acknowledged and dropped, the next ones hang.
    OneDropped,
}

#[derive(Clone)]
struct Script(Arc<Mutex<State>>);

struct State {
    writes: Writes,
    held: HashMap<String, String>,
    on_their_way: VecDeque<(String, String)>,
    /// How many reads come before the first of them arrives.
    delay: usize,
}

impl Script {
    fn new() -> Self {
        let (held, on_their_way) = (HashMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(State { writes: Writes::Stored, held, on_their_way, delay: 0 })))
    }

    fn begin(&self, writes: Writes) {
        self.0.lock().unwrap().writes = writes;
    }

    /// Lets this many reads come before anything arrives.
    fn delay(&self, reads: usize) {
        self.0.lock().unwrap().delay = reads;
    }

    /// How many writes have not arrived yet.
    fn on_their_way(&self) -> usize {
        self.0.lock().unwrap().on_their_way.len()
    }

    /// Everything that is on its way arrives.
    fn deliver(&self) {
        let mut state = self.0.lock().unwrap();
        let arrived: Vec<_> = state.on_their_way.drain(..).collect();
        state.held.extend(arrived);
    }
}

impl Layer<Box<dyn Cache>> for Script {
    type Service = Box<dyn Cache>;

    fn layer(&self, _: Box<dyn Cache>) -> Box<dyn Cache> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Cache for Script {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        progress.enter(Phase::Write);
        let item = (canary.key().to_string(), canary.value().to_owned());
        let writes = {
            let mut state = self.0.lock().unwrap();
            let writes = state.writes;
            match writes {
                Writes::Stored => drop(state.held.insert(item.0, item.1)),
                Writes::Hung => state.on_their_way.push_back(item),
                Writes::Dropped => {}
                Writes::OneDropped => state.writes = Writes::Hung,
            }
            writes
        };
        if writes == Writes::Hung {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        progress.enter(Phase::Read);
        let mut state = self.0.lock().unwrap();
        if state.delay > 0 {
            state.delay -= 1;
        } else if let Some((key, value)) = state.on_their_way.pop_front() {
            state.held.insert(key, value);
        }
        let found = state.held.get(key.as_str());
        Ok(found.map_or(Read::Default(default), |value| Read::Value(value.clone().into_bytes())))
    }

    async fn delete(&self, _key: &Key, _progress: &NodeProgress) -> Result<(), Fault> {
        Ok(())
    }

    async fn renew(&self, _: &[Key], _: Duration) {}

    async fn answers(&self, _: &NodeProgress) -> Option<&'static str> {
        None
    }
}

/// A sidecar that checks this cache.
fn checker<L>(cache: &L) -> Checker
where
    L: Layer<Box<dyn Cache>, Service = Box<dyn Cache>> + Clone + Send + Sync + 'static,
{
    let nowhere = redis_at("127.0.0.1:1".parse().unwrap());
    Checker::layered(&one_cache(nowhere), cache.clone()).unwrap()
}

/// Checks once, a moment after the check before: at the very same instant it would be shared.
async fn check(checker: &Checker) -> (Status, Option<Cause>) {
    tokio::time::advance(Duration::from_millis(1)).await;
    in_process::look(checker).await
}

async fn hang(script: &Script, checker: &Checker, checks: usize) {
    script.begin(Writes::Hung);
    for _ in 0..checks {
        assert_eq!(check(checker).await, (Status::Down, Some(Cause::TimedOut)));
    }
}

const UP: (Status, Option<Cause>) = (Status::Up, None);
const STALE: (Status, Option<Cause>) = (Status::Down, Some(Cause::Stale));

#[tokio::test(start_paused = true)]
async fn the_first_check_after_a_hang_is_up_whenever_earlier_writes_arrive() {
    let script = Script::new();
    let checker = checker(&script);
    for healthy_before in 0..3 {
        for _ in 0..healthy_before {
            assert_eq!(check(&checker).await, UP);
        }
        hang(&script, &checker, 5).await;
        script.begin(Writes::Stored);
        assert_eq!(check(&checker).await, UP);
        assert_eq!(check(&checker).await, UP);
        assert_eq!(script.on_their_way(), 0, "each arrived in the middle of a check");
    }
}

#[tokio::test(start_paused = true)]
async fn writes_that_are_dropped_after_a_hang_are_stale_at_the_first_check() {
    let script = Script::new();
    let checker = checker(&script);
    assert_eq!(check(&checker).await, UP);
    hang(&script, &checker, 5).await;
    script.deliver();
    script.begin(Writes::Dropped);
    assert_eq!(check(&checker).await, STALE);
    assert_eq!(check(&checker).await, STALE);
    script.begin(Writes::Stored);
    assert_eq!(check(&checker).await, UP);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_write_is_never_repeated_if_none_is_in_doubt() {
    let script = Script::new();
    let checker = checker(&script);
    for _ in 0..2 {
        assert_eq!(check(&checker).await, UP);
    }
    script.begin(Writes::Dropped);
    assert_eq!(check(&checker).await, STALE);
}

#[tokio::test(start_paused = true)]
async fn a_second_read_that_hung_does_not_take_a_later_check_down() {
    let script = Script::new();
    let checker = checker(&script);
    assert_eq!(check(&checker).await, UP);
    // The canary is lost, and the closer look at the one before it hangs.
    script.begin(Writes::OneDropped);
    assert_eq!(check(&checker).await, (Status::Down, Some(Cause::Masked)));
    assert_eq!(script.on_their_way(), 1);
    script.begin(Writes::Stored);
    // It arrives when its key has its turn again.
    script.delay(1);
    assert_eq!(check(&checker).await, UP);
    assert_eq!(check(&checker).await, UP);
    assert_eq!(script.on_their_way(), 0);
}

/// A cache whose first writes and reads take so many milliseconds. A write arrives at the end of that time, and a read finds
/// what is there then.
#[derive(Clone)]
struct Crossing(Arc<Mutex<Crossed>>);

struct Crossed {
    writes: VecDeque<u64>,
    reads: VecDeque<u64>,
    held: HashMap<String, String>,
    written: usize,
}

impl Crossing {
    fn new<const W: usize, const R: usize>(writes: [u64; W], reads: [u64; R]) -> Self {
        let (writes, reads) = (writes.into(), reads.into());
        Self(Arc::new(Mutex::new(Crossed { writes, reads, held: HashMap::new(), written: 0 })))
    }
}

impl Layer<Box<dyn Cache>> for Crossing {
    type Service = Box<dyn Cache>;

    fn layer(&self, _: Box<dyn Cache>) -> Box<dyn Cache> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Cache for Crossing {
    async fn set(&self, canary: &Canary, _: &NodeProgress) -> Result<(), SetError> {
        let takes = self.0.lock().unwrap().writes.pop_front();
        sleep(takes.unwrap_or_default()).await;
        let mut crossed = self.0.lock().unwrap();
        crossed.written += 1;
        crossed.held.insert(canary.key().to_string(), canary.value().to_owned());
        Ok(())
    }

    async fn get(&self, key: &Key, default: Unset, _: &NodeProgress) -> Result<Read, Fault> {
        let takes = self.0.lock().unwrap().reads.pop_front();
        sleep(takes.unwrap_or_default()).await;
        let found = self.0.lock().unwrap().held.get(key.as_str()).cloned();
        Ok(found.map_or(Read::Default(default), |value| Read::Value(value.into_bytes())))
    }

    async fn delete(&self, _: &Key, _: &NodeProgress) -> Result<(), Fault> {
        Ok(())
    }

    async fn renew(&self, _: &[Key], _: Duration) {}

    async fn answers(&self, _: &NodeProgress) -> Option<&'static str> {
        None
    }
}

async fn sleep(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// A request after so many milliseconds.
async fn look_after(checker: &Checker, ms: u64) -> (Status, Option<Cause>) {
    sleep(ms).await;
    in_process::look(checker).await
}

#[tokio::test(start_paused = true)]
async fn checks_that_overlap_are_up_though_the_write_of_the_first_arrives_last() {
    let crossing = Crossing::new([150], [100, 100, 100]);
    let checker = checker(&crossing);
    assert_eq!(tokio::join!(look_after(&checker, 0), look_after(&checker, 10)), (UP, UP));
    assert_eq!(crossing.0.lock().unwrap().written, 3, "one of them has written once more");
}

#[tokio::test(start_paused = true)]
async fn a_check_is_up_though_it_finds_the_canary_of_one_that_has_ended_while_two_others_have_begun() {
    // An eighth of the deadline, 94 ms, is between their beginnings. The second finds the canary of the first after that has
    // read it back, and after the fourth has begun beside the third.
    let crossing = Crossing::new([150, 0, 150, 0], [300, 10]);
    let checker = checker(&crossing);
    let four = tokio::join!(
        look_after(&checker, 0),
        look_after(&checker, 10),
        look_after(&checker, 165),
        look_after(&checker, 195),
    );
    assert_eq!(four, (UP, UP, UP, UP));
    assert_eq!(crossing.0.lock().unwrap().written, 5, "the second has written once more");
}

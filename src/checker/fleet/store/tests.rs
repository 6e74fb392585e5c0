//! The layer with a store that gives one answer again and again.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use tokio::time::sleep;
use tower::{ServiceExt as _, service_fn};

use super::super::FleetCheck;
use super::*;
use crate::outcome::{Cause, Outcome, Phase, Status};
use crate::progress::Depth;

/// The deadline; an eighth of it, one second, is for the store.
const TIMEOUT: Duration = Duration::from_secs(8);

const LIFE: Duration = Duration::from_secs(4);

const TERMS: Terms = Terms { tolerance: ms(250), life: LIFE, claim: TIMEOUT };

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A Redis that holds this entry, and counts the looks at it.
struct Holding {
    entry: StoreEntry,
    ttl: i64,
    looks: Arc<AtomicUsize>,
}

impl StoreServer for Holding {
    async fn ask_each(&self, commands: &[Cmd], _: usize, _: &NodeProgress) -> Result<Vec<Value>, Fault> {
        if commands.len() == 1 {
            return Ok(vec![Value::Int(1)]);
        }
        self.looks.fetch_add(1, Ordering::Relaxed);
        let entry = self.entry.write().into_bytes();
        Ok(vec![Value::Nil, Value::BulkString(entry), Value::Int(self.ttl)])
    }
}

fn clock() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(500_000)
}

/// The outcome of a check that a sidecar makes, whose own last one was up. Its glance fails after opening one connection, and
/// its check passes after opening two.
async fn check(entry: StoreEntry, looks: &Arc<AtomicUsize>) -> Outcome {
    let ttl = i64::try_from(LIFE.as_millis()).unwrap() - 1000;
    let store = FleetStore::behind(Holding { entry, ttl, looks: looks.clone() }, "web-1", clock);
    let server = service_fn(|progress: Arc<Progress>| {
        async move {
            let node = progress.node(&"cache:6379".into(), Role::Server);
            node.enter(Phase::Read);
            node.connected();
            if progress.depth() == Depth::Glance {
                node.conclude(Err(node.fault(Cause::Refused, "")));
            } else {
                node.connected();
                node.conclude(Ok(()));
            }
            Ok::<_, Infallible>(())
        }
        .boxed()
    });
    let (check, _) = FleetCheck::sure(store, TERMS, TIMEOUT, server);
    check.oneshot(Instant::now()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_waits_for_another_looks_less_and_less_often() {
    let (looks, began) = (Arc::default(), Instant::now());
    let outcome = check(StoreEntry::Claim { owner: "web-2:0".to_owned() }, &looks).await;
    assert_eq!((outcome.status(), outcome.reused()), (Status::Up, None));
    // After 2, 4, ... and 256 ms, which are 510 together: after 512 more there would be no time for an answer.
    assert_eq!((looks.load(Ordering::Relaxed), began.elapsed()), (9, ms(510)));
}

#[tokio::test(start_paused = true)]
async fn the_connections_of_a_glance_that_came_to_nothing_count_with_those_of_the_check() {
    let began_at =
        u64::try_from((clock() - ms(1000)).duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let looks = Arc::default();
    let verdict = StoreEntry::Up { instance: "web-2".to_owned(), began_at };
    let outcome = check(verdict, &looks).await;
    assert_eq!((outcome.status(), outcome.reused(), outcome.connections), (Status::Up, None, 3));
    assert_eq!(looks.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_expires_during_a_look_is_waited_for_like_a_claim() {
    struct Expiring(Value, i64);

    impl StoreServer for Expiring {
        async fn ask_each(&self, _: &[Cmd], _: usize, _: &NodeProgress) -> Result<Vec<Value>, Fault> {
            Ok(vec![Value::Nil, self.0.clone(), Value::Int(self.1)])
        }
    }

    let claim = StoreEntry::Claim { owner: "web-2:0".to_owned() }.write();
    for (value, ttl, is_waited_for) in [
        (Value::Nil, -2, true),
        (Value::BulkString(claim.clone().into()), -2, true),
        (Value::BulkString(claim.clone().into()), 1, true),
        // It would stand there for ever.
        (Value::BulkString(claim.into()), -1, false),
    ] {
        let store = FleetStore::behind(Expiring(value, ttl), "web-1", clock);
        let look = store.look("verdict", &TERMS, Instant::now() + TIMEOUT).await;
        assert_eq!(matches!(look, Some(StoreReply::Busy)), is_waited_for, "{ttl}: {look:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_failed_is_asked_again_after_a_rest() {
    struct Failing(Arc<AtomicUsize>);

    impl StoreServer for Failing {
        async fn ask_each(&self, _: &[Cmd], _: usize, _: &NodeProgress) -> Result<Vec<Value>, Fault> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(Fault::new(Cause::Refused, Phase::Connect, ""))
        }
    }

    let asked = Arc::new(AtomicUsize::new(0));
    let store = FleetStore::behind(Failing(asked.clone()), "web-1", clock);
    for (pause, times) in [(Duration::ZERO, 1), (ms(999), 1), (ms(1), 2), (ms(1), 2)] {
        sleep(pause).await;
        assert!(store.look("verdict", &TERMS, Instant::now() + TIMEOUT).await.is_none());
        assert_eq!(asked.load(Ordering::Relaxed), times, "{pause:?}");
    }
}

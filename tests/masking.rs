//! A circuit breaker around a real cache: writes are dropped, and reads are answered with the default. Every client
//! behind it finds its cache healthy and empty; the check must say so at the first request.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_canary::alias::Alias;
use cache_canary::cache::{Cache, SetError};
use cache_canary::canary::{Canary, Key, Read, Sentinel, Superseded, Version};
use cache_canary::checker::Checker;
use cache_canary::config;
use cache_canary::outcome::{Cause, Fault, Status};
use cache_canary::progress::NodeProgress;
use tokio::time::Instant;
use tower::Layer;

use support::{Memcached, Redis};

/// What the breaker does.
const CLOSED: u8 = 0;
const DROPS_WRITES: u8 = 1;
const DROPS_WRITES_AND_FAKES_READS: u8 = 2;

/// A breaker, as a layer around a cache; nothing else knows of it.
#[derive(Clone, Default)]
struct Breaker(Arc<AtomicU8>);

struct Broken {
    cache: Box<dyn Cache>,
    state: Arc<AtomicU8>,
}

impl Layer<Box<dyn Cache>> for Breaker {
    type Service = Box<dyn Cache>;

    fn layer(&self, cache: Box<dyn Cache>) -> Box<dyn Cache> {
        Box::new(Broken { cache, state: self.0.clone() })
    }
}

#[async_trait]
impl Cache for Broken {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<Option<Version>, SetError> {
        if self.state.load(Ordering::SeqCst) == CLOSED {
            self.cache.set(canary, progress).await
        } else {
            Ok(None)
        }
    }

    async fn get(&self, key: &Key, default: Sentinel, progress: &NodeProgress) -> Result<Read, Fault> {
        if self.state.load(Ordering::SeqCst) == DROPS_WRITES_AND_FAKES_READS {
            return Ok(Read::Default(default));
        }
        self.cache.get(key, default, progress).await
    }

    async fn remove(&self, superseded: &Superseded) {
        if self.state.load(Ordering::SeqCst) == CLOSED {
            self.cache.remove(superseded).await;
        }
    }

    async fn renew(&self, resident: &Key, ttl: Duration) {
        self.cache.renew(resident, ttl).await;
    }
}

fn config(backend: config::Backend) -> config::Config {
    config::Config {
        listen: Vec::new(),
        prefix: "djblets-".to_owned(),
        instance: "test".to_owned(),
        timeout: Duration::from_millis(750),
        max_age: Duration::ZERO,
        reconnect_every: Duration::from_secs(5),
        access: config::Access { allow: Vec::new(), details: Vec::new() },
        caches: vec![config::Cache { alias: Alias::try_from("main").unwrap(), backend }],
    }
}

fn address(addr: std::net::SocketAddr) -> config::Address {
    config::Address::Tcp { host: addr.ip().to_string(), port: addr.port() }
}

async fn look(checker: &Checker) -> (Status, Option<Cause>) {
    let report = checker.check(&checker.catalog().all(), Instant::now()).await;
    (report.status(), report.outcomes[0].cause())
}

async fn a_breaker_is_seen_through(backend: config::Backend) {
    let breaker = Breaker::default();
    let checker = Checker::layered(&config(backend), &breaker).unwrap();
    for (state, cause) in [(DROPS_WRITES_AND_FAKES_READS, Cause::Masked), (DROPS_WRITES, Cause::Stale)] {
        // Each time from another key: a fixed one, or one not looked at twice, would tell them apart by chance.
        for healthy_before in 1..4 {
            for _ in 0..healthy_before {
                assert_eq!(look(&checker).await, (Status::Up, None));
            }
            breaker.0.store(state, Ordering::SeqCst);
            for _ in 0..3 {
                assert_eq!(look(&checker).await, (Status::Down, Some(cause)));
            }
            breaker.0.store(CLOSED, Ordering::SeqCst);
        }
    }
    assert_eq!(look(&checker).await, (Status::Up, None));
}

#[tokio::test]
async fn a_breaker_around_redis_is_masked_and_one_that_still_reads_is_stale() {
    let redis = Redis::start(&[]);
    a_breaker_is_seen_through(config::Backend::Redis(config::Redis {
        address: address(redis.addr()),
        username: None,
        password: None,
        database: 0,
        tls: None,
        replicas: Vec::new(),
    }))
    .await;
}

#[tokio::test]
async fn a_breaker_around_memcached_is_masked_and_one_that_still_reads_is_stale() {
    let memcached = Memcached::start(&[]);
    let servers = vec![address(memcached.addr())];
    a_breaker_is_seen_through(config::Backend::Memcached(config::Memcached { servers })).await;
}

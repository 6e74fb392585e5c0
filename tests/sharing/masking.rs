//! A circuit breaker around a real cache: writes are dropped, and reads are answered with the default. Every
//! client behind it finds its cache healthy and empty; the check must say so at the first request.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_canary::cache::{Cache, SetError};
use cache_canary::canary::{Canary, Key, Read, Unset};
use cache_canary::checker::Checker;
use cache_canary::config;
use cache_canary::outcome::{Cause, Fault, Status};
use cache_canary::progress::NodeProgress;
use tower::Layer;

use crate::support::in_process::{look, memcached_at, one_cache, redis_at};
use crate::support::{Memcached, Redis};

/// The states of the breaker.
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
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        if self.state.load(Ordering::SeqCst) == CLOSED {
            self.cache.set(canary, progress).await
        } else {
            Ok(())
        }
    }

    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        if self.state.load(Ordering::SeqCst) == DROPS_WRITES_AND_FAKES_READS {
            return Ok(Read::Default(default));
        }
        self.cache.get(key, default, progress).await
    }

    async fn delete(&self, key: &Key, progress: &NodeProgress) -> Result<(), Fault> {
        if self.state.load(Ordering::SeqCst) == CLOSED {
            self.cache.delete(key, progress).await
        } else {
            Ok(())
        }
    }

    async fn renew(&self, keys: &[Key], ttl: Duration) {
        self.cache.renew(keys, ttl).await;
    }

    async fn answers(&self, progress: &NodeProgress) -> Option<&'static str> {
        self.cache.answers(progress).await
    }
}

async fn a_breaker_is_seen_through(backend: config::Backend) {
    let breaker = Breaker::default();
    let checker = Checker::layered(&one_cache(backend), breaker.clone()).unwrap();
    for (state, cause) in [(DROPS_WRITES_AND_FAKES_READS, Cause::Masked), (DROPS_WRITES, Cause::Stale)] {
        // Each time from another key: a fixed one, or one not looked at twice, would tell them apart by
        // chance.
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
    a_breaker_is_seen_through(redis_at(redis.addr())).await;
}

#[tokio::test]
async fn a_breaker_around_memcached_is_masked_and_one_that_still_reads_is_stale() {
    let memcached = Memcached::start(&[]);
    a_breaker_is_seen_through(memcached_at(&[memcached.addr()])).await;
}

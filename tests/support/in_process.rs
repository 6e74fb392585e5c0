//! The checks without the program around them, for caches that a test makes itself.

use std::net::SocketAddr;
use std::time::Duration;

use cache_canary::alias::Alias;
use cache_canary::checker::Checker;
use cache_canary::config::{
    Access, Address, Backend, CacheConfig, Config, MemcachedConfig, MemcachedServers, RedisConfig,
    RedisServers,
};
use cache_canary::outcome::{Cause, Status};
use tokio::time::Instant;

/// A configuration with this one cache, called `main`, whose verdicts nobody shares.
pub fn one_cache(backend: Backend) -> Config {
    Config {
        instance: "test".to_owned(),
        max_age: Duration::ZERO,
        caches: vec![CacheConfig::new(Alias::try_from("main").unwrap(), backend)],
        ..Config::default()
    }
}

/// A Redis without credentials.
pub fn redis_at(addr: SocketAddr) -> Backend {
    Backend::Redis(RedisConfig::at(RedisServers::Standalone(address(addr))))
}

/// These memcached servers.
pub fn memcached_at(addrs: &[SocketAddr]) -> Backend {
    Backend::Memcached(MemcachedConfig::at(addrs.iter().map(|&addr| MemcachedServers::One(address(addr)))))
}

fn address(addr: SocketAddr) -> Address {
    Address::Tcp { host: addr.ip().to_string(), port: addr.port() }
}

/// Checks everything once: the status, and the cause if there is one.
pub async fn look(checker: &Checker) -> (Status, Option<Cause>) {
    let report = checker.check(&checker.catalog().all(), Instant::now()).await;
    (report.status(), report.outcomes[0].cause())
}

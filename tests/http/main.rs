//! The HTTP side: representations as pure functions, the router in process, alone and before
//! caches, and the server at its sockets; by real browsers, proxies and clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod balancer;
mod browser;
mod forwarded;
mod grpc;
mod host;
mod http2;
mod kinds;
mod listener_tls;
mod metrics;
mod openapi;
mod page;
mod representations;
mod required;
mod router;
mod schemas;
mod server;
mod snapshots;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod verdicts;

use std::net::SocketAddr;
use std::sync::Arc;

use cache_canary::alias::Alias;
use cache_canary::app::App;
use cache_canary::config::{Address, Backend, CacheConfig, Config, RedisConfig, RedisServers};
use cache_canary::outcome::SkipReason;
use socket2::{Domain, Socket, Type};

/// A configuration with one cache, `main`, at `address`; `default` forwards to it, `staticfiles` is local
/// memory.
fn config(address: SocketAddr) -> Config {
    let address = Address::Tcp { host: address.ip().to_string(), port: address.port() };
    let redis = RedisConfig::at(RedisServers::Standalone(address));
    let cache = |alias: &str, backend| CacheConfig::new(self::alias(alias), backend);
    Config {
        instance: "test".to_owned(),
        caches: vec![
            cache("default", Backend::forwarding_to(alias("main"))),
            cache("main", Backend::Redis(redis)),
            cache("staticfiles", Backend::Unchecked(SkipReason::LocalMemory)),
        ],
        ..Config::default()
    }
}

/// The app of a sidecar whose only cache nobody listens for.
fn app() -> Arc<App> {
    Arc::new(App::new(&config(closed_port())).unwrap())
}

/// An address that refuses connections.
fn closed_port() -> SocketAddr {
    // Bound and never listening, it is nobody else's while the tests run.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

fn alias(name: &str) -> Alias {
    Alias::try_from(name).unwrap()
}

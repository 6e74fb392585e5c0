//! Caches behind real proxies: what can be seen from outside is reported, and what a single key cannot show is
//! found by spraying.

use std::net::SocketAddr;

use crate::support::in_process::{look, one_cache, redis_at};
use crate::support::{Haproxy, Memcached, Redis, Sidecar, Twemproxy};
use cache_canary::checker::Checker;
use cache_canary::config::Backend;
use cache_canary::outcome::{Cause, Status};

/// So many canaries that one of three servers is missed by all of them once in 10^11.
const SPRAY: usize = 64;

fn redis_behind(proxy: SocketAddr) -> String {
    format!("[caches.main]\nurl = \"redis://{proxy}\"\nspray = {SPRAY}")
}

fn memcached_behind(proxy: SocketAddr) -> String {
    format!("[caches.main]\nurl = \"memcached://{proxy}\"\nspray = {SPRAY}")
}

#[test]
fn a_redis_of_a_ring_behind_twemproxy_that_dies_hangs_or_is_full_is_seen() {
    let mut ring = [(); 3].map(|()| Redis::start(&[]));
    let proxy = Twemproxy::of_redis(&ring.each_ref().map(Redis::addr), &["timeout: 100"]);
    let sidecar = Sidecar::start(redis_behind(proxy.addr()));
    (0..3).for_each(|_| sidecar.expect_up());

    ring[1].kill();
    let words = sidecar.expect_down("unreachable");
    assert!(words.contains("of 64 canaries: ERR Connection refused"), "{words}");
    assert!(words.contains("answers PING, does not hold data"), "{words}");
    ring[1].restart();
    sidecar.expect_up();

    ring[2].stop();
    let words = sidecar.expect_down("unreachable");
    assert!(words.contains("ERR Connection timed out"), "{words}");
    ring[2].cont();
    sidecar.expect_up();

    // That it is full is more than twemproxy understands.
    ring[0].fill();
    let words = sidecar.expect_down("unreachable");
    assert!(words.contains("ERR Invalid argument"), "{words}");
    ring[0].make_room();
    sidecar.expect_up();
}

#[test]
fn a_memcached_of_a_ring_behind_twemproxy_that_dies_or_hangs_is_seen() {
    let mut ring = [(); 3].map(|()| Memcached::start(&[]));
    let proxy = Twemproxy::of_memcached(&ring.each_ref().map(Memcached::addr), &["timeout: 100"]);
    let sidecar = Sidecar::start(memcached_behind(proxy.addr()));
    (0..3).for_each(|_| sidecar.expect_up());

    ring[1].kill();
    let words = sidecar.expect_down("unreachable");
    assert!(words.contains("of 64 canaries: SERVER_ERROR Connection refused"), "{words}");
    ring[1].restart();
    sidecar.expect_up();

    ring[2].stop();
    let words = sidecar.expect_down("unreachable");
    assert!(words.contains("SERVER_ERROR Connection timed out"), "{words}");
    ring[2].cont();
    sidecar.expect_up();
}

/// The first failure that twemproxy counts is that the dead server's connection was closed, the second is met by a
/// canary. After that the keys are spread over the others: what an application writes is found again, and so
/// are the canaries.
#[test]
fn a_server_that_twemproxy_ejects_is_seen_until_its_keys_are_spread_over_the_others() {
    let mut redis = [(); 3].map(|()| Redis::start(&[]));
    let mut memcached = [(); 3].map(|()| Memcached::start(&[]));
    let eject = ["auto_eject_hosts: true", "server_failure_limit: 2", "server_retry_timeout: 3600000"];
    let before_redis = Twemproxy::of_redis(&redis.each_ref().map(Redis::addr), &eject);
    let before_memcached = Twemproxy::of_memcached(&memcached.each_ref().map(Memcached::addr), &eject);
    for (caches, kill) in [
        (redis_behind(before_redis.addr()), &mut (|| redis[0].kill()) as &mut dyn FnMut()),
        (memcached_behind(before_memcached.addr()), &mut || memcached[0].kill()),
    ] {
        let sidecar = Sidecar::start(caches);
        (0..3).for_each(|_| sidecar.expect_up());
        kill();
        sidecar.expect_down("unreachable");
        (0..3).for_each(|_| sidecar.expect_up());
    }
}

#[test]
fn a_whole_ring_that_is_dead_is_seen_by_a_single_key() {
    let mut redis = Redis::start(&[]);
    let proxy = Twemproxy::of_redis(&[redis.addr()], &[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", proxy.addr()));
    sidecar.expect_up();
    redis.kill();
    sidecar.expect_down("unreachable");
    redis.restart();
    sidecar.expect_up();
}

/// K keys miss one server of N with a probability of (1 - 1/N)^K, as docs/caches.md says. Here two keys and four
/// servers: 56 %, and as many sidecars as it takes to tell that from 75 % and from 32 %, which would be one key
/// and four.
#[tokio::test]
async fn a_dead_server_is_hit_as_often_as_the_documentation_says() {
    const SIDECARS: u32 = 400;
    let mut ring = [(); 4].map(|()| Redis::start(&[]));
    let proxy = Twemproxy::of_redis(&ring.each_ref().map(Redis::addr), &[]);
    let Backend::Redis(mut redis) = redis_at(proxy.addr()) else { panic!("a Redis") };
    redis.spray = 2;
    let config = one_cache(Backend::Redis(redis));
    assert_eq!(look(&Checker::new(&config).unwrap()).await, (Status::Up, None));
    ring[3].kill();
    let mut missed = 0;
    for _ in 0..SIDECARS {
        match look(&Checker::new(&config).unwrap()).await {
            (Status::Up, None) => missed += 1,
            other => assert_eq!(other, (Status::Down, Some(Cause::Unreachable))),
        }
    }
    let share = f64::from(missed) / f64::from(SIDECARS);
    println!("{missed} of {SIDECARS} sidecars with two keys missed one dead server of four");
    // The ring's shares are only nearly equal.
    assert!((0.44..0.68).contains(&share), "{share}");
}

#[test]
fn a_redis_behind_haproxy_that_dies_hangs_or_is_full_is_seen() {
    let mut redis = Redis::start(&[]);
    for options in ["", "check inter 50ms fall 1 rise 1"] {
        let proxy = Haproxy::before(redis.addr(), options);
        let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", proxy.addr()));
        (0..3).for_each(|_| sidecar.expect_up());
        redis.stop();
        sidecar.expect_down("timed_out");
        redis.cont();
        sidecar.expect_up();
        redis.fill();
        let words = sidecar.expect_down("out_of_memory");
        assert!(words.contains("answers PING, does not hold data"), "{words}");
        redis.make_room();
        sidecar.expect_up();
        redis.kill();
        sidecar.expect_down("unreachable");
        redis.restart();
        crate::support::eventually("HAProxy takes the server for up", || sidecar.health().code == 200);
    }
}

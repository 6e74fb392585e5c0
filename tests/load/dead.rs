//! The memory of a thousand dead nodes, round after round. By itself in its process, which is measured.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::TcpListener;
use std::time::Duration;

use crate::support::in_process::{one_cache, redis_at};
use crate::support::{BlackHole, Port, alone, in_a_process_of_its_own, kib};
use cache_canary::alias::Alias;
use cache_canary::checker::Checker;
use cache_canary::config::CacheConfig;
use cache_canary::outcome::Status;
use tokio::time::Instant;

const EACH: usize = 300;

/// The memory that is the process' own, in kB (proc(5), /proc/pid/status).
fn memory() -> usize {
    kib("self", "status", "RssAnon")
}

#[tokio::test]
async fn a_thousand_dead_nodes_need_a_bounded_memory_that_no_round_adds_to() {
    let _turn = alone();
    if !in_a_process_of_its_own("dead::a_thousand_dead_nodes_need_a_bounded_memory_that_no_round_adds_to") {
        return;
    }
    // One that refuses, one that takes connections and never answers, and one that does not even take them.
    let (refusing, hung, hole) =
        (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap(), BlackHole::open());
    let mut config = one_cache(redis_at(refusing.addr()));
    config.caches.clear();
    for (kind, addr) in
        [("refusing", refusing.addr()), ("hung", hung.local_addr().unwrap()), ("hole", hole.addr())]
    {
        for number in 0..EACH {
            let alias = Alias::try_from(format!("{kind}-{number}").as_str()).unwrap();
            config.caches.push(CacheConfig::new(alias, redis_at(addr)));
        }
    }
    config.timeout = Duration::from_millis(500);
    hung.set_nonblocking(true).unwrap();
    let before = memory();
    let checker = Checker::new(&config).unwrap();
    let round = async || {
        let report = checker.check(&checker.catalog().all(), Instant::now()).await;
        assert!(report.outcomes.iter().all(|outcome| outcome.status() == Status::Down));
        drop(report);
        // Abandoned connections are closed here, too, so that its queue has room for the next round.
        while hung.accept().is_ok() {}
    };
    for _ in 0..3 {
        round().await;
    }
    let some = memory();
    for _ in 0..12 {
        round().await;
    }
    let more = memory();
    let nodes = 3 * EACH;
    // A node that is being dialed needs several kB, of a program that was not optimized.
    assert!(some - before < nodes * 16, "{} kB for {nodes} nodes", some - before);
    // A leak of a hundred bytes a node and round would be seen.
    assert!(more < some + nodes, "{some} kB grew to {more} kB");
}

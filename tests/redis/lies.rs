//! Servers that lie in ways that real ones cannot be made to: for each lie healthy before, the right cause at
//! the first check after it begins, within the deadline, and up again at the first check after it ends.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::time::Duration;

use cache_canary::alias::Alias;
use cache_canary::canary::{KeyNames, Series};
use cache_canary::checker::Checker;
use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use cache_canary::outcome::{Cause, Status};
use tokio::time::Instant;

use crate::support::in_process::{look, memcached_at, one_cache, redis_at};

/// The latest answer on a busy machine, for a deadline of 750 ms.
const LATEST: Duration = Duration::from_secs(3);

async fn each_is_seen(
    server: EmbeddedServer,
    checker: Checker,
    lies: impl IntoIterator<Item = (InjectedFault, Cause)>,
) {
    for (lie, cause) in lies {
        // The lie begins with either of the two keys in turn.
        for healthy_before in [1, 2] {
            for _ in 0..healthy_before {
                assert_eq!(look(&checker).await, (Status::Up, None), "before {lie:?}");
            }
            server.set_fault(lie.clone()).unwrap();
            for _ in 0..2 {
                let began = Instant::now();
                assert_eq!(look(&checker).await, (Status::Down, Some(cause)), "{lie:?}");
                assert!(began.elapsed() < LATEST, "{lie:?} took {:?}", began.elapsed());
            }
            server.repair().unwrap();
            assert_eq!(look(&checker).await, (Status::Up, None), "after {lie:?}");
        }
    }
}

/// A canary of another instance.
fn foreign() -> InjectedFault {
    let alias = Alias::try_from("main").unwrap();
    let series = Series::new(
        &KeyNames::new("djblets-", &"another".into(), &alias, "cache:6379"),
        Duration::from_secs(9),
    );
    InjectedFault::Foreign(series.next().value().as_bytes().to_vec())
}

/// The lies that are the same in every protocol.
fn lies() -> Vec<(InjectedFault, Cause)> {
    vec![
        (InjectedFault::Killed, Cause::Refused),
        (InjectedFault::Hung, Cause::TimedOut),
        (InjectedFault::Full, Cause::OutOfMemory),
        (InjectedFault::Masking, Cause::Masked),
        (InjectedFault::DroppingWrites, Cause::Stale),
        (foreign(), Cause::Foreign),
        (InjectedFault::Foreign(b"something else".to_vec()), Cause::Corrupt),
        (InjectedFault::Foreign(Vec::new()), Cause::Corrupt),
        (InjectedFault::Garbage, Cause::Protocol),
        (InjectedFault::Twice, Cause::Protocol),
        (InjectedFault::HalfThenSilence, Cause::TimedOut),
        (InjectedFault::HalfThenClose, Cause::Protocol),
        (InjectedFault::ClosesWithoutAnswer, Cause::Unreachable),
        (InjectedFault::EndlessLine, Cause::Protocol),
        (InjectedFault::EndlessValue, Cause::Protocol),
        (InjectedFault::Trickle(Duration::from_millis(300)), Cause::TimedOut),
    ]
}

#[tokio::test]
async fn every_lie_of_a_redis_is_seen_at_the_first_check() {
    let server = EmbeddedServer::redis().await.unwrap();
    let checker = Checker::new(&one_cache(redis_at(server.addr()))).unwrap();
    let saying = |line: &str, cause| (InjectedFault::Saying(line.to_owned()), cause);
    let more = [
        (InjectedFault::ReadOnly, Cause::ReadOnly),
        // The other key that it answers with is the one of the canary before.
        (InjectedFault::OtherKey, Cause::Stale),
        saying("-NOREPLICAS Not enough good replicas to write.", Cause::WriteBlocked),
        saying("-ERR unknown command", Cause::Forbidden),
        saying("-ERR something that no server says", Cause::NotStored),
        saying("-DENIED Redis is running in protected mode", Cause::Forbidden),
        saying("$-1", Cause::NotStored),
        saying(":1", Cause::Protocol),
        saying("$99999999999", Cause::Protocol),
        saying("*1000000000", Cause::Protocol),
        saying("$-7", Cause::Protocol),
    ];
    each_is_seen(server, checker, lies().into_iter().chain(more)).await;
}

#[tokio::test]
async fn every_lie_of_a_memcached_is_seen_at_the_first_check() {
    let server = EmbeddedServer::memcached().await.unwrap();
    let checker = Checker::new(&one_cache(memcached_at(&[server.addr()]))).unwrap();
    let saying = |line: &str, cause| (InjectedFault::Saying(line.to_owned()), cause);
    let more = [
        (InjectedFault::OtherKey, Cause::Protocol),
        saying("SERVER_ERROR no server available", Cause::Unreachable),
        saying("SERVER_ERROR object too large for cache", Cause::NotStored),
        saying("CLIENT_ERROR unauthenticated", Cause::Auth),
        saying("EN", Cause::Protocol),
    ];
    each_is_seen(server, checker, lies().into_iter().chain(more)).await;
}

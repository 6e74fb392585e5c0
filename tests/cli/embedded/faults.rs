//! Each fault, with the server healthy before it and after.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{CLASSIC, META, REDIS, SOON, ask, assert_healthy, assert_silent, dial, rest, servers};

// Faults of the connection.

#[tokio::test]
async fn a_killed_server_refuses_closes_forgets_and_comes_back_on_its_port() {
    for (server, words) in servers().await {
        let mut kept = dial(&server).await;
        ask(&mut kept, words.set, words.stored).await;
        let addr = server.addr();

        server.set_fault(InjectedFault::Killed).unwrap();
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(rest(&mut kept).await, b"");
        assert_eq!((server.connections(), server.keys()), (0, 0));

        server.repair().unwrap();
        assert_eq!(server.addr(), addr);
        let mut fresh = dial(&server).await;
        ask(&mut fresh, words.get, words.miss).await;
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_command_sent_to_a_killed_server_is_not_answered_even_after_an_immediate_repair() {
    for (server, words) in servers().await {
        let mut kept = dial(&server).await;
        ask(&mut kept, words.set, words.stored).await;
        server.set_fault(InjectedFault::Killed).unwrap();
        server.repair().unwrap();
        let _ = kept.write_all(words.get.as_bytes()).await;
        assert_eq!(rest(&mut kept).await, b"");
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_connection_that_waits_to_be_accepted_is_closed_when_the_server_is_killed() {
    let server = EmbeddedServer::redis().await.unwrap();
    // On one thread, the server has had no time to accept it.
    let std = std::net::TcpStream::connect(server.addr()).unwrap();
    server.set_fault(InjectedFault::Killed).unwrap();
    std.set_nonblocking(true).unwrap();
    assert_eq!(rest(&mut TcpStream::from_std(std).unwrap()).await, b"");
    assert_eq!(server.accepted(), 0);
    server.repair().unwrap();
    assert_healthy(&server, &REDIS).await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_server_that_is_killed_and_repaired_many_times_keeps_its_port() {
    let server = EmbeddedServer::redis().await.unwrap();
    let addr = server.addr();
    for _ in 0..50 {
        assert_healthy(&server, &REDIS).await;
        server.set_fault(InjectedFault::Killed).unwrap();
        assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        server.repair().unwrap();
    }
    assert_eq!(server.addr(), addr);
}

#[tokio::test]
async fn a_hung_server_takes_connections_answers_nothing_and_goes_on_once_repaired() {
    for (server, words) in servers().await {
        let mut kept = dial(&server).await;
        ask(&mut kept, words.set, words.stored).await;

        server.set_fault(InjectedFault::Hung).unwrap();
        kept.write_all(words.get.as_bytes()).await.unwrap();
        let mut fresh = dial(&server).await;
        fresh.write_all(words.get.as_bytes()).await.unwrap();
        assert_silent(&mut kept).await;
        assert_silent(&mut fresh).await;

        server.repair().unwrap();
        ask(&mut kept, "", words.hit).await;
        ask(&mut fresh, "", words.hit).await;
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer_says_nothing() {
    for (server, words) in servers().await {
        assert_healthy(&server, &words).await;
        server.set_fault(InjectedFault::ClosesWithoutAnswer).unwrap();
        let mut stream = dial(&server).await;
        assert_silent(&mut stream).await;
        stream.write_all(words.get.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"");
        server.repair().unwrap();
        assert_healthy(&server, &words).await;
    }
}

// Faults of the store.

#[tokio::test]
async fn a_masking_server_acknowledges_writes_and_answers_reads_with_misses() {
    for (server, words) in servers().await {
        let mut stream = dial(&server).await;
        ask(&mut stream, words.set, words.stored).await;
        ask(&mut stream, words.get, words.hit).await;
        server.set_fault(InjectedFault::Masking).unwrap();
        ask(&mut stream, words.get, words.miss).await;
        ask(&mut stream, words.set, words.stored).await;
        ask(&mut stream, words.get, words.miss).await;
        ask(&mut stream, words.delete, words.deleted).await;
        server.repair().unwrap();
        // The delete was dropped, too.
        ask(&mut stream, words.get, words.hit).await;
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_server_that_drops_writes_acknowledges_them_and_still_reads() {
    for (server, words) in servers().await {
        let mut stream = dial(&server).await;
        server.set_fault(InjectedFault::DroppingWrites).unwrap();
        ask(&mut stream, words.set, words.stored).await;
        ask(&mut stream, words.get, words.miss).await;
        server.repair().unwrap();
        ask(&mut stream, words.set, words.stored).await;
        server.set_fault(InjectedFault::DroppingWrites).unwrap();
        ask(&mut stream, words.delete, words.deleted).await;
        ask(&mut stream, words.get, words.hit).await;
        server.repair().unwrap();
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_server_can_be_made_to_say_anything() {
    for (server, words) in servers().await {
        assert_healthy(&server, &words).await;
        server.set_fault(InjectedFault::Saying("-MISCONF snapshots fail".to_owned())).unwrap();
        let mut stream = dial(&server).await;
        ask(&mut stream, words.set, "-MISCONF snapshots fail\r\n").await;
        ask(&mut stream, words.get, "-MISCONF snapshots fail\r\n").await;
        ask(&mut stream, words.delete, "-MISCONF snapshots fail\r\n").await;
        server.repair().unwrap();
        ask(&mut stream, words.get, words.hit).await;
        assert_healthy(&server, &words).await;
    }
    let server = EmbeddedServer::redis().await.unwrap();
    server.set_fault(InjectedFault::Saying("-MISCONF snapshots fail".to_owned())).unwrap();
    ask(&mut dial(&server).await, "PING\r\n", "+PONG\r\n").await;
}

#[tokio::test]
async fn a_read_only_memcached_answers_as_a_proxy_might() {
    let server = EmbeddedServer::memcached().await.unwrap();
    assert_healthy(&server, &CLASSIC).await;
    server.set_fault(InjectedFault::ReadOnly).unwrap();
    let mut stream = dial(&server).await;
    ask(&mut stream, CLASSIC.set, "SERVER_ERROR read only\r\n").await;
    ask(&mut stream, META.delete, "SERVER_ERROR read only\r\n").await;
    ask(&mut stream, CLASSIC.get, CLASSIC.hit).await;
    server.repair().unwrap();
    assert_healthy(&server, &CLASSIC).await;
}

#[tokio::test]
async fn a_server_with_a_foreign_value_answers_every_read_with_it() {
    for (server, words) in servers().await {
        assert_healthy(&server, &words).await;
        server.set_fault(InjectedFault::Foreign(b"alien".to_vec())).unwrap();
        let mut stream = dial(&server).await;
        ask(&mut stream, words.set, words.stored).await;
        ask(&mut stream, words.get, &words.hit.replace("value", "alien")).await;
        server.repair().unwrap();
        ask(&mut stream, words.get, words.hit).await;
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_server_that_reads_another_key_shows_it_if_the_protocol_does() {
    let redis = EmbeddedServer::redis().await.unwrap();
    redis.set_fault(InjectedFault::OtherKey).unwrap();
    let mut stream = dial(&redis).await;
    ask(&mut stream, "GET key\r\n", "$13\r\nanother value\r\n").await;
    ask(&mut stream, "SET key value\r\nSET second 2\r\n", "+OK\r\n+OK\r\n").await;
    ask(&mut stream, "GET key\r\n", "$1\r\n2\r\n").await;
    redis.repair().unwrap();
    ask(&mut stream, "GET key\r\n", REDIS.hit).await;

    let memcached = EmbeddedServer::memcached().await.unwrap();
    memcached.set_fault(InjectedFault::OtherKey).unwrap();
    let mut stream = dial(&memcached).await;
    ask(&mut stream, "get key\r\n", "VALUE another-key 0 13\r\nanother value\r\nEND\r\n").await;
    ask(&mut stream, "mg key k v\r\n", "VA 13 kanother-key\r\nanother value\r\n").await;
    memcached.repair().unwrap();
    ask(&mut stream, "get key\r\n", CLASSIC.miss).await;
    assert_healthy(&memcached, &CLASSIC).await;
}

// Faults of the answer.

#[tokio::test]
async fn a_server_that_answers_twice_does_so_for_one_question() {
    for (server, words) in servers().await {
        let mut stream = dial(&server).await;
        ask(&mut stream, words.set, words.stored).await;
        assert_silent(&mut stream).await;
        server.set_fault(InjectedFault::Twice).unwrap();
        ask(&mut stream, words.get, &words.hit.repeat(2)).await;
        server.repair().unwrap();
        ask(&mut stream, words.get, words.hit).await;
        assert_silent(&mut stream).await;
    }
}

#[tokio::test]
async fn garbage_is_a_line_that_no_protocol_knows() {
    for (server, words) in servers().await {
        assert_healthy(&server, &words).await;
        server.set_fault(InjectedFault::Garbage).unwrap();
        let mut stream = dial(&server).await;
        stream.write_all(words.get.as_bytes()).await.unwrap();
        let mut line = [0; 34];
        timeout(SOON, stream.read_exact(&mut line)).await.unwrap().unwrap();
        assert!(line[..32].iter().all(|byte| *byte >= 0x80), "{line:?}");
        assert_eq!(line[32..], *b"\r\n");
        server.repair().unwrap();
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn half_an_answer_is_followed_by_silence_or_by_the_end() {
    for (server, words) in servers().await {
        assert_healthy(&server, &words).await;
        let half = &words.hit[..words.hit.len() / 2];

        server.set_fault(InjectedFault::HalfThenSilence).unwrap();
        let mut stream = dial(&server).await;
        ask(&mut stream, words.get, half).await;
        stream.write_all(words.get.as_bytes()).await.unwrap();
        assert_silent(&mut stream).await;

        server.set_fault(InjectedFault::HalfThenClose).unwrap();
        assert_eq!(rest(&mut stream).await, b"");
        let mut stream = dial(&server).await;
        ask(&mut stream, words.get, half).await;
        assert_eq!(rest(&mut stream).await, b"");

        server.repair().unwrap();
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn an_endless_line_does_not_end() {
    for (server, words) in servers().await {
        assert_healthy(&server, &words).await;
        server.set_fault(InjectedFault::EndlessLine).unwrap();
        let mut stream = dial(&server).await;
        ask(&mut stream, words.set, words.stored.trim_end()).await;
        let mut more = vec![0; 4 << 20];
        timeout(SOON, stream.read_exact(&mut more)).await.unwrap().unwrap();
        assert!(!more.contains(&b'\n'));
        server.repair().unwrap();
        // It ends with the fault, so that nothing is left behind.
        rest(&mut stream).await;
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn an_endless_value_announces_half_a_gigabyte_after_a_write_that_is_real() {
    for (server, words) in servers().await {
        assert_healthy(&server, &words).await;
        server.set_fault(InjectedFault::EndlessValue).unwrap();
        let mut stream = dial(&server).await;
        ask(&mut stream, words.set, words.stored).await;
        let header = words.hit.replace('5', "536870912").lines().next().unwrap().to_owned();
        ask(&mut stream, words.get, &header).await;
        let mut more = vec![0; 4 << 20];
        timeout(SOON, stream.read_exact(&mut more)).await.unwrap().unwrap();
        server.repair().unwrap();
        rest(&mut stream).await;
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_trickling_server_sends_the_right_answer_a_byte_at_a_time() {
    let pause = Duration::from_millis(5);
    for (server, words) in servers().await {
        let mut stream = dial(&server).await;
        ask(&mut stream, words.set, words.stored).await;
        server.set_fault(InjectedFault::Trickle(pause)).unwrap();
        let began = Instant::now();
        ask(&mut stream, words.get, words.hit).await;
        let pauses = u32::try_from(words.hit.len() - 1).unwrap();
        assert!(began.elapsed() >= pause * pauses, "{:?}", began.elapsed());
        server.repair().unwrap();
        assert_healthy(&server, &words).await;
    }
}

//! Each state that `support` can put a server into is that state, by the server's own words, and ends when it
//! should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests panic as tests do")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::support::sentinel::{NAME, NEVER};
use crate::support::{
    Answer, Authority, BlackHole, Client, Link, Memcached, Port, Redis, Relay, Watched, eventually,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

/// Long enough for a healthy server to answer, and short enough to wait for one that does not.
const MOMENT: Duration = Duration::from_millis(500);

/// The answer to a write.
fn set(redis: &Redis) -> Answer {
    redis.client().ask(&["SET", "key", "value"])
}

/// The first word of the error that is the answer.
fn error_code(answer: Answer) -> String {
    let said = answer.expect_err("an error");
    said.split(' ').next().expect("a word").to_owned()
}

/// Whether a connection is made and a line sent over it is answered.
fn answers(addr: SocketAddr, line: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&addr, MOMENT)?;
    stream.set_read_timeout(Some(MOMENT))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    match stream.read(&mut [0; 16])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn error_kind(answer: io::Result<()>) -> io::ErrorKind {
    answer.expect_err("a failure").kind()
}

#[test]
fn a_killed_server_refuses_and_comes_back_on_its_port() {
    let mut redis = Redis::start(&[]);
    let mut memcached = Memcached::start(&[]);
    answers(redis.addr(), "PING").unwrap();
    answers(memcached.addr(), "version").unwrap();

    redis.kill();
    memcached.kill();
    assert_eq!(error_kind(answers(redis.addr(), "PING")), io::ErrorKind::ConnectionRefused);
    assert_eq!(error_kind(answers(memcached.addr(), "version")), io::ErrorKind::ConnectionRefused);

    redis.restart();
    memcached.restart();
    answers(redis.addr(), "PING").unwrap();
    answers(memcached.addr(), "version").unwrap();
    assert_eq!(redis.info("process_id"), redis.pid().to_string());
    assert_eq!(memcached.stat("pid"), memcached.pid().to_string());
}

#[test]
fn a_stopped_server_is_connected_to_and_does_not_answer() {
    let redis = Redis::start(&[]);
    let memcached = Memcached::start(&[]);

    redis.stop();
    memcached.stop();
    // A read that runs out of time is `WouldBlock` here; a connect that does would be `TimedOut`.
    assert_eq!(error_kind(answers(redis.addr(), "PING")), io::ErrorKind::WouldBlock);
    assert_eq!(error_kind(answers(memcached.addr(), "version")), io::ErrorKind::WouldBlock);

    redis.cont();
    memcached.cont();
    answers(redis.addr(), "PING").unwrap();
    answers(memcached.addr(), "version").unwrap();
}

#[test]
fn a_dropped_server_is_gone() {
    let addrs = [Redis::start(&[]).addr(), Memcached::start(&[]).addr()];
    for addr in addrs {
        assert_eq!(error_kind(answers(addr, "version")), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_reserved_port_refuses_until_a_server_listens_there() {
    let port = Port::reserve();
    assert_eq!(TcpStream::connect(port.addr()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let _listener = port.listen();
    TcpStream::connect(port.addr()).unwrap();
}

#[test]
fn a_black_hole_takes_no_connection() {
    let hole = BlackHole::open();
    let error = TcpStream::connect_timeout(&hole.addr(), MOMENT).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_full_redis_refuses_writes() {
    let redis = Redis::start(&[]);
    assert_eq!(set(&redis).unwrap(), "OK");
    redis.fill();
    assert_eq!(error_code(set(&redis)), "OOM");
    assert_eq!(redis.client().ask(&["PING"]).unwrap(), "PONG");
    redis.make_room();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_replica_refuses_writes() {
    let (primary, replica) = (Redis::start(&[]), Redis::start(&[]));
    assert_eq!(set(&primary).unwrap(), "OK");
    replica.become_replica_of(&primary);
    assert_eq!(error_code(set(&replica)), "READONLY");
    assert_eq!(replica.client().ask(&["GET", "key"]).unwrap(), "value");
    replica.become_primary();
    assert_eq!(set(&replica).unwrap(), "OK");
}

#[test]
fn an_orphaned_replica_refuses_reads_as_well() {
    let redis = Redis::start(&[]);
    redis.become_orphan();
    assert_eq!(error_code(set(&redis)), "READONLY");
    assert_eq!(error_code(redis.client().ask(&["GET", "key"])), "MASTERDOWN");
    redis.become_primary();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn failing_snapshots_block_writes() {
    let redis = Redis::start(&[]);
    redis.break_snapshots();
    assert_eq!(error_code(set(&redis)), "MISCONF");
    redis.repair_snapshots();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn too_few_replicas_block_writes() {
    let redis = Redis::start(&[]);
    redis.want_a_replica();
    assert_eq!(error_code(set(&redis)), "NOREPLICAS");
    redis.want_no_replicas();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_loading_server_refuses_everything() {
    let mut redis = Redis::start(&[]);
    redis.restart_loading();
    assert_eq!(error_code(set(&redis)), "LOADING");
    redis.finish_loading();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_script_keeps_the_server_busy() {
    let mut redis = Redis::start(&[]);
    redis.run_endless_script();
    assert_eq!(error_code(set(&redis)), "BUSY");
    redis.kill_script();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_server_that_a_script_holds_can_be_killed() {
    let mut redis = Redis::start(&[]);
    redis.run_endless_script();
    redis.kill();
    redis.restart();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_cluster_without_slots_is_down() {
    let redis = Redis::start_cluster();
    assert_eq!(set(&redis).unwrap(), "OK");
    redis.lose_slots();
    assert_eq!(error_code(set(&redis)), "CLUSTERDOWN");
    redis.regain_slots();
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_password_is_wanted_and_compared() {
    let redis = Redis::start(&[]);
    let unwanted = redis.client().ask(&["AUTH", "s3cret"]).unwrap_err();
    assert!(unwanted.contains("without any password configured"), "{unwanted}");

    redis.require_password("s3cret");
    assert_eq!(error_code(set(&redis)), "NOAUTH");
    assert_eq!(error_code(redis.client().ask(&["AUTH", "wrong"])), "WRONGPASS");
    let mut client = redis.client();
    assert_eq!(client.ask(&["AUTH", "s3cret"]).unwrap(), "OK");
    assert_eq!(client.ask(&["SET", "key", "value"]).unwrap(), "OK");

    redis.require_password("");
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_user_may_run_the_commands_of_its_rules() {
    let redis = Redis::start(&[]);
    let user = |rules| {
        redis.set_user("probe", rules);
        let mut client = redis.client();
        assert_eq!(client.ask(&["AUTH", "probe", "s3cret"]).unwrap(), "OK");
        client
    };

    assert_eq!(user("on >s3cret ~canary:* +set").ask(&["SET", "canary:1", "value"]).unwrap(), "OK");
    assert_eq!(error_code(user("on >s3cret ~other:* +set").ask(&["SET", "canary:1", "value"])), "NOPERM");
    assert_eq!(error_code(user("on >s3cret ~canary:* +get").ask(&["SET", "canary:1", "value"])), "NOPERM");
}

#[test]
fn disconnected_clients_are_disconnected() {
    let redis = Redis::start(&[]);
    let mut client = redis.client();
    assert_eq!(client.ask(&["PING"]).unwrap(), "PONG");
    redis.disconnect_clients();
    client.try_ask(&["PING"]).unwrap_err();
    assert_eq!(redis.client().ask(&["PING"]).unwrap(), "PONG");
}

#[test]
fn a_redis_at_its_connection_limit_turns_clients_away() {
    let redis = Redis::start(&[]);
    let held = redis.reach_connection_limit();
    assert_eq!(redis.client().try_ask(&["PING"]).unwrap().unwrap_err(), "ERR max number of clients reached");
    drop(held);
    assert_eq!(set(&redis).unwrap(), "OK");
}

#[test]
fn a_relay_lets_something_happen_between_a_write_and_its_read() {
    let redis = Arc::new(Redis::start(&[]));
    let flushed = Arc::clone(&redis);
    let relay = Relay::start(redis.addr(), move |sent| {
        if sent.windows(3).any(|word| word == b"GET") {
            flushed.command(&["FLUSHALL"]);
        }
        true
    });

    let mut direct = redis.client();
    assert_eq!(direct.ask(&["SET", "key", "value"]).unwrap(), "OK");
    assert_eq!(direct.ask(&["GET", "key"]).unwrap(), "value");
    let mut relayed = Client::connect(relay.addr()).unwrap();
    assert_eq!(relayed.ask(&["SET", "key", "value"]).unwrap(), "OK");
    assert_eq!(relayed.ask(&["GET", "key"]).unwrap(), "(nil)");
}

#[test]
fn a_full_memcached_refuses_items_of_every_size() {
    let memcached = Memcached::start(&["-m", "8", "-M"]);
    // A new key each time: a refused write drops the item that it would have replaced, which makes room for
    // the next.
    let set_all = |prefix: &str, expected: &str| {
        for size in [1, 30, 60, 120, 250, 500, 1_000, 5_000] {
            let answer =
                memcached.command(&format!("set {prefix}:{size} 0 0 {size}\r\n{}", "x".repeat(size)));
            assert_eq!(answer, expected, "{prefix}, {size} bytes");
        }
    };

    set_all("before", "STORED");
    memcached.fill();
    set_all("full", "SERVER_ERROR out of memory storing object");
    set_all("still", "SERVER_ERROR out of memory storing object");
    memcached.make_room();
    set_all("after", "STORED");
}

#[test]
fn a_memcached_that_wants_credentials_serves_no_client_without_them() {
    let mut memcached = Memcached::start_with_auth_file();
    assert_eq!(memcached.command("get key"), "CLIENT_ERROR unauthenticated");
    memcached.kill();
    memcached.restart_plain();
    assert_eq!(memcached.command("get key"), "END");
    // One with SASL takes no text at all.
    let mut memcached = Memcached::start_with_sasl();
    let long_enough_to_be_looked_at = format!("get {}", "key".repeat(10));
    assert_ne!(error_kind(answers(memcached.addr(), &long_enough_to_be_looked_at)), io::ErrorKind::TimedOut);
    memcached.kill();
    memcached.restart_plain();
    assert_eq!(memcached.command("get key"), "END");
}

#[test]
fn a_memcached_at_its_connection_limit_turns_clients_away() {
    let memcached = Memcached::start(&["-c", "64"]);
    let held = memcached.reach_connection_limit();
    let mut said = String::new();
    TcpStream::connect(memcached.addr()).unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "ERROR Too many open connections\r\n");
    drop(held);
    assert!(memcached.command("version").starts_with("VERSION "));
}

/// The answer to PING over TLS, or why there is none, by a client that trusts `authority`, for the name
/// `localhost`.
fn ping_over_tls(redis: &Redis, authority: &Authority) -> io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    Client::over(StreamOwned::new(session, TcpStream::connect(redis.addr())?)).try_ask(&["PING"])
}

#[test]
fn certificates_are_of_the_kind_of_their_name() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let refusal = |redis: &Redis, authority| ping_over_tls(redis, authority).unwrap_err().to_string();

    let good = Redis::start_tls(&authority.issue(&["localhost", "127.0.0.1"]), None);
    assert_eq!(ping_over_tls(&good, &authority).unwrap().unwrap(), "PONG");
    let said = refusal(&good, &unknown);
    assert!(said.contains("UnknownIssuer") || said.contains("BadSignature"), "{said}");

    let expired = Redis::start_tls(&authority.issue_expired(&["localhost"]), None);
    let said = refusal(&expired, &authority);
    assert!(said.contains("expired"), "{said}");

    let elsewhere = Redis::start_tls(&authority.issue(&["elsewhere.example"]), None);
    let said = refusal(&elsewhere, &authority);
    assert!(said.contains("not valid for name"), "{said}");

    let wants_a_certificate = Redis::start_tls(&authority.issue(&["localhost"]), Some(&authority));
    let said = refusal(&wants_a_certificate, &authority);
    assert!(said.contains("CertificateRequired"), "{said}");
}

#[test]
fn sentinels_name_the_primary_and_know_each_other() {
    let mut watched = Watched::start(NEVER, &[]);
    let port = watched.primary().port();
    for sentinel in &watched.sentinels {
        assert_eq!(sentinel.names(), Some(port));
        sentinel.ask(&["SENTINEL", "CKQUORUM", NAME]).unwrap().unwrap();
    }
    watched.sentinels[0].kill();
    watched.sentinels[1].stop();
    assert_eq!(watched.sentinels[0].names(), None);
    assert_eq!(watched.sentinels[1].names(), None);
    watched.sentinels[0].restart();
    watched.sentinels[1].cont();
    watched.wait_until_known();
    assert!(watched.sentinels.iter().all(|sentinel| sentinel.names() == Some(port)));
}

#[test]
fn a_held_link_brings_nothing_and_a_released_one_all() {
    let primary = Redis::start(&[]);
    let link = Link::start(primary.addr());
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &link.port().to_string()]);
    let get = |key| replica.command(&["GET", key]);
    let set = |key| primary.command(&["SET", key, "value"]);
    eventually("a replica has its link", || replica.info("master_link_status") == "up");
    set("before");
    eventually("the link brings what is written", || get("before") == "value");
    link.hold();
    set("held");
    std::thread::sleep(MOMENT);
    assert_eq!((get("held"), replica.info("master_link_status")), ("(nil)".to_owned(), "up".to_owned()));
    link.release();
    eventually("a released link brings what was held", || get("held") == "value");
}

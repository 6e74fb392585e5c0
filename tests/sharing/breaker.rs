//! The breaker of an alias. Its states are shown with a scripted cache and a paused clock. Real servers show that
//! it asks a dead server nothing and sees it come back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use cache_canary::cache::{Cache, SetError};
use cache_canary::canary::{Canary, Key, Read, Unset};
use cache_canary::checker::Checker;
use cache_canary::config::{Backend, BreakerConfig, Config, Secret};
use cache_canary::outcome::{Cause, Fault, Phase, Status};
use cache_canary::progress::NodeProgress;
use tokio::time::Instant;
use tower::Layer;

use crate::support::in_process::{memcached_at, one_cache, redis_at};
use crate::support::sentinel::NEVER;
use crate::support::{BlackHole, Memcached, PASSWORD, Port, Redis, Sidecar, USER, Watched, eventually};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The behavior of a scripted cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Works,
    /// Writes come to this fault.
    Fails(Cause, Phase),
    /// Writes are stored when it goes on, and not answered.
    Hangs,
    /// Writes are answered, and reads are not.
    HangsInReads,
    /// The kept connection turns out to be closed, once; then it works.
    HasClosed,
}

const REFUSES: Node = Node::Fails(Cause::Refused, Phase::Connect);

#[derive(Clone)]
struct Script(Arc<Mutex<State>>);

struct State {
    node: Node,
    held: HashMap<String, String>,
    on_their_way: Vec<(String, String)>,
    /// How many writes it was asked for.
    writes: usize,
}

impl Script {
    fn new() -> Self {
        let (node, held, on_their_way) = (Node::Works, HashMap::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { node, held, on_their_way, writes: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn become_one_that(&self, node: Node) {
        self.state().node = node;
    }

    /// The writes that were not answered arrive.
    fn deliver(&self) {
        let mut state = self.state();
        let arrived: Vec<_> = state.on_their_way.drain(..).collect();
        state.held.extend(arrived);
    }

    fn writes(&self) -> usize {
        self.state().writes
    }
}

impl Layer<Box<dyn Cache>> for Script {
    type Service = Box<dyn Cache>;

    fn layer(&self, _: Box<dyn Cache>) -> Box<dyn Cache> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Cache for Script {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        progress.enter(Phase::Write);
        let item = (canary.key().to_string(), canary.value().to_owned());
        let node = {
            let mut state = self.state();
            state.writes += 1;
            let node = state.node;
            match node {
                Node::Works | Node::HangsInReads => drop(state.held.insert(item.0, item.1)),
                Node::Hangs => state.on_their_way.push(item),
                Node::HasClosed => state.node = Node::Works,
                Node::Fails(..) => {}
            }
            node
        };
        match node {
            Node::Works | Node::HangsInReads => Ok(()),
            Node::Fails(cause, phase) => Err(Fault::new(cause, phase, "scripted").into()),
            Node::Hangs => std::future::pending().await,
            Node::HasClosed => Err(SetError::KeptConnectionClosed),
        }
    }

    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        progress.enter(Phase::Read);
        let (node, found) = {
            let state = self.state();
            (state.node, state.held.get(key.as_str()).cloned())
        };
        if node == Node::HangsInReads {
            std::future::pending::<()>().await;
        }
        Ok(found.map_or(Read::Default(default), |value| Read::Value(value.into_bytes())))
    }

    async fn delete(&self, _: &Key, _: &NodeProgress) -> Result<(), Fault> {
        Ok(())
    }

    async fn renew(&self, _: &[Key], _: Duration) {}

    async fn answers(&self, _: &NodeProgress) -> Option<&'static str> {
        None
    }
}

const OPEN_FOR: Duration = Duration::from_secs(30);

fn with_breaker(backend: Backend, after: u32, open_for: Duration) -> Config {
    let mut config = one_cache(backend);
    config.caches[0].breaker = Some(BreakerConfig { after, open_for });
    config
}

/// The checks of a scripted cache with a breaker that opens after so many of them.
fn checker(script: &Script, after: u32) -> Arc<Checker> {
    sprayed(script, after, 1)
}

/// The same with so many canaries in a check.
fn sprayed(script: &Script, after: u32, canaries: usize) -> Arc<Checker> {
    let mut backend = redis_at("127.0.0.1:1".parse().unwrap());
    let Backend::Redis(redis) = &mut backend else { panic!("it is a Redis") };
    redis.spray = canaries;
    Arc::new(Checker::layered(&with_breaker(backend, after, OPEN_FOR), script.clone()).unwrap())
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Up,
    /// Down, as the breaker is open.
    NotAsked,
    Down(Cause),
}

/// Checks everything once: what it came to, and the words for it.
async fn check_in_detail(checker: &Checker) -> (Seen, String) {
    let report = checker.check(&checker.catalog().all(), Instant::now()).await;
    let outcome = &report.outcomes[0];
    let said = outcome.nodes[0].fault.as_ref().map(|fault| fault.said.to_string()).unwrap_or_default();
    let seen = match (outcome.status(), outcome.cause()) {
        (Status::Up, None) => Seen::Up,
        (Status::Down, Some(Cause::Masked)) if said.starts_with("circuit breaker open since 2") => {
            Seen::NotAsked
        }
        (Status::Down, Some(cause)) => Seen::Down(cause),
        other => panic!("{other:?}"),
    };
    (seen, said)
}

async fn check(checker: &Checker) -> Seen {
    check_in_detail(checker).await.0
}

/// The same a moment after the check before: where the clock stands still it would be shared.
async fn then_check(checker: &Checker) -> Seen {
    tokio::time::advance(ms(1)).await;
    check(checker).await
}

/// Lets a closed breaker that opens after three dead checks open.
async fn open(checker: &Checker, script: &Script) {
    script.become_one_that(REFUSES);
    for _ in 0..3 {
        assert_eq!(then_check(checker).await, Seen::Down(Cause::Refused));
    }
    assert_eq!(then_check(checker).await, Seen::NotAsked);
}

#[tokio::test(start_paused = true)]
async fn after_so_many_dead_checks_nothing_is_asked_and_every_check_is_down_at_once() {
    let script = Script::new();
    let checker = checker(&script, 3);
    for _ in 0..3000 {
        assert_eq!(then_check(&checker).await, Seen::Up);
    }
    open(&checker, &script).await;
    let (writes, began) = (script.writes(), Instant::now());
    for _ in 0..1000 {
        assert_eq!(then_check(&checker).await, Seen::NotAsked);
    }
    assert_eq!(began.elapsed(), ms(1000), "no check waits");
    assert_eq!(script.writes(), writes);
    tokio::time::advance(ms(1)).await;
    let (_, words) = check_in_detail(&checker).await;
    let (since, met) = words.split_once("; ").unwrap();
    assert_eq!(since.len(), "circuit breaker open since 2026-11-22T22:37:21Z".len());
    assert_eq!(met, "last fault: refused in connect: scripted");
}

#[tokio::test(start_paused = true)]
async fn without_a_breaker_every_check_asks() {
    let script = Script::new();
    let nowhere = redis_at("127.0.0.1:1".parse().unwrap());
    let checker = Checker::layered(&one_cache(nowhere), script.clone()).unwrap();
    script.become_one_that(REFUSES);
    for _ in 0..100 {
        assert_eq!(then_check(&checker).await, Seen::Down(Cause::Refused));
    }
    assert_eq!(script.writes(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_times_out_counts_as_dead_in_its_write_and_in_its_read() {
    for node in [Node::Hangs, Node::HangsInReads] {
        let script = Script::new();
        let checker = checker(&script, 3);
        assert_eq!(then_check(&checker).await, Seen::Up);
        script.become_one_that(node);
        for _ in 0..3 {
            assert_eq!(then_check(&checker).await, Seen::Down(Cause::TimedOut), "{node:?}");
        }
        assert_eq!(then_check(&checker).await, Seen::NotAsked, "{node:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_cause_that_costs_a_dial_or_a_timeout_counts_as_dead() {
    for (cause, phase) in [
        (Cause::Unresolvable, Phase::Resolve),
        (Cause::Refused, Phase::Connect),
        (Cause::Tls, Phase::Tls),
        (Cause::Auth, Phase::Auth),
        (Cause::Protocol, Phase::Auth),
        (Cause::Unreachable, Phase::Write),
    ] {
        let script = Script::new();
        let checker = checker(&script, 1);
        script.become_one_that(Node::Fails(cause, phase));
        assert_eq!(then_check(&checker).await, Seen::Down(cause));
        assert_eq!(then_check(&checker).await, Seen::NotAsked, "{cause} in {phase}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_response_is_always_reported_and_resets_the_count() {
    for cause in [
        Cause::ReadOnly,
        Cause::OutOfMemory,
        Cause::Loading,
        Cause::Forbidden,
        Cause::WriteBlocked,
        Cause::ClusterDown,
        Cause::NotStored,
        Cause::Protocol,
        Cause::Redirected,
    ] {
        let script = Script::new();
        let checker = checker(&script, 3);
        for _ in 0..5 {
            script.become_one_that(REFUSES);
            for _ in 0..2 {
                assert_eq!(then_check(&checker).await, Seen::Down(Cause::Refused));
            }
            script.become_one_that(Node::Fails(cause, Phase::Write));
            for _ in 0..5 {
                assert_eq!(then_check(&checker).await, Seen::Down(cause));
            }
        }
        open(&checker, &script).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_passes_resets_the_count() {
    let script = Script::new();
    let checker = checker(&script, 3);
    for _ in 0..10 {
        script.become_one_that(REFUSES);
        for _ in 0..2 {
            assert_eq!(then_check(&checker).await, Seen::Down(Cause::Refused));
        }
        script.become_one_that(Node::Works);
        assert_eq!(then_check(&checker).await, Seen::Up);
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_of_many_canaries_counts_once() {
    let script = Script::new();
    let checker = sprayed(&script, 3, 16);
    assert_eq!(then_check(&checker).await, Seen::Up);
    script.become_one_that(REFUSES);
    for _ in 0..3 {
        tokio::time::advance(ms(1)).await;
        let writes = script.writes();
        let (seen, words) = check_in_detail(&checker).await;
        assert_eq!((seen, &*words), (Seen::Down(Cause::Refused), "16 of 16 canaries: scripted"));
        assert!(script.writes() > writes);
    }
    tokio::time::advance(ms(1)).await;
    let writes = script.writes();
    let report = checker.check(&checker.catalog().all(), Instant::now()).await;
    let fault = report.outcomes[0].nodes[0].fault.clone().unwrap();
    assert_eq!(fault.cause, Cause::Masked);
    assert!(fault.said.starts_with("16 of 16 canaries: circuit breaker open since 2"), "{}", fault.said);
    assert_eq!(script.writes(), writes);
    script.become_one_that(Node::Works);
    tokio::time::advance(OPEN_FOR).await;
    for _ in 0..10 {
        assert_eq!(then_check(&checker).await, Seen::Up);
    }
}

#[tokio::test(start_paused = true)]
async fn one_trial_goes_through_when_the_time_is_over_and_the_others_wait_for_its_result() {
    let script = Script::new();
    let checker = checker(&script, 3);
    open(&checker, &script).await;
    script.become_one_that(Node::Hangs);
    for _ in 0..3 {
        let writes = script.writes();
        tokio::time::advance(OPEN_FOR.saturating_sub(ms(10))).await;
        assert_eq!((then_check(&checker).await, script.writes()), (Seen::NotAsked, writes));
        tokio::time::advance(ms(10)).await;
        let trial = tokio::spawn({
            let checker = checker.clone();
            async move { check(&checker).await }
        });
        for _ in 0..4 {
            tokio::time::sleep(ms(10)).await;
            assert_eq!(check(&checker).await, Seen::NotAsked);
        }
        assert!(!trial.is_finished());
        assert_eq!(trial.await.unwrap(), Seen::Down(Cause::TimedOut));
        assert_eq!(then_check(&checker).await, Seen::NotAsked, "it is open anew");
        assert_eq!(script.writes(), writes + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_reports_its_start_and_the_last_fault() {
    let script = Script::new();
    let checker = checker(&script, 3);
    open(&checker, &script).await;
    tokio::time::advance(ms(1)).await;
    let (_, first) = check_in_detail(&checker).await;
    script.become_one_that(Node::Hangs);
    tokio::time::advance(OPEN_FOR).await;
    assert_eq!(then_check(&checker).await, Seen::Down(Cause::TimedOut));
    tokio::time::advance(ms(1)).await;
    let (_, second) = check_in_detail(&checker).await;
    let [first, second] = [&first, &second].map(|words| words.split_once("; last fault: ").unwrap());
    assert_eq!(first.0, second.0);
    assert_eq!((first.1, second.1), ("refused in connect: scripted", "timed_out in write"));
}

#[tokio::test(start_paused = true)]
async fn an_error_response_closes_the_breaker() {
    let script = Script::new();
    let checker = checker(&script, 3);
    open(&checker, &script).await;
    script.become_one_that(Node::Fails(Cause::Loading, Phase::Write));
    tokio::time::advance(OPEN_FOR).await;
    for _ in 0..3 {
        assert_eq!(then_check(&checker).await, Seen::Down(Cause::Loading));
    }
    script.become_one_that(Node::Works);
    assert_eq!(then_check(&checker).await, Seen::Up);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_was_closed_meanwhile_says_nothing() {
    let script = Script::new();
    let checker = checker(&script, 1);
    for _ in 0..5 {
        script.become_one_that(Node::HasClosed);
        assert_eq!(then_check(&checker).await, Seen::Up);
    }
    script.become_one_that(REFUSES);
    assert_eq!(then_check(&checker).await, Seen::Down(Cause::Refused));
    script.become_one_that(Node::HasClosed);
    assert_eq!(then_check(&checker).await, Seen::NotAsked);
    tokio::time::advance(OPEN_FOR).await;
    assert_eq!(then_check(&checker).await, Seen::Up);
}

/// Whichever key has its turn, and whenever writes arrive that were given up on.
#[tokio::test(start_paused = true)]
async fn the_first_check_that_goes_through_to_a_server_that_is_back_is_up() {
    for node in [REFUSES, Node::Hangs] {
        for healthy_before in 0..3 {
            for spared in 0..3 {
                for delivered_while_open in [true, false] {
                    let script = Script::new();
                    let checker = checker(&script, 3);
                    for _ in 0..healthy_before {
                        assert_eq!(then_check(&checker).await, Seen::Up);
                    }
                    script.become_one_that(node);
                    for _ in 0..3 {
                        assert!(matches!(then_check(&checker).await, Seen::Down(_)));
                    }
                    for _ in 0..spared {
                        assert_eq!(then_check(&checker).await, Seen::NotAsked);
                    }
                    script.become_one_that(Node::Works);
                    if delivered_while_open {
                        script.deliver();
                    }
                    assert_eq!(then_check(&checker).await, Seen::NotAsked, "that is the price");
                    tokio::time::advance(OPEN_FOR).await;
                    for _ in 0..5 {
                        assert_eq!(then_check(&checker).await, Seen::Up);
                    }
                }
            }
        }
    }
}

/// How long the breakers around real servers are open: long enough for many checks on a busy machine.
const REAL_OPEN_FOR: Duration = Duration::from_secs(4);

/// So many checks of an open breaker take less than one check that waits.
const CHECKS: usize = 300;

/// Checks while the breaker is open, and less time than for a single check that waits for its deadline.
async fn is_not_asked(checker: &Checker) {
    let began = Instant::now();
    for _ in 0..CHECKS {
        assert_eq!(check(checker).await, Seen::NotAsked);
    }
    let took = began.elapsed();
    assert!(took < Config::default().timeout, "{CHECKS} checks took {took:?}");
}

/// A server that dies is not asked, and up again at the first check after the breaker was open for its time.
async fn a_dead_server_is_not_asked<S>(
    mut server: S,
    backend: Backend,
    dies: fn(&mut S),
    cause: Cause,
    is_back: fn(&mut S),
) {
    let config = with_breaker(backend, 3, REAL_OPEN_FOR);
    let checker = Checker::new(&config).unwrap();
    for _ in 0..20 {
        assert_eq!(check(&checker).await, Seen::Up);
    }
    for _ in 0..2 {
        dies(&mut server);
        for _ in 0..3 {
            assert_eq!(check(&checker).await, Seen::Down(cause));
        }
        let opened = Instant::now();
        is_not_asked(&checker).await;
        is_back(&mut server);
        tokio::time::sleep_until(opened + REAL_OPEN_FOR).await;
        for _ in 0..1500 {
            assert_eq!(check(&checker).await, Seen::Up);
        }
    }
}

#[tokio::test]
async fn a_killed_redis_is_not_asked() {
    let redis = Redis::start(&[]);
    let backend = redis_at(redis.addr());
    a_dead_server_is_not_asked(redis, backend, Redis::kill, Cause::Refused, Redis::restart).await;
}

#[tokio::test]
async fn a_hung_redis_is_not_asked() {
    let redis = Redis::start(&[]);
    let backend = redis_at(redis.addr());
    let (stop, cont) = (|redis: &mut Redis| redis.stop(), |redis: &mut Redis| redis.cont());
    a_dead_server_is_not_asked(redis, backend, stop, Cause::TimedOut, cont).await;
}

#[tokio::test]
async fn a_killed_memcached_is_not_asked() {
    let memcached = Memcached::start(&[]);
    let backend = memcached_at(&[memcached.addr()]);
    a_dead_server_is_not_asked(memcached, backend, Memcached::kill, Cause::Refused, Memcached::restart).await;
}

#[tokio::test]
async fn a_hung_memcached_is_not_asked() {
    let memcached = Memcached::start(&[]);
    let backend = memcached_at(&[memcached.addr()]);
    let (stop, cont) =
        (|memcached: &mut Memcached| memcached.stop(), |memcached: &mut Memcached| memcached.cont());
    a_dead_server_is_not_asked(memcached, backend, stop, Cause::TimedOut, cont).await;
}

#[tokio::test]
async fn a_killed_memcached_with_credentials_is_not_asked_in_text_or_in_binary() {
    for memcached in [Memcached::start_with_auth_file(), Memcached::start_with_sasl()] {
        let mut backend = memcached_at(&[memcached.addr()]);
        let Backend::Memcached(config) = &mut backend else { panic!("it is a memcached") };
        config.login = Some((USER.to_owned(), Secret::from(PASSWORD)));
        a_dead_server_is_not_asked(memcached, backend, Memcached::kill, Cause::Refused, Memcached::restart)
            .await;
    }
}

#[tokio::test]
async fn a_black_hole_is_not_dialed() {
    let hole = BlackHole::open();
    let checker = Checker::new(&with_breaker(redis_at(hole.addr()), 2, REAL_OPEN_FOR)).unwrap();
    for _ in 0..2 {
        for _ in 0..2 {
            let (seen, _) = check_in_detail(&checker).await;
            if seen == Seen::NotAsked {
                break;
            }
            assert_eq!(seen, Seen::Down(Cause::TimedOut));
        }
        let opened = Instant::now();
        is_not_asked(&checker).await;
        let (_, words) = check_in_detail(&checker).await;
        assert!(words.ends_with("; last fault: timed_out in connect"), "{words}");
        tokio::time::sleep_until(opened + REAL_OPEN_FOR).await;
    }
}

#[tokio::test]
async fn an_open_breaker_lets_no_check_connect_and_one_when_the_time_is_over() {
    let port = Port::reserve();
    let (listener, accepted) = (port.listen(), Arc::new(AtomicUsize::new(0)));
    thread::spawn({
        let accepted = accepted.clone();
        // Each is closed without an answer, after it has asked.
        move || {
            for stream in listener.incoming() {
                accepted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.unwrap().read(&mut [0; 1024]);
            }
        }
    });
    let connections = || accepted.load(Ordering::SeqCst);
    let checker = Checker::new(&with_breaker(redis_at(port.addr()), 3, REAL_OPEN_FOR)).unwrap();
    for _ in 0..3 {
        let before = connections();
        assert_eq!(check(&checker).await, Seen::Down(Cause::Unreachable));
        assert!(connections() > before);
    }
    for _ in 0..2 {
        let (opened, before) = (Instant::now(), connections());
        is_not_asked(&checker).await;
        assert_eq!(connections(), before);
        tokio::time::sleep_until(opened + REAL_OPEN_FOR).await;
        assert_eq!(check(&checker).await, Seen::Down(Cause::Unreachable));
        assert_eq!(check(&checker).await, Seen::NotAsked);
        // One check: a server that closes after HELLO is dialed again without it, as a proxy may need.
        assert_eq!(connections(), before + 2);
    }
}

#[test]
fn an_answer_says_since_when_the_breaker_is_open() {
    let mut redis = Redis::start(&[]);
    let addr = redis.addr();
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"redis://{addr}\"\nbreaker = {{ after = 1, for = \"1h\" }}\n\
         [caches.bare]\nurl = \"redis://{addr}\""
    ));
    let error = |alias: &str| {
        let health = sidecar.get(&format!("/health/{alias}"));
        health.body["errors"][format!("cache.{alias}")].as_str().unwrap_or_default().to_owned()
    };
    sidecar.expect_up();
    redis.kill();
    for _ in 0..3 {
        assert!(error("bare").starts_with("refused: "), "{}", error("bare"));
    }
    assert!(error("main").starts_with(&format!("refused: at {addr} in connect: ")), "{}", error("main"));
    for _ in 0..3 {
        let error = error("main");
        assert!(
            error.starts_with(&format!("masked: at {addr} in read: circuit breaker open since 2")),
            "{error}"
        );
        assert!(error.contains("Z; last fault: refused in connect: Connection refused"), "{error}");
    }
    redis.restart();
    assert_eq!(error("bare"), "");
    assert!(error("main").starts_with("masked: "));
}

#[test]
fn each_server_of_a_ring_has_a_breaker_of_its_own() {
    let (mut one, two) = (Memcached::start(&[]), Memcached::start(&[]));
    let (first, second) = (one.addr().to_string(), two.addr().to_string());
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nservers = [\"{first}\", \"{second}\"]\nquorum = 1\nbreaker = {{ after = 2, for = \"1h\" }}"
    ));
    sidecar.expect_up();
    one.kill();
    for cause in ["refused", "refused", "masked", "masked"] {
        let health = sidecar.health();
        assert_eq!(health.body["status"], "DEGRADED");
        let node = |name: &String, cause: &str| ("server".to_owned(), name.clone(), cause.to_owned());
        assert_eq!(health.nodes(), [node(&first, cause), node(&second, "")]);
    }
}

/// A primary that a topology finds by itself is not asked either, and the breaker knows it again.
fn a_found_primary_is_not_asked(url: &str, dies: impl FnOnce(), is_back: impl FnOnce()) {
    let open_for = Duration::from_secs(3);
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"{url}\"\nbreaker = {{ after = 2, for = \"{}s\" }}",
        open_for.as_secs()
    ));
    sidecar.expect_up();
    dies();
    for _ in 0..2 {
        sidecar.expect_down("refused");
    }
    let opened = std::time::Instant::now();
    let words = sidecar.expect_down("masked");
    assert!(words.contains(" circuit breaker open since 2"), "{words}");
    is_back();
    thread::sleep(open_for.saturating_sub(opened.elapsed()));
    sidecar.expect_up();
}

#[test]
fn a_primary_of_a_cluster_is_not_asked_by_an_open_breaker() {
    let redis = Mutex::new(Redis::start_cluster());
    let url = format!("redis+cluster://{}", redis.lock().unwrap().addr());
    let is_back = || {
        let mut redis = redis.lock().unwrap();
        redis.restart();
        eventually("the cluster serves", || redis.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    };
    a_found_primary_is_not_asked(&url, || redis.lock().unwrap().kill(), is_back);
}

#[test]
fn a_primary_behind_sentinels_is_not_asked_by_an_open_breaker() {
    let watched = Mutex::new(Watched::start(NEVER, &[]));
    let url = watched.lock().unwrap().url();
    let dies = || watched.lock().unwrap().servers[0].kill();
    a_found_primary_is_not_asked(&url, dies, || watched.lock().unwrap().servers[0].restart());
}

//! `[fleet]`: when a verdict comes from another sidecar, and all the times when it does not. The caches and the store
//! are real servers, and how often a cache was checked is counted by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use cache_canary::alias::Alias;
use cache_canary::app::App;
use cache_canary::cache::{Cache, SetError};
use cache_canary::canary::{Canary, Key, Read, Unset};
use cache_canary::checker::Checker;
use cache_canary::config::{self, Announce, Backend, Config, Fleet, Login, Password, RedisServers};
use cache_canary::outcome::{Cause, Fault, Outcome, Status};
use cache_canary::progress::NodeProgress;
use cache_canary::record::{Lookup, Through};
use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tower::Layer;

use crate::support::acl::{PASSWORD, printed_users};
use crate::support::in_process::{memcached_at, redis_at};
use crate::support::sentinel::NEVER;
use crate::support::{MAX_WAIT, Memcached, Redis, Sidecar, Watched};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A sidecar of this name that checks `main` and shares what it finds through `store`. The deadline is long, so that on a
/// busy machine too the store answers in its part of it; where that matters a test says so.
fn config(instance: &str, main: Backend, store: SocketAddr) -> Config {
    let alias = |name: &str| Alias::try_from(name).unwrap();
    let cache = |name, backend| config::CacheConfig::new(alias(name), backend);
    Config {
        instance: instance.to_owned(),
        timeout: Duration::from_secs(8),
        max_age: Duration::ZERO,
        fleet: Some(Fleet {
            via: alias("store"),
            store: alias("store"),
            lasts: Duration::from_secs(4),
            role: String::new(),
        }),
        caches: vec![cache("main", main), cache("store", redis_at(store))],
        ..Config::default()
    }
}

fn sidecar(instance: &str, main: &Redis, store: &Redis) -> Checker {
    Checker::new(&config(instance, redis_at(main.addr()), store.addr())).unwrap()
}

/// Checks this alias once.
async fn check_of(checker: &Checker, alias: &str) -> Arc<Outcome> {
    let selection = checker.catalog().named([alias]).unwrap();
    checker.check(&selection, Instant::now()).await.outcomes[0].clone()
}

async fn check(checker: &Checker) -> Arc<Outcome> {
    check_of(checker, "main").await
}

/// Whose verdict it is, if another's.
fn from(outcome: &Outcome) -> Option<&str> {
    outcome.reused().map(|reused| &*reused.from)
}

/// Checks once, and wants a check of its own that found this.
async fn expect_own(checker: &Checker, expected: Option<Cause>) {
    let outcome = check(checker).await;
    let status = if expected.is_some() { Status::Down } else { Status::Up };
    assert_eq!((from(&outcome), outcome.status(), outcome.cause()), (None, status, expected));
}

/// Checks until a verdict is reused, and says from whom. If none was reused at first, it is this sidecar's own.
async fn expect_reused(checker: &Checker) -> String {
    let began = Instant::now();
    loop {
        let outcome = check(checker).await;
        assert_eq!(outcome.status(), Status::Up, "{outcome:?}");
        if let Some(from) = from(&outcome) {
            return from.to_owned();
        }
        assert!(began.elapsed() < MAX_WAIT, "no verdict is reused");
    }
}

/// How often something came of looking for a verdict in the store.
fn times(checker: &Checker, lookup: Lookup) -> u64 {
    let selection = checker.catalog().named(["main"]).unwrap();
    let known = checker.records(&selection).next().unwrap().known();
    known.sharing.times(Through::Store, lookup).unwrap_or_default()
}

/// How many commands of this name a Redis was given.
fn calls(redis: &Redis, command: &str) -> u64 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

/// The key of `main` in the store, where a verdict stands; none where nothing does.
fn key(store: &Redis) -> Option<String> {
    let keys = store.command(&["KEYS", "djblets-verdict:main:*"]);
    (!keys.is_empty()).then_some(keys)
}

/// The value that `web-2` would have written of a check that began this long ago; less than nothing is in the future.
fn up(ago: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("cache-canary-up/1 web-2 {}", i64::try_from(now).unwrap() - ago)
}

const HOUR: i64 = 3_600_000;

/// How long a verdict stands in the store: `for` less what clocks may differ by.
const LIFE: i64 = 4000 - 250;

#[tokio::test]
async fn a_fleet_makes_a_few_checks_and_each_sidecar_reads_the_cache_itself() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let fleet: Vec<_> = (0..20)
        .map(|number| {
            let mut config = config(&format!("web-{number}"), redis_at(main.addr()), store.addr());
            config.fleet.as_mut().unwrap().lasts = Duration::from_secs(1);
            Checker::new(&config).unwrap()
        })
        .collect();
    // The first check of each is its own.
    for sidecar in &fleet {
        expect_own(sidecar, None).await;
    }
    let (written, read) = (calls(&main, "set"), calls(&main, "get"));
    let began = Instant::now();
    let asks = fleet.iter().enumerate().map(|(number, sidecar)| async move {
        let phase = u32::try_from(number).unwrap() * ms(5);
        for turn in 0..30 {
            tokio::time::sleep_until(began + phase + turn * ms(100)).await;
            assert_eq!(check(sidecar).await.status(), Status::Up);
        }
    });
    join_all(asks).await;
    let took = began.elapsed();
    let written = calls(&main, "set") - written;
    // One for each time that a verdict had its day. A busy machine has others give up waiting for one.
    let due = u64::try_from(took.as_millis()).unwrap() / 875 + 1;
    assert!((2..=due + 30).contains(&written), "{written} checks in {took:?}, {due} due");
    let hits: u64 = fleet.iter().map(|sidecar| times(sidecar, Lookup::Hit)).sum();
    assert!(hits >= 600 - 40, "{hits} of 600");
    // A hit reads what its own sidecar wrote, and a check what it has just written.
    assert!(calls(&main, "get") - read >= hits + written);
}

#[tokio::test]
async fn a_verdict_is_marked_with_its_sidecar_and_age() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let [one, two] = ["web-1", "web-2"].map(|name| sidecar(name, &main, &store));
    expect_own(&two, None).await;
    expect_own(&one, None).await;
    assert_eq!(expect_reused(&one).await, "web-1", "what it published itself");
    let outcome = check(&two).await;
    assert_eq!(from(&outcome), Some("web-1"));
    sleep(ms(300)).await;
    let before = Instant::now();
    let later = check(&two).await;
    let age = later.reused().unwrap().age;
    assert!(age >= ms(300) && age <= ms(4000), "{age:?}");
    assert!(before - later.began >= ms(300), "it counts from the beginning of the check that was made");
    assert!(later.began_at <= SystemTime::now() - ms(300));
}

#[tokio::test]
async fn a_first_check_is_ones_own_and_so_is_one_after_a_canary_is_gone() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let [one, two] = ["web-1", "web-2"].map(|name| sidecar(name, &main, &store));
    check(&one).await;
    expect_reused(&one).await;
    expect_own(&two, None).await;
    expect_reused(&two).await;
    // A cache that loses data is checked by every sidecar.
    main.command(&["FLUSHALL"]);
    expect_own(&one, None).await;
    expect_own(&two, None).await;
    assert_eq!(times(&two, Lookup::Invalidated), 1);
    expect_reused(&two).await;
}

#[tokio::test]
async fn a_killed_cache_is_down_for_every_sidecar_at_the_next_check() {
    let (mut main, store) = (Redis::start(&[]), Redis::start(&[]));
    let fleet = ["web-1", "web-2", "web-3"].map(|name| sidecar(name, &main, &store));
    for sidecar in &fleet {
        expect_own(sidecar, None).await;
        expect_reused(sidecar).await;
    }
    main.kill();
    for sidecar in &fleet {
        expect_own(sidecar, Some(Cause::Refused)).await;
    }
    assert_eq!(key(&store), None);
    main.restart();
    for sidecar in &fleet {
        expect_own(sidecar, None).await;
    }
}

#[tokio::test]
async fn a_full_cache_is_down_for_every_sidecar_once_one_has_seen_it() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let fleet = ["web-1", "web-2"].map(|name| sidecar(name, &main, &store));
    for sidecar in &fleet {
        expect_own(sidecar, None).await;
        expect_reused(sidecar).await;
    }
    main.fill();
    // One that has just started trusts nobody.
    expect_own(&sidecar("web-3", &main, &store), Some(Cause::OutOfMemory)).await;
    for sidecar in &fleet {
        expect_own(sidecar, Some(Cause::OutOfMemory)).await;
        expect_own(sidecar, Some(Cause::OutOfMemory)).await;
    }
    main.make_room();
    expect_own(&fleet[0], None).await;
    // A sidecar that found it down finds it up by a check of its own, against the verdict of any other.
    expect_reused(&fleet[0]).await;
    expect_own(&fleet[1], None).await;
}

#[tokio::test]
async fn a_full_cache_that_no_other_sidecar_checks_is_down_when_the_verdict_expires() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = sidecar("web-1", &main, &store);
    expect_own(&sidecar, None).await;
    expect_reused(&sidecar).await;
    main.fill();
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let outcome = check(&sidecar).await;
        if outcome.status() == Status::Down {
            break;
        }
        // Every verdict is from before the fault: none may be reused for longer than `for`.
        assert!(asked - began <= ms(4000), "{outcome:?}");
        sleep(ms(20)).await;
    }
    expect_own(&sidecar, Some(Cause::OutOfMemory)).await;
}

#[tokio::test]
async fn without_the_store_each_checks_by_itself_in_time() {
    let (main, mut store) = (Redis::start(&[]), Redis::start(&[]));
    let mut config = config("web-1", redis_at(main.addr()), store.addr());
    config.timeout = Duration::from_secs(4);
    let sidecar = Checker::new(&config).unwrap();
    let expect_own_in_time = async |what: &str| {
        for _ in 0..3 {
            let (written, began) = (calls(&main, "set"), Instant::now());
            expect_own(&sidecar, None).await;
            // An eighth of the deadline at the most; the rest is for a busy machine.
            assert!(began.elapsed() < ms(2000), "{what}: {:?}", began.elapsed());
            assert_eq!(calls(&main, "set"), written + 1, "{what}");
        }
    };
    expect_own(&sidecar, None).await;
    expect_reused(&sidecar).await;
    store.stop();
    expect_own_in_time("stopped").await;
    store.cont();
    expect_reused(&sidecar).await;
    store.run_endless_script();
    expect_own_in_time("blocked").await;
    store.kill_script();
    expect_reused(&sidecar).await;
    store.fill();
    expect_own_in_time("full").await;
    store.make_room();
    expect_reused(&sidecar).await;
    store.kill();
    expect_own_in_time("killed").await;
    store.restart();
    expect_reused(&sidecar).await;
}

#[tokio::test]
async fn a_verdict_with_two_different_ages_is_not_reused() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = sidecar("web-1", &main, &store);
    expect_own(&sidecar, None).await;
    expect_reused(&sidecar).await;
    let key = key(&store).unwrap();
    let key = key.as_str();
    let write = |ago: i64, ttl: i64| {
        store.command(&["SET", key, &up(ago), "PX", &ttl.to_string()]);
    };
    for (ago, ttl) in [(HOUR, LIFE - 1000), (-HOUR, LIFE - 1000), (1600, LIFE - 1000), (-50, LIFE)] {
        // The same verdict is taken where they agree.
        let began = Instant::now();
        loop {
            write(1000, LIFE - 1000);
            if from(&*check(&sidecar).await) == Some("web-2") {
                break;
            }
            assert!(began.elapsed() < MAX_WAIT);
        }
        let invalidated = times(&sidecar, Lookup::Invalidated);
        write(ago, ttl);
        expect_own(&sidecar, None).await;
        assert_eq!(times(&sidecar, Lookup::Invalidated), invalidated + 1, "{ago} {ttl}");
    }
}

#[tokio::test]
async fn a_value_that_no_sidecar_wrote_is_not_believed_and_does_not_stay() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = sidecar("web-1", &main, &store);
    expect_own(&sidecar, None).await;
    expect_reused(&sidecar).await;
    let key = key(&store).unwrap();
    let key = key.as_str();
    let hour = "3600000";
    for strange in [
        // Nobody may say that a verdict lasts for longer, or for ever.
        &["SET", key, &up(0), "PX", hour][..],
        &["SET", key, &up(1000)],
        &["SET", key, "UP", "PX", "1000"],
        &["SET", key, "cache-canary-up/1 web-2 x", "PX", "1000"],
        &["SET", key, "cache-canary-claim/1 web-2:0", "PX", hour],
    ] {
        store.command(strange);
        expect_own(&sidecar, None).await;
        assert_ne!(store.command(&["GET", key]), strange[2], "{strange:?}");
        expect_reused(&sidecar).await;
    }
    // A key of another type is an error of the store's.
    store.command(&["DEL", key]);
    store.command(&["LPUSH", key, "UP"]);
    expect_own(&sidecar, None).await;
}

#[tokio::test]
async fn another_role_another_database_and_another_setting_share_nothing() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let like = |edit: &dyn Fn(&mut Config)| {
        let mut config = config("web-1", redis_at(main.addr()), store.addr());
        edit(&mut config);
        Checker::new(&config).unwrap()
    };
    let alike = [like(&|_| {}), like(&|config| config.instance = "web-2".to_owned())];
    let others = [
        like(&|config| config.fleet.as_mut().unwrap().role = "canary".to_owned()),
        like(&|config| config.fleet.as_mut().unwrap().lasts = Duration::from_secs(5)),
        like(&|config| {
            let Backend::Redis(redis) = &mut config.caches[0].backend else { panic!() };
            redis.login.database = 1;
        }),
        like(&|config| {
            let Backend::Redis(redis) = &mut config.caches[0].backend else { panic!() };
            let RedisServers::Standalone(address) = &mut redis.servers else { panic!() };
            *address = config::Address::Tcp { host: "localhost".to_owned(), port: main.port() };
        }),
    ];
    for sidecar in alike.iter().chain(&others) {
        expect_own(sidecar, None).await;
    }
    expect_reused(&alike[0]).await;
    assert_eq!(from(&*check(&alike[1]).await), Some("web-1"));
    for other in &others {
        expect_own(other, None).await;
    }
}

#[tokio::test]
async fn a_cache_that_one_cannot_reach_is_down_for_that_one_alone() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let [near, far] =
        [("near", Duration::from_hours(1)), ("far", Duration::ZERO)].map(|(name, reconnect_every)| {
            let config = config(name, redis_at(main.addr()), store.addr());
            Checker::new(&Config { reconnect_every, ..config }).unwrap()
        });
    for sidecar in [&near, &far] {
        expect_own(sidecar, None).await;
        expect_reused(sidecar).await;
    }
    // A client with a connection keeps it; one that dials is turned away.
    let held = main.reach_connection_limit();
    expect_own(&far, Some(Cause::Refused)).await;
    expect_own(&near, None).await;
    expect_reused(&near).await;
    expect_own(&far, Some(Cause::Refused)).await;
    drop(held);
}

#[tokio::test]
async fn the_claim_of_a_dead_sidecar_delays_no_other_for_long() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = sidecar("web-1", &main, &store);
    expect_own(&sidecar, None).await;
    expect_reused(&sidecar).await;
    let key = key(&store).unwrap();
    let key = key.as_str();
    store.command(&["SET", key, "cache-canary-claim/1 web-2:0", "PX", "3000"]);
    let began = Instant::now();
    expect_own(&sidecar, None).await;
    // An eighth of the deadline is a second.
    assert!(began.elapsed() < ms(2500), "{:?}", began.elapsed());
    expect_reused(&sidecar).await;
}

#[tokio::test]
async fn a_sidecar_that_waits_for_the_check_of_another_takes_its_verdict() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let (slow, gate) = held("web-1", &main, &store);
    let waiting = sidecar("web-2", &main, &store);
    gate.open();
    for sidecar in [&slow, &waiting] {
        expect_own(sidecar, None).await;
    }
    store.command(&["FLUSHALL"]);
    gate.close();
    let (one, two) = tokio::join!(check(&slow), async {
        gate.reached().await;
        let ((), two) = tokio::join!(
            async {
                sleep(ms(50)).await;
                gate.open();
            },
            check(&waiting)
        );
        two
    });
    assert_eq!((from(&one), from(&two)), (None, Some("web-1")));
}

#[tokio::test]
async fn a_check_that_began_before_a_failure_is_not_published_after_it() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    for (fails, is_taken) in [(false, false), (true, false), (true, true)] {
        main.make_room();
        let (slow, gate) = held("web-1", &main, &store);
        let other = sidecar("web-2", &main, &store);
        gate.open();
        for sidecar in [&slow, &other] {
            expect_own(sidecar, None).await;
        }
        store.command(&["FLUSHALL"]);
        gate.close();
        let (early, ()) = tokio::join!(check(&slow), async {
            // Its canary is written, and the claim is its own.
            gate.reached().await;
            let key = key(&store).unwrap();
            assert!(store.command(&["GET", &key]).starts_with("cache-canary-claim/1 web-1:"));
            if fails {
                main.fill();
                expect_own(&sidecar("web-3", &main, &store), Some(Cause::OutOfMemory)).await;
            }
            if is_taken {
                store.command(&["SET", &key, ANOTHERS, "PX", "8000"]);
            }
            gate.open();
        });
        assert_eq!((from(&early), early.status()), (None, Status::Up));
        if fails {
            // It came too late, and leaves alone what is another's.
            let stands = key(&store).map(|key| store.command(&["GET", &key]));
            assert_eq!(stands.as_deref(), is_taken.then_some(ANOTHERS));
            expect_own(&other, Some(Cause::OutOfMemory)).await;
        } else {
            assert_eq!(from(&*check(&other).await), Some("web-1"));
        }
    }
}

/// The claim of one that is still checking.
const ANOTHERS: &str = "cache-canary-claim/1 web-4:0";

/// Holds reads of a cache.
#[derive(Clone)]
struct Gate {
    reads: Arc<Semaphore>,
    reached: Arc<Notify>,
}

impl Gate {
    fn open(&self) {
        self.reads.add_permits(1000);
    }

    fn close(&self) {
        self.reads.forget_permits(usize::MAX);
    }

    /// Waits until a read is held.
    async fn reached(&self) {
        self.reached.notified().await;
    }
}

impl Layer<Box<dyn Cache>> for Gate {
    type Service = Box<dyn Cache>;

    fn layer(&self, cache: Box<dyn Cache>) -> Box<dyn Cache> {
        Box::new(Held { cache, gate: self.clone() })
    }
}

struct Held {
    cache: Box<dyn Cache>,
    gate: Gate,
}

#[async_trait]
impl Cache for Held {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        self.cache.set(canary, progress).await
    }

    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        if self.gate.reads.available_permits() == 0 {
            self.gate.reached.notify_one();
        }
        let _open = self.gate.reads.acquire().await;
        self.cache.get(key, default, progress).await
    }

    async fn delete(&self, key: &Key, progress: &NodeProgress) -> Result<(), Fault> {
        self.cache.delete(key, progress).await
    }

    async fn renew(&self, keys: &[Key], ttl: Duration) {
        self.cache.renew(keys, ttl).await;
    }

    async fn answers(&self, progress: &NodeProgress) -> Option<&'static str> {
        self.cache.answers(progress).await
    }
}

/// A sidecar whose checks can be held between write and read.
fn held(instance: &str, main: &Redis, store: &Redis) -> (Checker, Gate) {
    let gate = Gate { reads: Arc::new(Semaphore::new(0)), reached: Arc::default() };
    let config = config(instance, redis_at(main.addr()), store.addr());
    (Checker::layered(&config, gate.clone()).unwrap(), gate)
}

#[tokio::test]
async fn behind_a_layer_that_passes_no_glance_on_every_check_is_made() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let (layered, gate) = held("web-1", &main, &store);
    gate.open();
    for _ in 0..3 {
        expect_own(&layered, None).await;
    }
}

#[tokio::test]
async fn a_memcached_is_shared_through_a_redis() {
    let (main, store) = (Memcached::start(&[]), Redis::start(&[]));
    let sidecars = ["web-1", "web-2"]
        .map(|name| Checker::new(&config(name, memcached_at(&[main.addr()]), store.addr())).unwrap());
    for sidecar in &sidecars {
        expect_own(sidecar, None).await;
        expect_reused(sidecar).await;
    }
    let stored = || main.stat("cmd_set").parse::<u64>().unwrap();
    let before = stored();
    let mut hits = 0;
    for _ in 0..10 {
        hits += u64::from(check(&sidecars[1]).await.reused().is_some());
    }
    assert!(hits > 0 && stored() - before == 10 - hits, "{hits} hits, {} writes", stored() - before);
    main.command("flush_all");
    expect_own(&sidecars[1], None).await;
}

#[tokio::test]
async fn verdicts_of_clusters_and_of_sentinel_primaries_are_shared() {
    let store = Redis::start(&[]);
    let (cluster, watched) = (Redis::start_cluster(), Watched::start(NEVER, &[]));
    let address = |addr: SocketAddr| config::Address::Tcp { host: addr.ip().to_string(), port: addr.port() };
    let seeds = vec![address(cluster.addr())];
    let sentinels = watched.sentinels.iter().map(|sentinel| address(sentinel.addr())).collect();
    let (name, login) = (watched.url().rsplit('/').next().unwrap().to_owned(), Login::default());
    for (servers, primary) in [
        (RedisServers::Cluster { seeds, announce: Announce::AsIs }, &cluster),
        (RedisServers::Sentinel { sentinels, name, login }, &watched.servers[0]),
    ] {
        let backend = Backend::Redis(config::RedisConfig::at(servers));
        let sidecars = ["web-1", "web-2"]
            .map(|name| Checker::new(&config(name, backend.clone(), store.addr())).unwrap());
        for sidecar in &sidecars {
            expect_own(sidecar, None).await;
            expect_reused(sidecar).await;
        }
        let written = calls(primary, "set");
        let hits = times(&sidecars[1], Lookup::Hit);
        expect_reused(&sidecars[1]).await;
        assert!(times(&sidecars[1], Lookup::Hit) > hits && calls(primary, "set") <= written + 2);
        primary.fill();
        expect_own(&Checker::new(&config("web-3", backend, store.addr())).unwrap(), Some(Cause::OutOfMemory))
            .await;
        expect_own(&sidecars[1], Some(Cause::OutOfMemory)).await;
    }
}

#[tokio::test]
async fn a_change_of_the_fleet_or_its_store_makes_every_check_again() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut config = config("web-1", redis_at(nowhere), nowhere);
    let app = App::new(&config).unwrap();
    assert_eq!(app.renew(&config).unwrap().kept, 2);
    let edits: [&dyn Fn(&mut Config); 4] = [
        &|config| config.fleet.as_mut().unwrap().role = "web".to_owned(),
        &|config| config.fleet.as_mut().unwrap().lasts = Duration::from_secs(5),
        &|config| {
            let Backend::Redis(redis) = &mut config.caches[1].backend else { panic!() };
            redis.login.password = Some(Password::Fixed("s3cret".into()));
        },
        &|config| config.fleet = None,
    ];
    for edit in edits {
        edit(&mut config);
        assert_eq!(app.renew(&config).unwrap().made, ["main", "store"]);
    }
}

#[tokio::test]
async fn the_store_is_checked_by_every_sidecar() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = sidecar("web-1", &main, &store);
    for _ in 0..3 {
        assert_eq!(from(&*check_of(&sidecar, "store").await), None);
    }
    assert_eq!(store.command(&["KEYS", "*verdict*"]), "");
}

#[tokio::test]
async fn one_short_lived_key_stands_for_an_alias() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let fleet = ["web-1", "web-2"].map(|name| sidecar(name, &main, &store));
    for sidecar in &fleet {
        expect_own(sidecar, None).await;
        expect_reused(sidecar).await;
    }
    assert_eq!(store.command(&["KEYS", "*"]).lines().count(), 1);
    let ttl: i64 = store.command(&["PTTL", &key(&store).unwrap()]).parse().unwrap();
    assert!((1..=LIFE).contains(&ttl), "{ttl}");
}

/// The settings of two processes that share `main`, so patient that a busy machine does not matter.
const SETTINGS: &str =
    "timeout = \"8000ms\"\nmax_age = \"0s\"\n[fleet]\nvia = \"store\"\nfor = \"4s\"\nrole = \"web\"";

/// The caches of such a process; `store` is what follows the scheme of the store's URL.
fn caches(main: &Redis, store: &str) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"\n[caches.store]\nurl = \"redis://{store}\"", main.addr())
}

#[test]
fn two_processes_share_a_verdict_and_say_so_in_every_answer() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let caches = caches(&main, &store.addr().to_string());
    let [one, two] = ["web-1", "web-2"]
        .map(|name| Sidecar::start_with(&format!("instance = \"{name}\"\n{SETTINGS}"), &caches));
    for sidecar in [&one, &two] {
        assert_eq!(sidecar.get("/health/main").code, 200);
    }
    let mut reused = serde_json::Value::Null;
    crate::support::eventually("the verdict of the one is given by the other", || {
        one.get("/health/main");
        reused = two.get("/health/main").body["details"]["cache.main"]["reused"].clone();
        reused["from"] == "web-1"
    });
    assert!(reused["age_ms"].as_f64().unwrap() >= 0.0);
    let text = two.raw("/health/main?format=text");
    let metrics = two.raw("/metrics");
    let hits = metrics.lines().find_map(|line| {
        line.strip_prefix("cache_shared_verdicts_total{alias=\"main\",check=\"round_trip\",through=\"store\",result=\"hit\"} ")
    });
    assert!(hits.unwrap().parse::<f64>().unwrap() >= 1.0, "{metrics}");
    // Whether it is reused at that moment is the busy machine's to say.
    assert!(!text.contains("reused") || text.contains("reused from web-"), "{text}");
    main.fill();
    main.disconnect_clients();
    crate::support::eventually("both are down", || {
        [&one, &two].iter().all(|sidecar| sidecar.get("/health/main").code == 503)
    });
}

#[test]
fn a_failing_store_is_logged_once_and_so_is_its_return() {
    let (main, mut store) = (Redis::start(&[]), Redis::start(&[]));
    let caches = caches(&main, &store.addr().to_string());
    let sidecar = Sidecar::start_with(&format!("instance = \"web-1\"\n{SETTINGS}"), &caches);
    let logged = || ["not shared", "shared again"].map(|words| sidecar.logged(words).len());
    // A store that failed is asked again after a second.
    let check_often = || {
        for _ in 0..3 {
            assert_eq!(sidecar.get("/health/main").code, 200);
            std::thread::sleep(ms(1100));
        }
    };
    check_often();
    assert_eq!(logged(), [0, 0]);
    store.kill();
    check_often();
    assert_eq!(logged(), [1, 0]);
    store.restart();
    check_often();
    assert_eq!(logged(), [1, 1]);
}

#[test]
fn the_printed_user_is_enough_for_the_store_and_with_a_right_less_nothing_is_shared() {
    let (main, store) = (Redis::start(&[]), Redis::start(&[]));
    let caches = caches(&main, &format!("canary:{PASSWORD}@{}/1", store.addr()));
    let users = printed_users::<2>(&format!("[fleet]\nvia = \"store\"\n{caches}"));
    let user = users.iter().find(|user| user.name == "canary").unwrap();
    assert_eq!(user.commands(), 8, "{user:?}");
    let hits = |sidecar: &Sidecar| {
        let details = (0..6).map(|_| sidecar.get("/health/main").body["details"]["cache.main"].clone());
        details.filter(|main| !main["reused"].is_null()).count()
    };
    for right in ["+eval", "+pttl", "+set", "+get", "~djblets-verdict:*"] {
        user.give(&store, &[right]);
        let sidecar = Sidecar::start_with(&format!("instance = \"web-1\"\n{SETTINGS}"), &caches);
        assert_eq!(hits(&sidecar), 0, "{right}");
        user.give(&store, &[]);
        crate::support::eventually("with all rights it is shared", || hits(&sidecar) > 0);
    }
}

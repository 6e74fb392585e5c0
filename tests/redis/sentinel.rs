//! A primary that Sentinels watch: failovers, and Sentinels that are lost, hang, or are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]
#![allow(clippy::print_stdout, reason = "a failover's timeline is printed")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::sentinel::{NAME, NEVER, connect, names};
use crate::support::{Authority, Liar, Port, Redis, Sentinel, Sidecar, Watched, eventually};

fn main_of(url: &str, settings: &str) -> String {
    format!("[caches.main]\nurl = \"{url}\"\n{settings}")
}

fn beside(watched: &Watched) -> Sidecar {
    Sidecar::start(main_of(&watched.url(), ""))
}

/// A sidecar that is told of these Sentinels alone.
fn told_by(sentinels: &[SocketAddr], settings: &str) -> Sidecar {
    let sentinels: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
    Sidecar::start(main_of(&format!("redis+sentinel://{}/{NAME}", sentinels.join(",")), settings))
}

/// A server that gives these answers, one after the other, to whatever it is asked, and the last of them for
/// ever.
fn parrot(answers: &[&str]) -> SocketAddr {
    let answers: Vec<_> = answers.iter().map(|&answer| answer.to_owned()).collect();
    let next = move |given: &AtomicUsize| {
        answers[given.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone()
    };
    let next = Arc::new((next, AtomicUsize::new(0)));
    let port = Port::reserve();
    let (listener, addr) = (port.listen(), port.addr());
    thread::spawn(move || {
        let _held = port;
        for mut client in listener.incoming().flatten() {
            let next = next.clone();
            thread::spawn(move || {
                while let Ok(1..) = client.read(&mut [0; 4096]) {
                    if client.write_all((next.0)(&next.1).as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    addr
}

/// A Sentinel's answer with the address of this server.
fn naming(redis: &Redis) -> String {
    let port = redis.port().to_string();
    format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
}

#[test]
fn the_primary_and_every_sentinel_are_listed() {
    let watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched);
    sidecar.expect_up();
    let up = |role: &str, addr: SocketAddr| (role.to_owned(), addr.to_string(), String::new());
    let mut nodes = vec![up("server", watched.primary().addr())];
    nodes.extend(watched.sentinels.iter().map(|sentinel| up("sentinel", sentinel.addr())));
    assert_eq!(sidecar.health().nodes(), nodes);
}

#[test]
fn a_killed_primary_is_refused_and_named() {
    let mut watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched);
    sidecar.expect_up();
    watched.servers[0].kill();
    let words = sidecar.expect_down("refused");
    assert!(words.starts_with(&watched.primary().addr().to_string()), "{words}");
    watched.servers[0].restart();
    sidecar.expect_up();
}

#[test]
fn a_hung_primary_is_named() {
    let watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched);
    sidecar.expect_up();
    watched.primary().stop();
    let words = sidecar.expect_down("timed_out");
    assert!(words.starts_with(&format!("{} write", watched.primary().addr())), "{words}");
    watched.primary().cont();
    sidecar.expect_up();
}

#[test]
fn a_lost_sentinel_is_shown_and_two_are_too_few() {
    let mut watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched);
    sidecar.expect_up();
    watched.sentinels[1].kill();
    sidecar.expect_up();
    let causes = |sidecar: &Sidecar| {
        let nodes = sidecar.health().nodes();
        nodes.into_iter().map(|(_, _, cause)| cause).collect::<Vec<_>>()
    };
    assert_eq!(causes(&sidecar), ["", "", "refused", ""]);
    watched.sentinels[2].kill();
    let words = sidecar.expect_degraded("refused");
    assert!(words.starts_with(&watched.sentinels[1].addr().to_string()), "{words}");
    let error = sidecar.health().body["errors"]["cache.main"].to_string();
    assert!(error.contains("1 of 3 sentinels up"), "{error}");
    watched.sentinels[1].restart();
    sidecar.expect_up();
    watched.sentinels[2].restart();
    sidecar.expect_up();
    assert_eq!(causes(&sidecar), [""; 4]);
}

#[test]
fn without_any_sentinel_a_known_primary_is_still_checked_and_an_unknown_one_is_down() {
    let mut watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched);
    sidecar.expect_up();
    watched.sentinels.iter_mut().for_each(Sentinel::kill);
    sidecar.expect_degraded("refused");
    let error = sidecar.health().body["errors"]["cache.main"].to_string();
    assert!(error.contains("0 of 3 sentinels up"), "{error}");
    let late = beside(&watched);
    let words = late.expect_down("refused");
    assert!(words.starts_with(NAME) && words.contains("no Sentinel gives the primary's address"), "{words}");
    watched.servers[0].kill();
    let words = sidecar.expect_down("refused");
    assert!(words.starts_with(&watched.primary().addr().to_string()), "{words}");
    watched.servers[0].restart();
    sidecar.expect_degraded("refused");
    watched.sentinels.iter_mut().for_each(Sentinel::restart);
    sidecar.expect_up();
    late.expect_up();
}

#[test]
fn a_hung_sentinel_is_not_waited_for_and_three_leave_time_for_the_primary() {
    let watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched);
    sidecar.expect_up();
    watched.sentinels[0].stop();
    sidecar.expect_up();
    let hung = &sidecar.health().nodes()[1];
    assert_eq!(hung.2, "timed_out");
    watched.sentinels[1].stop();
    let words = sidecar.expect_degraded("timed_out");
    assert!(words.contains("no answer after 187 ms"), "{words}");
    watched.sentinels[2].stop();
    sidecar.expect_degraded("timed_out");
    let late = beside(&watched);
    assert!(late.expect_down("timed_out").starts_with(NAME));
    watched.sentinels.iter().for_each(Sentinel::cont);
    sidecar.expect_up();
    late.expect_up();
}

#[test]
fn sentinels_have_a_password_of_their_own() {
    let primary = Redis::start(&[]);
    primary.require_password("servers");
    let auth = format!("sentinel auth-pass {NAME} servers");
    let settings = ["requirepass watchers", "sentinel sentinel-pass watchers", &auth];
    let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(primary.addr(), NEVER, &settings)).collect();
    let addrs: Vec<_> = sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
    let sidecar = |settings: &str| {
        let url = format!("redis+sentinel://:servers@{}/{NAME}", addrs.join(","));
        Sidecar::start_with("reconnect_every = \"0s\"", main_of(&url, settings))
    };
    let right = sidecar("sentinel_password = \"watchers\"");
    right.expect_up();
    assert!(sidecar("").expect_down("auth").contains("NOAUTH"));
    let words = sidecar("sentinel_password = \"wrong\"").expect_down("auth");
    assert!(words.starts_with(NAME) && words.contains("WRONGPASS") && !words.contains("wrong"), "{words}");
    // The servers' own password matters as before.
    primary.require_password("changed");
    assert!(right.expect_down("auth").starts_with(&primary.addr().to_string()));
    primary.require_password("servers");
    right.expect_up();
}

#[test]
fn a_replica_that_takes_writes_is_no_primary() {
    let (primary, replica) = (Redis::start(&[]), Redis::start(&[]));
    replica.become_replica_of(&primary);
    replica.command(&["CONFIG", "SET", "replica-read-only", "no"]);
    let sentinel = Sentinel::start(replica.addr(), NEVER, &[]);
    let words = told_by(&[sentinel.addr()], "").expect_down("read_only");
    assert!(words.contains("the server's role is slave"), "{words}");
    replica.become_primary();
    told_by(&[sentinel.addr()], "").expect_up();
}

#[test]
fn a_name_that_the_sentinels_do_not_know_is_reported() {
    let watched = Watched::start(NEVER, &[]);
    let url = watched.url().replace(NAME, "another");
    let sidecar = Sidecar::start(main_of(&url, ""));
    let words = sidecar.expect_down("unresolvable");
    assert!(words.starts_with("another ") && words.contains("know no primary named another"), "{words}");
    // They have answered, and are up.
    let nodes = sidecar.health().nodes();
    let [server, sentinels @ ..] = &nodes[..] else { unreachable!() };
    assert_eq!((server.0.as_str(), sentinels.len()), ("server", watched.sentinels.len()));
    assert!(sentinels.iter().all(|(_, _, cause)| cause.is_empty()), "{nodes:?}");
}

#[test]
fn a_server_that_is_no_sentinel_is_not_believed() {
    let watched = Watched::start(NEVER, &[]);
    let [one, two, ..] = watched.sentinels.as_slice() else { unreachable!() };
    let redis = Redis::start(&[]);
    let lies = [
        "*2\r\n$0\r\n\r\n$1\r\n0\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n99999\r\n",
        "$1000000000\r\n",
        "+OK\r\n",
        "garbage\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n+more\r\n",
    ];
    let liars = lies.map(|lie| (parrot(&[lie]), "protocol"));
    for (liar, cause) in liars.into_iter().chain([(redis.addr(), "forbidden")]) {
        told_by(&[liar], "").expect_down(cause);
        let sidecar = told_by(&[liar, one.addr(), two.addr()], "");
        sidecar.expect_up();
        assert_eq!(sidecar.health().nodes()[1].2, cause);
    }
    // The announced bytes never arrive.
    told_by(&[parrot(&["*1000000000\r\n"])], "").expect_down("timed_out");
}

#[test]
fn a_primary_that_is_announced_by_its_name_is_resolved() {
    let primary = Redis::start(&[]);
    let settings = ["host localhost", "sentinel announce-hostnames yes"];
    let sentinel = Sentinel::start(primary.addr(), NEVER, &settings);
    let sidecar = told_by(&[sentinel.addr()], "");
    sidecar.expect_up();
    assert_eq!(sidecar.health().nodes()[0].1, format!("localhost:{}", primary.port()));
}

/// A Sentinel that watches another server from now on, as after a deployment that went wrong.
fn watch_another(sentinel: &Sentinel, redis: &Redis) {
    sentinel.ask(&["SENTINEL", "REMOVE", NAME]).unwrap().unwrap();
    let port = redis.port().to_string();
    sentinel.ask(&["SENTINEL", "MONITOR", NAME, "127.0.0.1", &port, "2"]).unwrap().unwrap();
}

#[test]
fn a_sentinel_that_names_another_primary_than_most_is_named_with_it() {
    let (one, other) = (Redis::start(&[]), Redis::start(&[]));
    let sentinels = [(); 3].map(|()| Sentinel::start(one.addr(), NEVER, &[]));
    let addrs = sentinels.each_ref().map(Sentinel::addr);
    let sidecar = told_by(&addrs, "");
    sidecar.expect_up();
    for wrong in [0, 2] {
        watch_another(&sentinels[wrong], &other);
        for sidecar in [&sidecar, &told_by(&addrs, "")] {
            for _ in 0..3 {
                let words = sidecar.expect_degraded("conflict");
                let said = format!("names {}, while 2 of 3 Sentinels name {}", other.addr(), one.addr());
                assert!(words.starts_with(&addrs[wrong].to_string()) && words.contains(&said), "{words}");
                assert_eq!(sidecar.health().nodes()[0].1, one.addr().to_string());
            }
        }
        // A server that is no primary is none of an older configuration either: the versions are the same.
        other.become_replica_of(&one);
        sidecar.expect_degraded("conflict");
        other.become_primary();
        watch_another(&sentinels[wrong], &one);
        sidecar.expect_up();
    }
    // Two of three make another majority, whatever there was before.
    watch_another(&sentinels[0], &other);
    watch_another(&sentinels[1], &other);
    let words = sidecar.expect_degraded("conflict");
    assert!(words.starts_with(&addrs[2].to_string()), "{words}");
    assert_eq!(sidecar.health().nodes()[0].1, other.addr().to_string());
}

#[test]
fn sentinels_that_name_one_server_by_two_addresses_agree() {
    let redis = Redis::start(&[]);
    let by_name = ["host localhost", "sentinel announce-hostnames yes"];
    let by_name = [(); 2].map(|()| Sentinel::start(redis.addr(), NEVER, &by_name));
    let by_address = [(); 2].map(|()| Sentinel::start(redis.addr(), NEVER, &[]));
    let met = |sentinel: &Sentinel| {
        let state = sentinel.ask(&["SENTINEL", "MASTER", NAME]).unwrap().unwrap();
        !state.contains("runid\n\n")
    };
    eventually("the Sentinels have met the server", || by_name.iter().chain(&by_address).all(met));
    let [one, two] = by_name.each_ref().map(Sentinel::addr);
    let [three, four] = by_address.each_ref().map(Sentinel::addr);
    for sentinels in [&[one, two, three][..], &[one, three, four], &[one, three], &[one, two, three, four]] {
        told_by(sentinels, "").expect_up();
    }
}

#[test]
fn without_a_majority_of_sentinels_the_alias_is_down_while_both_servers_are_primaries() {
    let (one, other) = (Redis::start(&[]), Redis::start(&[]));
    let sentinels = [&one, &one, &other, &other].map(|redis| Sentinel::start(redis.addr(), NEVER, &[]));
    let [a, b, c, d] = sentinels.each_ref().map(Sentinel::addr);
    for (asked, named) in [(vec![a, c], 1), (vec![a, b, c, d], 2)] {
        let sidecar = told_by(&asked, "");
        for _ in 0..3 {
            let words = sidecar.expect_down("conflict");
            assert!(words.starts_with(NAME) && words.contains("no majority of Sentinels"), "{words}");
            for redis in [&one, &other] {
                assert_eq!(words.matches(&format!("names {}", redis.addr())).count(), named, "{words}");
            }
        }
        // The only one that takes writes is the one that clients can use.
        other.become_replica_of(&one);
        let words = sidecar.expect_degraded("conflict");
        assert!(words.starts_with(&c.to_string()), "{words}");
        assert_eq!(sidecar.health().nodes()[0].1, one.addr().to_string());
        other.become_primary();
        sidecar.expect_down("conflict");
        sentinels[2..].iter().for_each(|sentinel| watch_another(sentinel, &one));
        sidecar.expect_up();
        sentinels[2..].iter().for_each(|sentinel| watch_another(sentinel, &other));
    }
}

/// The third Sentinel is cut off from the others, so that it keeps its configuration from before the failover. Real ones
/// hear of it over the replicas.
#[test]
fn a_sentinel_that_has_not_heard_of_a_failover_is_no_conflict_at_first() {
    let mut watched = Watched::start(Duration::from_secs(1), &[]);
    let state = "*4\r\n$5\r\nrunid\r\n$4\r\n5f3a\r\n$12\r\nconfig-epoch\r\n$1\r\n0\r\n";
    let named = naming(watched.primary()).leak();
    let known = vec![("SENTINEL GET-MASTER-ADDR-BY-NAME", &*named), ("SENTINEL MASTER", state)].leak();
    let cut_off = Liar::redis(&[], known);
    let sentinels = [watched.sentinels[0].addr(), watched.sentinels[1].addr(), cut_off.addr];
    let sidecar = told_by(&sentinels, "");
    sidecar.expect_up();
    let old = watched.primary().port();
    watched.servers[0].kill();
    eventually("the others fail over", || {
        watched.sentinels[..2].iter().all(|sentinel| sentinel.names().is_some_and(|port| port != old))
    });
    for sidecar in [&sidecar, &told_by(&sentinels, "")] {
        sidecar.expect_up();
        // Not for ever: it would have heard by then.
        eventually("it is not cut off for long", || sidecar.health().body["status"] == "DEGRADED");
        assert!(sidecar.expect_degraded("conflict").starts_with(&cut_off.addr.to_string()));
    }
}

#[test]
fn a_failover_between_the_sentinels_word_and_the_write_is_followed() {
    let (old, new) = (Redis::start(&[]), Redis::start(&[]));
    let (of_old, of_new) = (naming(&old), naming(&new));
    let sidecar = told_by(&[parrot(&[&of_old, &of_old, &of_new])], "");
    sidecar.expect_up();
    old.become_replica_of(&new);
    sidecar.expect_up();
    let nodes = sidecar.health().nodes();
    assert_eq!(nodes[0], ("server".to_owned(), new.addr().to_string(), String::new()));
    assert_eq!(nodes[1].0, "sentinel", "the old primary is no server any more: {nodes:?}");
    // A Sentinel that stays with its word is not helped by being asked twice.
    assert!(told_by(&[parrot(&[&of_old])], "").expect_down("read_only").starts_with(&old.addr().to_string()));
}

#[test]
fn sentinels_are_asked_over_tls_as_the_servers_are() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let identity = authority.issue(&["127.0.0.1"]);
    let primary = Redis::start_tls(&identity, None);
    let ca = file("ca.pem", &authority.certificate());
    let (certificate, key) = (file("cert.pem", identity.certificate()), file("key.pem", identity.key()));
    let settings = [
        format!("tls-cert-file {certificate}"),
        format!("tls-key-file {key}"),
        format!("tls-ca-cert-file {ca}"),
        "tls-auth-clients no".to_owned(),
        "tls-replication yes".to_owned(),
    ];
    let tls_port = Port::reserve();
    let listens = format!("tls-port {}", tls_port.number());
    let settings: Vec<_> = settings.iter().map(String::as_str).chain([listens.as_str()]).collect();
    let sentinel = Sentinel::start(primary.addr(), NEVER, &settings);
    let sidecar = |settings: &str| {
        let url = format!("rediss+sentinel://{}/{NAME}", tls_port.addr());
        Sidecar::start(main_of(&url, settings))
    };
    sidecar(&format!("tls = {{ ca_file = \"{ca}\" }}")).expect_up();
    assert!(sidecar("").expect_down("tls").starts_with(NAME));
    assert_eq!(sentinel.names(), Some(primary.port()));
}

#[test]
fn replicas_are_found_behind_sentinels() {
    let mut watched = Watched::start(NEVER, &[]);
    let sidecar = Sidecar::start(main_of(&watched.url(), "replicas = \"discover\""));
    sidecar.expect_up();
    let roles =
        |sidecar: &Sidecar| sidecar.health().nodes().into_iter().map(|(role, _, _)| role).collect::<Vec<_>>();
    assert_eq!(roles(&sidecar), ["server", "replica", "replica", "sentinel", "sentinel", "sentinel"]);
    watched.servers[2].kill();
    let words = sidecar.expect_degraded("refused");
    assert!(words.starts_with(&watched.servers[2].addr().to_string()), "{words}");
    watched.primary().stop();
    let words = sidecar.expect_down("timed_out");
    assert!(words.starts_with(&watched.primary().addr().to_string()), "{words}");
    assert_eq!(roles(&sidecar), ["server", "sentinel", "sentinel", "sentinel"], "none can be judged");
    watched.primary().cont();
    sidecar.expect_degraded("refused");
}

#[test]
fn a_failover_from_a_killed_primary_is_down_until_another_takes_writes() {
    let mut watched = Watched::start(Duration::from_secs(1), &[]);
    let timeline = Timeline::begin(&watched);
    let at = Instant::now();
    watched.servers[0].kill();
    timeline.run(at, "the primary was killed");
}

#[test]
fn a_failover_from_a_hung_primary_is_down_until_another_takes_writes() {
    let watched = Watched::start(Duration::from_secs(1), &[]);
    let timeline = Timeline::begin(&watched);
    let at = Instant::now();
    watched.primary().stop();
    timeline.run(at, "the primary was stopped");
    // It still takes itself for the primary; the Sentinels do not.
    watched.primary().cont();
    let sidecar = beside(&watched);
    sidecar.expect_up();
}

#[test]
fn a_failover_by_hand_is_followed() {
    let watched = Watched::start(Duration::from_secs(10), &[]);
    let with_replicas = Sidecar::start(main_of(&watched.url(), "replicas = \"discover\""));
    with_replicas.expect_up();
    let timeline = Timeline::begin(&watched);
    let at = Instant::now();
    watched.sentinels[0].ask(&["SENTINEL", "FAILOVER", NAME]).unwrap().unwrap();
    timeline.run(at, "SENTINEL FAILOVER was asked for");
    eventually("the old primary becomes a replica", || watched.primary().is_replica());
    let sidecar = beside(&watched);
    sidecar.expect_up();
    assert_ne!(sidecar.health().nodes()[0].1, watched.primary().addr().to_string());
    // The replicas are now the old primary and the one that stayed a replica.
    eventually("the replicas follow the new primary", || {
        let health = with_replicas.health();
        let mut servers: Vec<_> = health.nodes().into_iter().take(3).collect();
        let whole = health.body["status"] == "UP" && servers.iter().skip(1).all(|node| node.0 == "replica");
        servers.sort_by(|one, other| one.1.cmp(&other.1));
        let mut all: Vec<_> = watched.servers.iter().map(|server| server.addr().to_string()).collect();
        all.sort();
        whole && servers.into_iter().map(|node| node.1).eq(all)
    });
    with_replicas.expect_up();
}

/// A failover as a sidecar sees it, and as an observer that asks the servers and Sentinels themselves sees it.
struct Timeline {
    sidecar: Sidecar,
    watch: JoinHandle<Vec<Observation>>,
    ended: Arc<AtomicBool>,
    old: u16,
}

/// The state that the observer saw at one time.
struct Observation {
    began: Instant,
    ended: Instant,
    /// Whether each replica of the start said that it takes no writes.
    refused: bool,
    /// The server that most Sentinels name, if it is a new one and took a write; and `true` if all name it.
    ready: Option<(u16, bool)>,
}

impl Timeline {
    /// Starts a sidecar and the observer; everything is up.
    fn begin(watched: &Watched) -> Self {
        let sidecar = beside(watched);
        sidecar.expect_up();
        let old = watched.primary().port();
        let replicas: Vec<_> = watched.servers[1..].iter().map(Redis::addr).collect();
        let sentinels: Vec<_> = watched.sentinels.iter().map(Sentinel::addr).collect();
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let watch = thread::spawn(move || {
            let mut observations = Vec::new();
            while !until.load(Ordering::Relaxed) {
                observations.push(Observation::take(&replicas, &sentinels, old));
                thread::sleep(Duration::from_millis(10));
            }
            observations
        });
        Self { sidecar, watch, ended, old }
    }

    /// Checks until the failover is over, prints what was seen, and compares.
    fn run(self, at: Instant, what: &str) {
        let checked: Vec<_> = {
            let mut checked = Vec::new();
            let mut since = None;
            eventually("a failover ends", || {
                let began = Instant::now();
                let health = self.sidecar.health();
                let server = health.nodes()[0].clone();
                let status = health.body["status"].as_str().unwrap().to_owned();
                let over = status == "UP" && !server.1.ends_with(&format!(":{}", self.old));
                checked.push((began, Instant::now(), status, server));
                // Goes on for a while, to see that it stays so.
                over && since.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(1)
            });
            checked
        };
        self.ended.store(true, Ordering::Relaxed);
        let observations = self.watch.join().unwrap();
        let ready = observations.iter().position(|look| look.ready.is_some());
        // Sentinels that disagree may demote the new primary again: the first change is judged, and what follows is not.
        let first = ready.unwrap_or(observations.len());
        let demoted = observations.iter().skip(first).position(|look| look.refused);
        let observations = &observations[..demoted.map_or(observations.len(), |look| first + look)];
        let judged_until = demoted.and_then(|_| observations.last()).map(|look| look.began);
        let refused =
            observations.iter().filter(|look| look.refused).map(|look| look.began).next_back().unwrap();
        let ready = observations.iter().find_map(|look| Some((look.ended, look.ready?)));
        let agreed =
            observations.iter().find(|look| look.ready.is_some_and(|(_, all)| all)).map(|look| look.ended);

        let mut told = format!("    0.000 s  {what}\n");
        let seconds = |instant: Instant| instant.saturating_duration_since(at).as_secs_f64();
        let mut events = vec![(refused, "both replicas still took no writes".to_owned())];
        if let Some((ready, (port, _))) = ready {
            events.push((ready, format!("most Sentinels name 127.0.0.1:{port}, and it took a write")));
        }
        let mut last = String::new();
        for (began, _, status, (_, node, cause)) in &checked {
            let line = format!("check: {status} {node} {cause}");
            if line != last {
                events.push((*began, line.clone()));
                last = line;
            }
        }
        events.sort();
        for (instant, event) in events {
            let _ = writeln!(told, "{:9.3} s  {event}", seconds(instant));
        }
        println!("{} checks:\n{told}", checked.len());

        let (ready, _) = ready.expect("the observer sees the end of the failover");
        for (began, ended, status, (_, node, _)) in &checked {
            if judged_until.is_some_and(|until| *ended > until) {
                break;
            }
            let on_the_old = node.ends_with(&format!(":{}", self.old));
            if status == "UP" && !on_the_old {
                assert!(*ended > refused, "UP while no replica took writes:\n{told}");
            }
            if status == "UP" && on_the_old {
                assert!(what.contains("FAILOVER"), "UP by a primary that is gone:\n{told}");
            }
            if *began > ready {
                // One that still names the old primary contradicts the others, for as long as that takes writes.
                let agreed = agreed.is_some_and(|agreed| *began > agreed);
                assert!(
                    status == "UP" || !agreed && status == "DEGRADED",
                    "{:.3} s: {status} although there is a primary:\n{told}",
                    seconds(*began)
                );
                assert!(!on_the_old, "UP by the old primary:\n{told}");
            }
        }
    }
}

impl Observation {
    fn take(replicas: &[SocketAddr], sentinels: &[SocketAddr], old: u16) -> Self {
        let began = Instant::now();
        let max_wait = Duration::from_millis(500);
        let named: Vec<_> = sentinels.iter().filter_map(|&sentinel| names(sentinel)).collect();
        let most = named.iter().copied().find(|port| named.iter().filter(|other| *other == port).count() > 1);
        let answers: Vec<_> = replicas
            .iter()
            .map(|&addr| {
                let write = ["SET", "observer", "was here"];
                (addr.port(), connect(addr, max_wait).and_then(|mut client| client.try_ask(&write)))
            })
            .collect();
        let refused =
            answers.iter().all(|(_, answer)| matches!(answer, Ok(Err(said)) if said.starts_with("READONLY")));
        let writable =
            answers.iter().filter(|(_, answer)| matches!(answer, Ok(Ok(_)))).map(|&(port, _)| port);
        let ready = writable.into_iter().find(|&port| port != old && Some(port) == most);
        let ready = ready.map(|port| (port, named.iter().all(|named| *named == port)));
        Self { began, ended: Instant::now(), refused, ready }
    }
}

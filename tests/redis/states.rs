//! A real Redis in every state that a health check must see: healthy before, the right cause at the first
//! request after the fault begins, within the deadline, and up again at the first request after it ends.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::Path;
use std::process::Command;

use crate::support::{BlackHole, Port, Redis, Relay, Sidecar};

fn main_at(addr: impl std::fmt::Display) -> String {
    format!("[caches.main]\nurl = \"redis://{addr}\"")
}

/// A sidecar that looks after this Redis.
fn beside(redis: &Redis) -> Sidecar {
    Sidecar::start(main_at(redis.addr()))
}

/// One that dials for every check, as it does once a connection has served its time.
fn dialing(redis: &Redis) -> Sidecar {
    Sidecar::start_with("reconnect_every = \"0s\"", main_at(redis.addr()))
}

#[test]
fn a_killed_server_is_refused() {
    let mut redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.kill();
    let words = sidecar.expect_down("refused");
    assert!(words.contains(&format!("{} connect", redis.addr())), "{words}");
    redis.restart();
    sidecar.expect_up();
}

#[test]
fn a_restart_between_two_checks_is_no_fault() {
    let mut redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.kill();
    redis.restart();
    sidecar.expect_up();
}

#[test]
fn a_connection_that_the_server_closed_between_two_checks_is_no_fault() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    for _ in 0..10 {
        sidecar.expect_up();
        redis.disconnect_clients();
    }
}

#[test]
fn a_stopped_server_times_out_in_the_write_and_then_before_it() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.stop();
    // The kept connection is ready for a write; a new one must be told what the server is first.
    for phase in [" write ", " auth ", " auth "] {
        let words = sidecar.expect_down("timed_out");
        assert!(words.contains(phase), "{words}");
    }
    redis.cont();
    sidecar.expect_up();
}

#[test]
fn a_black_hole_times_out_in_the_connect() {
    let hole = BlackHole::open();
    let words = Sidecar::start(main_at(hole.addr())).expect_down("timed_out");
    assert!(words.contains(" connect "), "{words}");
}

#[test]
fn a_port_without_a_listener_is_refused() {
    Sidecar::start(main_at(Port::reserve().addr())).expect_down("refused");
}

#[test]
fn a_name_without_an_address_is_unresolvable() {
    let words = Sidecar::start(main_at("cache.invalid:6379")).expect_down("unresolvable");
    assert!(words.contains(" resolve "), "{words}");
}

#[test]
fn a_name_is_resolved() {
    let redis = Redis::start(&[]);
    Sidecar::start(main_at(format!("localhost:{}", redis.port()))).expect_up();
}

#[test]
fn a_wrong_password_is_auth_also_after_a_change_under_a_running_sidecar() {
    let redis = Redis::start(&[]);
    redis.require_password("first");
    let url = format!("[caches.main]\nurl = \"redis://:first@{}\"", redis.addr());
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", url);
    sidecar.expect_up();
    redis.require_password("second");
    let words = sidecar.expect_down("auth");
    assert!(words.contains("WRONGPASS") && !words.contains("first"), "{words}");
    redis.require_password("first");
    sidecar.expect_up();
}

#[test]
fn quotes_around_a_refused_password_are_named_in_its_hint_and_are_no_fault_where_they_belong_to_it() {
    let redis = Redis::start(&[]);
    redis.require_password("secret");
    let hint = |password: &str| {
        let config = format!("[caches.main]\nurl = \"redis://{}\"\npassword = {password:?}", redis.addr());
        let sidecar = Sidecar::start(config);
        sidecar.expect_down("auth");
        sidecar.health().body["errors"]["cache.main"].as_str().unwrap().to_owned()
    };
    assert!(!hint("wrong").contains("quotes"));
    for quoted in ["\"secret\"", "'secret'"] {
        let hint = hint(quoted);
        assert!(hint.contains("begin and end with quotes: remove the quotes"), "{hint}");
        assert!(!hint.contains("secret"), "{hint}");
    }
    redis.require_password("\"secret\"");
    let config = format!("[caches.main]\nurl = \"redis://{}\"\npassword = '\"secret\"'", redis.addr());
    Sidecar::start(config).expect_up();
}

#[test]
fn a_missing_password_is_auth() {
    let redis = Redis::start(&[]);
    let sidecar = dialing(&redis);
    sidecar.expect_up();
    redis.require_password("wanted");
    assert!(sidecar.expect_down("auth").contains("NOAUTH"));
    redis.require_password("");
    sidecar.expect_up();
}

#[test]
fn a_user_that_does_not_exist_is_auth() {
    let redis = Redis::start(&[]);
    redis.set_user("app", "on >secret ~* +@all");
    let sidecar =
        |user| Sidecar::start(format!("[caches.main]\nurl = \"redis://{user}:secret@{}\"", redis.addr()));
    sidecar("app").expect_up();
    sidecar("nobody").expect_down("auth");
}

#[test]
fn a_user_that_may_not_write_or_not_these_keys_is_forbidden() {
    let redis = Redis::start(&[]);
    let rules = "on >secret ~djblets-* +set +get";
    redis.set_user("app", rules);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://app:secret@{}\"", redis.addr()));
    sidecar.expect_up();
    redis.set_user("app", "on >secret ~djblets-* +get");
    assert!(sidecar.expect_down("forbidden").contains("NOPERM"));
    redis.set_user("app", "on >secret ~other-* +set +get");
    sidecar.expect_down("forbidden");
    redis.set_user("app", rules);
    sidecar.expect_up();
}

#[test]
fn a_replica_is_read_only() {
    let (primary, redis) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.become_replica_of(&primary);
    assert!(sidecar.expect_down("read_only").contains("READONLY"));
    redis.become_primary();
    sidecar.expect_up();
}

#[test]
fn the_next_command_of_a_fault_runs_as_it_stands() {
    let (primary, redis) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = beside(&redis);
    let next = || {
        let details = &sidecar.health().body["details"]["cache.main"]["nodes"][0];
        details["next"].as_str().map(str::to_owned)
    };
    assert_eq!(next(), None, "a healthy node needs no command");
    redis.become_replica_of(&primary);
    let command = next().expect("a command for a node that takes no writes");
    let told = Command::new("sh").args(["-c", &command]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("role:slave"), "{command}: {told}");
}

#[test]
fn a_socket_that_cannot_be_opened_has_words_of_its_own() {
    let redis = Redis::start(&[]);
    let hint = |sidecar: &Sidecar| {
        let body = sidecar.health().body;
        body["errors"]["cache.main"].as_str().map(str::to_owned)
    };
    let socket = |path: &Path| {
        Sidecar::start(format!("[caches.main]\nbackend = \"redis\"\nlocation = \"unix:{}\"", path.display()))
    };
    assert_eq!(hint(&socket(&redis.socket())), None);
    for wrong in ["absent.sock", "log"] {
        let said = hint(&socket(&redis.socket().with_file_name(wrong))).expect("a socket that nobody serves");
        assert!(said.contains("The unix socket cannot be opened"), "{said}");
    }
}

#[test]
fn a_replica_that_has_lost_its_primary_is_read_only_or_says_so() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.become_orphan();
    sidecar.expect_down("read_only");
    // One that takes writes of its own says first what else is the matter.
    redis.command(&["CONFIG", "SET", "replica-read-only", "no"]);
    assert!(sidecar.expect_down("primary_down").contains("MASTERDOWN"));
    redis.become_primary();
    sidecar.expect_up();
}

#[test]
fn full_memory_is_out_of_memory_on_every_check() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.fill();
    for _ in 0..20 {
        assert!(sidecar.expect_down("out_of_memory").contains("OOM"));
    }
    redis.make_room();
    sidecar.expect_up();
}

#[test]
fn failing_snapshots_block_writes() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.break_snapshots();
    assert!(sidecar.expect_down("write_blocked").contains("MISCONF"));
    redis.repair_snapshots();
    sidecar.expect_up();
}

#[test]
fn too_few_replicas_block_writes() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.want_a_replica();
    assert!(sidecar.expect_down("write_blocked").contains("NOREPLICAS"));
    redis.want_no_replicas();
    sidecar.expect_up();
}

#[test]
fn a_script_without_end_blocks_writes() {
    let mut redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.run_endless_script();
    assert!(sidecar.expect_down("write_blocked").contains("BUSY"));
    redis.kill_script();
    sidecar.expect_up();
}

#[test]
fn a_server_that_reads_its_data_is_loading() {
    let mut redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.restart_loading();
    assert!(sidecar.expect_down("loading").contains("LOADING"));
    redis.finish_loading();
    sidecar.expect_up();
}

#[test]
fn a_cluster_node_without_slots_is_cluster_down() {
    let redis = Redis::start_cluster();
    let sidecar = beside(&redis);
    sidecar.expect_up();
    redis.lose_slots();
    assert!(sidecar.expect_down("cluster_down").contains("CLUSTERDOWN"));
    redis.regain_slots();
    sidecar.expect_up();
}

#[test]
fn a_connection_limit_is_seen_by_the_next_dial_and_not_by_a_kept_connection() {
    let redis = Redis::start(&[]);
    let (kept, dialing) = (beside(&redis), dialing(&redis));
    kept.expect_up();
    dialing.expect_up();
    let held = redis.reach_connection_limit();
    kept.expect_up();
    for _ in 0..4 {
        assert!(dialing.expect_down("refused").contains("max number of clients reached"));
    }
    drop(held);
    dialing.expect_up();
}

#[test]
fn a_canary_that_is_flushed_between_write_and_read_is_masked() {
    let redis = std::sync::Arc::new(Redis::start(&[]));
    let flush = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let relay = Relay::start(redis.addr(), {
        let (redis, flush) = (redis.clone(), flush.clone());
        move |piece| {
            if flush.load(std::sync::atomic::Ordering::SeqCst)
                && piece.windows(5).any(|word| word == b"\nGET\r")
            {
                redis.command(&["FLUSHALL"]);
            }
            true
        }
    });
    let sidecar = Sidecar::start(main_at(relay.addr()));
    sidecar.expect_up();
    sidecar.expect_up();
    flush.store(true, std::sync::atomic::Ordering::SeqCst);
    let words = sidecar.expect_down("masked");
    assert!(words.contains(" read "), "{words}");
    flush.store(false, std::sync::atomic::Ordering::SeqCst);
    sidecar.expect_up();
}

#[test]
fn a_canary_that_is_evicted_is_masked() {
    let redis = std::sync::Arc::new(Redis::start(&["--maxmemory-policy", "allkeys-random"]));
    let evict = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let relay = Relay::start(redis.addr(), {
        let (redis, evict) = (redis.clone(), evict.clone());
        move |piece| {
            if evict.load(std::sync::atomic::Ordering::SeqCst)
                && piece.windows(5).any(|word| word == b"\nGET\r")
            {
                // Less than it needs for itself: it evicts every key before it answers.
                redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
                redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
                assert_eq!(redis.command(&["DBSIZE"]), "0");
            }
            true
        }
    });
    let sidecar = Sidecar::start(main_at(relay.addr()));
    sidecar.expect_up();
    evict.store(true, std::sync::atomic::Ordering::SeqCst);
    sidecar.expect_down("masked");
    evict.store(false, std::sync::atomic::Ordering::SeqCst);
    sidecar.expect_up();
}

#[test]
fn a_database_can_be_chosen_and_one_that_does_not_exist_is_reported() {
    let redis = Redis::start(&["--databases", "2"]);
    let sidecar = |database| Sidecar::start(main_at(format!("{}/{database}", redis.addr())));
    sidecar(1).expect_up();
    assert_ne!(redis.info("db1"), "");
    let words = sidecar(7).expect_down("database");
    assert!(words.contains(" auth ERR DB index is out of range (database 7)"), "{words}");
}

#[test]
fn at_most_two_keys_are_left_behind_and_they_expire() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis);
    for _ in 0..25 {
        sidecar.expect_up();
    }
    let keys = redis.command(&["KEYS", "*"]);
    assert_eq!(redis.command(&["DBSIZE"]), "2", "{keys}");
    assert_eq!(redis.command(&["EVAL", "local n = 0; for _, k in ipairs(redis.call('KEYS', 'djblets-*')) do local t = redis.call('PTTL', k); if t > 750 and t <= 120000 then n = n + 1 end end; return n", "0"]), "2", "{keys}");
}

#[test]
fn two_sidecars_of_one_name_never_meet() {
    let redis = Redis::start(&[]);
    let settings = "instance = \"same\"";
    let pair = [(); 2].map(|()| Sidecar::start_with(settings, main_at(redis.addr())));
    std::thread::scope(|scope| {
        for sidecar in &pair {
            scope.spawn(|| (0..200).for_each(|_| sidecar.expect_up()));
        }
    });
    assert_eq!(redis.command(&["DBSIZE"]), "4");
}

#[test]
fn a_thousand_checks_of_a_stopped_server_leave_nothing_behind() {
    const ALIASES: usize = 20;
    let redis = Redis::start(&[]);
    let aliases: Vec<_> =
        (0..ALIASES).map(|n| format!("[caches.c{n}]\nurl = \"redis://{}\"", redis.addr())).collect();
    let sidecar = Sidecar::start_with("timeout = \"200ms\"", aliases.join("\n"));
    sidecar.expect_up();
    let files = sidecar.open_files();
    redis.stop();
    let rounds = |count: usize| (0..count).for_each(|_| drop(sidecar.expect_down("timed_out")));
    rounds(5);
    let memory = sidecar.own_kib();
    rounds(1000 / ALIASES);
    crate::support::eventually("every connection is closed", || sidecar.open_files() <= files);
    assert!(sidecar.own_kib() < memory + 512, "{} KiB, {memory} before", sidecar.own_kib());
    redis.cont();
    // A thousand writes were sent to it meanwhile; it is back when it has seen to them.
    redis.command(&["PING"]);
    sidecar.expect_up();
    assert_eq!(redis.command(&["DBSIZE"]), (2 * ALIASES).to_string(), "two keys an alias, whatever was sent");
}

#[test]
fn resp3_is_spoken_if_configured() {
    let redis = Redis::start(&[]);
    redis.set_user("canary", "on >right ~djblets-canary:* +get +set +select");
    let sidecar = |password: &str, protocol: &str| {
        Sidecar::start(format!(
            "[caches.main]\nurl = \"redis://canary:{password}@{}/3\"\nprotocol = \"{protocol}\"",
            redis.addr()
        ))
    };
    for (protocol, spoken) in [("resp2", "resp=2"), ("resp3", "resp=3")] {
        let up = sidecar("right", protocol);
        (0..3).for_each(|_| up.expect_up());
        let clients = redis.command(&["CLIENT", "LIST"]);
        let client = clients.lines().find(|client| client.contains("user=canary")).unwrap();
        assert!(client.contains(spoken), "{client}");
        redis.fill();
        up.expect_down("out_of_memory");
        redis.make_room();
        up.expect_up();
        sidecar("wrong", protocol).expect_down("auth");
        redis.disconnect_clients();
    }
}

#[test]
fn a_unix_socket_is_as_good_as_a_port() {
    let mut redis = Redis::start(&[]);
    let socket = redis.socket();
    for location in [
        format!("url = \"redis+unix://{}?db=1\"", socket.display()),
        format!("backend = \"redis\"\nlocation = \"unix:{}\"", socket.display()),
    ] {
        let sidecar = Sidecar::start(format!("[caches.main]\n{location}"));
        (0..3).for_each(|_| sidecar.expect_up());
        redis.stop();
        sidecar.expect_down("timed_out");
        redis.cont();
        sidecar.expect_up();
        redis.kill();
        let words = sidecar.expect_down("refused");
        assert!(words.starts_with(&format!("unix:{}", socket.display())), "{words}");
        redis.restart();
        sidecar.expect_up();
    }
}

//! Groups, probes and what they leave out, before real servers: who is asked is counted by the servers themselves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use crate::support::{Memcached, Redis, Sidecar};

/// The caches `main`, whose queue is too long from three entries on, and `sessions`.
fn caches(redis: &Redis, memcached: &Memcached) -> String {
    format!(
        "[caches.main]\nurl = \"redis://{}\"\n[caches.main.checks.queue]\nkeys = [\"jobs\"]\n\
         length = {{ down = 3 }}\n[caches.sessions]\nservers = [\"{}\"]\n",
        redis.addr(),
        memcached.addr()
    )
}

/// How many canaries were written to it so far.
fn written(redis: &Redis) -> usize {
    let stats = redis.command(&["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// The code and the text of a probe; the age, which is another every time, stands as `checked`.
fn probe(sidecar: &Sidecar, path: &str) -> (u16, String) {
    let answer = sidecar.raw(path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let line = |line: &str| {
        let line = if line.starts_with("checked ") { "checked" } else { line };
        format!("{line}\n")
    };
    (code, body.lines().map(line).collect())
}

fn ok() -> (u16, String) {
    (200, "ok\n".to_owned())
}

#[test]
fn liveness_asks_no_cache_unless_its_group_names_one() {
    let (redis, memcached) = (Redis::start(&[]), Memcached::start(&[]));
    let mut redis = redis;
    let alone = Sidecar::start(caches(&redis, &memcached));
    let with_main =
        Sidecar::start_with("[groups.liveness]\ninclude = [\"main\"]\n", caches(&redis, &memcached));
    assert_eq!(probe(&alone, "/livez"), ok());
    assert_eq!(written(&redis), 0);
    assert_eq!(probe(&with_main, "/livez"), ok());
    assert_ne!(written(&redis), 0);

    redis.kill();
    assert_eq!(probe(&alone, "/livez"), ok());
    let failed = "[-]cache.main failed: refused\n[-]cache.main.queue failed: refused\nlivez check failed\n";
    assert_eq!(probe(&with_main, "/livez"), (503, failed.to_owned()));
    redis.restart();
    assert_eq!(probe(&with_main, "/livez"), ok());
}

#[test]
fn a_group_is_as_healthy_as_its_checks() {
    let mut redis = Redis::start(&[]);
    let memcached = Memcached::start(&[]);
    let groups = "[groups.web]\ninclude = [\"main\", \"sessions\"]\nexclude = [\"main.queue\"]\n\
                  [groups.light]\nexclude = [\"main\"]\n";
    let sidecar = Sidecar::start_with(groups, caches(&redis, &memcached));
    for name in ["web", "light", "readiness", "startup"] {
        assert_eq!(sidecar.get(&format!("/health/group/{name}")).code, 200, "{name}");
    }
    let checks = sidecar.get("/health/group/web").body["checks"].clone();
    assert_eq!(checks, serde_json::json!({"cache.main": "UP", "cache.sessions": "UP"}));
    let unknown = probe(&sidecar, "/health/group/nope");
    let known = "no such group; the configured ones are liveness, readiness, startup, web, light\n";
    assert_eq!(unknown, (404, known.to_owned()));

    redis.kill();
    let before = memcached.stat("cmd_set");
    let light = sidecar.get("/health/group/light");
    assert_eq!((light.code, &light.body["status"]), (200, &"UP".into()));
    assert_ne!(memcached.stat("cmd_set"), before);
    let web = sidecar.get("/health/group/web");
    assert_eq!((web.code, &web.body["checks"]["cache.main"]), (503, &"DOWN".into()));
    assert_eq!(sidecar.get("/health").code, 503);
}

#[test]
fn readiness_does_without_the_queue_that_its_group_excludes() {
    let (redis, memcached) = (Redis::start(&[]), Memcached::start(&[]));
    let settings = "[groups.readiness]\nexclude = [\"main.queue\"]\n";
    let without = Sidecar::start_with(settings, caches(&redis, &memcached));
    let with = Sidecar::start(caches(&redis, &memcached));
    assert_eq!((probe(&without, "/readyz"), probe(&with, "/readyz")), (ok(), ok()));
    redis.command(&["RPUSH", "jobs", "one", "two", "three"]);
    assert_eq!(probe(&without, "/readyz"), ok());
    let failed = "[-]cache.main.queue failed: too_long\nreadyz check failed\n";
    assert_eq!(probe(&with, "/readyz"), (503, failed.to_owned()));
}

#[test]
fn a_cache_that_a_probe_excludes_is_not_asked() {
    let mut redis = Redis::start(&[]);
    let memcached = Memcached::start(&[]);
    let sidecar = Sidecar::start(caches(&redis, &memcached));
    let list = "[+]sidecar ok\n[+]cache.sessions ok\n[+]cache.main excluded: ok\n[+]cache.main.queue excluded: ok\n\
                checked\nreadyz check passed\n";
    assert_eq!(probe(&sidecar, "/readyz?verbose&exclude=main"), (200, list.to_owned()));
    assert_eq!(written(&redis), 0);
    assert_eq!(probe(&sidecar, "/readyz?exclude=cache.main.queue&exclude=sessions"), ok());
    assert_eq!((written(&redis), memcached.stat("cmd_set") == "0"), (1, false));

    redis.kill();
    let failed = |lines: &str| (503, format!("{lines}readyz check failed\n"));
    let (main, queue) = ("[-]cache.main failed: refused\n", "[-]cache.main.queue failed: refused\n");
    for (excluded, expected) in [
        ("", failed(&format!("{main}{queue}"))),
        ("exclude=main", ok()),
        ("exclude=cache.main", failed(queue)),
        ("exclude=main.queue", failed(main)),
        ("exclude=cache.main&exclude=cache.main.queue", ok()),
        ("exclude=main.round_trip&exclude=main.queue", ok()),
        ("exclude=sidecar", failed(&format!("{main}{queue}"))),
    ] {
        assert_eq!(probe(&sidecar, &format!("/readyz?{excluded}")), expected, "{excluded}");
    }
    assert_eq!(sidecar.get("/readyz?format=json&exclude=main").body["status"], "UP");
}

#[test]
fn an_exclude_that_matches_nothing_is_warned_of_if_there_is_a_list() {
    let (redis, memcached) = (Redis::start(&[]), Memcached::start(&[]));
    let mut memcached = memcached;
    let sidecar = Sidecar::start(caches(&redis, &memcached));
    assert_eq!(probe(&sidecar, "/readyz?exclude=mian"), ok());
    let warning = "warn: some health checks cannot be excluded: no matches for \"cache.mian\",\"m\\\"\"\n";
    let list = format!(
        "[+]sidecar ok\n[+]cache.main ok\n[+]cache.main.queue ok\n[+]cache.sessions ok\n{warning}checked\nreadyz check passed\n"
    );
    assert_eq!(probe(&sidecar, "/readyz?verbose&exclude=m%22&exclude=cache.mian"), (200, list));
    // No cache is a part of liveness here, so none can be taken out of it.
    let list = "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \"main\"\nlivez check passed\n";
    assert_eq!(probe(&sidecar, "/livez?verbose&exclude=main"), (200, list.to_owned()));
    let list = "[+]ping excluded: ok\nlivez check passed\n";
    assert_eq!(probe(&sidecar, "/livez?verbose&exclude=ping"), (200, list.to_owned()));
    memcached.kill();
    let list = format!("[-]cache.sessions failed: refused\n{warning}readyz check failed\n");
    assert_eq!(probe(&sidecar, "/readyz?exclude=m%22&exclude=cache.mian"), (503, list));
}

#[test]
fn startupz_is_503_until_every_cache_was_up_once_and_then_asks_none_any_more() {
    let mut redis = Redis::start(&[]);
    let mut memcached = Memcached::start(&[]);
    memcached.kill();
    let sidecar = Sidecar::start(caches(&redis, &memcached));
    let failed = "[-]cache.sessions failed: refused\nstartupz check failed\n";
    assert_eq!(probe(&sidecar, "/startupz"), (503, failed.to_owned()));
    let asked = written(&redis);
    assert_ne!(asked, 0);
    // A cache that has been up is not asked again, and may be down by now.
    redis.kill();
    assert_eq!(probe(&sidecar, "/startupz"), (503, failed.to_owned()));
    assert_eq!(probe(&sidecar, "/startupz?exclude=sessions"), ok());
    assert_eq!(probe(&sidecar, "/startupz").0, 503, "what was left out has not been up");

    memcached.restart();
    assert_eq!(probe(&sidecar, "/startupz"), ok());
    redis.restart();
    memcached.kill();
    for _ in 0..3 {
        assert_eq!(
            probe(&sidecar, "/startupz?verbose"),
            (200, "[+]sidecar ok\nstartupz check passed\n".to_owned())
        );
    }
    assert_eq!(written(&redis), 0, "it was restarted, and nobody has written since");
}

#[test]
fn a_cache_that_readiness_excludes_does_not_keep_the_application_from_starting() {
    let (mut redis, mut memcached) = (Redis::start(&[]), Memcached::start(&[]));
    let caches = format!(
        "[caches.main]\nurl = \"redis://{}\"\n[caches.sessions]\nservers = [\"{}\"]\n",
        redis.addr(),
        memcached.addr()
    );
    let readiness = "[groups.readiness]\nexclude = [\"sessions\"]\n";
    memcached.kill();
    // Without a group for it, starting asks for what readiness asks for.
    let sidecar = Sidecar::start_with(readiness, &caches);
    assert_eq!(probe(&sidecar, "/startupz"), ok());
    assert_eq!(probe(&sidecar, "/readyz"), ok());
    // A group of its own decides alone.
    let own = format!("{readiness}[groups.startup]\ninclude = [\"sessions\"]\n");
    let sidecar = Sidecar::start_with(&own, &caches);
    assert_eq!(probe(&sidecar, "/startupz").0, 503);
    assert_eq!(probe(&sidecar, "/readyz"), ok());
    // What readiness asks for is awaited.
    redis.kill();
    let sidecar = Sidecar::start_with(readiness, &caches);
    assert_eq!(probe(&sidecar, "/startupz").0, 503);
    redis.restart();
    assert_eq!(probe(&sidecar, "/startupz"), ok());
}

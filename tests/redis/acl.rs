//! `acl`: the users that it prints are enough for the checks, and nothing in them is too much.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::support::acl::{PASSWORD, knows_databases, printed, printed_users};
use crate::support::sentinel::NEVER;
use crate::support::{Redis, Sidecar, Watched, run};

/// Every check dials, since SELECT is sent on new connections alone.
const DIAL: &str = "reconnect_every = \"0s\"";

#[test]
fn the_printed_user_is_enough_for_a_server_and_with_a_right_less_it_is_not() {
    let redis = Redis::start(&[]);
    let config = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}/1\"", redis.addr());
    let [user] = printed_users(&config);
    user.give(&redis, &[]);
    let sidecar = Sidecar::start_with(DIAL, &config);
    sidecar.expect_up();
    for right in ["+set", "+get", "+select", "~djblets-canary:*"] {
        user.give(&redis, &[right]);
        sidecar.expect_down("forbidden");
        user.give(&redis, &[]);
        sidecar.expect_up();
    }
    // They are asked only where something is wrong already, or where the server is a node of a cluster.
    user.give(&redis, &["+ping", "+cluster|info"]);
    sidecar.expect_up();
    assert_eq!(user.commands(), 5, "{user:?}");
}

#[test]
fn the_printed_user_is_enough_for_a_cluster_and_with_a_right_less_it_is_not() {
    let redis = Redis::start_cluster();
    let config = format!("[caches.main]\nurl = \"redis+cluster://canary:{PASSWORD}@{}\"", redis.addr());
    let [user] = printed_users(&config);
    for right in ["+set", "+get", "+cluster|info", "+cluster|slots", "~djblets-canary:*"] {
        user.give(&redis, &[]);
        Sidecar::start_with(DIAL, &config).expect_up();
        user.give(&redis, &[right]);
        Sidecar::start_with(DIAL, &config).expect_down("forbidden");
    }
}

#[test]
fn the_printed_users_are_enough_for_replicas_and_with_a_right_less_they_are_not() {
    let (primary, replica) = (Redis::start(&[]), Redis::start(&[]));
    replica.become_replica_of(&primary);
    let named = format!("{{ servers = [\"{}\"], required = true }}", replica.addr());
    for (replicas, right) in [(named.as_str(), "+set"), ("\"required\"", "+role")] {
        let config = format!(
            "[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}/2\"\nreplicas = {replicas}",
            primary.addr()
        );
        let [of_primary, of_replica] = printed_users(&config);
        let apply_both = |of_primary_without: &[&str], of_replica_without: &[&str]| {
            of_primary.give(&primary, of_primary_without);
            of_replica.give(&replica, of_replica_without);
        };
        apply_both(&[], &[]);
        let sidecar = Sidecar::start_with(DIAL, &config);
        sidecar.expect_up();
        for (of_primary, of_replica) in
            [(&[right][..], &[][..]), (&[], &["+get"]), (&[], &["+select"]), (&[], &["~djblets-canary:*"])]
        {
            apply_both(of_primary, of_replica);
            sidecar.expect_down("forbidden");
            apply_both(&[], &[]);
            sidecar.expect_up();
        }
    }
}

#[test]
fn the_printed_users_are_enough_for_sentinels_and_their_servers() {
    let watched = Watched::start(NEVER, &[]);
    let url = watched.url().replace("://", &format!("://canary:{PASSWORD}@"));
    let config = format!(
        "[caches.main]\nurl = \"{url}/1\"\nreplicas = \"required\"\nsentinel_username = \"watcher\"\n\
         sentinel_password = \"{PASSWORD}\""
    );
    let [of_servers, of_sentinels] = printed_users(&config);
    let apply_all = |without: &[&str], of_sentinels_without: &[&str]| {
        for server in &watched.servers {
            of_servers.give(server, without);
        }
        let rules = of_sentinels.rules(of_sentinels_without);
        for sentinel in &watched.sentinels {
            let command = [&["ACL", "SETUSER", &of_sentinels.name, "reset"][..], &rules].concat();
            sentinel.ask(&command).unwrap().unwrap();
        }
    };
    apply_all(&[], &[]);
    let sidecar = Sidecar::start_with(DIAL, &config);
    sidecar.expect_up();
    for right in ["+set", "+get", "+role", "+select"] {
        apply_all(&[right], &[]);
        sidecar.expect_down("forbidden");
        apply_all(&[], &[]);
        sidecar.expect_up();
    }
    apply_all(&[], &["+sentinel|get-master-addr-by-name", "+sentinel|master"]);
    sidecar.expect_degraded("forbidden");
}

#[test]
fn the_printed_user_is_enough_over_resp3() {
    let redis = Redis::start(&[]);
    let config = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}?protocol=3\"", redis.addr());
    let [user] = printed_users(&config);
    user.give(&redis, &[]);
    Sidecar::start(&config).expect_up();
}

#[test]
fn a_prefix_with_the_characters_of_a_pattern_stands_for_itself_alone() {
    let redis = Redis::start(&[]);
    for (prefix, other) in [("a*[b]?\\", "axb?\\"), ("a\"b'*", "a\"b'x")] {
        let caches = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}\"", redis.addr());
        let prefix_line = format!("prefix = '''{prefix}'''");
        let [user] = printed_users(&format!("{prefix_line}\n{caches}"));
        user.give(&redis, &[]);
        Sidecar::start_with(&prefix_line, &caches).expect_up();
        let may_read = |key: &str| redis.command(&["ACL", "DRYRUN", "canary", "GET", key]);
        assert_eq!(may_read(&format!("{prefix}canary:x")), "OK");
        assert_ne!(may_read(&format!("{other}canary:x")), "OK", "{prefix}");
    }
}

#[test]
fn aliases_of_one_server_and_user_have_one_line_with_the_rights_of_all() {
    let text = printed(
        "[caches.one]\nurl = \"redis://canary:s3cret@cache/2\"\nreplicas = [\"replica\"]\n\
         [caches.two]\nurl = \"redis://canary:s3cret@CACHE\"\nreplicas = \"discover\"\n\
         [caches.three]\nurl = \"redis://another:s3cret@cache\"",
    );
    let expected = "\
# For a new user, set a password: add >PASSWORD after `on`.
# one, two: on cache:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +cluster|info +get +ping +role +select \
                    +set
# only for Valkey 9.1 or later, which limits users to databases; other servers reject this line
ACL SETUSER canary resetdbs db=0,2
# one, two: on replica:6379, each replica of cache:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +get +select
# only for Valkey 9.1 or later, which limits users to databases; other servers reject this line
ACL SETUSER canary resetdbs db=0,2
# three: on cache:6379
ACL SETUSER another on resetkeys ~djblets-canary:* resetchannels -@all +cluster|info +get +ping +set
# if a Valkey (9.1 or later) limits this user to other databases: ACL SETUSER another resetdbs db=0
";
    assert_eq!(text, expected);
}

#[test]
fn clusters_and_sentinels_have_the_rights_to_be_asked() {
    let text = printed(
        "[caches.cluster]\nurl = \"redis+cluster://canary:s3cret@a,b\"\n\
         [caches.watched]\nurl = \"redis+sentinel://canary:s3cret@s1,s2/mymaster/1\"\n\
         sentinel_username = \"watcher\"\nsentinel_password = \"s3cret\"",
    );
    let expected = "\
# For a new user, set a password: add >PASSWORD after `on`.
# cluster: on every node of the cluster at a:6379, b:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +asking +cluster|info +cluster|slots +get \
                    +ping +set
# if a Valkey (9.1 or later) limits this user to other databases: ACL SETUSER canary resetdbs db=0
# watched: on every server of mymaster, because each may become the primary
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +get +ping +role +select +set
# only for Valkey 9.1 or later, which limits users to databases; other servers reject this line
ACL SETUSER canary resetdbs db=1
# watched: on the Sentinels at s1:26379, s2:26379
ACL SETUSER watcher on resetkeys resetchannels -@all +sentinel|get-master-addr-by-name +sentinel|master
";
    assert_eq!(text, expected);
}

#[test]
fn each_kind_of_check_has_its_commands_and_its_keys() {
    let text = printed(
        "[caches.main]\nurl = \"redis://canary:s3cret@cache\"\n\
         [caches.main.checks.visibility]\n\
         views = [\"redis://one/2\", \"redis://reader:s3cret@two\", \"redis://:s3cret@three\", \"memcached://mc\"]\n\
         [caches.main.checks.queue]\nkeys = [\"b:p\", \"b:p:{0..15}\", \"a b\"]\nlock = \"l:b:p\"\n\
         [caches.main.checks.clock]\npartitions = \"clocks\"\nglobal = \"clock\"\n\
         [caches.main.checks.efficiency]\nttl = { pattern = \"s:[ab]*\", max = \"1m\" }\n\
         [caches.two]\nurl = \"redis://reader:s3cret@two\"\nchecks.efficiency = {}\n\
         [caches.sessions]\nservers = \"mc\"\nchecks.visibility.views = [\"redis://both\"]",
    );
    let expected = "\
# sessions: memcached has no ACL, so no rights are needed
# For a new user, set a password: add >PASSWORD after `on`.
# main: on cache:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* ~b:p ~b:p:[0-9] ~b:p:1[0-5] ~a?b ~l:b:p ~clocks ~clock \
                    ~s:[ab]* resetchannels -@all +cluster|info +del +get +hlen +info +llen +ping +pttl +scan +scard +set +type \
                    +xinfo|groups +xlen +xpending +xrange +zcard +zcount +zrange
# if a Valkey (9.1 or later) limits this user to other databases: ACL SETUSER canary resetdbs db=0
# main: on one:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +cluster|info +get +select
# only for Valkey 9.1 or later, which limits users to databases; other servers reject this line
ACL SETUSER canary resetdbs db=2
# main, two: on two:6379
ACL SETUSER reader on resetkeys ~djblets-canary:* resetchannels -@all +cluster|info +get +info +ping +set
# if a Valkey (9.1 or later) limits this user to other databases: ACL SETUSER reader resetdbs db=0
# main: on three:6379; to log in with it, add the user and its password to the view's URL
ACL SETUSER cache-canary on resetkeys ~djblets-canary:* resetchannels -@all +cluster|info +get
# sessions: on both:6379; to log in with it, add the user and its password to the view's URL
ACL SETUSER cache-canary on resetkeys ~djblets-canary:* resetchannels -@all +cluster|info +get
";
    assert_eq!(text, expected);
}

#[test]
fn queues_and_clocks_of_clusters_and_sentinels_are_granted_on_each_server() {
    let text = printed(
        "[caches.cluster]\nurl = \"redis+cluster://canary:s3cret@a\"\n\
         checks.clock.partitions = \"clocks\"\n\
         [caches.watched]\nurl = \"redis+sentinel://canary:s3cret@s1/mymaster\"\n\
         checks.queue.keys = \"celery\"",
    );
    let expected = "\
# For a new user, set a password: add >PASSWORD after `on`.
# cluster: on every node of the cluster at a:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* ~clocks resetchannels -@all +asking +cluster|info \
                    +cluster|slots +get +ping +set +zcard +zrange
# if a Valkey (9.1 or later) limits this user to other databases: ACL SETUSER canary resetdbs db=0
# watched: on every server of mymaster, because each may become the primary
ACL SETUSER canary on resetkeys ~djblets-canary:* ~celery resetchannels -@all +get +hlen +llen +ping +role +scard +set \
                    +type +xinfo|groups +xlen +xpending +xrange +zcard +zcount +zrange
# if a Valkey (9.1 or later) limits this user to other databases: ACL SETUSER canary resetdbs db=0
# watched: on the Sentinels at s1:26379; to log in with it, set sentinel_username = \"cache-canary\" and its \
                    password
ACL SETUSER cache-canary on resetkeys resetchannels -@all +sentinel|get-master-addr-by-name +sentinel|master
";
    assert_eq!(text, expected);
}

#[test]
fn a_user_may_read_the_keys_of_its_checks_and_no_others() {
    let redis = Redis::start(&[]);
    let config = format!(
        "[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}\"\n\
         checks.clock.preset = \"sentry-monitors\"\nchecks.efficiency.ttl = {{ pattern = \"s:*\", max = \"1m\" }}\n\
         [caches.main.checks.queue]\nkeys = [\"celery\\u0006\\u00163\", \"b:p:{{8..123}}\", \"my \\\"jobs\\\"\"]",
        redis.addr()
    );
    let [user] = printed_users(&config);
    user.give(&redis, &[]);
    let may = |words: &[&str]| redis.command(&[&["ACL", "DRYRUN", "canary"], words].concat()) == "OK";
    for key in ["celery\x06\x163", "b:p:8", "b:p:10", "b:p:99", "b:p:123", "my \"jobs\""] {
        assert!(may(&["ZCARD", key]) && may(&["XINFO", "GROUPS", key]), "{key}");
    }
    for key in ["celery", "celery\x06\x166", "b:p", "b:p:7", "b:p:124", "b:p:010", "s"] {
        assert!(!may(&["ZCARD", key]), "{key}");
    }
    assert!(may(&["GET", "sentry.monitors.last_tasks_ts"]) && may(&["PTTL", "s:1"]));
    assert!(may(&["INFO"]) && may(&["SCAN", "0", "MATCH", "s:*"]));
    assert!(!may(&["KEYS", "*"]) && !may(&["LPOP", "b:p:8"]) && !may(&["XINFO", "STREAM", "b:p:8"]));
}

#[test]
fn without_a_user_one_is_named_with_the_settings_to_log_in_as_it() {
    let text = printed("[caches.main]\nurl = \"redis://:s3cret@cache\"");
    let comment =
        "# main: on cache:6379; to log in with it, set username = \"cache-canary\" and its password\n";
    assert!(text.contains(comment), "{text}");
    assert!(text.contains("\nACL SETUSER cache-canary on "), "{text}");
}

#[test]
fn memcached_alone_has_nothing_to_allow() {
    let text = printed("[caches.main]\nservers = [\"mc-1\"]\n[caches.other]\nservers = [\"mc-2\"]");
    assert_eq!(text, "# main, other: memcached has no ACL, so no rights are needed\n");
}

#[test]
fn some_aliases_are_printed_and_one_that_is_not_there_is_named() {
    let config = "[caches.one]\nurl = \"redis://one\"\n[caches.two]\nurl = \"redis://two\"\n\
                  [caches.default]\nbackend = \"forwarding\"\nlocation = \"two\"";
    let text = String::from_utf8(run(&["acl", "default"], config).stdout).unwrap();
    assert!(text.contains("# two: on two:6379") && !text.contains("one:6379"), "{text}");
    let output = run(&["acl", "three"], config);
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "error: no cache is named `three`; the configured ones are one, two, default\n");
    assert_eq!(run(&["acl"], "nonsense").status.code(), Some(2));
}

#[test]
fn a_user_of_another_database_is_forbidden_until_it_has_what_is_printed() {
    if !knows_databases() {
        return;
    }
    let redis = Redis::start(&[]);
    let config = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}/2\"", redis.addr());
    let [user] = printed_users(&config);
    redis.set_user("canary", "on >s3cret ~* +@all db=0");
    let sidecar = Sidecar::start_with(DIAL, &config);
    assert!(sidecar.expect_down("forbidden").contains("(database 2)"));
    let hint = sidecar.health().body["errors"]["cache.main"].to_string();
    assert!(hint.contains("may not use this database") && hint.contains("`db=`"), "{hint}");
    for line in printed(&config).lines().filter(|line| line.starts_with("ACL ")) {
        redis.command(&line.split(' ').collect::<Vec<_>>());
    }
    sidecar.expect_up();
    user.give(&redis, &[]);
    sidecar.expect_up();

    let config = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}\"", redis.addr());
    redis.set_user("canary", "on >s3cret ~* +@all resetdbs db=3");
    let sidecar = Sidecar::start_with(DIAL, &config);
    assert!(sidecar.expect_down("forbidden").contains("(database 0)"));
    let text = printed(&config);
    let (_, rule) = text.split_once("to other databases: ").expect("a rule");
    redis.command(&rule.split_whitespace().collect::<Vec<_>>());
    sidecar.expect_up();
}

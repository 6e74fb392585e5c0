//! Shards: each has a canary of its own, and a fault of one is that of the alias, or a degradation within the quorum.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use crate::support::acl::{PASSWORD, printed_users};
use crate::support::{Authority, Identity, Redis, Sidecar};

/// An alias of shards with these URLs.
fn shards(urls: &[String], settings: &str) -> String {
    format!("[caches.main]\ntopology = \"shards\"\nservers = {urls:?}\n{settings}")
}

fn four() -> ([Redis; 4], [String; 4]) {
    let servers = [(); 4].map(|()| Redis::start(&[]));
    let urls = servers.each_ref().map(|server| format!("redis://{}/0", server.addr()));
    (servers, urls)
}

/// The causes of the nodes, in the order of the shards; empty for those that are up.
fn causes(sidecar: &Sidecar) -> Vec<String> {
    sidecar.health().nodes().into_iter().map(|(_, _, cause)| cause).collect()
}

#[test]
fn every_shard_has_a_canary_and_a_fault_names_its_shard() {
    let (mut servers, urls) = four();
    let sidecar = Sidecar::start(shards(&urls, ""));
    for _ in 0..2 {
        sidecar.expect_up();
        for server in &servers {
            assert_ne!(server.command(&["DBSIZE"]), "0");
        }
        servers[2].kill();
        let words = sidecar.expect_down("refused");
        assert!(words.starts_with(&servers[2].addr().to_string()), "{words}");
        assert_eq!(causes(&sidecar), ["", "", "refused", ""]);
        servers[2].restart();
        sidecar.expect_up();
        servers[1].become_orphan();
        assert!(sidecar.expect_down("read_only").starts_with(&servers[1].addr().to_string()));
        servers[1].become_primary();
        sidecar.expect_up();
        servers[3].stop();
        assert!(sidecar.expect_down("timed_out").starts_with(&servers[3].addr().to_string()));
        servers[3].cont();
    }
    sidecar.expect_up();
}

#[test]
fn with_a_quorum_shards_are_degraded_before_they_are_down() {
    let (mut servers, urls) = four();
    let sidecar = Sidecar::start(shards(&urls, "quorum = 3"));
    for _ in 0..2 {
        sidecar.expect_up();
        servers[0].kill();
        assert!(sidecar.expect_degraded("refused").starts_with(&servers[0].addr().to_string()));
        let error = sidecar.health().body["errors"]["cache.main"].to_string();
        assert!(error.contains("3 of 4 servers up, and the quorum is 3"), "{error}");
        servers[1].fill();
        sidecar.expect_down("refused");
        assert_eq!(causes(&sidecar), ["refused", "out_of_memory", "", ""]);
        servers[1].make_room();
        sidecar.expect_degraded("refused");
        servers[0].restart();
    }
    sidecar.expect_up();
}

#[test]
fn each_shard_has_a_password_a_database_and_tls_of_its_own() {
    let authority = Authority::new();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), authority.certificate()).unwrap();
    let secure = Redis::start_tls(&authority.issue(&["127.0.0.1"]), None);
    let closed = Redis::start(&["--requirepass", "first-password"]);
    let other = Redis::start(&["--requirepass", "second-password"]);
    let url = |scheme: &str, password: &str, server: &Redis, database: u32| {
        format!("{scheme}://:{password}@{}/{database}", server.addr())
    };
    let urls = [
        format!("rediss://@{}/0", secure.addr()),
        url("redis", "first-password", &closed, 1),
        other.addr().to_string(),
    ];
    let ca_file = format!("tls = {{ ca_file = \"{}\" }}", ca.path().display());
    // Without a scheme a shard has the password and the TLS settings of the alias.
    let all = Sidecar::start(shards(&urls, &format!("password = \"second-password\"\n{ca_file}")));
    all.expect_down("tls");
    assert_eq!(causes(&all), ["", "", "tls"]);
    let urls = [&urls[..2], &[format!("redis://{}/2", other.addr())]].concat();
    let sidecar = Sidecar::start_with(
        "reconnect_every = \"0s\"",
        shards(&urls, &format!("password = \"second-password\"\n{ca_file}")),
    );
    sidecar.expect_up();
    assert!(closed.info("db1").starts_with("keys="));
    assert!(other.info("db2").starts_with("keys="));
    closed.command(&["CONFIG", "SET", "requirepass", "third-password"]);
    let words = sidecar.expect_down("auth");
    assert!(words.starts_with(&closed.addr().to_string()) && !words.contains("first-password"), "{words}");
    closed.command(&["CONFIG", "SET", "requirepass", "first-password"]);
    sidecar.expect_up();
}

#[test]
fn two_databases_of_one_server_are_two_shards() {
    let redis = Redis::start(&[]);
    let urls = [0, 5].map(|database| format!("redis://:@{}/{database}", redis.addr()));
    let sidecar = Sidecar::start(shards(&urls, ""));
    sidecar.expect_up();
    let names: Vec<_> = sidecar.health().nodes().into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(names, [0, 5].map(|database| format!("{}/{database}", redis.addr())));
    redis.fill();
    sidecar.expect_down("out_of_memory");
    redis.make_room();
    sidecar.expect_up();
}

#[test]
fn the_replicas_of_each_shard_are_found() {
    let (servers, urls) = four();
    let replica = Redis::start(&[]);
    replica.become_replica_of(&servers[1]);
    let sidecar = Sidecar::start(shards(&urls, "replicas = \"discover\""));
    sidecar.expect_up();
    assert_eq!(sidecar.health().nodes().len(), 5);
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(sidecar.expect_degraded("behind").starts_with(&replica.addr().to_string()));
    replica.become_replica_of(&servers[1]);
    sidecar.expect_up();
    let required = Sidecar::start(shards(&urls, "replicas = \"required\""));
    let words = required.expect_down("unreachable");
    let lacks_one = |server: &Redis| words.starts_with(&format!("replicas of {}", server.addr()));
    assert!([0, 2, 3].iter().any(|&number| lacks_one(&servers[number])), "{words}");
}

#[test]
fn the_printed_users_are_enough_for_shards_and_with_a_right_less_they_are_not() {
    let servers = [(); 3].map(|()| Redis::start(&[]));
    let url =
        |user: &str, server: usize| format!("redis://{user}:{PASSWORD}@{}/{server}", servers[server].addr());
    let config = shards(&[url("canary", 0), url("canary", 1), url("other", 2)], "");
    let users: [_; 2] = printed_users(&config);
    let give = |without: &[&str]| {
        users[0].give(&servers[0], &[]);
        users[0].give(&servers[1], without);
        users[1].give(&servers[2], &[]);
    };
    give(&[]);
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", &config);
    sidecar.expect_up();
    for right in ["+set", "+get", "+select", "~djblets-canary:*"] {
        give(&[right]);
        assert!(sidecar.expect_down("forbidden").starts_with(&servers[1].addr().to_string()), "{right}");
        give(&[]);
        sidecar.expect_up();
    }
}

#[test]
fn the_clusters_of_sentry_are_read_with_what_each_host_has_of_its_own() {
    let (mut servers, _) = four();
    let closed = Redis::start(&["--requirepass", "first/password"]);
    let host = |number: usize, server: &Redis, more: &str| {
        format!("\"{number}\": {{\"host\": \"127.0.0.1\", \"port\": \"{}\"{more}}}", server.port())
    };
    let hosts = [
        host(2, &servers[2], ", \"db\": \"3\""),
        host(0, &servers[0], ", \"password\": \"\""),
        host(1, &closed, ", \"password\": \"first/password\", \"db\": 2"),
    ];
    let file = tempfile::NamedTempFile::new().unwrap();
    let single = host(0, &servers[3], "");
    let clusters = format!(
        "{{\"redis.clusters\": {{\"main\": {{\"hosts\": {{{}}}}}, \"single\": {{\"hosts\": {{{single}}}}}}}}}",
        hosts.join(", ")
    );
    std::fs::write(file.path(), clusters).unwrap();
    let sidecar = Sidecar::start_with(&format!("sentry_redis = \"{}\"", file.path().display()), "");
    sidecar.expect_up();
    let names: Vec<_> = sidecar.health().nodes().into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(names, [&servers[0], &closed, &servers[2]].map(|server| server.addr().to_string()));
    assert!(closed.info("db2").starts_with("keys=") && servers[2].info("db3").starts_with("keys="));
    servers[2].kill();
    assert!(sidecar.expect_down("refused").starts_with(&servers[2].addr().to_string()));
    servers[2].restart();
    sidecar.expect_up();
}

/// Two servers of two authorities and one of a third that nobody trusts, each at `localhost`, and the files of the first two.
struct Secure {
    files: tempfile::TempDir,
    authorities: [Authority; 2],
    servers: [Redis; 3],
}

impl Secure {
    fn start() -> Self {
        let authorities = [(); 2].map(|()| Authority::new());
        let third = Authority::new();
        let servers = [&authorities[0], &authorities[1], &third]
            .map(|authority| Redis::start_tls(&authority.issue(&["localhost"]), None));
        let secure = Self { files: tempfile::tempdir().unwrap(), authorities, servers };
        for (number, authority) in secure.authorities.iter().enumerate() {
            secure.write(&format!("ca-{number}.pem"), &authority.certificate());
        }
        secure
    }

    fn write(&self, name: &str, pem: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn ca(&self, number: usize) -> String {
        self.files.path().join(format!("ca-{number}.pem")).to_str().unwrap().to_owned()
    }

    /// Gives a server another certificate.
    fn show(&self, server: usize, identity: &Identity) {
        let certificate = self.write("shown.pem", identity.certificate());
        let key = self.write("shown.key", identity.key());
        let command = ["CONFIG", "SET", "tls-cert-file", &certificate, "tls-key-file", &key];
        self.servers[server].command(&command);
    }

    /// Expects each of the first two servers to be the faulty one when it shows a certificate of the other's authority.
    fn expect_each_to_be_judged_by_its_own(&self, sidecar: &Sidecar) {
        sidecar.expect_up();
        for server in [0, 1] {
            self.show(server, &self.authorities[1 - server].issue(&["localhost"]));
            let words = sidecar.expect_down("tls");
            assert!(words.starts_with(&format!("localhost:{}", self.servers[server].port())), "{words}");
            assert_eq!(causes(sidecar).iter().filter(|cause| !cause.is_empty()).count(), 1);
            self.show(server, &self.authorities[server].issue(&["localhost"]));
            sidecar.expect_up();
        }
    }
}

#[test]
fn each_shard_is_verified_against_an_authority_of_its_own() {
    let secure = Secure::start();
    let server = |number: usize, tls: &str| {
        let port = secure.servers[number].port();
        format!("{{ url = \"rediss://localhost:{port}/0\", tls = {{ {tls} }} }}")
    };
    let ca = |number: usize| format!("ca_file = {:?}", secure.ca(number));
    let servers = [server(0, &ca(0)), server(1, &ca(1)), server(2, "verify = \"none\"")].join(", ");
    let config = format!("[caches.main]\ntopology = \"shards\"\nservers = [{servers}]");
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", &config);
    secure.expect_each_to_be_judged_by_its_own(&sidecar);
    let unverified = format!("certificates of localhost:{} are not verified", secure.servers[2].port());
    assert!(sidecar.log().contains(&unverified), "{}", sidecar.log());
    // The file of a shard alone is read again when it changes.
    std::fs::write(secure.ca(1), secure.authorities[0].certificate()).unwrap();
    sidecar.wait_for_log("the new configuration is in force", 1);
    let words = sidecar.expect_down("tls");
    assert!(words.starts_with(&format!("localhost:{}", secure.servers[1].port())), "{words}");
    assert_eq!(causes(&sidecar), ["", "tls", ""]);
    std::fs::write(secure.ca(1), secure.authorities[1].certificate()).unwrap();
    sidecar.wait_for_log("the new configuration is in force", 2);
    sidecar.expect_up();
}

#[test]
fn the_tls_settings_of_hosts_of_sentry_and_of_locations_of_django_are_those_of_their_servers() {
    let secure = Secure::start();
    let host = |number: usize, options: String| {
        let port = secure.servers[number].port();
        format!(
            "{{\"host\": \"localhost\", \"port\": {port}, \"ssl\": true, \"ssl_options\": {{{options}}}}}"
        )
    };
    let ca = |number: usize| format!("\"ca_certs\": {:?}", secure.ca(number));
    let hosts = [host(0, ca(0)), host(1, ca(1)), host(2, "\"cert_reqs\": \"none\"".to_owned())].join(", ");
    let clusters = secure.write("clusters.json", &format!("{{\"main\": {{\"hosts\": [{hosts}]}}}}"));
    let location = |number: usize, parameter: String| {
        format!("\"rediss://localhost:{}/0?{parameter}\"", secure.servers[number].port())
    };
    let ca = |number: usize| format!("ssl_ca_certs={}", secure.ca(number));
    let locations = [location(0, ca(0)), location(1, ca(1)), location(2, "ssl_cert_reqs=none".to_owned())];
    let caches = format!(
        "{{\"main\": {{\"BACKEND\": \"django_redis.cache.RedisCache\", \"LOCATION\": [{}], \
         \"OPTIONS\": {{\"CLIENT_CLASS\": \"django_redis.client.ShardClient\"}}}}}}",
        locations.join(", ")
    );
    let caches = secure.write("caches.json", &caches);
    for setting in [format!("sentry_redis = {clusters:?}"), format!("django_caches = {caches:?}")] {
        let sidecar = Sidecar::start_with(&format!("reconnect_every = \"0s\"\n{setting}"), "");
        secure.expect_each_to_be_judged_by_its_own(&sidecar);
    }
}

#[test]
fn the_named_replicas_of_a_shard_are_reached_as_the_shard_is() {
    let [first, second, alone] = ["first-password", "second-password", "first-password"]
        .map(|password| Redis::start(&["--requirepass", password, "--masterauth", password]));
    let replicas = [
        (&first, Redis::start(&["--requirepass", "first-password", "--masterauth", "first-password"])),
        (&second, Redis::start(&["--requirepass", "second-password", "--masterauth", "second-password"])),
    ]
    .map(|(primary, replica)| {
        replica.become_replica_of(primary);
        replica
    });
    let shard = |primary: &Redis, password: &str, replica: &Redis| {
        let (primary, replica) = (primary.addr(), replica.addr());
        format!("{{ url = \"redis://:{password}@{primary}/0\", replicas = [\"{replica}\"] }}")
    };
    let servers = [
        shard(&first, "first-password", &replicas[0]),
        shard(&second, "second-password", &replicas[1]),
        format!("\"redis://:first-password@{}/0\"", alone.addr()),
    ];
    let config = |more: &str| {
        format!("[caches.main]\ntopology = \"shards\"\nservers = [{}]\n{more}", servers.join(", "))
    };
    let [tolerant, required] =
        ["", "replicas = { required = true }"].map(|more| Sidecar::start(config(more)));
    let name = replicas[1].addr().to_string();
    for _ in 0..2 {
        tolerant.expect_up();
        required.expect_up();
        assert_eq!(tolerant.health().nodes().len(), 5);
        replicas[1].stop();
        assert!(tolerant.expect_degraded("timed_out").starts_with(&name));
        assert!(required.expect_down("timed_out").starts_with(&name));
        replicas[1].cont();
        tolerant.expect_up();
    }
    required.expect_up();
}

#[test]
fn the_printed_users_are_enough_for_the_named_replicas_of_a_shard() {
    let [primary, replica] = [(); 2].map(|()| Redis::start(&[]));
    replica.become_replica_of(&primary);
    let (at, of_it) = (primary.addr(), replica.addr());
    let config = format!(
        "[caches.main]\ntopology = \"shards\"\n\
         servers = {{ url = \"redis://canary:{PASSWORD}@{at}/0\", replicas = \"{of_it}\" }}"
    );
    let users: [_; 2] = printed_users(&config);
    users[0].give(&primary, &[]);
    users[1].give(&replica, &[]);
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", &config);
    sidecar.expect_up();
    users[1].give(&replica, &["+get"]);
    assert!(sidecar.expect_degraded("forbidden").starts_with(&of_it.to_string()));
    users[1].give(&replica, &[]);
    sidecar.expect_up();
}

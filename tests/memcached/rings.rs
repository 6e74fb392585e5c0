//! Rings of memcached servers, named, with a quorum, and found: by a name with several addresses and by a
//! configuration endpoint. For each healthy before, the right status, cause and node at the first request
//! after the fault begins, within the deadline, and up again at the first request after it ends.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::support::{Authority, Endpoint, Memcached, Names, Port, Sidecar};

fn ring(servers: &[String], quorum: &str) -> String {
    format!("[caches.main]\nbackend = \"memcached\"\nservers = {servers:?}\nquorum = {quorum}")
}

/// Servers on one port of several addresses of this machine.
fn on_one_port() -> [Memcached; 3] {
    let ports = Port::reserve_each([1, 2, 3].map(|host| Ipv4Addr::new(127, 0, 0, host).into()));
    ports.map(|port| Memcached::start_at(port, &[]))
}

/// The names of the nodes with their roles, those that are not up with their causes.
fn nodes(sidecar: &Sidecar) -> Vec<String> {
    let nodes = sidecar.health().nodes();
    let said = nodes.into_iter().map(|(role, node, cause)| format!("{role} {node} {cause}"));
    said.map(|node| node.trim_end().to_owned()).collect()
}

fn up(servers: &[&Memcached]) -> Vec<String> {
    servers.iter().map(|server| format!("server {}", server.addr())).collect()
}

#[test]
fn with_a_quorum_a_ring_is_degraded_before_it_is_down() {
    let mut servers = [(); 3].map(|()| Memcached::start(&[]));
    let addrs = servers.each_ref().map(|server| server.addr().to_string());
    let sidecar = Sidecar::start(ring(&addrs, "2"));
    let all = Sidecar::start(ring(&addrs, "\"all\""));
    for _ in 0..2 {
        sidecar.expect_up();
        all.expect_up();
        servers[1].kill();
        let words = sidecar.expect_degraded("refused");
        assert!(words.starts_with(&addrs[1]), "{words}");
        let error = sidecar.health().body["errors"]["cache.main"].to_string();
        assert!(error.contains("2 of 3 servers up, and the quorum is 2"), "{error}");
        all.expect_down("refused");
        servers[2].stop();
        sidecar.expect_down("refused");
        let causes: Vec<_> = sidecar.health().nodes().into_iter().map(|(_, _, cause)| cause).collect();
        assert_eq!(causes, ["", "refused", "timed_out"]);
        servers[2].cont();
        assert!(sidecar.expect_degraded("refused").starts_with(&addrs[1]));
        servers[1].restart();
        sidecar.expect_up();
    }
}

#[test]
fn every_address_of_a_name_is_a_node() {
    let [mut one, two, three] = on_one_port();
    let names = Names::new();
    names.give("mc.test", &["127.0.0.2", "127.0.0.1"]);
    let server = format!("dns+all:mc.test:{}", one.port());
    let sidecar = Sidecar::start_knowing(&names, "", ring(&[server], "\"all\""));
    sidecar.expect_up();
    assert_eq!(nodes(&sidecar), up(&[&one, &two]));
    // One that is added is there at the next request, and those before keep their connections.
    names.give("mc.test", &["127.0.0.3", "127.0.0.2", "127.0.0.1", "127.0.0.1"]);
    let health = sidecar.health();
    let connected = [0, 1, 2]
        .map(|node| health.body["details"]["cache.main"]["nodes"][node]["phases_ms"]["connect"].is_number());
    assert_eq!((health.code, connected), (200, [false, false, true]), "{:#}", health.body);
    one.kill();
    assert!(sidecar.expect_down("refused").starts_with(&one.addr().to_string()));
    // One that is taken out is no concern any more.
    names.give("mc.test", &["127.0.0.2", "127.0.0.3"]);
    sidecar.expect_up();
    assert_eq!(nodes(&sidecar), up(&[&two, &three]));
    names.give("mc.test", &["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    sidecar.expect_down("refused");
    one.restart();
    sidecar.expect_up();
    three.stop();
    assert!(sidecar.expect_down("timed_out").starts_with(&three.addr().to_string()));
    three.cont();
    sidecar.expect_up();
}

#[test]
fn a_name_without_addresses_is_unresolvable() {
    let [one, two, _three] = on_one_port();
    let names = Names::new();
    let server = format!("dns+all:mc.test:{}", one.port());
    let sidecar = Sidecar::start_knowing(&names, "", ring(std::slice::from_ref(&server), "\"all\""));
    let quorum = Sidecar::start_knowing(&names, "", ring(&[server], "2"));
    for _ in 0..2 {
        for sidecar in [&sidecar, &quorum] {
            let words = sidecar.expect_down("unresolvable");
            assert!(words.starts_with(&format!("mc.test:{} resolve ", one.port())), "{words}");
        }
        names.give("mc.test", &["127.0.0.1"]);
        sidecar.expect_up();
        let words = quorum.expect_down("unresolvable");
        assert!(words.ends_with("1 servers found, fewer than the quorum of 2"), "{words}");
        names.give("mc.test", &["127.0.0.1", "127.0.0.2"]);
        quorum.expect_up();
        assert_eq!(nodes(&quorum), up(&[&one, &two]));
        names.give("mc.test", &[]);
    }
}

#[test]
fn found_servers_stand_beside_named_ones_and_each_is_checked_once() {
    let [one, two, three] = on_one_port();
    let names = Names::new();
    names.give("mc.test", &["127.0.0.1", "127.0.0.2"]);
    names.give("more.test", &["127.0.0.2"]);
    let servers = [format!("dns+all:mc.test:{}", one.port()), format!("dns+all:more.test:{}", one.port())];
    let servers = [&servers[..], &[one.addr().to_string(), three.addr().to_string()]].concat();
    let sidecar = Sidecar::start_knowing(&names, "", ring(&servers, "3"));
    for _ in 0..3 {
        sidecar.expect_up();
        assert_eq!(nodes(&sidecar), up(&[&one, &three, &two]));
    }
}

#[test]
fn names_have_addresses_of_both_families() {
    let ports = Port::reserve_each([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    let [four, mut six] = ports.map(|port| Memcached::start_at(port, &[]));
    let names = Names::new();
    names.give("mc.test", &["::1", "127.0.0.1"]);
    let server = format!("dns+all:mc.test:{}", four.port());
    let sidecar = Sidecar::start_knowing(&names, "", ring(&[server], "1"));
    sidecar.expect_up();
    assert_eq!(nodes(&sidecar), up(&[&four, &six]));
    six.kill();
    assert!(sidecar.expect_degraded("refused").starts_with(&six.addr().to_string()));
    six.restart();
    sidecar.expect_up();
}

#[test]
fn the_certificate_of_a_found_server_has_the_name_that_it_was_found_by() {
    let authority = Authority::new();
    let server = Memcached::start_tls(&authority.issue(&["mc.test"]), None);
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, authority.certificate()).unwrap();
    let names = Names::new();
    names.give("mc.test", &["127.0.0.1"]);
    names.give("other.test", &["127.0.0.1"]);
    let hold = |host: &str| {
        let text = format!("1\n{host}|127.0.0.1|{}\n", server.port());
        server.command(&format!("set AmazonElastiCache:cluster 0 0 {}\r\n{text}", text.len()));
    };
    let sidecar = |found: &str| {
        let servers = ring(&[format!("{found}:{}", server.port())], "1");
        Sidecar::start_knowing(&names, "", format!("{servers}\ntls = {{ ca_file = {ca_file:?} }}"))
    };
    sidecar("dns+all:mc.test").expect_up();
    assert!(sidecar("dns+all:other.test").expect_down("tls").contains("not valid for name \"other.test\""));
    hold("mc.test");
    let found = sidecar("discover:mc.test");
    found.expect_up();
    hold("other.test");
    assert!(found.expect_down("tls").contains("not valid for name \"other.test\""));
    hold("mc.test");
    found.expect_up();
}

#[test]
fn the_servers_that_an_endpoint_names_are_followed() {
    let [mut one, two, three] = on_one_port();
    let member = |server: &Memcached| format!("mc.example|{}|{}", server.addr().ip(), server.port());
    let endpoint = Endpoint::start(&[member(&one), format!("127.0.0.2||{}", two.port())]);
    let asked = format!("endpoint {}", endpoint.addr());
    let sidecar = Sidecar::start(ring(&[format!("discover:{}", endpoint.addr())], "\"all\""));
    let with_endpoint = |servers: &[&Memcached]| [up(servers), vec![asked.clone()]].concat();
    for _ in 0..3 {
        sidecar.expect_up();
        let mut found = nodes(&sidecar);
        found.sort_by_key(|node| node.starts_with("endpoint"));
        found[..2].sort();
        assert_eq!(found, with_endpoint(&[&one, &two]));
    }
    endpoint.name(&[member(&one), member(&two), member(&three)]);
    sidecar.expect_up();
    assert_eq!(nodes(&sidecar), with_endpoint(&[&one, &two, &three]));
    one.kill();
    assert!(sidecar.expect_down("refused").starts_with(&one.addr().to_string()));
    endpoint.name(&[member(&two), member(&three)]);
    sidecar.expect_up();
    assert_eq!(nodes(&sidecar), with_endpoint(&[&two, &three]));
    one.restart();
    endpoint.name(&[member(&one), member(&two), member(&three)]);
    sidecar.expect_up();
    // A server that hangs and is taken out is not waited for.
    three.stop();
    sidecar.expect_down("timed_out");
    endpoint.name(&[member(&one), member(&two)]);
    let health = sidecar.health();
    let elapsed = health.body["details"]["cache.main"]["elapsed_ms"].as_f64().unwrap();
    assert!(health.code == 200 && elapsed < 750.0, "{:#}", health.body);
}

#[test]
fn without_its_endpoint_a_ring_is_degraded_and_down_if_no_server_is_known() {
    let [mut one, two, _three] = on_one_port();
    let members = [&one, &two].map(|server| format!("mc|{}|{}", server.addr().ip(), server.port()));
    let endpoint = Endpoint::start(&members);
    let caches = ring(&[format!("discover:{}", endpoint.addr())], "1");
    let (sidecar, names_none) = (Sidecar::start(&caches), endpoint.addr().to_string());
    sidecar.expect_up();
    endpoint.close();
    for _ in 0..2 {
        assert!(sidecar.expect_degraded("refused").starts_with(&names_none));
        assert!(Sidecar::start(&caches).expect_down("refused").starts_with(&names_none));
    }
    // The known servers are looked after all the same.
    two.stop();
    assert!(sidecar.expect_degraded("timed_out").starts_with(&two.addr().to_string()));
    one.kill();
    sidecar.expect_down("refused");
    one.restart();
    two.cont();
    sidecar.expect_degraded("refused");
    endpoint.listen();
    sidecar.expect_up();
    for (answer, cause, said) in [
        ("CONFIG cluster 0 4\r\n12\n\n\r\nEND\r\n", "protocol", "lists no server"),
        ("CONFIG cluster 0 9999999\r\n", "protocol", "longer than this command allows"),
        ("CONFIG cluster 0 4\r\n12\n\n\r\nERROR\r\n", "protocol", "not followed by END"),
        ("CONFIG cluster 0 4\r\n12\n\n\r\nEND\r\nEND\r\n", "protocol", ""),
        ("what?\r\n", "protocol", "not memcached's text protocol"),
        ("ERROR\r\n", "forbidden", "ERROR"),
        ("SERVER_ERROR busy\r\n", "unreachable", "busy"),
        ("CONFIG cluster 0 60", "timed_out", "no answer"),
    ] {
        endpoint.answer(answer);
        let words = sidecar.expect_degraded(cause);
        assert!(words.starts_with(&names_none) && words.contains(said), "{answer:?}: {words}");
        let words = Sidecar::start(&caches).expect_down(cause);
        assert!(words.starts_with(&names_none) && words.contains(said), "{answer:?}: {words}");
        endpoint.name(&members);
        sidecar.expect_up();
    }
}

#[test]
fn an_older_configuration_brings_no_server_back() {
    let [mut one, mut two, three] = on_one_port();
    let member = |server: &Memcached| format!("mc|{}|{}", server.addr().ip(), server.port());
    let endpoint = Endpoint::start(&[]);
    endpoint.name_in(12, &[member(&one), member(&two)]);
    let sidecar = Sidecar::start(ring(&[format!("discover:{}", endpoint.addr())], "\"all\""));
    sidecar.expect_up();
    two.kill();
    sidecar.expect_down("refused");
    endpoint.name_in(13, &[member(&one)]);
    sidecar.expect_up();
    // An address behind its name has not heard of the change, now and then or for long.
    for _ in 0..3 {
        endpoint.name_in(12, &[member(&one), member(&two)]);
        (0..3).for_each(|_| sidecar.expect_up());
        endpoint.name_in(13, &[member(&one)]);
        sidecar.expect_up();
    }
    // That a known server fails brings no removed one back.
    endpoint.name_in(12, &[member(&one), member(&two)]);
    one.kill();
    for _ in 0..3 {
        assert!(sidecar.expect_down("refused").starts_with(&one.addr().to_string()));
        assert_eq!(sidecar.health().nodes().len(), 2, "the known server and the endpoint");
    }
    one.restart();
    sidecar.expect_up();
    // The endpoint is created anew, with other servers: a lower version that stays, while the known server fails.
    endpoint.name_in(1, &[member(&three)]);
    (0..3).for_each(|_| sidecar.expect_up());
    for hung in [false, true] {
        if hung {
            one.stop();
        } else {
            one.kill();
        }
        sidecar.expect_up();
        assert_eq!(nodes(&sidecar)[..1], up(&[&three]));
        if hung {
            one.cont();
        } else {
            one.restart();
        }
        endpoint.name_in(14, &[member(&one)]);
        sidecar.expect_up();
        assert_eq!(nodes(&sidecar)[..1], up(&[&one]));
        endpoint.name_in(2, &[member(&three)]);
        sidecar.expect_up();
    }
    // At the start any version is the present one.
    let late = Sidecar::start(ring(&[format!("discover:{}", endpoint.addr())], "\"all\""));
    late.expect_up();
    assert_eq!(nodes(&late)[..1], up(&[&three]));
}

#[test]
fn an_entry_that_cannot_be_used_hides_no_other_server_of_an_endpoint() {
    let [mut one, _two, _three] = on_one_port();
    let member = |server: &Memcached| format!("mc|{}|{}", server.addr().ip(), server.port());
    let endpoint = Endpoint::start(&[member(&one)]);
    let caches = ring(&[format!("discover:{}", endpoint.addr())], "1");
    let sidecar = Sidecar::start(&caches);
    sidecar.expect_up();
    for unusable in ["mc|127.0.0.9|0", "||11211", "mc", "mc|?|11211"] {
        endpoint.name(&[unusable.to_owned(), member(&one)]);
        for sidecar in [&sidecar, &Sidecar::start(&caches)] {
            let words = sidecar.expect_degraded("protocol");
            assert!(words.starts_with(&endpoint.addr().to_string()) && words.contains("1 of 2"), "{words}");
        }
        one.kill();
        assert!(sidecar.expect_down("refused").starts_with(&one.addr().to_string()));
        one.restart();
        endpoint.name(&[unusable.to_owned()]);
        sidecar.expect_degraded("protocol");
        Sidecar::start(&caches).expect_down("protocol");
        endpoint.name(&[member(&one)]);
        sidecar.expect_up();
    }
}

#[test]
fn an_endpoint_of_an_old_engine_holds_its_servers_under_a_key() {
    let [one, mut two, endpoint] = on_one_port();
    let hold = |servers: &[&Memcached]| {
        let servers: Vec<_> =
            servers.iter().map(|server| format!("mc|{}|{}", server.addr().ip(), server.port())).collect();
        let text = format!("1\n{}\n", servers.join(" "));
        let stored = endpoint.command(&format!("set AmazonElastiCache:cluster 0 0 {}\r\n{text}", text.len()));
        assert_eq!(stored, "STORED");
    };
    let sidecar = Sidecar::start(ring(&[format!("discover:{}", endpoint.addr())], "\"all\""));
    assert!(sidecar.expect_down("protocol").contains("it is not a configuration endpoint"));
    hold(&[&one, &two]);
    sidecar.expect_up();
    two.kill();
    sidecar.expect_down("refused");
    hold(&[&one]);
    sidecar.expect_up();
    endpoint.stop();
    let words = sidecar.expect_degraded("timed_out");
    assert!(words.starts_with(&endpoint.addr().to_string()), "{words}");
    endpoint.cont();
    sidecar.expect_up();
}

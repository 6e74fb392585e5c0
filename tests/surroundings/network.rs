//! No IPv6, in a kernel without it and in one in which it is off: the wildcard and names with both families are as good as ever.

use std::process::Command;

use crate::support::namespace::{in_namespaces, none_can_be_made};
use crate::support::preload::library;
use crate::support::{Names, Port, Redis, alone};
use crate::{LIBRARY, PROGRAM, Surrounded, after, skipped};

/// The library and the variable by which a process has no IPv6.
struct Without(tempfile::TempDir);

impl Without {
    fn apply(&self, command: &mut Command, other_libraries: &str) {
        let library = library(LIBRARY, self.0.path());
        command.env("LD_PRELOAD", format!("{}:{other_libraries}", library.display())).env("NO_IPV6", "yes");
    }
}

/// Serves at the wildcard of IPv6, and checks a cache by a name with both families.
fn expect_ipv4_to_be_used(without: Option<&Without>) -> String {
    let (names, port) = (Names::new(), Port::reserve());
    names.give("cache.test", &["::1", "127.0.0.1"]);
    let mut redis = Redis::start(&[]);
    let mut command = after(&format!("set -- \"$@\" --listen '[::]:{}'", port.number()));
    command.envs(names.environment());
    if let Some(without) = without {
        without.apply(&mut command, names.environment()[0].1.to_str().unwrap());
    }
    let caches = format!("[caches.main]\nurl = \"redis://cache.test:{}\"\n", redis.port());
    let surrounded = Surrounded::start_at(&port, command, "reconnect_every = \"0s\"", &caches);
    surrounded.expect_an_outage_to_be_seen(&mut redis);
    let log = surrounded.log();
    surrounded.expect_a_clean_end();
    log
}

/// The last words of the program when it is to listen at the loopback address of IPv6.
fn refused(without: Option<&Without>) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "[::1]:0"]).env("CACHE_URL", "redis://127.0.0.1:1");
    if let Some(without) = without {
        without.apply(&mut command, "");
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
}

#[test]
fn without_ipv6_in_the_kernel_the_wildcard_is_that_of_ipv4() {
    let _turn = alone();
    let without = Without(tempfile::tempdir().unwrap());
    let log = expect_ipv4_to_be_used(Some(&without));
    assert!(log.contains("listening on http://0.0.0.0:"), "{log}");
    let said = refused(Some(&without));
    assert!(said.starts_with("error: cannot listen on [::1]:0: Address family not supported"), "{said}");
}

#[test]
fn with_ipv6_off_the_wildcard_has_ipv4_and_an_address_that_is_missing_is_named() {
    const OFF: &str = "ip link set lo up; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
    if let Some(reason) = none_can_be_made(&["--net"]) {
        return skipped("a network without IPv6", &reason);
    }
    let _turn = alone();
    let this = "network::with_ipv6_off_the_wildcard_has_ipv4_and_an_address_that_is_missing_is_named";
    if !in_namespaces(this, &["--net"], OFF) {
        return;
    }
    let log = expect_ipv4_to_be_used(None);
    assert!(log.contains("listening on http://[::]:"), "{log}");
    let said = refused(None);
    let cure = "error: cannot listen on [::1]:0 (give this host that address, or choose another address";
    assert!(said.starts_with(cure), "{said}");
}

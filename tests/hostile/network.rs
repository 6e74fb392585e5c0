//! A network of this test's own, in which peers have addresses beyond loopback.
//!
//! The network has one machine and no way out: everything goes over its loopback device. Without the right to make one,
//! the peers are in 127.0.0.0/8, where the sidecar takes all of them for callers on its own host.

use std::env;
use std::net::Ipv4Addr;
use std::process::Command;

/// The variable in a process inside.
const INSIDE: &str = "HOSTILE_INSIDE";

const ENTER: &str = "ip link set lo up && ip route add local 10.0.0.0/8 dev lo && exec \"$0\" \"$@\"";

/// `true` in a process that runs this test alone, in a network of its own if the system lets it make one. Any other starts
/// that process, waits until the test has passed there, and gets `false`.
pub(crate) fn is_inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = ["--user", "--map-root-user", "--net", "--", "sh", "-c"];
    let may = Command::new("unshare").args(unshare).arg(ENTER).arg("true").output();
    let has_own = may.is_ok_and(|output| output.status.success());
    let itself = env::current_exe().expect("a path");
    let mut command = if has_own {
        let mut command = Command::new("unshare");
        command.args(unshare).arg(ENTER).arg(itself);
        command
    } else {
        println!("hostile: no right to make a network, so that all peers are on loopback");
        Command::new(itself)
    };
    let inside = if has_own { "network" } else { "loopback" };
    let passed =
        command.args(["--exact", test, "--nocapture"]).env(INSIDE, inside).status().expect("it runs");
    assert!(passed.success(), "see above");
    false
}

/// The first byte of the addresses of peers.
fn first() -> u8 {
    if env::var(INSIDE).is_ok_and(|inside| inside == "network") { 10 } else { 127 }
}

/// The address at which the peers find the sidecar.
pub(crate) fn host() -> Ipv4Addr {
    Ipv4Addr::new(first(), 0, 0, 1)
}

/// The network of the honest callers, as `access.allow` names it, and one of them.
pub(crate) fn honest() -> (String, Ipv4Addr) {
    (format!("{}.7.0.0/16", first()), Ipv4Addr::new(first(), 7, 0, 1))
}

/// The network of the hostile callers that have access, and so many of them.
pub(crate) fn hostile(count: u8) -> (String, Vec<Ipv4Addr>) {
    (format!("{}.66.0.0/16", first()), (1..=count).map(|host| Ipv4Addr::new(first(), 66, 0, host)).collect())
}

/// So many callers without access.
pub(crate) fn excluded(count: u8) -> Vec<Ipv4Addr> {
    (1..=count).map(|host| Ipv4Addr::new(first(), 99, 0, host)).collect()
}

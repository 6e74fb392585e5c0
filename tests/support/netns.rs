//! A network namespace of its own with one link into it, which can be cut: what is sent is lost, and nobody is told.

use std::net::Ipv4Addr;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU8, Ordering};

/// A network namespace, gone when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    subnet: [u8; 3],
}

impl Namespace {
    /// Opens one; none without the rights, or without `ip`.
    pub fn open() -> Option<Self> {
        static OPENED: AtomicU8 = AtomicU8::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let pid = process::id();
        // 198.18.0.0/15 is for tests of networks (RFC 2544). Other processes have their own part of it.
        let subnet = [pid.to_le_bytes()[0], pid.to_le_bytes()[1], number * 4];
        let namespace = Self { name: format!("canary{pid}-{number}"), subnet };
        let Self { name, .. } = &namespace;
        let [outside, inside] = [format!("cco{pid}-{number}"), format!("cci{pid}-{number}")];
        let address = |of: Ipv4Addr| format!("{of}/30");
        let is_open = ip(&format!("netns add {name}"))
            && ip(&format!("link add {outside} type veth peer name {inside} netns {name}"))
            && ip(&format!("address add {} dev {outside}", address(namespace.outside())))
            && ip(&format!("link set {outside} up"))
            && ip(&format!("-n {name} address add {} dev {inside}", address(namespace.inside())))
            && ip(&format!("-n {name} link set {inside} up"));
        is_open.then_some(namespace)
    }

    fn outside(&self) -> Ipv4Addr {
        let [second, third, fourth] = self.subnet;
        Ipv4Addr::new(198, 18 + second % 2, third, fourth + 1)
    }

    /// The address inside, which the outside reaches.
    pub fn inside(&self) -> Ipv4Addr {
        let [second, third, fourth] = self.subnet;
        Ipv4Addr::new(198, 18 + second % 2, third, fourth + 2)
    }

    /// The words before a command that is to run inside.
    pub fn launcher(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Loses everything that the inside sends, until [`Self::join`].
    pub fn cut(&self) {
        assert!(ip(&format!("-n {} route add blackhole {}", self.name, self.outside())));
    }

    /// Ends [`Self::cut`].
    pub fn join(&self) {
        assert!(ip(&format!("-n {} route del blackhole {}", self.name, self.outside())));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The link goes with it.
        ip(&format!("netns delete {}", self.name));
    }
}

fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

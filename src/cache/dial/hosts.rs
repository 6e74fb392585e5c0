//! [`HostsFile`]: the names in `/etc/hosts`, which need no lookup.
//!
//! The system's lookup of a name blocks a thread, and a free thread may not be there. A name in this file needs none. An
//! answer from here is the one that the system would give; in doubt there is no answer, and the system is asked.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::mutex::Mutex;

/// The largest file that is read here, in bytes. Lists of blocked names have megabytes, and reading them would hold up all
/// checks.
const MOST_BYTES: u64 = 64 * 1024;

/// A file that is younger than this may change again without another change time: file systems count in ticks.
const TICKS: Duration = Duration::from_secs(1);

/// The names in the system's files.
#[derive(Debug)]
pub(super) struct HostsFile {
    file: PathBuf,
    nsswitch: PathBuf,
    known: Mutex<ParsedHosts>,
}

/// The parsed names, and the versions of the two files at that time.
#[derive(Debug, Default)]
struct ParsedHosts {
    stamps: [Option<FileVersion>; 2],
    /// The addresses, by name in lower case.
    addresses: HashMap<String, Vec<IpAddr>>,
}

/// The marks of one version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    length: u64,
    changed: (i64, i64),
    /// `true` if another version would have another change time.
    is_settled: bool,
}

impl HostsFile {
    /// The files of this machine.
    pub(super) fn system() -> Self {
        Self::at("/etc/hosts".into(), "/etc/nsswitch.conf".into())
    }

    fn at(file: PathBuf, nsswitch: PathBuf) -> Self {
        Self { file, nsswitch, known: Mutex::default() }
    }

    /// The addresses that the system gives this name from its files, in the system's order, with port 0; `None` if
    /// these are not certain.
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<SocketAddr>> {
        let mut known = self.known.lock();
        let stamps = [&self.file, &self.nsswitch].map(FileVersion::of);
        if stamps != known.stamps || stamps.iter().flatten().any(|stamp| !stamp.is_settled) {
            *known = ParsedHosts { stamps, addresses: self.read(stamps[0]) };
        }
        let found = known.addresses.get(&name.to_ascii_lowercase())?;
        Some(ordered(found)?.iter().map(|&ip| SocketAddr::new(ip, 0)).collect())
    }

    fn read(&self, stamp: Option<FileVersion>) -> HashMap<String, Vec<IpAddr>> {
        let is_small = stamp.is_some_and(|stamp| stamp.length <= MOST_BYTES);
        let text = if is_small && self.come_first() { fs::read_to_string(&self.file).ok() } else { None };
        text.map(|text| parse(&text)).unwrap_or_default()
    }

    /// `true` if the system asks this file first. musl always does; glibc follows nsswitch.conf(5).
    fn come_first(&self) -> bool {
        cfg!(target_env = "musl")
            || fs::read_to_string(&self.nsswitch).is_ok_and(|text| files_come_first(&text))
    }
}

impl FileVersion {
    fn of(path: &PathBuf) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let is_settled = file
            .modified()
            .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > TICKS));
        let changed = (file.ctime(), file.ctime_nsec());
        Some(Self { inode: file.ino(), length: file.len(), changed, is_settled })
    }
}

/// The names of a file in the format of hosts(5). A line without a valid address is skipped, as by the system.
fn parse(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut addresses: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            let known = addresses.entry(name.to_ascii_lowercase()).or_default();
            if !known.contains(&address) {
                known.push(address);
            }
        }
    }
    addresses
}

/// `true` if the line of `hosts` puts the files first and makes their answer final.
fn files_come_first(nsswitch: &str) -> bool {
    let line = nsswitch.lines().find_map(|line| line.trim_start().strip_prefix("hosts:"));
    let mut words = line.unwrap_or_default().split('#').next().unwrap_or_default().split_ascii_whitespace();
    words.next() == Some("files") && words.next().is_none_or(|word| !word.starts_with('['))
}

/// The addresses in the order of RFC 6724, if that is known: for a single one, and for the two of this machine. The order of
/// others depends on the machine's routes.
fn ordered(addresses: &[IpAddr]) -> Option<Vec<IpAddr>> {
    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    match addresses {
        [_] => Some(addresses.to_vec()),
        [V4, V6] | [V6, V4] => Some(if has_ipv6() { vec![V6, V4] } else { vec![V4, V6] }),
        _ => None,
    }
}

/// `true` if this machine can reach itself by IPv6. Nothing is sent: an address comes after the others if the system has no
/// route to it (RFC 6724, section 6, rule 1).
fn has_ipv6() -> bool {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| socket.connect((Ipv6Addr::LOCALHOST, 9)).is_ok())
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs as _;

    use super::*;

    const FILES: &str = "passwd: files\nhosts: files dns\n";

    /// The addresses of a name by files with these texts.
    fn said(hosts: &str, nsswitch: &str, name: &str) -> Option<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let [hosts_file, nsswitch_file] = ["hosts", "nsswitch.conf"].map(|file| dir.path().join(file));
        fs::write(&hosts_file, hosts).unwrap();
        fs::write(&nsswitch_file, nsswitch).unwrap();
        let addresses = HostsFile::at(hosts_file, nsswitch_file).addresses(name)?;
        Some(addresses.iter().map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn a_name_in_the_file_is_found_in_upper_and_lower_case() {
        let hosts =
            "# 10.0.0.9 cache\n10.0.0.1\tCache.Local cache  # 10.0.0.8 no\n nonsense cache\n10.0.0.2 other\n";
        for name in ["cache", "CACHE", "cache.local"] {
            assert_eq!(said(hosts, FILES, name), Some(vec!["10.0.0.1".to_owned()]), "{name}");
        }
        assert_eq!(said("10.0.0.1 cache\n10.0.0.1 cache\n", FILES, "cache").unwrap().len(), 1);
        assert_eq!(said("::1%lo cache\nfd00::1 cache", FILES, "cache"), Some(vec!["fd00::1".to_owned()]));
        for name in ["no", "10.0.0.1", "cache.", "cach", ""] {
            assert_eq!(said(hosts, FILES, name), None, "{name}");
        }
    }

    #[test]
    fn of_several_addresses_only_those_of_this_machine_have_a_plain_order() {
        let both = said("127.0.0.1 localhost\n::1 localhost\n", FILES, "localhost").unwrap();
        assert_eq!(both.iter().position(|address| address == "::1"), Some(usize::from(!has_ipv6())));
        assert_eq!(both.len(), 2);
        assert_eq!(said("10.0.0.1 cache\n10.0.0.2 cache\n", FILES, "cache"), None);
        assert_eq!(said("::1 cache\nfd00::1 cache\n", FILES, "cache"), None);
    }

    #[cfg(not(target_env = "musl"))]
    #[test]
    fn the_file_is_not_enough_if_the_system_asks_another_source_first() {
        for nsswitch in [
            "",
            "hosts: dns files",
            "hosts: files [SUCCESS=merge] dns",
            "hosts: resolve [!UNAVAIL=return] files",
            "#hosts: files",
            "hosts:",
        ] {
            assert_eq!(said("10.0.0.1 cache", nsswitch, "cache"), None, "{nsswitch:?}");
        }
        assert!(said("10.0.0.1 cache", " hosts:\tfiles # dns", "cache").is_some());
    }

    #[test]
    fn a_large_file_is_left_to_the_system() {
        let blocked = "0.0.0.0 advertisements.example\n".repeat(3000);
        assert_eq!(said(&format!("10.0.0.1 cache\n{blocked}"), FILES, "cache"), None);
    }

    #[test]
    fn a_changed_file_counts_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let [hosts_file, nsswitch_file] = ["hosts", "nsswitch.conf"].map(|file| dir.path().join(file));
        fs::write(&nsswitch_file, FILES).unwrap();
        let hosts = HostsFile::at(hosts_file.clone(), nsswitch_file);
        assert_eq!(hosts.addresses("cache"), None);
        for number in 1..100 {
            fs::write(&hosts_file, format!("10.0.0.{number} cache")).unwrap();
            let ip = IpAddr::from([10, 0, 0, number]);
            assert_eq!(hosts.addresses("cache"), Some(vec![SocketAddr::new(ip, 0)]));
        }
        fs::remove_file(&hosts_file).unwrap();
        assert_eq!(hosts.addresses("cache"), None);
    }

    #[test]
    fn the_system_resolves_this_machine_to_the_same_addresses() {
        let hosts = HostsFile::system();
        for name in ["localhost", "ip6-localhost"] {
            if let Some(addresses) = hosts.addresses(name) {
                let mut system: Vec<_> = (name, 0).to_socket_addrs().unwrap().collect();
                system.dedup();
                assert_eq!(addresses, system, "{name}");
            }
        }
    }
}

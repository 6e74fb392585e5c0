//! [`ClientRing`]: a client's choice of one of several memcached servers for a key. No I/O.

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::config::Address;
use crate::config::checks::Client;

/// Servers in the order of a client's configuration, and the client, which decides how keys spread over them.
pub(super) struct ClientRing {
    client: Client,
    servers: Vec<RingServer>,
    /// The points of a circle in ascending order, each with the place of its server.
    points: Vec<(u32, usize)>,
}

struct RingServer {
    /// Its address, which is the name of its node.
    name: String,
    /// Its name in pymemcache.
    hashed: String,
}

impl ClientRing {
    /// These servers, in this order.
    pub(super) fn new<'a>(client: Client, addresses: impl IntoIterator<Item = &'a Address>) -> Self {
        let server = |address: &Address| RingServer { name: address.to_string(), hashed: hashed(address) };
        let (addresses, mut points) = (Vec::from_iter(addresses), Vec::new());
        for (place, address) in addresses.iter().enumerate() {
            let added = match client {
                Client::Pymemcache | Client::PythonMemcached | Client::Libmemcached => Vec::new(),
                Client::LibmemcachedKetama => {
                    let points = ketama_names(address, 100).map(|name| one_at_a_time(name.as_bytes()));
                    points.collect()
                }
                Client::LibmemcachedKetamaWeighted => ketama_names(address, digests(addresses.len()))
                    .flat_map(|name| digest_points(name.as_bytes()))
                    .collect(),
            };
            points.extend(added.into_iter().map(|point: u32| (point, place)));
        }
        points.sort_unstable();
        Self { client, servers: addresses.into_iter().map(server).collect(), points }
    }

    /// The place of a server in the order.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// The place of the server to which a key is sent; `None` if there are no servers.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        let hash = match self.client {
            Client::Pymemcache => {
                return (0..self.servers.len()).max_by_key(|&place| self.score(place, key));
            }
            Client::PythonMemcached => python_memcached(key.as_bytes()),
            Client::Libmemcached => one_at_a_time(key.as_bytes()),
            Client::LibmemcachedKetama => return self.on_circle(one_at_a_time(key.as_bytes())),
            Client::LibmemcachedKetamaWeighted => return self.on_circle(digest_points(key.as_bytes())[0]),
        };
        usize::try_from(hash).ok()?.checked_rem(self.servers.len())
    }

    /// `true` if a key is sent to the server at this place.
    pub(super) fn sends_to(&self, key: &str, place: usize) -> bool {
        match self.client {
            Client::Pymemcache => {
                // If it is not, one of the first others mostly shows that, and the search ends there.
                let score = self.score(place, key);
                (0..self.servers.len()).all(|other| self.score(other, key) <= score)
            }
            Client::PythonMemcached
            | Client::Libmemcached
            | Client::LibmemcachedKetama
            | Client::LibmemcachedKetamaWeighted => self.place(key) == Some(place),
        }
    }

    /// The place of the server whose point is the first from `hash` on (`dispatch_host` in libmemcached's `hash.cc`).
    fn on_circle(&self, hash: u32) -> Option<usize> {
        let next = self.points.partition_point(|(point, _)| *point < hash);
        self.points.get(next).or_else(|| self.points.first()).map(|(_, place)| *place)
    }

    /// pymemcache's score of a server for a key (`RendezvousHash.get_node` in its `rendezvous.py`): the highest score
    /// wins, and between equal ones the greater name.
    fn score(&self, place: usize, key: &str) -> (u32, &str) {
        let server = self.servers[place].hashed.as_str();
        (murmur3(format!("{server}-{key}").as_bytes()), server)
    }
}

/// A server's name in pymemcache: `%s:%s` of host and port, or the path of a socket (`_make_client_key` in its
/// `hash.py`).
fn hashed(address: &Address) -> String {
    match address {
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Unix(path) => path.display().to_string(),
    }
}

/// The texts whose hashes are the points of a server (`update_continuum` in libmemcached's `hosts.cc`): the default port is
/// left out, and a socket has the port 0.
fn ketama_names(address: &Address, count: u16) -> impl Iterator<Item = String> {
    let server = match address {
        Address::Tcp { host, port: 11211 } => host.clone(),
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Unix(path) => format!("{}:0", path.display()),
    };
    (0..count).map(move |number| format!("{server}-{number}"))
}

/// The number of digests of each of so many servers, 40 or 39 by the rounding of single precision.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number up to 40")]
fn digests(servers: usize) -> u16 {
    let servers = u16::try_from(servers).map_or(f32::MAX, f32::from);
    let (share, all) = (1.0 / servers, 160.0);
    (f64::from(share * all / 4.0 * servers) + 1e-10).floor() as u16
}

/// The four points of an MD5 digest, of which the first is the place of a key.
fn digest_points(text: &[u8]) -> [u32; 4] {
    let digest = md5::compute(text).0;
    let (words, _) = digest.as_chunks::<4>();
    [0, 1, 2, 3].map(|word| u32::from_le_bytes(words[word]))
}

/// The hash of python-memcached (`cmemcache_hash` in its `memcache.py`).
fn python_memcached(key: &[u8]) -> u32 {
    const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
    CRC32.checksum(key) >> 16 & 0x7fff
}

/// Bob Jenkins' one-at-a-time, which is libmemcached's default (`hashkit_one_at_a_time` in its
/// `libhashkit/one_at_a_time.cc`).
fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = 0_u32;
    for &byte in key {
        hash = hash.wrapping_add(byte.into());
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

/// Austin Appleby's `MurmurHash3_x86_32` with the seed 0.
fn murmur3(data: &[u8]) -> u32 {
    let scrambled = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, tail) = data.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash ^= scrambled(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = tail.iter().rev().fold(0, |rest, &byte| rest << 8 | u32::from(byte));
    hash ^= scrambled(rest);
    // The algorithm counts the length in 32 bits.
    #[allow(clippy::cast_possible_truncation, reason = "modulo 2^32, as it is defined")]
    let length = data.len() as u32;
    hash ^= length;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CLIENTS: [Client; 5] = Client::ALL;

    fn ring(client: Client, hosts: &[&str]) -> ClientRing {
        let address = |host: &&str| Address::Tcp { host: (*host).to_owned(), port: 11211 };
        ClientRing::new(client, &hosts.iter().map(address).collect::<Vec<_>>())
    }

    fn places(ring: &ClientRing) -> Vec<usize> {
        (0..24).map(|number| ring.place(&format!("k{number}")).unwrap()).collect()
    }

    /// The clients' own choices for the keys `k0` to `k23`: pymemcache 4.0.0, python-memcached 1.62, and pylibmc 1.6.3
    /// with three servers, each of which was asked for every key.
    #[test]
    fn keys_go_to_the_servers_that_the_clients_choose() {
        let expected = [
            [1, 0, 0, 0, 2, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 2, 2, 2, 0, 1, 2, 2, 2],
            [1, 0, 1, 0, 1, 2, 0, 2, 0, 0, 0, 0, 0, 0, 2, 1, 2, 2, 1, 0, 2, 2, 1, 0],
            [2, 1, 2, 2, 1, 1, 1, 1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 1],
        ];
        for (client, expected) in CLIENTS.into_iter().zip(expected) {
            let ring = ring(client, &["mc-1", "mc-2", "mc-3"]);
            assert_eq!(places(&ring), expected, "{client:?}");
            for (number, place) in expected.into_iter().enumerate() {
                let sent = |to| ring.sends_to(&format!("k{number}"), to);
                assert_eq!([0, 1, 2].map(sent), [0, 1, 2].map(|other| other == place));
            }
        }
    }

    /// The place of each key by the client itself, which is asked to write them to servers on these hosts, and the names of
    /// the servers. A host without a port gets a free one.
    fn chosen(client: Client, hosts: &[&str]) -> (Vec<String>, Vec<usize>) {
        let script = format!("{ROOT}/tests/checks/ring_clients.py");
        let mut command = Command::new("python3");
        let command = command.arg(script).arg(client.name()).args(hosts);
        let output = command.env("PYTHONPATH", format!("{ROOT}/target/tools/python")).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}; run tests/install; {text}"))
    }

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    #[test]
    fn two_thousand_keys_go_to_the_servers_that_the_clients_themselves_choose() {
        let many = ["127.0.0.1"; 28];
        let default_port = format!("127.{}.{}.7:11211", fastrand::u8(1..), fastrand::u8(..));
        for client in CLIENTS {
            for hosts in [
                &["localhost"][..],
                &["LOCALHOST", "localhost", "127.0.0.1"],
                &["LocalHost", &default_port, "127.0.0.1", "localhost"],
                &many,
            ] {
                let (names, places) = chosen(client, hosts);
                let addresses = names.iter().map(|name| {
                    let (host, port) = name.rsplit_once(':').unwrap();
                    Address::Tcp { host: host.to_owned(), port: port.parse().unwrap() }
                });
                let ring = ClientRing::new(client, &addresses.collect::<Vec<_>>());
                assert_eq!(places.len(), 2000);
                let ours: Vec<_> =
                    (0..2000).map(|number| ring.place(&format!("key:{number}")).unwrap()).collect();
                assert!(ours == places, "{client:?} {names:?}");
            }
        }
    }

    /// Sockets of a circle have the port 0: pylibmc 1.6.3 with two servers, each of which was asked for every key.
    #[test]
    fn a_socket_has_its_place_on_a_circle() {
        let sockets = ["/tmp/a.sock", "/tmp/b.sock"].map(|path| Address::Unix(path.into()));
        for (client, expected) in [
            (
                Client::LibmemcachedKetama,
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1],
            ),
            (
                Client::LibmemcachedKetamaWeighted,
                [0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1],
            ),
        ] {
            assert_eq!(places(&ClientRing::new(client, &sockets)), expected, "{client:?}");
        }
    }

    /// The first hashes are from pymemcache's and python-memcached's own functions, the last from the algorithm in Python.
    #[test]
    fn hashes_are_those_of_the_clients() {
        let canary = "djblets-canary:web-1:main:cache:6379:9f86d081884c7d65:a";
        let cases = [
            ("", 0, 0),
            ("a", 0x3c25_69b2, 0x68b7),
            ("ab", 0x9bbf_d75f, 0x1e83),
            ("abc", 0xb3dd_93fa, 0x3524),
            ("abcd", 0x43ed_676a, 0x6d82),
            ("hello, world", 0x149b_bb7f, 0x7fab),
            (canary, 0x838e_7fbc, 0x0184),
        ];
        for (key, murmur, crc) in cases {
            assert_eq!((murmur3(key.as_bytes()), python_memcached(key.as_bytes())), (murmur, crc), "{key}");
        }
        assert_eq!(["", "a"].map(|key| one_at_a_time(key.as_bytes())), [0, 0xca2e_9442]);
    }

    #[test]
    fn the_order_of_the_servers_matters_to_clients_that_count_them() {
        let hosts = ["mc-1", "mc-2"];
        for (client, matters) in CLIENTS.into_iter().zip([false, true, true, false, false]) {
            let [one, other] = [[0, 1], [1, 0]].map(|order| ring(client, &order.map(|place| hosts[place])));
            let named = |ring: &ClientRing| {
                let servers = places(ring).into_iter().map(|place| ring.servers[place].name.clone());
                servers.collect::<Vec<_>>()
            };
            assert_eq!(named(&one) != named(&other), matters, "{client:?}");
        }
    }

    #[test]
    fn without_servers_a_key_is_sent_nowhere_and_to_one_server_every_key() {
        for client in CLIENTS {
            assert_eq!(ring(client, &[]).place("k"), None);
            assert_eq!(places(&ring(client, &["mc-1"])), [0; 24]);
        }
    }
}

//! Name servers that are silent, lose packets or lie, on a network of the test's own.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::namespace::{in_namespaces, none_can_be_made};
use crate::support::{Port, Redis, alone, eventually};
use crate::{PROGRAM, Surrounded, skipped};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Nothing listens there.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// The conduct of a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    /// The name has this address.
    Answers(Ipv4Addr),
    /// Of three questions, two have no answer.
    Loses,
    /// No question has an answer.
    Silent,
    /// Each answer has the number of another question.
    Misnumbers,
    /// The name has no address.
    Empty,
    /// There is no such name (NXDOMAIN).
    Denies,
    /// The server has failed (SERVFAIL).
    Fails,
    /// The name has so many addresses that nothing listens at, and one more.
    Crowds(u8),
}

/// A name server at port 53 of loopback. It has an address of every name, of IPv4.
struct NameServer {
    conduct: Arc<Mutex<Conduct>>,
}

impl NameServer {
    fn start() -> Self {
        let conduct = Arc::new(Mutex::new(Conduct::Answers(LOOPBACK)));
        let server = Self { conduct: conduct.clone() };
        let socket = UdpSocket::bind((LOOPBACK, 53)).unwrap();
        thread::spawn(move || {
            let mut question = [0; 512];
            for number in 0.. {
                let (length, client) = socket.recv_from(&mut question).unwrap();
                let conduct = *conduct.lock().unwrap();
                if let Some(answer) = answer(&question[..length], conduct, number) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        server
    }

    fn begins(&self, conduct: Conduct) {
        *self.conduct.lock().unwrap() = conduct;
    }
}

/// The answer to a question (RFC 1035, section 4.1), if there is one.
fn answer(question: &[u8], conduct: Conduct, number: usize) -> Option<Vec<u8>> {
    const ANSWERS: u8 = 0x80;
    const HEAD: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    let name = question[HEAD..].iter().position(|&length| length == 0)? + 1;
    let question = &question[..HEAD + name + 4];
    let asks_for_ipv4 = question[HEAD + name..].starts_with(&TYPE_A);
    let (code, addresses) = match conduct {
        Conduct::Silent => return None,
        Conduct::Loses if number % 3 != 2 => return None,
        Conduct::Loses | Conduct::Misnumbers => (0, vec![LOOPBACK]),
        Conduct::Answers(address) => (0, vec![address]),
        Conduct::Empty => (0, Vec::new()),
        Conduct::Fails => (2, Vec::new()),
        Conduct::Denies => (3, Vec::new()),
        Conduct::Crowds(count) => {
            (0, (0..count).map(|host| Ipv4Addr::new(127, 0, 1, host)).chain([LOOPBACK]).collect())
        }
    };
    let addresses = if asks_for_ipv4 { addresses } else { Vec::new() };
    let mut answer = question.to_vec();
    if conduct == Conduct::Misnumbers {
        answer[0] ^= 0xff;
    }
    let count = u8::try_from(addresses.len()).ok()?;
    // It is an answer, with recursion; one question, so many addresses, nothing else.
    answer[2..HEAD].copy_from_slice(&[ANSWERS | 1, ANSWERS | code, 0, 1, 0, count, 0, 0, 0, 0]);
    for address in addresses {
        // The name of the question, an address of the Internet, for no time.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// A loopback interface, and a resolver that asks there, again after the usual five seconds.
const NETWORK: &str = "ip link set lo up
file=$(mktemp)
echo nameserver 127.0.0.1 >$file
mount --bind $file /etc/resolv.conf
rm $file";

#[test]
fn name_servers_that_are_silent_lose_or_lie_are_told_and_the_first_check_after_is_up() {
    let namespaces = ["--net", "--mount"];
    if let Some(reason) = none_can_be_made(&namespaces) {
        return skipped("name servers of the test's own", &reason);
    }
    let _turn = alone();
    let this = "dns::name_servers_that_are_silent_lose_or_lie_are_told_and_the_first_check_after_is_up";
    if !in_namespaces(this, &namespaces, NETWORK) {
        return;
    }
    let servers = NameServer::start();
    let mut redis = Redis::start_at(Port::reserve(), &[]);
    // Every check looks its name up.
    let settings = "reconnect_every = \"0s\"\ndns_recheck = \"0s\"";
    let caches = format!("[caches.main]\nurl = \"redis://cache.example:{}\"\n", redis.port());
    let surrounded = Surrounded::start(Command::new(PROGRAM), settings, &caches);
    surrounded.expect_an_outage_to_be_seen(&mut redis);
    for (conduct, cause, words) in [
        (Conduct::Denies, "unresolvable", "Name or service not known"),
        (Conduct::Fails, "unresolvable", "Temporary failure in name resolution"),
        (Conduct::Empty, "unresolvable", "No address associated with hostname"),
        (Conduct::Answers(ELSEWHERE), "refused", " connect "),
        (Conduct::Misnumbers, "timed_out", " resolve "),
        (Conduct::Silent, "timed_out", " resolve "),
    ] {
        servers.begins(conduct);
        let began = Instant::now();
        println!("{conduct:?}");
        let said = surrounded.sidecar.expect_down(cause);
        assert!(said.contains(words), "{conduct:?}: {said}");
        if let Conduct::Silent = conduct {
            // Lookups that wait are joined by those of later requests, and must not hold these up when it is over.
            while began.elapsed() < Duration::from_secs(2) {
                surrounded.sidecar.expect_down(cause);
            }
        }
        servers.begins(Conduct::Answers(LOOPBACK));
        surrounded.expect(200, "UP");
        println!("{conduct:?}: {said}, and up again after {:?}", began.elapsed());
    }
    servers.begins(Conduct::Crowds(20));
    surrounded.expect_an_outage_to_be_seen(&mut redis);
    servers.begins(Conduct::Loses);
    eventually("a lookup has an answer", || surrounded.sidecar.health_in_time().code == 200);
    surrounded.expect_a_clean_end();
}

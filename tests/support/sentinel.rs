//! Real Sentinels, and a primary and its replicas under them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::eventually;
use super::net::Port;
use super::process::Process;
use super::redis::Redis;
use super::resp::{Answer, Client};
use super::server::RedisServer;

/// The name of the primary in the Sentinels.
pub const NAME: &str = "mymaster";

/// A `down-after` that no test lives to see: nothing is failed over.
pub const NEVER: Duration = Duration::from_hours(1);

/// How long the harness waits for an answer: long on a busy machine, and a stopped Sentinel gives none.
const ANSWER: Duration = Duration::from_secs(2);

/// A Sentinel on a port of its own.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
    port: Port,
}

/// The waits and intervals of a Sentinel, in milliseconds: some seconds in a failover by itself, so
/// that a test need not wait for them. The clock's jumps are those of a busy machine and mean nothing.
const QUICKLY: &str = "SENTINEL DEBUG INFO-PERIOD 200 PING-PERIOD 200 ASK-PERIOD 200 PUBLISH-PERIOD 200 \
                       TILT-TRIGGER 60000 MIN-LINK-RECONNECT-PERIOD 500";

impl Sentinel {
    /// Starts a Sentinel that watches this primary, and takes it for dead after `down_after`. `settings` are
    /// further lines of its configuration, of which one that begins with `host ` gives the name under which
    /// it is to know the primary.
    pub fn start(primary: SocketAddr, down_after: Duration, settings: &[&str]) -> Self {
        let (port, dir) = (Port::reserve(), tempfile::tempdir().expect("a directory"));
        let host = settings.iter().find_map(|line| line.strip_prefix("host ")).unwrap_or("127.0.0.1");
        let port_number = port.number();
        let of_primary = primary.port();
        let down_after = down_after.as_millis();
        let mut configuration = format!(
            "port {port_number}\nbind 127.0.0.1\nsentinel resolve-hostnames yes\n\
             sentinel monitor {NAME} {host} {of_primary} 2\n\
             sentinel down-after-milliseconds {NAME} {down_after}\n\
             sentinel failover-timeout {NAME} 3000\nsentinel parallel-syncs {NAME} 2\n",
        );
        for line in settings.iter().filter(|line| !line.starts_with("host ")) {
            configuration.push_str(line);
            configuration.push('\n');
        }
        // The Sentinel keeps what it learns in the same file.
        fs::write(dir.path().join("sentinel.conf"), configuration).expect("a configuration");
        let with_tls = settings.iter().any(|line| line.starts_with("tls-"));
        let program = RedisServer::able(with_tls).program();
        let mut sentinel = Self { process: Process::spawn(program, &arguments(), dir), port };
        sentinel.wait_until_it_answers();
        sentinel
    }

    /// The address, `127.0.0.1` and the port.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Ends it with SIGKILL. Its port refuses connections until [`Self::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts a killed one again, with its configuration.
    pub fn restart(&mut self) {
        self.process.respawn(&arguments());
        self.wait_until_it_answers();
    }

    /// Stops it with SIGSTOP: it takes connections and does not answer.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Lets a stopped one go on.
    pub fn cont(&self) {
        self.process.cont();
    }

    /// The answer to a command.
    pub fn ask(&self, command: &[&str]) -> io::Result<Answer> {
        connect(self.addr(), ANSWER)?.try_ask(command)
    }

    /// The port of the server that it takes for the primary.
    pub fn names(&self) -> Option<u16> {
        names(self.addr())
    }

    /// Whether it knows so many replicas, all with their link, and so many other Sentinels.
    pub fn knows(&self, replicas: usize, sentinels: usize) -> bool {
        let told = |what| match self.ask(&["SENTINEL", what, NAME]) {
            Ok(Ok(told)) => told,
            Ok(Err(_)) | Err(_) => String::new(),
        };
        let others = format!("num-other-sentinels\n{sentinels}\n");
        told("MASTER").contains(&others)
            && told("REPLICAS").matches("master-link-status\nok").count() == replicas
    }

    fn wait_until_it_answers(&mut self) {
        let addr = self.port.addr();
        self.process.wait_until(|| {
            let answer = connect(addr, ANSWER).and_then(|mut client| client.try_ask(&["PING"]));
            answer.is_ok()
        });
        // One that wants a password is left as slow as Sentinels are.
        let _ = self.ask(&QUICKLY.split_whitespace().collect::<Vec<_>>()).expect("an answer");
    }
}

fn arguments() -> [String; 2] {
    ["sentinel.conf", "--sentinel"].map(str::to_owned)
}

/// The port of the server that the Sentinel at this address takes for the primary.
pub fn names(sentinel: SocketAddr) -> Option<u16> {
    let answer = connect(sentinel, ANSWER)
        .and_then(|mut client| client.try_ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]));
    let Ok(Ok(answer)) = answer else { return None };
    answer.lines().nth(1)?.parse().ok()
}

/// A connection on which an answer is waited for no longer than `max_wait`.
pub fn connect(addr: SocketAddr, max_wait: Duration) -> io::Result<Client<TcpStream>> {
    let stream = TcpStream::connect_timeout(&addr, max_wait)?;
    stream.set_read_timeout(Some(max_wait))?;
    Ok(Client::over(stream))
}

/// A primary, two replicas, and three Sentinels that watch them.
#[derive(Debug)]
pub struct Watched {
    /// The servers; the first is the primary at the start.
    pub servers: Vec<Redis>,
    /// The Sentinels.
    pub sentinels: Vec<Sentinel>,
}

impl Watched {
    /// Starts all of them, and waits until each knows the others.
    pub fn start(down_after: Duration, settings: &[&str]) -> Self {
        let primary = Redis::start(&[]);
        let port = primary.port().to_string();
        let replica = || Redis::start(&["--replicaof", "127.0.0.1", &port]);
        let servers = vec![replica(), replica()];
        for replica in &servers {
            // That its link is up is not enough: what is written in the second after that may take as long to arrive.
            replica.catch_up_with(&primary);
        }
        primary.command(&["DEL", "caught-up"]);
        let sentinels = (0..3).map(|_| Sentinel::start(primary.addr(), down_after, settings)).collect();
        let servers = std::iter::once(primary).chain(servers).collect();
        let watched = Self { servers, sentinels };
        watched.wait_until_known();
        watched
    }

    /// Waits until each Sentinel knows both replicas and the other Sentinels, so that it could fail over.
    pub fn wait_until_known(&self) {
        eventually("three Sentinels know each other", || {
            self.sentinels.iter().all(|sentinel| sentinel.knows(2, 2))
        });
    }

    /// The URL of a sidecar's configuration.
    pub fn url(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        format!("redis+sentinel://{}/{NAME}", sentinels.join(","))
    }

    /// The primary at the start.
    pub fn primary(&self) -> &Redis {
        &self.servers[0]
    }
}

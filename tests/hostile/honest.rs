//! Honest callers, which ask all the time, and remember how long an answer took.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::ClientConfig;

use crate::support::tls_client;

/// The paths that probes ask for, one after the other.
const PATHS: [&str; 3] = ["/livez", "/readyz", "/health"];

/// The time after which a caller gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two probes.
const PAUSE: Duration = Duration::from_millis(5);

/// One probe in so many is on a connection that is kept for all of them, as many probers do.
const ON_KEPT: usize = 5;

/// A caller, and the sidecar that it asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The process of the sidecar.
    pub(crate) pid: u32,
    pub(crate) source: Ipv4Addr,
    pub(crate) addr: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// The answers to a caller.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) took: Vec<Took>,
    /// The reason for each missing answer, and for each that does not say UP.
    pub(crate) unanswered: Vec<String>,
}

/// The time of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    pub(crate) all: Duration,
    /// The part in which the sidecar or the caller was ready to run and the machine had no processor for it.
    pub(crate) without_processor: Duration,
}

impl Took {
    /// The time without that part.
    pub(crate) fn own(self) -> Duration {
        self.all.saturating_sub(self.without_processor)
    }
}

impl Answers {
    pub(crate) fn slowest(&self, of: fn(Took) -> Duration) -> Duration {
        self.took.iter().copied().map(of).max().unwrap_or_default()
    }

    fn add(&mut self, answer: Result<Took, String>) {
        match answer {
            Ok(took) => self.took.push(took),
            Err(why) => self.unanswered.push(why),
        }
    }
}

/// A stopwatch that also knows how long two threads waited for a processor: this one, and the first of a process.
struct Stopwatch {
    pid: u32,
    began: Instant,
    waited: Duration,
}

impl Stopwatch {
    fn start(pid: u32) -> Self {
        Self { pid, began: Instant::now(), waited: Self::waited(pid) }
    }

    fn stop(self) -> Took {
        let all = self.began.elapsed();
        Took { all, without_processor: Self::waited(self.pid).saturating_sub(self.waited) }
    }

    /// The time on a run queue so far (`/proc/PID/schedstat`), if the system counts it.
    fn waited(pid: u32) -> Duration {
        let of = |thread: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
            stat.split(' ').nth(1)?.parse().ok().map(Duration::from_nanos)
        };
        of("thread-self").unwrap_or_default() + of(&pid.to_string()).unwrap_or_default()
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Caller {
    /// Asks so many times, and as often for so long; each time the other sidecar is asked too.
    pub(crate) fn probe(
        self,
        other: (SocketAddr, u32),
        times: usize,
        at_least: Duration,
    ) -> std::io::Result<[Answers; 2]> {
        let (addr, pid) = other;
        let callers = [self.clone(), Self { pid, addr, ..self }];
        let mut answers = [Answers::default(), Answers::default()];
        let mut kept = [callers[0].connect()?, callers[1].connect()?];
        for (caller, (answers, kept)) in callers.iter().zip(answers.iter_mut().zip(&mut kept)) {
            answers.add(caller.ask(PATHS[0], Some(kept)));
        }
        let began = Instant::now();
        for number in 0.. {
            if number >= times && began.elapsed() >= at_least {
                break;
            }
            let path = PATHS[number % PATHS.len()];
            for (caller, (answers, kept)) in callers.iter().zip(answers.iter_mut().zip(&mut kept)) {
                answers.add(caller.ask(path, (number % ON_KEPT == ON_KEPT - 1).then_some(kept)));
            }
            thread::sleep(PAUSE);
        }
        Ok(answers)
    }

    /// Asks on a kept connection or on a new one; the time of an answer that says UP.
    fn ask(&self, path: &str, kept: Option<&mut Box<dyn Stream>>) -> Result<Took, String> {
        let watch = Stopwatch::start(self.pid);
        let answered = match kept {
            Some(stream) => answer(stream, path),
            None => self.connect().and_then(|mut stream| answer(&mut stream, path)),
        };
        let answered = answered.map_err(|error| format!("{path}: {error}"))?;
        if answered.starts_with("HTTP/1.1 200 ") {
            Ok(watch.stop())
        } else {
            Err(format!("{path}: {answered:.120}"))
        }
    }

    /// The answer for a path, as it stands.
    pub(crate) fn read(&self, path: &str) -> String {
        let mut stream = self.connect().expect("a connection");
        answer(&mut stream, path).expect("an answer")
    }

    fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((self.source, 0)).into())?;
        socket.connect_timeout(&self.addr.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(config) => Box::new(tls_client::over(stream, config)),
        })
    }
}

fn answer(stream: &mut Box<dyn Stream>, path: &str) -> std::io::Result<String> {
    // In one piece: the second would wait for the acknowledgment of the first.
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    stream.flush()?;
    let mut answer = String::new();
    loop {
        let mut bytes = [0; 16 * 1024];
        let read = stream.read(&mut bytes)?;
        answer += &String::from_utf8_lossy(&bytes[..read]);
        if read == 0 || is_whole(&answer) {
            return if read == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) };
        }
    }
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

//! The callers: every representation, on kept and new connections, over HTTP/1 and HTTP/2, and the commands.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use fastrand::Rng;
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::answers::{Format, read};
use crate::judge::{Said, Time};

/// An answer that takes so long is none.
const NEVER: Duration = Duration::from_secs(10);

/// The pause of a caller after an answer, in milliseconds.
const PAUSE: std::ops::Range<u64> = 20..160;

/// The pause of the commands, each of which is a process, in milliseconds.
const PAUSE_OF_COMMANDS: std::ops::Range<u64> = 1500..3500;

/// An answer, as its caller has it.
pub(crate) struct Answer {
    pub(crate) caller: &'static str,
    pub(crate) asked: Time,
    pub(crate) answered: Time,
    /// The statuses by alias, or the reason why there are none.
    pub(crate) said: Result<Vec<(String, Said)>, String>,
    /// `false` for a command, whose own start takes its time.
    pub(crate) has_deadline: bool,
}

impl Answer {
    pub(crate) fn took(&self) -> Duration {
        self.answered.saturating_sub(self.asked)
    }
}

/// The subject of a question.
#[derive(Debug, Clone, Copy)]
enum About {
    Path(&'static str),
    /// An alias by chance.
    Alias,
}

#[derive(Debug, Clone, Copy)]
enum Connections {
    Http1,
    Kept,
    Http2,
}

type Caller = (&'static str, Connections, About, Format);

const CALLERS: [Caller; 12] = [
    ("JSON, kept", Connections::Kept, About::Path("/health"), Format::Json),
    ("JSON, new", Connections::Http1, About::Path("/health"), Format::Json),
    ("JSON, HTTP/2", Connections::Http2, About::Path("/health"), Format::Json),
    ("health+json", Connections::Http1, About::Path("/health?format=health-json"), Format::HealthJson),
    ("text", Connections::Http1, About::Path("/healthz?format=text"), Format::Text),
    ("kubernetes", Connections::Kept, About::Path("/readyz?verbose"), Format::Kubernetes),
    ("metrics", Connections::Http1, About::Path("/metrics"), Format::Metrics),
    ("page", Connections::Http2, About::Path("/?format=html"), Format::Page),
    ("readyz", Connections::Http1, About::Path("/readyz"), Format::Code),
    ("alias, new", Connections::Http1, About::Alias, Format::Json),
    ("alias, kept", Connections::Kept, About::Alias, Format::Json),
    ("gRPC", Connections::Http2, About::Alias, Format::Grpc),
];

/// How many callers of each kind there are: mostly they wait for a cache that hangs.
const OF_EACH: usize = 3;

/// The name of the caller that asks for the sidecar's own life, which shows the time that the machine adds to an answer.
pub(crate) const CONTROL: &str = "control";

/// The pause of the control.
const PAUSE_OF_CONTROL: Duration = Duration::from_millis(20);

/// The callers of a run.
#[derive(Clone)]
pub(crate) struct Callers {
    pub(crate) began: Instant,
    pub(crate) is_over: Arc<AtomicBool>,
    pub(crate) addr: String,
    pub(crate) config_file: PathBuf,
    pub(crate) aliases: Arc<[&'static str]>,
    pub(crate) lulls: Arc<[(Time, Time)]>,
    pub(crate) answers: Arc<Mutex<Vec<Answer>>>,
}

impl Callers {
    /// Starts all callers.
    pub(crate) fn start(&self, seed: u64, asking: &mut JoinSet<()>, runtime: &Handle) {
        let mut rng = Rng::with_seed(seed);
        for caller in CALLERS.repeat(OF_EACH) {
            asking.spawn_on(self.clone().call(caller, rng.fork()), runtime);
        }
        for check in [true, false] {
            asking.spawn_on(self.clone().run_command(check, rng.fork()), runtime);
        }
    }

    /// Asks for the sidecar's own life until `is_over`, after all other callers have ended.
    pub(crate) fn control(&self, is_over: Arc<AtomicBool>) -> impl Future<Output = ()> + use<> {
        let control = (CONTROL, Connections::Http1, About::Path("/livez"), Format::Code);
        Self { is_over, ..self.clone() }.call(control, Rng::with_seed(0))
    }

    /// Waits for the next turn of a caller. The control goes on in a lull.
    async fn is_next(&self, caller: &str, rng: &mut Rng) -> bool {
        match caller {
            CONTROL => self.sleep(PAUSE_OF_CONTROL).await,
            _ => self.pause(rng, PAUSE).await,
        }
    }

    /// `false` if the run is over after this time.
    async fn sleep(&self, time: Duration) -> bool {
        sleep(time).await;
        !self.is_over.load(Ordering::Relaxed)
    }

    /// The same after the pause of a caller, and after a lull.
    async fn pause(&self, rng: &mut Rng, pause: std::ops::Range<u64>) -> bool {
        sleep(Duration::from_millis(rng.u64(pause))).await;
        let now = self.began.elapsed();
        let lull = self.lulls.iter().find(|(begin, end)| (*begin..*end).contains(&now));
        self.sleep(lull.map_or(Duration::ZERO, |(_, end)| end.saturating_sub(now))).await
    }

    fn record(&self, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }

    async fn call(self, caller: Caller, mut rng: Rng) {
        let (name, connections, about, format) = caller;
        let mut kept = None;
        while self.is_next(name, &mut rng).await {
            let alias = self.aliases[rng.usize(..self.aliases.len())];
            let request = request(connections, about, format, alias);
            let asked = self.began.elapsed();
            let answer = timeout(NEVER, self.ask(&mut kept, connections, request)).await;
            let answered = self.began.elapsed();
            if !matches!(connections, Connections::Kept | Connections::Http2) {
                kept = None;
            }
            let said = match answer {
                Ok(Ok((code, body))) => read(format, code, &body),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer in {NEVER:?}")),
            };
            let said = said.and_then(|said| match about {
                About::Path(_) => self.complete(format, said),
                // The status of everything is that of the alias.
                About::Alias => Ok(said.into_iter().map(|(_, said)| (alias.to_owned(), said)).collect()),
            });
            self.record(Answer { caller: name, asked, answered, said, has_deadline: true });
        }
    }

    /// An error if an answer about everything leaves an alias out.
    fn complete(&self, format: Format, said: Vec<(String, Said)>) -> Result<Vec<(String, Said)>, String> {
        let left_out = self.aliases.iter().find(|alias| !said.iter().any(|(name, _)| name == *alias));
        match (format, left_out) {
            // The page has the worst dozen in full.
            (Format::Page | Format::Code, _) | (_, None) => Ok(said),
            (_, Some(alias)) => Err(format!("nothing is said of {alias}: {said:?}")),
        }
    }

    async fn ask(
        &self,
        kept: &mut Option<Client>,
        connections: Connections,
        request: Request<Body>,
    ) -> io::Result<(u16, Bytes)> {
        if kept.is_none() {
            *kept = Some(Client::dial(&self.addr, connections).await?);
        }
        let client = kept.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let response = match client {
            Client::Http1(client) => client.send_request(request).await,
            Client::Http2(client) => client.send_request(request).await,
        };
        let response = response.map_err(io::Error::other)?;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(io::Error::other)?;
        Ok((code, body.to_bytes()))
    }

    /// `check` with a JSON of all, or `healthcheck` with an exit code.
    async fn run_command(self, is_check: bool, mut rng: Rng) {
        while self.pause(&mut rng, PAUSE_OF_COMMANDS).await {
            let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
            if is_check {
                command.args(["check", "--format", "json", "-c"]).arg(&self.config_file);
            } else {
                command.args(["healthcheck", "--url", &format!("http://{}/health", self.addr)]);
            }
            command.stdin(Stdio::null()).kill_on_drop(true);
            let asked = self.began.elapsed();
            let output = timeout(NEVER, command.output()).await;
            let answered = self.began.elapsed();
            let said = match output {
                Ok(Ok(output)) => match output.status.code() {
                    Some(code @ (0 | 1)) => {
                        let (format, code) = (
                            if is_check { Format::Json } else { Format::Code },
                            if code == 0 { 200 } else { 503 },
                        );
                        read(format, code, &output.stdout)
                    }
                    _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                },
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no end in {NEVER:?}")),
            };
            let caller = if is_check { "check" } else { "healthcheck" };
            self.record(Answer { caller, asked, answered, said, has_deadline: false });
        }
    }
}

enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    async fn dial(addr: &str, connections: Connections) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        Ok(match connections {
            Connections::Http1 | Connections::Kept => {
                let (client, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Self::Http1(client)
            }
            Connections::Http2 => {
                let (client, connection) =
                    http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Self::Http2(client)
            }
        })
    }
}

fn request(connections: Connections, about: About, format: Format, alias: &str) -> Request<Body> {
    let path = match about {
        _ if format == Format::Grpc => "/grpc.health.v1.Health/Check".to_owned(),
        About::Path(path) => path.to_owned(),
        About::Alias => format!("/health/{alias}"),
    };
    let request = match connections {
        Connections::Http1 | Connections::Kept => Request::get(path).header(header::HOST, "localhost"),
        Connections::Http2 => Request::get(format!("http://localhost{path}")),
    };
    let request = if format == Format::Grpc {
        let request = request.method("POST").header(header::CONTENT_TYPE, "application/grpc");
        request.body(Body::from(grpc_request(alias)))
    } else {
        request.body(Body::empty())
    };
    request.expect("a request")
}

/// A frame with a message whose first field is the name of the service.
fn grpc_request(service: &str) -> Vec<u8> {
    let length = u8::try_from(service.len()).expect("a short name");
    let prefix = [0, 0, 0, 0, length + 2, 10, length];
    [&prefix[..], service.as_bytes()].concat()
}

//! The floor of a check: the very bytes that one sends, recorded on their way to the server, sent again over a raw
//! stream and compared with the answers that were had then.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_canary::alias::Alias;
use cache_canary::checker::Checker;
use cache_canary::config::{Backend, Config};
use cache_canary::outcome::Status;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::support::Relay;
use super::support::in_process::one_cache;

/// How long a thing that is to be up may take before it counts as hung.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// A command and its answer.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Exchange {
    sent: Vec<u8>,
    answered: Vec<u8>,
}

/// The bytes of one check: a canary is under one key, the next under the other.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Script {
    checks: [Vec<Exchange>; 2],
    /// `true` if each check is on a new connection. Redis greets it with its number, which is not the recorded one.
    greets: bool,
}

impl Script {
    /// Records two checks of what `backend` makes of a relay's address. If connections are `kept`, the exchange
    /// on a new one is no part of it.
    pub(crate) fn record(
        runtime: &Runtime,
        server: SocketAddr,
        alias: &str,
        kept: bool,
        backend: impl Fn(SocketAddr) -> Backend,
    ) -> Self {
        let said = Arc::new(Mutex::new(Vec::<Exchange>::new()));
        let (asked, answered) = (said.clone(), said.clone());
        let relay = Relay::start_lying(
            server,
            move |piece| {
                asked.lock().unwrap().push(Exchange { sent: piece.to_vec(), answered: Vec::new() });
                true
            },
            move |piece| {
                if let Some(exchange) = answered.lock().unwrap().last_mut() {
                    exchange.answered.extend(piece);
                }
                Some(piece.to_vec())
            },
        );
        let mut config = config(backend(relay.addr()), kept);
        config.caches[0].alias = Alias::try_from(alias).unwrap();
        let checker = Checker::new(&config).unwrap();
        // As many as it takes until both keys were written and each dialect was found out.
        let last = || {
            said.lock().unwrap().clear();
            runtime.block_on(check(&checker));
            said.lock().unwrap().clone()
        };
        for _ in 0..4 {
            last();
        }
        Self { checks: [last(), last()], greets: !kept }
    }

    /// Stores what memcached's `replace`, with which a check overwrites its canaries, wants to find there.
    pub(crate) fn prime(&self, stream: &mut dyn Wire) -> io::Result<()> {
        for check in &self.checks {
            if let Some(rest) = check[0].sent.strip_prefix(b"replace ") {
                stream.write_all(&[b"set ", rest].concat())?;
                let mut answer = [0; 8];
                stream.read_exact(&mut answer)?;
                is_as_recorded(&answer, b"STORED\r\n")?;
            }
        }
        Ok(())
    }

    /// How many bytes a check sends.
    pub(crate) fn bytes(&self) -> usize {
        self.checks[0].iter().map(|exchange| exchange.sent.len()).sum()
    }

    pub(crate) fn write(&self, path: &Path) {
        serde_json::to_writer(File::create(path).unwrap(), self).unwrap();
    }

    pub(crate) fn read(path: &str) -> Self {
        serde_json::from_reader(File::open(path).unwrap()).unwrap()
    }

    /// Says all of it, the `number`th time, over a blocking stream.
    pub(crate) fn say(&self, number: usize, stream: &mut dyn Wire) -> io::Result<()> {
        let mut answer = [0; 1024];
        for Exchange { sent, answered } in &self.checks[number % 2] {
            stream.write_all(sent)?;
            let mut heard = 0;
            if self.greets {
                while shape(&answer[..heard]) != shape(answered) {
                    let more = stream.read(&mut answer[heard..])?;
                    heard += more;
                    if more == 0 || heard > answered.len() + MORE_DIGITS {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
                continue;
            }
            while heard < answered.len() {
                let more = stream.read(&mut answer[heard..answered.len()])?;
                if more == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                heard += more;
                // Another answer may be shorter: nothing more comes then.
                is_as_recorded(&answer[..heard], &answered[..heard])?;
            }
        }
        Ok(())
    }

    /// The same over one of tokio's.
    pub(crate) async fn say_async(
        &self,
        number: usize,
        stream: &mut tokio::net::TcpStream,
    ) -> io::Result<()> {
        let mut answer = [0; 1024];
        for Exchange { sent, answered } in &self.checks[number % 2] {
            stream.write_all(sent).await?;
            let answer = &mut answer[..answered.len()];
            stream.read_exact(answer).await?;
            is_as_recorded(answer, answered)?;
        }
        Ok(())
    }
}

/// The most digits by which a number may be longer than the recorded one.
const MORE_DIGITS: usize = 8;

/// An answer with a nought for each number.
fn shape(answer: &[u8]) -> Vec<u8> {
    let mut shape: Vec<_> =
        answer.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
    shape.dedup_by(|one, other| *one == b'0' && *other == b'0');
    shape
}

fn is_as_recorded(answer: &[u8], recorded: &[u8]) -> io::Result<()> {
    if answer == recorded { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A blocking stream of any kind.
pub(crate) trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// How a raw stream gets to a server.
#[derive(Clone)]
pub(crate) enum Way {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Tls(SocketAddr, Arc<ClientConfig>),
}

impl Way {
    /// TLS with who has a certificate of this authority, which stands in PEM.
    pub(crate) fn tls(server: SocketAddr, authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Self::Tls(server, Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    pub(crate) fn dial(&self) -> io::Result<Box<dyn Wire + Send>> {
        self.dial_for(MAX_WAIT)
    }

    /// The same, where an answer may take this long.
    pub(crate) fn dial_for(&self, limit: Duration) -> io::Result<Box<dyn Wire + Send>> {
        let tcp = |server| {
            let stream = TcpStream::connect_timeout(server, limit)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(limit))?;
            Ok::<_, io::Error>(stream)
        };
        Ok(match self {
            Self::Tcp(server) => Box::new(tcp(server)?),
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(limit))?;
                Box::new(stream)
            }
            Self::Tls(server, config) => {
                let name = ServerName::IpAddress(server.ip().into());
                let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(connection, tcp(server)?))
            }
        })
    }
}

/// A configuration of this one cache, whose connections serve for ever or for a single check.
pub(crate) fn config(backend: Backend, kept: bool) -> Config {
    let mut config = one_cache(backend);
    config.reconnect_every = if kept { Duration::from_hours(1) } else { Duration::ZERO };
    config.dns_recheck = Duration::from_hours(1);
    config.timeout = MAX_WAIT;
    config
}

/// One check of everything, which is to be up.
pub(crate) async fn check(checker: &Checker) {
    let report = checker.check(&checker.catalog().all(), tokio::time::Instant::now()).await;
    assert_eq!(report.status(), Status::Up, "{:?}", report.outcomes.iter().map(|o| o.cause()).next());
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

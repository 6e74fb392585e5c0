//! `cache-canary demo`: embedded caches, a server that checks them, and switches to break them one by one.

use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::output::{LostOutput, ReaderState, print};
use crate::alias::{Alias, InvalidAlias};
use crate::checker::SetupError;
use crate::config::{
    Address, Backend, CacheConfig, Config, Listen, MemcachedConfig, MemcachedServers, RedisConfig,
    RedisServers,
};
use crate::embedded::EmbeddedServer;
use crate::http::server::{self, BindError, Listener};
use crate::outcome::SkipReason;
use switchboard::Switchboard;

mod control;
mod switchboard;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_CONTROL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
const FREE_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const AFTER_HELP: &str = "\
The demo starts embedded caches on free loopback ports; nothing needs to be installed. It prints commands to try, and
each switch prints the new state. On a terminal, switches can also be typed: main masking, main mend, help, quit.";

/// Start embedded caches, serve their health, and break them one by one with switches
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DemoArgs {
    /// Address for /health [default: 127.0.0.1:8080, or a free port if that is taken]
    #[arg(short, long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address for the switches [default: 127.0.0.1:8081, or a free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
}

/// The error for a demo that cannot run.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// No loopback port could be bound for one of its caches.
    #[error("cannot start a cache on a loopback port")]
    Cache(#[source] io::Error),
    /// The address for `/health` could not be bound.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The address for the switches could not be bound.
    #[error(
        "cannot listen on {address} (stop the process that listens there, or choose another address with --control)"
    )]
    Control {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The checks could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A name of one of its own caches is not a valid alias.
    #[error(transparent)]
    Alias(#[from] InvalidAlias),
    /// The output is lost.
    #[error(transparent)]
    Output(#[from] LostOutput),
    /// Signals cannot be watched for.
    #[error("cannot go on")]
    Io(#[from] io::Error),
}

/// Runs the demo until Ctrl-C, SIGTERM or a typed `quit`, or until the reader of its output is gone.
pub(super) async fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let mut notes = Vec::new();
    let health = bind(args.listen, DEFAULT_LISTEN, &mut notes, |address| {
        Listener::bind(&Listen::Tcp(address)).map_err(DemoError::from)
    })?;
    let control = bind(args.control, DEFAULT_CONTROL, &mut notes, |address| {
        Listener::bind(&Listen::Tcp(address))
            .map_err(|error| DemoError::Control { address, source: error.into_source() })
    })?;
    let main = EmbeddedServer::redis().await.map_err(DemoError::Cache)?;
    let sessions = [
        EmbeddedServer::memcached().await.map_err(DemoError::Cache)?,
        EmbeddedServer::memcached().await.map_err(DemoError::Cache)?,
    ];
    let config = config(main.addr(), sessions.each_ref().map(EmbeddedServer::addr))?;
    let switchboard = Arc::new(Switchboard::new(main, sessions, health.url(), control.url()));
    if say(&switchboard.introduction(&notes))? == ReaderState::Gone {
        return Ok(());
    }

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut typed = typed_lines();
    let (thrown, mut lines) = mpsc::unbounded_channel();
    let mut controlling = pin!(control::serve(control, switchboard.clone(), thrown));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut stop = Some(stop);
    let mut serving = pin!(server::serve(&config, health.into(), async { drop(stopped.await) }));
    loop {
        let is_asked_to_stop = tokio::select! {
            served = &mut serving => return Ok(served?),
            () = &mut controlling => return Ok(()),
            Some(line) = lines.recv() => say(&line)? == ReaderState::Gone,
            Some(line) = typed.recv() => match line.trim() {
                "" => false,
                "quit" | "exit" => true,
                line => say(&switchboard.typed(line))? == ReaderState::Gone,
            },
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        if is_asked_to_stop && stop.take().is_none() {
            // After a second request to stop, open requests are not waited for.
            return Ok(());
        }
    }
}

/// Binds the requested address; without one the default, or a free port if the default is taken.
fn bind<T>(
    asked: Option<SocketAddr>,
    default: SocketAddr,
    notes: &mut Vec<String>,
    bind: impl Fn(SocketAddr) -> Result<T, DemoError>,
) -> Result<T, DemoError> {
    match asked {
        Some(address) => bind(address),
        None => bind(default).or_else(|_| {
            notes.push(format!("{default} is taken, so a free port is used instead."));
            bind(FREE_PORT)
        }),
    }
}

fn config(main: SocketAddr, sessions: [SocketAddr; 2]) -> Result<Config, InvalidAlias> {
    let address = |addr: SocketAddr| Address::Tcp { host: addr.ip().to_string(), port: addr.port() };
    let caches = [
        ("default", Backend::forwarding_to(Alias::try_from("main")?)),
        ("main", Backend::Redis(RedisConfig::at(RedisServers::Standalone(address(main))))),
        (
            "sessions",
            Backend::Memcached(MemcachedConfig::at(
                sessions.map(|addr| MemcachedServers::One(address(addr))),
            )),
        ),
        ("staticfiles", Backend::Unchecked(SkipReason::LocalMemory)),
    ];
    let caches =
        caches.map(|(alias, backend)| Alias::try_from(alias).map(|alias| CacheConfig::new(alias, backend)));
    Ok(Config {
        // The listeners are bound before the configuration exists, to find free ports.
        listen: Vec::new(),
        instance: "demo".to_owned(),
        // A broken cache must be visible at once, so no earlier verdict is reused.
        max_age: Duration::ZERO,
        caches: caches.into_iter().collect::<Result<_, _>>()?,
        ..Config::default()
    })
}

/// The lines that are typed, if stdin is a terminal.
fn typed_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    if io::stdin().is_terminal() {
        // A separate thread, since tokio's stdin would keep the process from ending until Enter is pressed.
        thread::spawn(move || {
            io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
    }
    lines
}

fn say(text: &str) -> Result<ReaderState, LostOutput> {
    print(format!("{text}\n").as_bytes())
}

//! The command `serve`: the server, its signals and its reloads.

mod exposure;
mod reload;
mod stamps;
mod systemd;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Failure, FileArgs, block_on, draft, files};
use crate::app::App;
use crate::config::{Config, FetchedTargets, Loaded};
use crate::http::server::{Listeners, serve_app};
use crate::telemetry;
use reload::{ReloadFlags, Reloader};

const AFTER_HELP: &str = "\
Examples:
  cache-canary serve -c cache-canary.toml
  CACHE_URL=redis://cache:6379/0 cache-canary serve --listen 127.0.0.1:8080
  cache-canary serve -c cache-canary.toml --listen '[::]:8080' --listen unix:/run/cache-canary.sock

Then query it: curl -i localhost:8080/health

SIGTERM or SIGINT stops the server once open requests are answered; a second signal stops it at once. SIGHUP, or a
change of a configuration file, reloads the configuration; if it is invalid, the previous one stays in force.

Exit codes: 0 after a clean stop; 2 invalid arguments or configuration; 1 any other error.";

/// Serve /health, /livez, /readyz and /metrics; each request checks the caches
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: FileArgs,
    /// Address to listen on, instead of the configured ones; repeatable
    #[arg(short, long, value_name = "ADDR")]
    listen: Vec<String>,
}

impl ServeArgs {
    /// The file and the addresses that were given.
    pub(super) fn flags(self) -> (Option<PathBuf>, Vec<String>) {
        (self.config.config, self.listen)
    }
}

/// Serves until it is told to stop.
pub(super) fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    telemetry::init().map_err(Failure::usage)?;
    let (file, listen) = args.flags();
    let flags = ReloadFlags { file, listen };
    let source = flags.source();
    let (draft, targets) = draft(&source)?;
    let loaded = reload::load(draft, targets.clone()).map_err(Failure::usage)?;
    block_on(serve(loaded, flags, targets))
}

async fn serve(
    loaded: Loaded,
    flags: ReloadFlags,
    targets: Option<FetchedTargets>,
) -> Result<ExitCode, Failure> {
    let on = |kind| signal(kind).map_err(Failure::other);
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let hangup = on(SignalKind::hangup())?;
    // The signal for a log file at its limit (RLIMIT_FSIZE) ends a process that has no handler for it.
    let _log_is_full = on(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    let mut stop = async || {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    for note in &loaded.notes {
        warn!("{note}");
    }
    let config = &loaded.config;
    files::make_room(config, files::callers(config)).tell();
    let app = Arc::new(App::new(config).map_err(Failure::usage)?);
    announce(config, &app);
    let (listeners, limits) = (Listeners::bind(config).map_err(Failure::other)?, files::limits(config));

    let (ask_to_stop, asked_to_stop) = oneshot::channel::<()>();
    let shutdown = async { drop(asked_to_stop.await) };
    let signals = async {
        stop().await;
        drop(ask_to_stop);
        systemd::stopping().await;
        stop().await;
    };
    // The configuration as read is not kept, since the checks have their own parts of it.
    let reloads = Reloader::new(app.clone(), flags, loaded, targets);
    tokio::select! {
        () = serve_app(app.clone(), listeners, limits, shutdown) => Ok(ExitCode::SUCCESS),
        () = signals => Err(Failure::other("stopped at once by a second signal; open requests may be unanswered")),
        never = reloads.run(hangup) => match never {},
        never = systemd::accompany(&app) => match never {},
    }
}

/// Logs the caches that will be checked, and what is shown to everyone.
fn announce(config: &Config, app: &App) {
    info!("cache-canary {}, instance {}", env!("CARGO_PKG_VERSION"), config.instance);
    let checked: Vec<_> = app.setup().checker.catalog().checked().map(ToString::to_string).collect();
    info!("checking {}", checked.join(", "));
    for skipped in app.setup().checker.catalog().all().skipped {
        info!("skipping {}: {}", skipped.alias, skipped.reason);
    }
    if let Some(exposure) = exposure::exposure(config) {
        info!("{exposure}");
    }
}

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Failure, FileArgs, block_on, load};
use crate::app::App;
use crate::config::Config;
use crate::http::server::{Limits, Listeners, serve_app};
use crate::telemetry;

const AFTER_HELP: &str = "\
Examples:
  cache-canary serve -c cache-canary.toml
  CACHE_URL=redis://cache:6379/0 cache-canary serve --listen 127.0.0.1:8080
  cache-canary serve -c cache-canary.toml --listen '[::]:8080' --listen unix:/run/cache-canary.sock

Then ask it: curl -i localhost:8080/health

SIGTERM or SIGINT stops it when the open requests are answered; a second one stops it at once.

Exit codes: 0 after a clean stop, 2 if the configuration is not valid, 1 for anything else.";

/// Serve /health, /livez, /readyz and /metrics, and check the caches whenever they are asked for
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: FileArgs,
    /// Listen on this address and not on the configured ones; may be given several times
    #[arg(short, long, value_name = "ADDR")]
    listen: Vec<String>,
}

/// Serves until it is told to stop.
pub(super) fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    telemetry::init().map_err(Failure::usage)?;
    let loaded = load(args.config.config, args.listen)?;
    for note in &loaded.notes {
        warn!("{note}");
    }
    block_on(serve(loaded.config))
}

async fn serve(config: Config) -> Result<ExitCode, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::other)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::other)?;
    let mut stop = async || {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    let app = Arc::new(App::new(&config).map_err(Failure::usage)?);
    announce(&config, &app);
    let listeners = Listeners::bind(&config).map_err(Failure::other)?;

    let (ask_to_stop, asked_to_stop) = oneshot::channel::<()>();
    let shutdown = async { drop(asked_to_stop.await) };
    let signals = async {
        stop().await;
        drop(ask_to_stop);
        stop().await;
    };
    tokio::select! {
        () = serve_app(app, listeners, Limits::default(), shutdown) => Ok(ExitCode::SUCCESS),
        () = signals => Err(Failure::other("stopped at once by a second signal, requests may be unanswered")),
    }
}

/// Says in the log what will be checked.
fn announce(config: &Config, app: &App) {
    info!("cache-canary {}, instance {}", env!("CARGO_PKG_VERSION"), config.instance);
    let checked: Vec<_> = app.setup().checker.catalog().checked().map(ToString::to_string).collect();
    info!("checking {}", checked.join(", "));
    for skipped in app.setup().checker.catalog().all().skipped {
        info!("skipping {}: {}", skipped.alias, skipped.reason);
    }
}

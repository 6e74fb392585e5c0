//! The commands: what was typed, and the exit code that it comes to.

use std::error::Error;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::iter::successors;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Loaded, Source};

/// The least users of Redis that the checks need.
mod acl;
/// One round of checks, now, without a server.
mod check;
/// What the configuration says, before it is served.
pub mod config;
/// Caches of its own, and switches to break them.
mod demo;
/// Asks a running server, for HEALTHCHECK.
mod healthcheck;
/// The server.
mod serve;

/// How many threads may resolve names at a time. Without a limit, a thousand hosts that a name server does
/// not answer for make hundreds of threads.
const MAX_RESOLVING: usize = 16;

const CONFIG_HELP: &str = "The configuration file, in TOML; without one, the one that CACHE_CANARY_CONFIG names, or the environment alone";

const LONG_ABOUT: &str = "\
Says whether the caches that an application depends on really work.

For each configured cache it writes a canary, a key with a value made for this one check, and reads it back.
Whatever comes back other than that value means unhealthy, now.";

const AFTER_HELP: &str = "\
Examples:
  cache-canary demo                                        caches of its own, to break and watch
  CACHE_URL=redis://cache:6379/0 cache-canary check        one round of checks, without a server
  cache-canary serve -c cache-canary.toml                  the server; ask it: curl -i localhost:8080/health
  cache-canary healthcheck                                 asks that server, exits 0 or 1

Environment:
  CACHE_URL, CACHE_URL_<ALIAS>   a cache to check: redis://host:6379/0, or memcached://one:11211,two:11211
  CACHE_CANARY_<SETTING>         a setting of the file, such as CACHE_CANARY_TIMEOUT=750ms
  CACHE_CANARY_LOG               error, warn, info (the default) or debug
  NO_COLOR                       no colour on a terminal";

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "cache-canary",
    version,
    about = "Says whether the caches that an application depends on really work",
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    disable_help_subcommand = true,
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Healthcheck(healthcheck::HealthcheckArgs),
    Config(config::ConfigArgs),
    Acl(acl::AclArgs),
    Demo(demo::DemoArgs),
}

/// Where the configuration is read from.
#[derive(Debug, Args)]
struct FileArgs {
    #[arg(short, long, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
}

/// Why a command did not do what it was told, and the exit code that goes with it.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// What was typed or configured cannot be done.
    fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 2, error: error.into() }
    }

    /// Anything else.
    fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 1, error: error.into() }
    }
}

impl Cli {
    /// What `arguments`, the program's name first, say; or the exit code after help, version or an error was
    /// printed.
    pub fn parse_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        Self::try_parse_from(&arguments).map_err(|error| {
            // Where the help cannot be printed there is nobody to tell.
            let _ = error.print();
            match error.exit_code() {
                0 => ExitCode::SUCCESS,
                // Docker reserves every code but 0 and 1.
                _ if arguments.get(1).is_some_and(|command| command == "healthcheck") => ExitCode::FAILURE,
                _ => ExitCode::from(2),
            }
        })
    }

    /// Runs the command. What goes wrong is said on stderr.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Check(args) => check::run(args),
            Command::Healthcheck(args) => healthcheck::run(&args),
            Command::Config(args) => config::run(args.command),
            Command::Acl(args) => acl::run(args),
            Command::Demo(args) => block_on(async {
                demo::run(&args, &mut io::stdout()).await.map(|()| ExitCode::SUCCESS).map_err(Failure::other)
            }),
        };
        result.unwrap_or_else(|failure| {
            print_error(failure.error.as_ref());
            ExitCode::from(failure.code)
        })
    }
}

/// Runs `work` on a thread of its own making, the only one but for those that resolve names.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_RESOLVING)
        .build()
        .map_err(Failure::other)?;
    let result = runtime.block_on(work);
    // A name server that does not answer must not hold up the exit.
    runtime.shutdown_background();
    result
}

/// Writes to stdout. A reader that went away, as in `| head`, is no failure.
fn print(text: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text).and_then(|()| stdout.flush());
}

/// Writes the error and its causes to stderr, on a line.
fn print_error(error: &dyn Error) {
    let line = format!("error: {}\n", causes(error));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// An error and its causes.
fn causes(error: &dyn Error) -> String {
    let chain: Vec<_> = successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    chain.join(": ")
}

/// The configuration that is in force with this file and these flags.
fn load(file: Option<PathBuf>, listen: Vec<String>) -> Result<Loaded, Failure> {
    crate::config::load(&Source::from_process(file, listen)).map_err(Failure::usage)
}

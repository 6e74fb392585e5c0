//! The commands: what was typed, and the exit code that it comes to.

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsString;
use std::future::Future;
use std::iter::successors;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Loaded, Source};
use crate::telemetry;
use output::{LostOutput, print};

/// The least users of Redis that the checks need.
mod acl;
mod check;
mod completions;
/// What the configuration says, before it is served.
pub mod config;
/// Caches of its own, and switches to break them.
mod demo;
/// How many files may be open.
mod files;
mod healthcheck;
/// Where every command prints.
mod output;
mod serve;

/// How many threads of the runtime's may read files at a time. Names are looked up on threads of their own.
const MAX_BLOCKING: usize = 16;

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
  CACHE_CANARY_LOG               error, warn, info or debug; info unless said, and error for check
  CACHE_CANARY_URL               what healthcheck asks, such as http://127.0.0.1:8080/health
  SSL_CERT_FILE                  certificates to trust instead of the system's
  NO_COLOR                       no colour on a terminal
  TERM                           dumb, for a terminal that understands text alone

Files:
  The file that -c or CACHE_CANARY_CONFIG names, in TOML. There is no default one: without it, the environment says
  everything. Any value may be ${NAME} or ${NAME:-default}, and a secret may be in a file of its own: password_file.

Signals:
  SIGTERM and SIGINT stop serve when the open requests are answered, and a second one stops it at once; they end check
  --watch with the exit code of its last round.

Exit codes: 0 if all is well, 1 if a cache is down, the output was lost or a command could not do what it was told, 2 if
the arguments or the configuration are not valid. healthcheck has 0 and 1 alone, and check --format nagios those of
plugins. A reader of the output that goes away, as in `| head`, changes no exit code.";

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
    Completions(completions::CompletionsArgs),
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

impl From<LostOutput> for Failure {
    fn from(lost: LostOutput) -> Self {
        Self::other(lost)
    }
}

impl Cli {
    /// What `arguments`, the program's name first, say; or the exit code after help, version or an error was
    /// printed.
    pub fn parse_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        Self::try_parse_from(&arguments).map_err(|error| {
            let is_failure = error.exit_code() != 0;
            if is_failure && asks_for_nagios(&arguments) {
                let error = error.to_string();
                return check::nagios::say_unknown(error.strip_prefix("error: ").unwrap_or(&error));
            }
            if !is_failure {
                let printed = print(error.to_string().as_bytes());
                return exit_code(printed.map(|_| ExitCode::SUCCESS).map_err(Failure::from));
            }
            // If stderr is lost, the exit code is all that is left to say.
            let _ = error.print();
            match arguments.get(1).and_then(|command| command.to_str()) {
                // Docker reserves every code but 0 and 1.
                Some("healthcheck") => ExitCode::FAILURE,
                Some(_) | None => ExitCode::from(2),
            }
        })
    }

    /// Runs the command. What goes wrong is said on stderr.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Check(args) => check::run(&args),
            Command::Healthcheck(args) => healthcheck::run(&args),
            Command::Config(args) => config::run(args.command),
            Command::Acl(args) => acl::run(args),
            Command::Completions(args) => completions::run(&args),
            Command::Demo(args) => {
                block_on(async { demo::run(&args).await.map(|()| ExitCode::SUCCESS).map_err(Failure::other) })
            }
        };
        let exit_code = exit_code(result);
        telemetry::flush();
        exit_code
    }
}

/// The exit code of a command. A failure is said on stderr.
fn exit_code(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        print_error(failure.error.as_ref());
        ExitCode::from(failure.code)
    })
}

/// Whether a monitoring system reads what is printed, as far as that can be said of arguments that are not valid.
fn asks_for_nagios(arguments: &[OsString]) -> bool {
    let arguments: Vec<_> = arguments.iter().skip(1).map(|argument| argument.to_string_lossy()).collect();
    let named = arguments.iter().any(|argument| {
        let value = argument.strip_prefix("--format=").or_else(|| argument.strip_prefix("-f"));
        value.is_some_and(|value| value.trim_start_matches('=') == "nagios")
    });
    let follows = |pair: &[Cow<'_, str>]| ["--format", "-f"].contains(&&*pair[0]) && pair[1] == "nagios";
    arguments.first().is_some_and(|command| command == "check")
        && (named || arguments.windows(2).any(follows))
}

/// Runs `work` on a thread of its own making, the only one but for those that read files or look names up.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING)
        .build()
        .map_err(Failure::other)?;
    let result = runtime.block_on(work);
    // A file system that does not answer must not hold up the exit.
    runtime.shutdown_background();
    result
}

/// Writes the error and its causes to stderr, on a line.
fn print_error(error: &dyn Error) {
    telemetry::say(&format!("error: {}\n", causes(error)));
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

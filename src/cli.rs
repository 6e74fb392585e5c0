//! The commands: the parsed arguments, and the exit code of each command.

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsString;
use std::future::Future;
use std::iter::successors;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::catalog::{Catalog, Selection};
use crate::config::{Config, Draft, FetchedTargets, Loaded, Shard, Source};
use crate::telemetry;
use output::{LostOutput, print};

/// The Redis users that the checks need, with minimal rights.
mod acl;
/// Notes on TLS that files tell before any handshake.
mod certificates;
mod client;
mod check;
mod completions;
/// Commands that validate and print the configuration.
pub mod config;
/// Embedded caches, and switches to break them.
mod demo;
/// The limit of open files.
mod files;
mod healthcheck;
/// The protection of passwords in memory.
mod memory;
/// Orphans of the container whose first process this is.
mod orphans;
/// The output of every command.
mod output;
mod rings;
mod serve;
mod targets;

const CONFIG_HELP: &str =
    "Configuration file (TOML) [default: the file in CACHE_CANARY_CONFIG, else environment variables only]";

const LONG_ABOUT: &str = "\
Health checks for Redis and memcached, by writing a value and reading it back.

For each configured cache, every check writes a canary (a key with a value unique to this check) and reads it back.
If the read returns anything but that value, the cache is down.";

const AFTER_HELP: &str = "\
Examples:
  cache-canary demo                                        start embedded caches, to break and watch
  CACHE_URL=redis://cache:6379/0 cache-canary check        run one round of checks, without a server
  cache-canary serve -c cache-canary.toml                  run the server; query it: curl -i localhost:8080/health
  cache-canary healthcheck                                 query that server; exit 0 or 1

Environment:
  CACHE_URL, CACHE_URL_<ALIAS>   cache to check: redis://host:6379/0, or memcached://one:11211,two:11211
  REDIS_URL, MEMCACHED_URL, ...  cache to check if no other setting names one; the documentation lists these variables
  CACHE_CANARY_<SETTING>         any setting of the configuration file, such as CACHE_CANARY_TIMEOUT=750ms
  CACHE_CANARY_LOG               log level: error, warn, info or debug [default: info; error for check]
  CACHE_CANARY_URL               URL that healthcheck queries, such as http://127.0.0.1:8080/health
  SSL_CERT_FILE                  CA certificates to trust instead of the system's
  NO_COLOR                       if set, no color on a terminal
  TERM                           if dumb, plain text on a terminal

Files:
  The configuration file (TOML) is given by -c or CACHE_CANARY_CONFIG; there is no default path. Without a file, all
  settings come from the environment. Any value may be ${NAME} or ${NAME:-default}. A secret may be read from its own
  file, with password_file.

Signals:
  serve stops on SIGTERM or SIGINT once open requests are answered, and at once on a second signal. check --watch stops
  with the exit code of its last round.

Exit codes: 0 success; 1 a cache is down, output was lost, or the command failed; 2 invalid arguments or configuration.
healthcheck uses only 0 and 1, check --format nagios the plugin codes 0 to 3. If a pipe closes early, as with `| head`,
the exit code does not change.";

/// The parsed command line.
#[derive(Debug, Parser)]
#[command(
    name = "cache-canary",
    version,
    about = "Health checks for Redis and memcached, by writing a value and reading it back",
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

/// The source of the configuration.
#[derive(Debug, Args)]
struct FileArgs {
    #[arg(short, long, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
}

/// The error that made a command fail, and its exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure caused by the arguments or the configuration.
    fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: 2, error: error.into() }
    }

    /// Any other failure.
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
    /// Parses `arguments`, which begin with the program's name. The error is the exit code, after help, version or an
    /// error was printed.
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
            // If stderr is lost, only the exit code reports the error.
            let _ = error.print();
            match arguments.get(1).and_then(|command| command.to_str()) {
                // Docker reserves every code but 0 and 1.
                Some("healthcheck") => ExitCode::FAILURE,
                Some(_) | None => ExitCode::from(2),
            }
        })
    }

    /// Runs the command. Errors go to stderr.
    #[must_use]
    pub fn run(self) -> ExitCode {
        if let Err(error) = memory::protect() {
            telemetry::say(&format!("warning: a core file may contain passwords: {error}\n"));
        }
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

/// The exit code of a command. A failure is printed to stderr.
fn exit_code(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        print_error(failure.error.as_ref());
        ExitCode::from(failure.code)
    })
}

/// `true` if a monitoring system reads the output, as far as invalid arguments can tell.
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

/// Runs `work` on this thread, the only one besides those that read files or look names up.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::other)?.block_on(async {
        tokio::spawn(orphans::reap());
        work.await
    })
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

/// The selection of these aliases of `config`, or of everything if there are none.
fn select(catalog: &Catalog, config: &Config, names: &[String]) -> Result<Selection, Failure> {
    let other = |shard: &Shard| names.iter().find_map(|name| Some((name, shard.elsewhere(name)?)));
    if let Some((shard, (name, other))) = config.shard.as_ref().and_then(|shard| Some((shard, other(shard)?)))
    {
        let Shard { index, of, .. } = shard;
        return Err(Failure::usage(format!(
            "`{name}` belongs to shard {other} of {of}, and this is shard {index}"
        )));
    }
    catalog.select(names).map_err(Failure::usage)
}

/// The configuration that is in force with this file and these flags.
fn load(file: Option<PathBuf>, listen: Vec<String>) -> Result<Loaded, Failure> {
    let source = Source::from_process(file, listen);
    let (draft, targets) = draft(&source)?;
    draft.load(targets).map_err(Failure::usage)
}

/// The configuration of this source as it was written, with the list of targets if a server has it. It blocks, so a task must
/// not call it.
fn draft(source: &Source) -> Result<(Draft<'_>, Option<FetchedTargets>), Failure> {
    let draft = Draft::read(source).map_err(Failure::usage)?;
    let targets = draft.http_targets().as_ref().map(targets::fetch).transpose().map_err(Failure::usage)?;
    Ok((draft, targets))
}

//! Parse, run, exit code.

use std::process::ExitCode;

use cache_canary::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse_arguments(std::env::args_os()) {
        Ok(cli) => cli.run(),
        Err(exit_code) => exit_code,
    }
}

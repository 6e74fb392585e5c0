//! The command `completions`: completion scripts for shells.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Failure;
use super::output::print;

const AFTER_HELP: &str = "\
Examples:
  cache-canary completions bash > ~/.local/share/bash-completion/completions/cache-canary
  cache-canary completions zsh > ~/.zfunc/_cache-canary
  cache-canary completions fish > ~/.config/fish/completions/cache-canary.fish
  source <(cache-canary completions bash)    in ~/.bashrc, if the package bash-completion is not installed

For zsh, put fpath=(~/.zfunc $fpath) before compinit in ~/.zshrc. Then start a new shell.

Exit codes: 0 success; 1 output was lost, as on a full disk; 2 invalid arguments.";

/// Print the shell completion script
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompletionsArgs {
    /// Shell to print the script for
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions.
pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    // tests/cli/completions.rs generates the scripts from the code, since the generator is larger than its output.
    let script = match args.shell {
        Shell::Bash => include_str!("completions/cache-canary.bash"),
        Shell::Zsh => include_str!("completions/_cache-canary"),
        Shell::Fish => include_str!("completions/cache-canary.fish"),
    };
    print(script.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

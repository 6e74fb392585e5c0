//! [`ServerFlags`]: the arguments of the server in the same container, which its configuration depends on.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use crate::cli::{Cli, Command};

/// The arguments of `serve`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ServerFlags {
    pub(super) file: Option<PathBuf>,
    pub(super) listen: Vec<String>,
}

/// The arguments of the first process, if that is the server, perhaps under an init such as tini: a container's.
pub(super) fn of_first_process() -> Option<ServerFlags> {
    let command_line = std::fs::read("/proc/1/cmdline").ok()?;
    let mut flags = of_command_line(&command_line)?;
    // The path is relative to the directory of the server. If only root may see that (see `cli/memory.rs`), it is the
    // directory of this process: a container starts both in one.
    let directory = Path::new("/proc/1/cwd");
    if directory.read_link().is_ok() {
        flags.file = flags.file.map(|file| directory.join(file));
    }
    Some(flags)
}

/// The arguments in a command line as `/proc` has it (proc(5): each ends in a zero).
fn of_command_line(command_line: &[u8]) -> Option<ServerFlags> {
    let arguments = command_line.split(|&byte| byte == 0).map(OsStr::from_bytes);
    let is_ours = |argument: &&OsStr| Path::new(argument).file_name() == Some(OsStr::new("cache-canary"));
    let mut arguments: Vec<OsString> =
        arguments.skip_while(|argument| !is_ours(argument)).map(Into::into).collect();
    // What stands behind the last zero.
    arguments.pop();
    match Cli::try_parse_from(arguments).ok()?.command {
        Command::Serve(args) => {
            let (file, listen) = args.flags();
            Some(ServerFlags { file, listen })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Option<ServerFlags> {
        let line: String = arguments.iter().flat_map(|argument| [*argument, "\0"]).collect();
        of_command_line(line.as_bytes())
    }

    #[test]
    fn the_arguments_of_a_server_are_found_under_an_init_too_and_those_of_nothing_else() {
        let listen = || vec!["0.0.0.0:9090".to_owned()];
        let expected = ServerFlags { file: Some("/etc/canary.toml".into()), listen: listen() };
        let serve = ["/cache-canary", "serve", "-c", "/etc/canary.toml", "--listen", "0.0.0.0:9090"];
        assert_eq!(flags(&serve), Some(expected));
        let under_init = ["/sbin/docker-init", "--", "/cache-canary", "serve", "-l", "0.0.0.0:9090"];
        assert_eq!(flags(&under_init), Some(ServerFlags { file: None, listen: listen() }));
        assert_eq!(flags(&["cache-canary", "serve"]), Some(ServerFlags::default()));
        for other in
            [&["/sbin/init"][..], &["/cache-canary", "demo"], &["/cache-canary"], &["nginx", "serve"], &[]]
        {
            assert_eq!(flags(other), None, "{other:?}");
        }
    }
}

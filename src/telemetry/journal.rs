//! The log as systemd's journal reads it: each line begins with its priority (`sd-daemon(3)`), and the journal adds the
//! time.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The environment variable with device and inode of the stream to the journal (`systemd.exec(5)`). Another process may
/// have inherited it without the stream, so both are compared.
const STREAM: &str = "JOURNAL_STREAM";

/// `true` if stderr is read by the journal.
pub(super) fn is_reader() -> bool {
    static IS_READER: OnceLock<bool> = OnceLock::new();
    *IS_READER.get_or_init(|| {
        let stream = std::env::var(STREAM).ok();
        stream.is_some_and(|stream| !io::stderr().is_terminal() && Some(stream) == identity())
    })
}

/// Device and inode of stderr, as the journal writes them.
fn identity() -> Option<String> {
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
    let stream = stderr.metadata().ok()?;
    Some(format!("{}:{}", stream.dev(), stream.ino()))
}

/// The prefix of a line of this level; empty if the journal does not read it.
pub(super) fn prefix(level: Level) -> &'static str {
    if is_reader() { priority(level) } else { "" }
}

/// The priority of a level (`syslog(3)`): error, warning, informational, debug.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// The time of a line, unless the journal adds it.
pub(super) struct LineTime;

impl FormatTime for LineTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        if is_reader() { Ok(()) } else { SystemTime.format_time(writer) }
    }
}

//! Standard output of every command. Lost output fails the command.

use std::io::{self, ErrorKind, Write as _};

/// The error for output that did not reach its file, pipe or terminal.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct LostOutput(#[source] io::Error);

/// The state of the reader of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReaderState {
    Reads,
    /// The other end of the pipe is closed, as after `| head`.
    Gone,
}

/// Writes `text` to standard output.
///
/// A reader that closes the pipe has chosen to cut the output short, so that is no error.
pub(super) fn print(text: &[u8]) -> Result<ReaderState, LostOutput> {
    match Stdout.write_all(text) {
        Ok(()) => Ok(ReaderState::Reads),
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            Ok(ReaderState::Gone)
        }
        Err(error) => Err(LostOutput(error)),
    }
}

/// The bare descriptor, since the standard library's `Stdout` treats an unwritable one (EBADF) as a sink.
struct Stdout;

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Standard output: every command prints here, and an output that is lost fails the command.

use std::io::{self, ErrorKind, Write as _};

/// Why a command's output did not reach its file, pipe or terminal.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct LostOutput(#[source] io::Error);

/// Whether somebody still reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReaderState {
    Reads,
    /// The other end of the pipe is closed, as after `| head`.
    Gone,
}

/// Writes `text` to standard output.
///
/// A reader that goes away has cut the output short by its own choice, so that is no error.
pub(super) fn print(text: &[u8]) -> Result<ReaderState, LostOutput> {
    match Stdout.write_all(text) {
        Ok(()) => Ok(ReaderState::Reads),
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            Ok(ReaderState::Gone)
        }
        Err(error) => Err(LostOutput(error)),
    }
}

/// The descriptor itself: the standard library's `Stdout` takes one that may not be written (EBADF) for a sink.
struct Stdout;

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! [`Stderr`]: the target of events. It neither blocks nor fails, even if the real stderr does.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::OptionalWriter;

use super::journal;
use super::queue::{LineQueue, Unwritten};
use super::writer::Writer;

/// The targets that are not limited: those of this crate's modules.
const OWN_TARGETS: &str = env!("CARGO_CRATE_NAME");

/// The time for which a process that ends waits for its log: a reader that has stopped must not hold it up.
const LAST_LINES: Duration = Duration::from_millis(250);

/// The stack of the thread that writes, in bytes.
const STACK: usize = 64 * 1024;

/// The log of the process.
static QUEUE: LineQueue = LineQueue::new();

/// `true` if a thread writes it.
static HAS_WRITER: AtomicBool = AtomicBool::new(false);

/// The target of events, a line at a time.
pub(super) struct Stderr;

/// A line that goes to the queue, after this prefix.
pub(super) struct QueuedWriter(&'static str);

impl MakeWriter<'_> for Stderr {
    type Writer = OptionalWriter<QueuedWriter>;

    fn make_writer(&self) -> Self::Writer {
        OptionalWriter::some(QueuedWriter(journal::prefix(Level::INFO)))
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> Self::Writer {
        let is_limited = !metadata.target().starts_with(OWN_TARGETS);
        if is_limited && !QUEUE.admits(*metadata.level()) {
            return OptionalWriter::none();
        }
        OptionalWriter::some(QueuedWriter(journal::prefix(*metadata.level())))
    }
}

impl Write for QueuedWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0 {
            "" => log(line),
            // Without a time, a line begins with spaces.
            prefix => log(&[prefix.as_bytes(), line.trim_ascii_start()].concat()),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line to stderr, after earlier log lines, and waits for a moment until it is written: it may be the last of
/// the process.
pub fn say(line: &str) {
    let line = format!("{}{line}", journal::prefix(Level::ERROR));
    log(line.as_bytes());
    if HAS_WRITER.load(Ordering::Relaxed) {
        flush();
    } else {
        // Without a thread the process itself may wait: it has nothing more to do.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// Waits for a moment until all log lines are written; `true` if they are.
pub fn flush() -> bool {
    QUEUE.drain(LAST_LINES)
}

/// The number of log lines that were not written.
#[must_use]
pub(crate) fn unwritten() -> Unwritten {
    QUEUE.unwritten()
}

fn log(line: &[u8]) {
    QUEUE.push(line);
    start_writer();
}

/// Starts the thread that writes, unless there is one. If the system gives no thread, lines wait in the queue, and the
/// next one tries again.
fn start_writer() {
    if HAS_WRITER.swap(true, Ordering::Relaxed) {
        return;
    }
    // `std::io::stderr` is avoided: it reports success for a line that a closed stderr did not take (EBADF).
    let write = |bytes: &[u8]| rustix::io::write(io::stderr(), bytes);
    let thread = thread::Builder::new().name("log".to_owned()).stack_size(STACK);
    if thread.spawn(move || Writer::new(write).run(&QUEUE)).is_err() {
        HAS_WRITER.store(false, Ordering::Relaxed);
    }
}

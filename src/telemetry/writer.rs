//! [`Writer`]: the work of the log thread, and its handling of a stderr that cannot be written.

use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::queue::{Line, LineQueue, lines_were, warning};

/// The pause before the next attempt to write to a stderr that would block.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes the lines of a queue, and reports the number of those that it could not write.
pub(super) struct Writer<W> {
    /// Writes some bytes to stderr, and returns their number.
    write: W,
    /// The number of lost lines that the log has reported.
    told: u64,
    /// The error that lost the last line, since the last report.
    error: Option<Errno>,
    /// `true` if the last line was written only in part.
    is_torn: bool,
}

impl<W: FnMut(&[u8]) -> Result<usize, Errno>> Writer<W> {
    pub(super) fn new(write: W) -> Self {
        Self { write, told: 0, error: None, is_torn: false }
    }

    /// Writes for as long as the process lives.
    pub(super) fn run(mut self, queue: &LineQueue) -> ! {
        loop {
            self.pass(queue.next(), queue);
        }
    }

    /// Writes a line, or counts it as lost. A later one is tried as well: a disk may have room again, a pipe a new
    /// reader.
    fn pass(&mut self, line: Line, queue: &LineQueue) {
        let Line { text, lost_before } = line;
        if let Err(error) = self.tell(lost_before).and_then(|()| self.put(&text)) {
            self.error = Some(error);
            if !text.is_empty() {
                queue.lose();
            }
        }
    }

    /// Writes the number of lines that were lost since the last report.
    fn tell(&mut self, lost: u64) -> Result<(), Errno> {
        if lost == self.told {
            return Ok(());
        }
        let lines_were = lines_were(lost - self.told);
        let words = match self.error {
            Some(error) => format!("{lines_were} lost: stderr could not be written: {error}"),
            None => format!("{lines_were} lost: stderr was not read in time"),
        };
        let end = if self.is_torn { "\n" } else { "" };
        self.put((end.to_owned() + &warning(&words)).as_bytes())?;
        (self.told, self.error) = (lost, None);
        Ok(())
    }

    fn put(&mut self, mut rest: &[u8]) -> Result<(), Errno> {
        while !rest.is_empty() {
            match (self.write)(rest) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => {
                    rest = &rest[count..];
                    self.is_torn = !rest.is_empty();
                }
                Err(Errno::INTR) => {}
                // Another process that shares stderr has made it non-blocking.
                Err(Errno::AGAIN) => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// The content of a stderr that answers writes with `answers` and then accepts everything, and the number of lost
    /// lines.
    fn on_stderr(lines: &[&str], answers: &[Result<usize, Errno>]) -> (String, u64) {
        let (queue, mut text) = (LineQueue::new(), Vec::new());
        let mut answers: VecDeque<_> = answers.iter().copied().collect();
        let mut writer = Writer::new(|bytes: &[u8]| {
            let count = answers.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            text.extend_from_slice(&bytes[..count]);
            Ok(count)
        });
        for line in lines {
            queue.push(line.as_bytes());
            writer.pass(queue.next(), &queue);
        }
        (String::from_utf8(text).unwrap(), queue.unwritten().lost)
    }

    #[test]
    fn a_line_that_is_interrupted_or_would_block_is_written_as_a_whole() {
        let answers = [Err(Errno::INTR), Ok(3), Err(Errno::AGAIN), Ok(2), Err(Errno::INTR)];
        assert_eq!(
            on_stderr(&["first line\n", "second\n"], &answers),
            ("first line\nsecond\n".to_owned(), 0)
        );
    }

    #[test]
    fn the_first_line_that_can_be_written_again_says_how_many_were_lost_and_why() {
        for error in [Errno::NOSPC, Errno::PIPE, Errno::BADF, Errno::IO, Errno::FBIG] {
            let (text, lost) =
                on_stderr(&["one\n", "two\n", "three\n", "four\n"], &[Ok(9), Err(error), Err(error)]);
            let lines: Vec<_> = text.lines().collect();
            assert_eq!((lines.len(), lines[0], lines[2]), (3, "one", "four"), "{text}");
            assert!(
                lines[1].contains(" WARN 2 log lines were lost: stderr could not be written: "),
                "{text}"
            );
            assert_eq!(lost, 2);
        }
    }

    #[test]
    fn a_line_that_the_disk_had_half_a_place_for_does_not_run_into_the_next() {
        let (text, lost) = on_stderr(&["torn line\n", "whole\n"], &[Ok(4), Err(Errno::NOSPC)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2], lost), (3, "torn", "whole", 1), "{text}");
    }
}

//! Writes the log in chunks, because a write for every line would be the most expensive operation of a busy gateway.
//!
//! A line waits for at most [`PAUSE`]. Warnings and errors are written at once, together with all lines before them.
//! `telemetry` calls `flush` when the process ends or panics, so nothing is lost then. A killed process loses the lines
//! of the last few milliseconds.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The time for which lines are collected before they are written.
const PAUSE: Duration = Duration::from_millis(10);
/// The maximum number of bytes that may wait. A thread that exceeds this number writes all waiting lines itself, so a
/// slow reader of the log slows down the process instead of filling its memory.
const MOST_WAITING_BYTES: usize = 1 << 20;

/// Collects lines and writes them to `output`. Clones share the lines.
pub(super) struct LogWriter<W>(Arc<Shared<W>>);

struct Shared<W> {
    collects: bool,
    waiting: Mutex<Vec<u8>>,
    arrived: Condvar,
    /// This lock is taken before that of `waiting`, so that chunks are written in order.
    output: Mutex<W>,
}

impl<W> Clone for LogWriter<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write + Send + 'static> LogWriter<W> {
    /// Collects lines, and starts the thread that writes them.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub(super) fn collecting(output: W) -> io::Result<Self> {
        let writer = Self::with(output, true);
        let writing = writer.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_forever())?;
        Ok(writer)
    }

    /// Writes each line at once.
    pub(super) fn direct(output: W) -> Self {
        Self::with(output, false)
    }

    fn with(output: W, collects: bool) -> Self {
        let (waiting, arrived, output) = (Mutex::default(), Condvar::default(), Mutex::new(output));
        Self(Arc::new(Shared { collects, waiting, arrived, output }))
    }

    fn write_forever(&self) {
        loop {
            let waiting = lock(&self.0.waiting);
            drop(self.0.arrived.wait_while(waiting, |waiting| waiting.is_empty()));
            thread::sleep(PAUSE);
            self.flush();
        }
    }

    /// Writes the waiting lines.
    pub(super) fn flush(&self) {
        let mut output = lock(&self.0.output);
        let chunk = std::mem::take(&mut *lock(&self.0.waiting));
        // An error is ignored, because there is nowhere to report it.
        let _written = output.write_all(&chunk).and_then(|()| output.flush());
    }

    fn add(&self, line: &[u8], is_urgent: bool) {
        let mut waiting = lock(&self.0.waiting);
        let was_empty = waiting.is_empty();
        waiting.extend_from_slice(line);
        let is_full = waiting.len() > MOST_WAITING_BYTES;
        drop(waiting);
        if is_urgent || is_full || !self.0.collects {
            self.flush();
        } else if was_empty {
            self.0.arrived.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes one line of the log.
pub(super) struct Line<'w, W> {
    writer: &'w LogWriter<W>,
    is_urgent: bool,
}

impl<W: Write + Send + 'static> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.writer.add(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w, W: Write + Send + 'static> MakeWriter<'w> for LogWriter<W> {
    type Writer = Line<'w, W>;

    fn make_writer(&'w self) -> Self::Writer {
        Line { writer: self, is_urgent: true }
    }

    fn make_writer_for(&'w self, line: &Metadata<'_>) -> Self::Writer {
        Line { writer: self, is_urgent: *line.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Sends each chunk to the test.
    struct Chunks(Sender<Vec<u8>>);

    impl Write for Chunks {
        fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
            self.0.send(chunk.to_vec()).map_err(io::Error::other)?;
            Ok(chunk.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (LogWriter<Chunks>, Receiver<Vec<u8>>) {
        let (sender, chunks) = channel();
        (LogWriter::collecting(Chunks(sender)).unwrap(), chunks)
    }

    #[test]
    fn lines_are_written_without_a_flush_and_in_order() {
        const LINES: usize = 1_000;
        let (writer, chunks) = start();
        let lines: Vec<String> = (0..LINES).map(|number| format!("{number}\n")).collect();
        for line in &lines {
            writer.add(line.as_bytes(), false);
        }
        let expected = lines.concat().into_bytes();
        let mut written = Vec::new();
        let mut count = 0;
        while written.len() < expected.len() {
            written.extend(chunks.recv().unwrap());
            count += 1;
        }
        assert_eq!(written, expected);
        assert!(count < LINES / 2, "{count} chunks");
    }

    #[test]
    fn an_urgent_line_is_written_at_once_after_the_lines_before_it() {
        let (writer, chunks) = start();
        // While the test holds this lock, the thread cannot write.
        let output = lock(&writer.0.output);
        writer.add(b"a\n", false);
        drop(output);
        writer.add(b"b\n", true);
        let written: Vec<u8> = chunks.try_iter().flatten().collect();
        assert_eq!(written, b"a\nb\n");
    }

    #[test]
    fn a_flush_writes_everything_that_waits() {
        let (writer, chunks) = start();
        let output = lock(&writer.0.output);
        writer.add(b"a\n", false);
        drop(output);
        writer.flush();
        assert_eq!(chunks.try_iter().flatten().collect::<Vec<u8>>(), b"a\n");
    }
}

//! Supplies the events: random events, or the lines of a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

use rand::rngs::SmallRng;
use random_events::{NoEvent, RandomEvents};
use serde_json::Value;
use shared::contract::{Contract, json};

use super::batch::EVENT_BYTES;

/// The next item of a source.
#[derive(Debug)]
pub(super) enum Next {
    /// An event as JSON text, its record's key, and its origin (the number of its line, or of the random event).
    Event { text: Vec<u8>, key: Option<String>, origin: u64 },
    /// A line without a valid event, and the reason.
    NoEvent { origin: u64, reason: String },
    /// The end of the source.
    End,
}

/// Why a source fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Random(#[from] NoEvent),
}

/// Supplies events one by one.
#[derive(Debug)]
pub(super) enum EventSource {
    Random(Box<Random>),
    Lines(Lines<BufReader<File>>),
}

impl EventSource {
    pub(super) fn next(&mut self) -> Result<Next, SourceError> {
        match self {
            Self::Random(random) => random.next(),
            Self::Lines(lines) => lines.next(),
        }
    }
}

/// Random events.
#[derive(Debug)]
pub(super) struct Random {
    pub(super) contract: Arc<Contract>,
    pub(super) events: RandomEvents,
    pub(super) rng: SmallRng,
    /// The number of events still to come. `None` if there is no limit.
    pub(super) left: Option<u64>,
    pub(super) made: u64,
}

impl Random {
    fn next(&mut self) -> Result<Next, SourceError> {
        match &mut self.left {
            Some(0) => return Ok(Next::End),
            Some(left) => *left -= 1,
            None => {}
        }
        let event = self.events.event(&mut self.rng)?;
        self.made += 1;
        let key = key(&self.contract, &event);
        Ok(Next::Event { text: event.to_string().into_bytes(), key, origin: self.made })
    }
}

/// A file's lines. Memory holds only one line at a time, and only the beginning of a line that is too long.
#[derive(Debug)]
pub(super) struct Lines<R> {
    contract: Arc<Contract>,
    reader: R,
    line: Vec<u8>,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(contract: Arc<Contract>, reader: R) -> Self {
        Self { contract, reader, line: Vec::new(), read: 0 }
    }

    fn next(&mut self) -> Result<Next, SourceError> {
        while self.read_line()? {
            let text = trim(&self.line);
            let origin = self.read;
            if self.line.len() > EVENT_BYTES {
                return Ok(Next::NoEvent { origin, reason: "the event is longer than 1,000,000 bytes".to_owned() });
            }
            if text.is_empty() {
                continue;
            }
            return Ok(match json::parse(text) {
                Ok(event) => Next::Event { text: text.to_vec(), key: key(&self.contract, &event), origin },
                Err(error) => {
                    let indent = self.line.len() - self.line.trim_ascii_start().len();
                    let column = error.column + indent;
                    Next::NoEvent { origin, reason: format!("not JSON: {} (column {column})", error.detail) }
                }
            });
        }
        Ok(Next::End)
    }

    /// Reads the next line. Keeps at most one byte more than an event may have. Returns false at the end of the file.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let mut has_begun = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                self.read += u64::from(has_begun);
                return Ok(has_begun);
            }
            has_begun = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = (EVENT_BYTES + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                self.read += 1;
                return Ok(true);
            }
        }
    }
}

fn key(contract: &Contract, event: &Value) -> Option<String> {
    contract.record_key(event).map(std::borrow::Cow::into_owned)
}

fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::contract::Registry;

    /// Reads a whole file. Returns each line that is not blank: its number, and the event's text or, if the line is
    /// invalid, the reason.
    fn read(file: &[u8]) -> Vec<(u64, String)> {
        let registry = Registry::load(None).ok();
        let Some(contract) = registry.as_ref().and_then(|registry| registry.stream("country")) else {
            return Vec::new();
        };
        // With a buffer of 3 bytes, lines cross the buffer's boundaries.
        let mut lines = Lines::new(Arc::clone(contract), BufReader::with_capacity(3, file));
        let mut read = Vec::new();
        loop {
            match lines.next() {
                Ok(Next::Event { text, origin, .. }) => {
                    read.push((origin, String::from_utf8_lossy(&text).into_owned()));
                }
                Ok(Next::NoEvent { origin, reason }) => read.push((origin, reason)),
                Ok(Next::End) | Err(_) => return read,
            }
        }
    }

    #[test]
    fn every_line_is_an_event_and_blank_lines_are_skipped() {
        let expected = [(1, "{\"name\": \"A\"}"), (4, "{}"), (5, "[]")];
        let expected = expected.map(|(line, text)| (line, text.to_owned())).to_vec();
        assert_eq!(read(b"{\"name\": \"A\"}\r\n\n  \n {} \n[]"), expected);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn the_position_of_a_line_that_is_not_json_is_reported_and_the_next_line_is_read() {
        let read = read(b"{}\n  {\"a\": nul}\n{}\n");
        assert_eq!(read.len(), 3);
        assert_eq!((read[1].0, read[1].1.contains("(column 1")), (2, true), "{}", read[1].1);
        assert_eq!(read[2].0, 3);
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_and_the_next_line_is_read() {
        let mut file = vec![b'1'; EVENT_BYTES + 5_000_000];
        file.extend_from_slice(b"\n2\n");
        let read = read(&file);
        assert_eq!(read[0], (1, "the event is longer than 1,000,000 bytes".to_owned()));
        assert_eq!(read[1], (2, "2".to_owned()));
    }
}

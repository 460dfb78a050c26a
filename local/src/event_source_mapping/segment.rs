//! Consecutive records of one partition, as JSON that can be split between any two records.

use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Message as _};

use super::record;

/// A partition, and the JSON prefix that all of its records share.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The partition's name in the event.
    pub(super) name: String,
    /// The JSON with which every record starts. A topic's name needs no escapes, because it contains only letters,
    /// digits, dots, underscores and hyphens.
    record_start: Vec<u8>,
}

impl Origin {
    pub(super) fn new(topic: &str, partition: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            name: format!("{topic}-{partition}"),
            record_start: format!(r#"{{"topic":"{topic}","partition":{partition},"offset":"#).into_bytes(),
        }
    }
}

/// The position in the JSON at which a record ends, and the record's offset.
#[derive(Debug, Clone, Copy)]
struct Mark {
    end: usize,
    offset: i64,
}

/// Records of one partition, in order, separated by commas.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) origin: Arc<Origin>,
    json: Vec<u8>,
    marks: Vec<Mark>,
}

impl Segment {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self { origin, json: Vec::new(), marks: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn json(&self) -> &[u8] {
        &self.json
    }

    pub(super) fn offsets(&self) -> impl Iterator<Item = i64> {
        self.marks.iter().map(|mark| mark.offset)
    }

    /// Returns the offset after that of the last record.
    pub(super) fn next_offset(&self) -> Option<i64> {
        self.marks.last().map(|mark| mark.offset + 1)
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        if !self.is_empty() {
            self.json.push(b',');
        }
        record::write(&mut self.json, &self.origin.record_start, message);
        self.marks.push(Mark { end: self.json.len(), offset: message.offset() });
    }

    /// Returns the number of records, counted from the first, whose JSON fits into `most_bytes`.
    pub(super) fn fitting(&self, most_bytes: usize) -> usize {
        self.marks.partition_point(|mark| mark.end <= most_bytes)
    }

    /// Removes the first `count` records and returns them.
    pub(super) fn take(&mut self, count: usize) -> Self {
        let mut rest = Self::new(Arc::clone(&self.origin));
        if let Some(cut) = count.checked_sub(1).and_then(|last| self.marks.get(last)).map(|mark| mark.end + 1) {
            if cut < self.json.len() {
                rest.json.extend_from_slice(&self.json[cut..]);
                rest.marks.extend(self.marks.drain(count..).map(|mark| Mark { end: mark.end - cut, ..mark }));
                self.json.truncate(cut - 1);
            } else {
                // The rest is still empty, but will probably grow to the size of the records that are taken.
                rest.json.reserve(self.json.len());
                rest.marks.reserve(self.marks.len());
            }
            std::mem::replace(self, rest)
        } else {
            rest
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a segment whose records are just their offsets.
    pub(crate) fn segment(topic: &str, offsets: impl IntoIterator<Item = i64>) -> Segment {
        let mut segment = Segment::new(Arc::new(Origin::new(topic, 0)));
        for offset in offsets {
            if !segment.is_empty() {
                segment.json.push(b',');
            }
            segment.json.extend_from_slice(offset.to_string().as_bytes());
            segment.marks.push(Mark { end: segment.json.len(), offset });
        }
        segment
    }

    /// Returns the JSON of the records, separated by spaces. Checks each record against its mark.
    fn text(segment: &Segment) -> String {
        let text = String::from_utf8_lossy(segment.json()).replace(',', " ");
        let mut start = 0;
        for mark in &segment.marks {
            assert_eq!(text[start..mark.end], mark.offset.to_string());
            start = mark.end + 1;
        }
        text
    }

    #[test]
    fn a_segment_can_be_split_between_any_two_records_without_loss() {
        for count in 0..=4 {
            let mut rest = segment("t", [8, 9, 10, 11]);
            let first = rest.take(count);
            assert_eq!((first.len(), rest.len()), (count, 4 - count));
            assert_eq!(format!("{} {}", text(&first), text(&rest)).trim(), "8 9 10 11");
        }
    }

    #[test]
    fn the_number_of_records_that_fit_depends_on_their_bytes() {
        let segment = segment("t", [8, 9, 10, 11]);
        assert_eq!([0, 1, 2, 3, 5, 6, 100].map(|bytes| segment.fitting(bytes)), [0, 1, 1, 2, 2, 3, 4]);
    }
}

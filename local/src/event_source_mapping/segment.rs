//! One partition's records in a row, as JSON that can be cut between any two of them.

use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Message as _};

use super::record;

/// A partition, and what its records have in common.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// As the event and a partial batch response name it.
    pub(super) name: String,
    /// What every record begins with. A topic's name has letters, digits, dot, underscore and hyphen only.
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

/// Where a record ends in the JSON, and what one asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    end: usize,
    pub(super) offset: i64,
    /// Milliseconds since the Unix epoch.
    pub(super) timestamp_ms: Option<i64>,
}

/// Records of one partition, in order, separated by commas.
#[derive(Debug, Clone)]
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

    /// The records with their JSON.
    pub(super) fn records(&self) -> impl Iterator<Item = (&Mark, &[u8])> {
        let starts = std::iter::once(0).chain(self.marks.iter().map(|mark| mark.end + 1));
        self.marks.iter().zip(starts).map(|(mark, start)| (mark, &self.json[start..mark.end]))
    }

    pub(super) fn offsets(&self) -> impl Iterator<Item = i64> {
        self.marks.iter().map(|mark| mark.offset)
    }

    /// Whether a record of this offset is among them.
    pub(super) fn has(&self, offset: i64) -> bool {
        self.marks.binary_search_by_key(&offset, |mark| mark.offset).is_ok()
    }

    /// The offset after the last record's.
    pub(super) fn next_offset(&self) -> Option<i64> {
        self.marks.last().map(|mark| mark.offset + 1)
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        if !self.is_empty() {
            self.json.push(b',');
        }
        let timestamp_ms = record::write(&mut self.json, &self.origin.record_start, message);
        self.marks.push(Mark { end: self.json.len(), offset: message.offset(), timestamp_ms });
    }

    /// How many of its first records have room in as many bytes.
    pub(super) fn fitting(&self, most_bytes: usize) -> usize {
        self.marks.partition_point(|mark| mark.end <= most_bytes)
    }

    /// Takes the first `count` records away.
    pub(super) fn take(&mut self, count: usize) -> Self {
        let mut rest = Self::new(Arc::clone(&self.origin));
        if let Some(cut) = count.checked_sub(1).and_then(|last| self.marks.get(last)).map(|mark| mark.end + 1) {
            if cut < self.json.len() {
                rest.json.extend_from_slice(&self.json[cut..]);
                rest.marks.extend(self.marks.drain(count..).map(|mark| Mark { end: mark.end - cut, ..mark }));
                self.json.truncate(cut - 1);
            } else {
                // What comes next is likely of about this size.
                rest.json.reserve(self.json.len());
                rest.marks.reserve(self.marks.len());
            }
            std::mem::replace(self, rest)
        } else {
            rest
        }
    }

    /// Takes the records away for which `is_taken` says so.
    pub(super) fn extract(&mut self, is_taken: impl Fn(&Mark) -> bool) -> Self {
        let mut taken = Self::new(Arc::clone(&self.origin));
        if self.marks.iter().any(&is_taken) {
            let mut kept = Self::new(Arc::clone(&self.origin));
            for (mark, json) in self.records() {
                let to = if is_taken(mark) { &mut taken } else { &mut kept };
                to.append(mark, json);
            }
            *self = kept;
        }
        taken
    }

    fn append(&mut self, mark: &Mark, json: &[u8]) {
        if !self.is_empty() {
            self.json.push(b',');
        }
        self.json.extend_from_slice(json);
        self.marks.push(Mark { end: self.json.len(), ..*mark });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A segment of records that are no more than their offsets.
    pub(crate) fn segment(topic: &str, offsets: impl IntoIterator<Item = i64>) -> Segment {
        let mut segment = Segment::new(Arc::new(Origin::new(topic, 0)));
        for offset in offsets {
            let mark = Mark { end: 0, offset, timestamp_ms: Some(offset) };
            segment.append(&mark, offset.to_string().as_bytes());
        }
        segment
    }

    fn text(segment: &Segment) -> String {
        let records = segment.records().map(|(_, json)| String::from_utf8_lossy(json).into_owned());
        let joined: Vec<String> = records.collect();
        assert_eq!(joined.join(","), String::from_utf8_lossy(segment.json()));
        joined.join(" ")
    }

    #[test]
    fn a_segment_is_cut_between_any_two_records_and_nothing_is_lost() {
        for count in 0..=4 {
            let mut rest = segment("t", [8, 9, 10, 11]);
            let first = rest.take(count);
            assert_eq!((first.len(), rest.len()), (count, 4 - count));
            assert_eq!(format!("{} {}", text(&first), text(&rest)).trim(), "8 9 10 11");
        }
    }

    #[test]
    fn what_fits_is_counted_by_the_bytes() {
        let segment = segment("t", [8, 9, 10, 11]);
        assert_eq!([0, 1, 2, 3, 5, 6, 100].map(|bytes| segment.fitting(bytes)), [0, 1, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn records_are_taken_out_one_by_one() {
        let mut rest = segment("t", [1, 2, 3, 4, 5]);
        let even = rest.extract(|mark| mark.offset % 2 == 0);
        assert_eq!((text(&even), text(&rest)), ("2 4".to_owned(), "1 3 5".to_owned()));
        assert_eq!((rest.next_offset(), rest.has(3), rest.has(4)), (Some(6), true, false));
    }
}

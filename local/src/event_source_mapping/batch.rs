//! The contents of one invocation: records of one or more partitions, and the JSON payload of the invocation, which AWS
//! calls the event.

use axum::body::Bytes;

use super::segment::Segment;

/// Lambda's quota for an invocation's payload: 6 MiB of JSON, in which the records are in base64.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const MOST_BYTES: usize = 6 * 1024 * 1024;

const END: &[u8] = b"}}";

/// The kind of cluster that the payload names as its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Amazon MSK.
    ManagedStreaming { cluster_arn: String },
    /// Any other cluster.
    SelfManaged,
}

/// The JSON with which every payload of a mapping starts.
#[derive(Debug, Clone)]
pub(super) struct Envelope(Vec<u8>);

impl Envelope {
    pub(super) fn new(source: &Source, bootstrap_servers: &str) -> Self {
        let servers = serde_json::Value::from(bootstrap_servers);
        let origin = match source {
            Source::ManagedStreaming { cluster_arn } => {
                let arn = serde_json::Value::from(cluster_arn.as_str());
                format!(r#""eventSource":"aws:kafka","eventSourceArn":{arn}"#)
            }
            Source::SelfManaged => r#""eventSource":"SelfManagedKafka""#.to_owned(),
        };
        Self(format!(r#"{{{origin},"bootstrapServers":{servers},"records":{{"#).into_bytes())
    }

    /// Returns how many bytes remain for records.
    pub(super) fn room(&self) -> usize {
        MOST_BYTES - self.0.len() - END.len()
    }
}

/// Returns how many bytes a partition takes in addition to its records: `"name":[],`.
pub(super) fn frame_bytes(segment: &Segment) -> usize {
    segment.origin.name.len() + 6
}

/// Records, partition by partition. No segment is empty.
#[derive(Debug, Default)]
pub(super) struct Batch {
    segments: Vec<Segment>,
}

impl Batch {
    pub(super) fn add(&mut self, segment: Segment) {
        if !segment.is_empty() {
            self.segments.push(segment);
        }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.segments.iter().map(Segment::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns the payload's JSON.
    pub(super) fn payload(&self, envelope: &Envelope) -> Bytes {
        let records: usize = self.segments.iter().map(|segment| segment.json().len() + frame_bytes(segment)).sum();
        let mut json = Vec::with_capacity(envelope.0.len() + records + END.len());
        json.extend_from_slice(&envelope.0);
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.push(b'"');
            json.extend_from_slice(segment.origin.name.as_bytes());
            json.extend_from_slice(b"\":[");
            json.extend_from_slice(segment.json());
            json.push(b']');
        }
        json.extend_from_slice(END);
        json.into()
    }

    /// Describes the records' offsets for a log line: `city-0: 5 to 9, 12; city-3: 7`.
    pub(super) fn coordinates(&self) -> String {
        let of_segment = |segment: &Segment| {
            let mut runs: Vec<(i64, i64)> = Vec::new();
            for offset in segment.offsets() {
                match runs.last_mut() {
                    Some((_, last)) if *last + 1 == offset => *last = offset,
                    _ => runs.push((offset, offset)),
                }
            }
            let runs = runs.iter().map(|(first, last)| match last - first {
                0 => first.to_string(),
                _ => format!("{first} to {last}"),
            });
            format!("{}: {}", segment.origin.name, runs.collect::<Vec<_>>().join(", "))
        };
        self.segments.iter().map(of_segment).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::segment;
    use super::*;

    fn batch(segments: impl IntoIterator<Item = Segment>) -> Batch {
        let mut batch = Batch::default();
        segments.into_iter().for_each(|segment| batch.add(segment));
        batch
    }

    #[test]
    fn the_event_contains_every_partition_and_has_the_computed_length() {
        let envelope = Envelope::new(&Source::SelfManaged, "b:9092");
        let batch = batch([segment("a", [1, 2]), segment("b", [3])]);
        let payload = batch.payload(&envelope);
        assert_eq!(
            payload.as_ref(),
            br#"{"eventSource":"SelfManagedKafka","bootstrapServers":"b:9092","records":{"a-0":[1,2],"b-0":[3]}}"#
        );
        let records: usize = batch.segments().iter().map(|part| part.json().len() + frame_bytes(part)).sum();
        // No comma follows the last partition.
        assert_eq!(payload.len(), MOST_BYTES - envelope.room() + records - 1);
    }
}

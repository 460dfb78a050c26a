//! Places of records in Kafka, as replays name them.

use std::fmt;

/// Where a record is, or was. The record's time distinguishes it from a record at the same offset of a recreated topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's time, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl Place {
    /// Returns whether this record is later than `other`, a record of the same topic. Within a partition, offsets are
    /// compared, otherwise times.
    pub fn is_after(&self, other: &Self) -> bool {
        match self.partition == other.partition {
            true => self.offset > other.offset,
            false => self.timestamp_ms > other.timestamp_ms,
        }
    }

    /// Parses the form that `Display` writes: `orders/3/41/1700000000000`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let (topic, partition, offset, timestamp_ms) = (part()?, part()?, part()?, part()?);
        let is_all = parts.next().is_none();
        let place = Self {
            topic: topic.to_owned(),
            partition: number(partition)?,
            offset: number(offset)?,
            timestamp_ms: timestamp_ms.parse().ok()?,
        };
        is_all.then_some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, timestamp_ms } = self;
        write!(f, "{topic}/{partition}/{offset}/{timestamp_ms}")
    }
}

/// Parses a number without a sign.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

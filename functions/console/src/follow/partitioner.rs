//! Computes the partition of a key as the default partitioner of Kafka's Java client does. The producer of `ingest`
//! uses the same function (librdkafka's `murmur2_random`).
//!
//! The result is only a hint. Other producers may use other partitioners, and the number of partitions may have
//! changed, so the search also reads the other partitions.

/// Returns the partition of a key in a topic. `partitions` is the topic's number of partitions.
pub(super) fn partition(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions.max(1)
}

/// Computes the same hash as `org.apache.kafka.common.utils.Utils.murmur2` in Kafka's source.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    #[expect(clippy::cast_possible_truncation, reason = "a record's key is shorter than 4 GiB")]
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail: u32, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys and hashes come from `UtilsTest.testMurmur2` in Kafka's source.
    #[test]
    fn the_hashes_equal_those_in_the_tests_of_kafka() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
        assert_eq!(murmur2(b"abc").cast_signed(), 479_470_107);
        assert!((0..12).contains(&partition(b"foobar", 12)));
    }
}

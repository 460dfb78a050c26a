//! Groups events into request bodies within the gateway's limits, and keeps events with the same key in order.

use bytes::Bytes;
use uuid::Uuid;

/// The gateway's limits: the bytes of a body, the bytes of an event, and the events of a batch.
pub(super) const BODY_BYTES: usize = 6 * 1_024 * 1_024;
pub(super) const EVENT_BYTES: usize = 1_000_000;
const MOST_EVENTS: usize = 10_000;

/// The events of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestBatch {
    /// The key that is sent with every attempt, so that the events land only once.
    pub(super) idempotency_key: String,
    /// The events as NDJSON.
    pub(super) body: Bytes,
    /// The line number of each event in the file. Random events are numbered from 1.
    pub(super) origins: Vec<u64>,
}

/// Lanes of batches. The lanes are sent concurrently, and the batches of a lane are sent one after another. Events with
/// the same key stay in one lane.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    most_events: usize,
}

#[derive(Debug, Default)]
struct Lane {
    body: Vec<u8>,
    origins: Vec<u64>,
}

impl Lanes {
    /// Creates this many lanes. Each batch has at most `most_events` events.
    pub(super) fn new(lanes: usize, most_events: usize) -> Self {
        let lanes = (0..lanes.max(1)).map(|_| Lane::default()).collect();
        Self { lanes, most_events: most_events.clamp(1, MOST_EVENTS) }
    }

    /// Returns the number of lanes.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the lane of a key.
    pub(super) fn for_key(&self, key: Option<&str>) -> usize {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(u64::MAX);
        usize::try_from(hasher.finish() % lanes).unwrap_or(0)
    }

    /// Adds an event, given as JSON text on one line. If the lane's batch has no room for the event, returns that batch
    /// and starts a new batch.
    pub(super) fn add(&mut self, lane: usize, text: &[u8], origin: u64) -> Option<RequestBatch> {
        let most_events = self.most_events;
        let lane = self.lanes.get_mut(lane)?;
        let is_full = lane.origins.len() >= most_events || lane.body.len() + text.len() + 1 > BODY_BYTES;
        let full = if is_full { lane.take() } else { None };
        lane.body.extend_from_slice(text);
        lane.body.push(b'\n');
        lane.origins.push(origin);
        full
    }

    /// Takes the batches of all lanes.
    pub(super) fn take(&mut self) -> Vec<(usize, RequestBatch)> {
        self.lanes.iter_mut().enumerate().filter_map(|(index, lane)| Some((index, lane.take()?))).collect()
    }
}

impl Lane {
    fn take(&mut self) -> Option<RequestBatch> {
        let origins = std::mem::take(&mut self.origins);
        let body = std::mem::take(&mut self.body).into();
        (!origins.is_empty()).then(|| RequestBatch { idempotency_key: Uuid::new_v4().to_string(), body, origins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_10000_events_at_most() {
        let mut lanes = Lanes::new(1, 1_000_000);
        let full: Vec<RequestBatch> = (0..25_000).filter_map(|origin| lanes.add(0, b"{}", origin)).collect();
        assert_eq!(full.iter().map(|batch| batch.origins.len()).collect::<Vec<_>>(), [10_000, 10_000]);
        let rest = lanes.take();
        assert_eq!(rest.iter().map(|(_, batch)| batch.origins.len()).collect::<Vec<_>>(), [5_000]);
        assert!(lanes.take().is_empty());
        assert_ne!(full[0].idempotency_key, full[1].idempotency_key);
    }

    #[test]
    fn a_body_has_6_mib_at_most() {
        let mut lanes = Lanes::new(1, 10_000);
        let event = vec![b'1'; EVENT_BYTES];
        let mut batches: Vec<RequestBatch> = (0..20).filter_map(|origin| lanes.add(0, &event, origin)).collect();
        batches.extend(lanes.take().into_iter().map(|(_, batch)| batch));
        assert_eq!(batches.iter().map(|batch| batch.origins.len()).sum::<usize>(), 20);
        assert!(batches.iter().all(|batch| batch.body.len() <= BODY_BYTES));
        assert_eq!(batches[0].origins.len(), 6);
    }

    #[test]
    fn events_of_one_key_stay_in_one_lane() {
        let lanes = Lanes::new(8, 10);
        assert_eq!(lanes.for_key(Some("a")), lanes.for_key(Some("a")));
        let used: std::collections::BTreeSet<usize> =
            (0..100).map(|key| lanes.for_key(Some(&key.to_string()))).collect();
        assert_eq!(used.len(), 8);
    }
}

//! Events into the bodies of requests: within the gateway's limits, and so that events of one key stay in order.

use axum::body::Bytes;
use uuid::Uuid;

/// What the gateway takes at most: a body's and an event's bytes, a batch's events.
pub(super) const BODY_BYTES: usize = 6 * 1_024 * 1_024;
pub(super) const EVENT_BYTES: usize = 1_000_000;
const MOST_EVENTS: usize = 10_000;

/// The events of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Sent with every attempt, so that the events land once.
    pub(super) idempotency_key: String,
    /// NDJSON.
    pub(super) body: Bytes,
    /// The line of its file that each event stands in; for random events, its number.
    pub(super) origins: Vec<u64>,
}

/// Batches are sent side by side in lanes and one after the other within a lane. Events of one key keep to a lane.
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
    /// So many lanes, and batches of `most_events` at most.
    pub(super) fn new(lanes: usize, most_events: usize) -> Self {
        let lanes = (0..lanes.max(1)).map(|_| Lane::default()).collect();
        Self { lanes, most_events: most_events.clamp(1, MOST_EVENTS) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// The lane of a key.
    pub(super) fn of_key(&self, key: Option<&str>) -> usize {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(u64::MAX);
        usize::try_from(hasher.finish() % lanes).unwrap_or(0)
    }

    /// Adds an event, given as JSON text on one line. Returns the lane's batch as it was before, if there was no more
    /// room in it.
    pub(super) fn add(&mut self, lane: usize, text: &[u8], origin: u64) -> Option<Batch> {
        let most_events = self.most_events;
        let lane = self.lanes.get_mut(lane)?;
        let is_full = lane.origins.len() >= most_events || lane.body.len() + text.len() + 1 > BODY_BYTES;
        let full = if is_full { lane.take() } else { None };
        lane.body.extend_from_slice(text);
        lane.body.push(b'\n');
        lane.origins.push(origin);
        full
    }

    /// What the lanes hold, by lane.
    pub(super) fn take(&mut self) -> Vec<(usize, Batch)> {
        self.lanes.iter_mut().enumerate().filter_map(|(index, lane)| Some((index, lane.take()?))).collect()
    }
}

impl Lane {
    fn take(&mut self) -> Option<Batch> {
        let origins = std::mem::take(&mut self.origins);
        let body = std::mem::take(&mut self.body).into();
        (!origins.is_empty()).then(|| Batch { idempotency_key: Uuid::new_v4().to_string(), body, origins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_10000_events_at_most() {
        let mut lanes = Lanes::new(1, 1_000_000);
        let full: Vec<Batch> = (0..25_000).filter_map(|origin| lanes.add(0, b"{}", origin)).collect();
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
        let mut batches: Vec<Batch> = (0..20).filter_map(|origin| lanes.add(0, &event, origin)).collect();
        batches.extend(lanes.take().into_iter().map(|(_, batch)| batch));
        assert_eq!(batches.iter().map(|batch| batch.origins.len()).sum::<usize>(), 20);
        assert!(batches.iter().all(|batch| batch.body.len() <= BODY_BYTES));
        assert_eq!(batches[0].origins.len(), 6);
    }

    #[test]
    fn events_of_one_key_keep_to_one_lane() {
        let lanes = Lanes::new(8, 10);
        assert_eq!(lanes.of_key(Some("a")), lanes.of_key(Some("a")));
        let used: std::collections::BTreeSet<usize> =
            (0..100).map(|key| lanes.of_key(Some(&key.to_string()))).collect();
        assert_eq!(used.len(), 8);
    }
}

//! Clients of the gateway. Each client posts its batches one after another with an `Idempotency-Key`, and repeats each
//! batch until it is acknowledged. A client sometimes disconnects before the answer arrives. Some clients also give up
//! on batches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use tokio::sync::watch;

use super::workload::{Client, Kind, hash};

/// An event that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SentEvent {
    /// The event was sent but never acknowledged.
    Unacknowledged,
    /// The event was acknowledged with these receipts.
    Acknowledged(Vec<Place>),
}

/// The partition and the offset of a record.
pub(crate) type Place = (i32, i64);

/// The gateway's address, and the number of events that may be sent so far. Just before a client sends a batch, it
/// claims numbers for the batch's events. It then waits until the first of these numbers is allowed.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) seed: u64,
    pub(crate) most_in_batch: u64,
    claimed: AtomicU64,
    allowed: watch::Sender<u64>,
    counts: watch::Sender<Counts>,
}

/// The counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) batches: u64,
    pub(crate) acknowledged: u64,
    /// The number of answers with status 503.
    pub(crate) refused: u64,
    /// The number of requests whose client disconnected before the answer.
    pub(crate) left: u64,
    /// The number of batches that a client gave up before all of their events were acknowledged.
    pub(crate) given_up: u64,
    /// The number of batches that were repeated although they had been acknowledged.
    pub(crate) repeated: u64,
}

impl Gateway {
    pub(crate) fn new(url: String, seed: u64, most_in_batch: u64) -> Self {
        let (allowed, counts) = (watch::Sender::new(0), watch::Sender::default());
        Self { url, seed, most_in_batch, claimed: AtomicU64::new(0), allowed, counts }
    }

    /// Allows the clients to send events up to this number.
    pub(crate) fn allow(&self, events: u64) {
        self.allowed.send_replace(events);
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(count);
    }

    async fn may_send(&self, events: u64) {
        let first = self.claimed.fetch_add(events, Ordering::Relaxed);
        let mut allowed = self.allowed.subscribe();
        allowed.wait_for(|allowed| *allowed > first).await.expect("the sender exists");
    }
}

/// The result of an attempt to send a batch.
enum Attempt {
    Accepted(Vec<Receipt>),
    /// The gateway acknowledged none or only some of the events.
    Refused(Vec<Receipt>),
    Left,
}

#[derive(Deserialize)]
struct Receipt {
    index: Option<usize>,
    partition: i32,
    offset: i64,
}

/// The body of an answer or a problem.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    receipts: Vec<Receipt>,
}

/// Sends all of a client's events, and returns them with their receipts.
pub(crate) async fn send_all(gateway: &Gateway, client: &Client) -> Vec<SentEvent> {
    let mut sender = Sender {
        gateway,
        http: reqwest::Client::new(),
        random: StdRng::seed_from_u64(hash(&(gateway.seed, client.number, "sender"))),
        client,
        sent: Vec::new(),
    };
    while (sender.sent.len() as u64) < client.events {
        sender.send_next().await;
    }
    sender.sent
}

struct Sender<'a> {
    gateway: &'a Gateway,
    client: &'a Client,
    http: reqwest::Client,
    random: StdRng,
    sent: Vec<SentEvent>,
}

impl Sender<'_> {
    async fn send_next(&mut self) {
        let first = self.sent.len() as u64;
        let (stream, until) = self.client.stream(first);
        // One batch in ten has a single event. Half of the batches have up to a quarter of the maximum size, and the
        // others have up to the maximum size.
        let most = match self.random.random_range(0..10) {
            0 => 1,
            1..6 => self.gateway.most_in_batch.div_ceil(4),
            _ => self.gateway.most_in_batch,
        };
        let length = self.random.random_range(1..=most).min(until - first);
        self.gateway.may_send(length).await;

        let lines: Vec<String> = (first..first + length).map(|sequence| self.client.event(sequence)).collect();
        let body = lines.join("\n");
        let key = format!("client-{}-batch-{first}", self.client.number);
        self.sent.resize((first + length) as usize, SentEvent::Unacknowledged);
        self.gateway.count(|counts| counts.batches += 1);
        loop {
            let left_after = self.random.random_bool(0.05).then(|| self.random.random_range(0..20));
            let attempt = self.post(stream, &key, body.clone(), left_after.map(Duration::from_millis)).await;
            self.note(first, &attempt);
            if matches!(attempt, Attempt::Accepted(_)) {
                break;
            }
            // Clients never give up on commands. Otherwise, the test would not know which commands to expect.
            if !matches!(self.client.kind, Kind::Entities(_)) && self.random.random_bool(0.2) {
                self.gateway.count(|counts| counts.given_up += 1);
                return;
            }
            let pause = self.random.random_range(1..100);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if self.random.random_bool(0.05) {
            // A repeated user event is a duplicate under any key, because the event has its own id.
            let another = matches!(self.client.kind, Kind::UserEvents) && self.random.random_bool(0.5);
            let key = if another { format!("{key}-again") } else { key };
            self.gateway.count(|counts| counts.repeated += 1);
            let attempt = self.post(stream, &key, body, None).await;
            self.note(first, &attempt);
        }
    }

    /// Adds the answer's receipts to the events that they belong to.
    fn note(&mut self, first: u64, attempt: &Attempt) {
        let (Attempt::Accepted(receipts) | Attempt::Refused(receipts)) = attempt else { return };
        let mut newly = 0;
        for (position, receipt) in receipts.iter().enumerate() {
            let event = &mut self.sent[first as usize + receipt.index.unwrap_or(position)];
            let place = (receipt.partition, receipt.offset);
            match event {
                SentEvent::Acknowledged(places) => places.push(place),
                SentEvent::Unacknowledged => {
                    *event = SentEvent::Acknowledged(vec![place]);
                    newly += 1;
                }
            }
        }
        self.gateway.count(|counts| counts.acknowledged += newly);
    }

    async fn post(&self, stream: &str, key: &str, body: String, left_after: Option<Duration>) -> Attempt {
        let events = body.lines().count();
        let request = self
            .http
            .post(format!("{}/events/{stream}", self.gateway.url))
            .header("content-type", "application/x-ndjson")
            .header("idempotency-key", key)
            .body(body);
        let answered = async {
            let answer = request.send().await.expect("the gateway itself is not killed");
            (answer.status().as_u16(), answer.bytes().await.expect("the gateway itself is not killed"))
        };
        let answered = match left_after {
            Some(patience) => tokio::time::timeout(patience, answered).await.ok(),
            None => Some(answered.await),
        };
        let Some((status, body)) = answered else {
            self.gateway.count(|counts| counts.left += 1);
            return Attempt::Left;
        };
        let receipts = serde_json::from_slice::<Body>(&body).map(|body| body.receipts).unwrap_or_default();
        match status {
            202 => {
                assert_eq!(receipts.len(), events, "a receipt for each event");
                Attempt::Accepted(receipts)
            }
            503 => {
                self.gateway.count(|counts| counts.refused += 1);
                Attempt::Refused(receipts)
            }
            _ => panic!("{stream} was answered {status}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

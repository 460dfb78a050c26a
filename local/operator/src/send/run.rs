//! Sends events from their source through lanes to the gateway, and follows their receipts to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use shared::ledger::receipts::Status;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::answer::{Decision, EventStatus, Receipt};
use super::batch::{Lanes, RequestBatch};
use super::follow::{Follower, Place, Step};
use super::gateway::{GatewayClient, PostResult, PostedBatch};
use super::pace::Pace;
use super::progress::ProgressDisplay;
use super::source::{EventSource, Next, SourceError};
use super::tally::{Balance, SendTally};

/// The number of pending events at which sending pauses until some of them are decided.
const BACKLOG: usize = 200_000;
/// How many receipts one request looks up: the gateway allows 100. API Gateway allows 10,240 bytes for the request line and
/// all headers.
const REQUEST_PLACES: usize = 100;
const REQUEST_BYTES: usize = 6_000;
/// The number of refused events that are reported individually.
const REFUSED_REPORTED: u64 = 5;
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// The minimum interval between messages about retried requests.
const REPORT_RETRIES_EVERY: Duration = Duration::from_secs(5);

/// The events to send, and the settings for sending them.
#[derive(Debug)]
pub(super) struct SendPlan {
    pub(super) gateway: Arc<GatewayClient>,
    pub(super) stream: String,
    pub(super) source: EventSource,
    pub(super) lanes: Lanes,
    pub(super) per_second: Option<f64>,
    /// The number of events after which all lanes' batches are sent, full or not.
    pub(super) flush_after: Option<u64>,
    /// The name for an event's origin, such as `line`.
    pub(super) origin: &'static str,
}

/// Ends a run early.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// Stops sending. Events that were sent are still followed.
    pub(super) sending: CancellationToken,
    /// Stops following.
    pub(super) following: CancellationToken,
}

/// The result of a run.
#[derive(Debug)]
pub(super) struct RunResult {
    pub(super) tally: SendTally,
    pub(super) waiting: u64,
    pub(super) pending: Vec<Place>,
    /// Why the last failed lookup of a receipt failed.
    pub(super) last_failure: Option<String>,
    /// Why sending failed or ended early.
    pub(super) error: Option<String>,
}

impl RunResult {
    /// Returns whether every event has landed: none was refused, rejected or lost, and none has an unknown outcome.
    pub(super) fn is_success(&self) -> bool {
        let pending = self.pending.len() as u64;
        let is_closed = self.tally.balance(self.waiting, pending) == Balance::Closed;
        self.error.is_none() && is_closed && self.tally.failed() == 0
    }
}

enum Produced {
    Batch(usize, RequestBatch),
    NoEvent(u64, String),
}

enum LaneReport {
    Posted(Vec<u64>, PostedBatch),
    /// A batch is being retried, for this reason.
    Again(String),
    NoEvent(u64, String),
}

/// Sends the plan's events and follows them to the end.
pub(super) async fn run(plan: SendPlan, progress: &mut ProgressDisplay, stop: &Stop) -> RunResult {
    let SendPlan { gateway, stream, source, lanes, per_second, flush_after, origin } = plan;
    let (produce, produced) = mpsc::channel(2);
    let (report, mut reports) = mpsc::unbounded_channel();
    let (backlog, backlog_seen) = watch::channel(0);
    let out = Arc::new(AtomicU64::new(0));
    let mut lane_ends = Vec::with_capacity(lanes.count());
    for _ in 0..lanes.count() {
        let (lane_end, batches) = mpsc::channel(1);
        lane_ends.push(lane_end);
        let lane =
            lane(Arc::clone(&gateway), stream.clone(), batches, report.clone(), Arc::clone(&out), stop.sending.clone());
        tokio::spawn(lane);
    }
    let sending = stop.sending.clone();
    let producer = tokio::task::spawn_blocking(move || make(source, lanes, flush_after, &produce, &sending));
    tokio::spawn(dispatch(produced, lane_ends, report, Pace::new(per_second), backlog_seen, stop.sending.clone()));

    let follower = Follower::new(gateway.patience, Instant::now());
    let mut book = Book {
        follower,
        tally: SendTally::default(),
        topics: Vec::new(),
        error: None,
        reported: 0,
        retries_reported: None,
        origin,
    };
    let mut last_failure = None;
    let mut looks = FuturesUnordered::new();
    let mut is_sending = true;
    let mut show = tokio::time::interval(SHOW_EVERY);
    'following: loop {
        let mut places = Vec::new();
        let wake = loop {
            match book.follower.step(Instant::now(), !is_sending) {
                Step::Look(place) => places.push(place),
                Step::Rest(until) => break Some(until),
                Step::Done if !is_sending => break 'following,
                Step::Answers | Step::Done => break None,
            }
        };
        for (places, ids) in requests(places) {
            let gateway = &gateway;
            looks.push(async move { (places, gateway.event_statuses(&ids).await) });
        }
        backlog.send_replace(book.follower.backlog());
        tokio::select! {
            report = reports.recv(), if is_sending => match report {
                Some(LaneReport::Posted(origins, posted)) => {
                    out.fetch_sub(origins.len() as u64, Ordering::Relaxed);
                    book.posted(&origins, posted, progress, stop);
                }
                Some(LaneReport::NoEvent(origin, reason)) => book.no_event(origin, &reason, progress),
                Some(LaneReport::Again(says)) => book.again(&says, progress),
                None => is_sending = false,
            },
            Some((places, event_statuses)) = looks.next(), if !looks.is_empty() => {
                book.answered(&places, &event_statuses, Instant::now());
                last_failure = event_statuses.err().or(last_failure);
            }
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
            _ = show.tick() => {
                let sent = book.tally.produced + out.load(Ordering::Relaxed);
                progress.show(&book.tally, sent, book.follower.waiting() as u64, Instant::now());
            }
            () = stop.following.cancelled() => {
                book.given_up(out.load(Ordering::Relaxed));
                break;
            }
        }
    }
    drop(reports);
    let Book { follower, tally, error, .. } = book;
    // The producer ends once its receiver is dropped.
    let produced = producer.await.map_err(|error| error.to_string()).and_then(|made| made.map_err(|e| e.to_string()));
    let (waiting, pending) = (follower.waiting() as u64, follower.pending());
    RunResult { tally, waiting, pending, last_failure, error: error.or(produced.err()) }
}

/// Groups places into requests, each with its places and their ids.
fn requests(places: Vec<Place>) -> Vec<(Vec<Place>, Vec<String>)> {
    let mut requests: Vec<(Vec<Place>, Vec<String>)> = Vec::new();
    let mut room_bytes = 0;
    for place in places {
        let id = place.to_string();
        // A slash and a comma take three bytes each in a query.
        let length_bytes = id.len() + 8;
        match requests.last_mut().filter(|(places, _)| places.len() < REQUEST_PLACES && length_bytes <= room_bytes) {
            Some((places, ids)) => {
                places.push(place);
                ids.push(id);
            }
            None => {
                requests.push((vec![place], vec![id]));
                room_bytes = REQUEST_BYTES;
            }
        }
        room_bytes = room_bytes.saturating_sub(length_bytes);
    }
    requests
}

/// Makes batches until the source ends or the receiver is dropped.
fn make(
    mut source: EventSource,
    mut lanes: Lanes,
    flush_after: Option<u64>,
    produce: &mpsc::Sender<Produced>,
    sending: &CancellationToken,
) -> Result<(), SourceError> {
    let mut since_flush = 0;
    while !sending.is_cancelled() {
        let mut out = Vec::new();
        let next = source.next();
        let is_end = matches!(next, Err(_) | Ok(Next::End));
        match &next {
            Ok(Next::Event { text, key, origin }) => {
                let lane = lanes.for_key(key.as_deref());
                out.extend(lanes.add(lane, text, *origin).map(|batch| Produced::Batch(lane, batch)));
                since_flush += 1;
            }
            Ok(Next::NoEvent { origin, reason }) => out.push(Produced::NoEvent(*origin, reason.clone())),
            Ok(Next::End) | Err(_) => {}
        }
        if is_end || flush_after.is_some_and(|events| since_flush >= events) {
            out.extend(lanes.take().into_iter().map(|(lane, batch)| Produced::Batch(lane, batch)));
            since_flush = 0;
        }
        for produced in out {
            if produce.blocking_send(produced).is_err() {
                return Ok(());
            }
        }
        match next {
            Ok(Next::End) => break,
            other => other.map(drop)?,
        }
    }
    Ok(())
}

/// Passes batches to their lanes at the given pace.
async fn dispatch(
    mut produced: mpsc::Receiver<Produced>,
    lanes: Vec<mpsc::Sender<RequestBatch>>,
    report: mpsc::UnboundedSender<LaneReport>,
    mut pace: Pace,
    mut backlog: watch::Receiver<usize>,
    sending: CancellationToken,
) {
    let work = async {
        while let Some(next) = produced.recv().await {
            let is_taken = match next {
                Produced::NoEvent(origin, reason) => report.send(LaneReport::NoEvent(origin, reason)).is_ok(),
                Produced::Batch(lane, batch) => {
                    tokio::time::sleep_until(pace.due(Instant::now()).into()).await;
                    let has_room = backlog.wait_for(|pending| *pending < BACKLOG).await.is_ok();
                    pace.went(batch.origins.len(), Instant::now());
                    match lanes.get(lane) {
                        Some(lane) if has_room => lane.send(batch).await.is_ok(),
                        _ => false,
                    }
                }
            };
            if !is_taken {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = sending.cancelled() => {}
    }
}

/// Posts one batch after another. Each batch waits for the answer to the previous batch, which preserves the order.
async fn lane(
    gateway: Arc<GatewayClient>,
    stream: String,
    mut batches: mpsc::Receiver<RequestBatch>,
    report: mpsc::UnboundedSender<LaneReport>,
    out: Arc<AtomicU64>,
    sending: CancellationToken,
) {
    while let Some(batch) = batches.recv().await {
        if sending.is_cancelled() {
            return;
        }
        out.fetch_add(batch.origins.len() as u64, Ordering::Relaxed);
        let again = |says: &str| drop(report.send(LaneReport::Again(says.to_owned())));
        let posted = gateway.post(&stream, &batch, again).await;
        if report.send(LaneReport::Posted(batch.origins, posted)).is_err() {
            return;
        }
    }
}

/// The state of the events that were sent.
struct Book {
    follower: Follower,
    tally: SendTally,
    topics: Vec<Arc<str>>,
    error: Option<String>,
    reported: u64,
    retries_reported: Option<Instant>,
    origin: &'static str,
}

impl Book {
    /// Takes the answer about some places, in their order.
    fn answered(&mut self, places: &[Place], event_statuses: &Result<Vec<EventStatus>, String>, now: Instant) {
        match event_statuses {
            Ok(event_statuses) => {
                for (place, event_status) in places.iter().zip(event_statuses) {
                    if self.follower.answered(place, Ok(event_status), now) {
                        self.tally.decided(event_status, place, now);
                    }
                }
            }
            Err(failure) => {
                for place in places {
                    self.follower.answered(place, Err(failure), now);
                }
            }
        }
    }

    fn posted(&mut self, origins: &[u64], posted: PostedBatch, progress: &ProgressDisplay, stop: &Stop) {
        let PostedBatch { result, attempts, first_sent, answered } = posted;
        let events = origins.len() as u64;
        self.tally.produced += events;
        self.tally.requests += attempts;
        self.tally.repeated += attempts - 1;
        self.tally.sent(first_sent);
        match result {
            PostResult::Decided(decision) => self.decided(origins, decision, answered, progress),
            PostResult::Unanswered(failure) => {
                self.tally.unanswered.add(&failure, events, || named(self.origin, origins.first()))
            }
            PostResult::Hopeless(says) => {
                self.tally.refused.add(&says, events, || named(self.origin, origins.first()));
                self.error = Some(says);
                stop.sending.cancel();
            }
        }
    }

    fn decided(&mut self, origins: &[u64], decision: Decision, now: Instant, progress: &ProgressDisplay) {
        let Decision { receipts, without_receipt, refused, refused_alike, unmentioned } = decision;
        self.tally.accepted += receipts.len() as u64 + without_receipt;
        self.tally.without_receipt += without_receipt;
        for (index, reason) in refused {
            self.refused(origins.get(index), &reason, progress);
        }
        if let Some((reason, events)) = refused_alike {
            self.tally.refused.add(&reason, events, || named(self.origin, origins.first()));
        }
        self.tally.unanswered.add("not mentioned in the answer", unmentioned, || None);
        for receipt in receipts {
            let place = self.place(&receipt);
            match receipt.event_status() {
                None => self.follower.follow(place, Status::Pending, now),
                Some(event_status) if matches!(event_status.status, Status::Pending | Status::Waiting) => {
                    self.follower.follow(place, event_status.status, now);
                }
                Some(event_status) => self.tally.decided(&event_status, &place, now),
            }
        }
    }

    fn place(&mut self, receipt: &Receipt) -> Place {
        let topic = match self.topics.iter().find(|topic| ***topic == *receipt.topic) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic: Arc<str> = Arc::from(receipt.topic.as_str());
                self.topics.push(Arc::clone(&topic));
                topic
            }
        };
        Place { topic, partition: receipt.partition, offset: receipt.offset }
    }

    fn no_event(&mut self, origin: u64, reason: &str, progress: &ProgressDisplay) {
        self.tally.produced += 1;
        self.refused(Some(&origin), reason, progress);
    }

    fn refused(&mut self, origin: Option<&u64>, reason: &str, progress: &ProgressDisplay) {
        let origin = || named(self.origin, origin);
        self.tally.refused.add(reason, 1, origin);
        self.reported += 1;
        if self.reported <= REFUSED_REPORTED {
            let origin = origin().map_or_else(String::new, |origin| format!("{origin}: "));
            progress.say(format_args!("{origin}refused: {reason}"));
        }
    }

    fn again(&mut self, says: &str, progress: &ProgressDisplay) {
        let now = Instant::now();
        if self.retries_reported.is_none_or(|reported| now >= reported + REPORT_RETRIES_EVERY) {
            progress.say(format_args!("retrying requests: {says}"));
            self.retries_reported = Some(now);
        }
    }

    /// Counts events for whose answers nobody waited.
    fn given_up(&mut self, out: u64) {
        self.tally.produced += out;
        self.tally.unanswered.add("stopped before an answer arrived", out, || None);
    }
}

/// Names an event's origin, such as `line 17`.
fn named(origin: &str, number: Option<&u64>) -> Option<String> {
    number.map(|number| format!("{origin} {number}"))
}

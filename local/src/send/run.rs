//! Events from their source through lanes to the gateway, and their receipts to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::answer::{Decision, Receipt, Status};
use super::batch::{Batch, Lanes};
use super::follow::{Follower, Place, Step};
use super::gateway::{Gateway, Outcome, Posted};
use super::pace::Pace;
use super::progress::Progress;
use super::source::{Next, Source, SourceError};
use super::tally::{Balance, Tally};

/// With more pending events than these, none are sent until some are decided.
const BACKLOG: usize = 200_000;
/// Refused events that are told one by one.
const REFUSED_TOLD: u64 = 5;
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// Why requests are repeated is told no more often than this.
const TELL_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// What to send, and how.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) gateway: Arc<Gateway>,
    pub(super) stream: String,
    pub(super) source: Source,
    pub(super) lanes: Lanes,
    pub(super) per_second: Option<f64>,
    /// After so many events, all lanes' batches go, full or not.
    pub(super) flush_after: Option<u64>,
    /// What an event's origin is called.
    pub(super) origin: &'static str,
}

/// How a run is ended before its time.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// No further event is sent; what is out is followed.
    pub(super) sending: CancellationToken,
    /// Nothing is followed any more.
    pub(super) following: CancellationToken,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Result {
    pub(super) tally: Tally,
    pub(super) waiting: u64,
    pub(super) pending: Vec<Place>,
    /// Why a receipt could not be asked about, the last time that happened.
    pub(super) last_failure: Option<String>,
    /// Why events were not sent, or no longer.
    pub(super) error: Option<String>,
}

impl Result {
    /// Whether every event is written, or was turned down with a reason.
    pub(super) fn is_success(&self) -> bool {
        let pending = self.pending.len() as u64;
        self.error.is_none() && self.tally.balance(self.waiting, pending) == Balance::Closed
    }
}

enum Produced {
    Batch(usize, Batch),
    NoEvent(u64, String),
}

enum Report {
    Posted(Vec<u64>, Posted),
    /// A batch is sent again, and why.
    Again(String),
    NoEvent(u64, String),
}

/// Sends what the plan says and follows it to the end.
pub(super) async fn run(plan: Plan, progress: &mut Progress, stop: &Stop) -> Result {
    let Plan { gateway, stream, source, lanes, per_second, flush_after, origin } = plan;
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
    let mut book =
        Book { follower, tally: Tally::default(), topics: Vec::new(), error: None, told: 0, told_again: None, origin };
    let mut last_failure = None;
    let mut looks = FuturesUnordered::new();
    let mut is_sending = true;
    let mut show = tokio::time::interval(SHOW_EVERY);
    'following: loop {
        let wake = loop {
            match book.follower.step(Instant::now(), !is_sending) {
                Step::Look(place) => looks.push(async {
                    let fate = gateway.fate(&place.topic, place.partition, place.offset).await;
                    (place, fate)
                }),
                Step::Rest(until) => break Some(until),
                Step::Done if !is_sending => break 'following,
                Step::Answers | Step::Done => break None,
            }
        };
        backlog.send_replace(book.follower.backlog());
        tokio::select! {
            report = reports.recv(), if is_sending => match report {
                Some(Report::Posted(origins, posted)) => {
                    out.fetch_sub(origins.len() as u64, Ordering::Relaxed);
                    book.posted(&origins, posted, progress, stop);
                }
                Some(Report::NoEvent(origin, reason)) => book.no_event(origin, &reason, progress),
                Some(Report::Again(says)) => book.again(&says, progress),
                None => is_sending = false,
            },
            Some((place, fate)) = looks.next(), if !looks.is_empty() => {
                let now = Instant::now();
                let is_decided = book.follower.answered(&place, fate.as_ref().map_err(String::as_str), now);
                match fate {
                    Ok(fate) if is_decided => book.tally.decided(&fate, now),
                    Ok(_) => {}
                    Err(failure) => last_failure = Some(failure),
                }
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
    // With its receiver gone, the producer ends.
    let produced = producer.await.map_err(|error| error.to_string()).and_then(|made| made.map_err(|e| e.to_string()));
    let (waiting, pending) = (follower.waiting() as u64, follower.pending());
    Result { tally, waiting, pending, last_failure, error: error.or(produced.err()) }
}

/// Makes batches until the source is at its end, or nobody takes them.
fn make(
    mut source: Source,
    mut lanes: Lanes,
    flush_after: Option<u64>,
    produce: &mpsc::Sender<Produced>,
    sending: &CancellationToken,
) -> std::result::Result<(), SourceError> {
    let mut since_flush = 0;
    while !sending.is_cancelled() {
        let mut out = Vec::new();
        let next = source.next();
        let is_end = matches!(next, Err(_) | Ok(Next::End));
        match &next {
            Ok(Next::Event { text, key, origin }) => {
                let lane = lanes.of_key(key.as_deref());
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

/// Hands batches to their lanes, at their pace.
async fn dispatch(
    mut produced: mpsc::Receiver<Produced>,
    lanes: Vec<mpsc::Sender<Batch>>,
    report: mpsc::UnboundedSender<Report>,
    mut pace: Pace,
    mut backlog: watch::Receiver<usize>,
    sending: CancellationToken,
) {
    let work = async {
        while let Some(next) = produced.recv().await {
            let is_taken = match next {
                Produced::NoEvent(origin, reason) => report.send(Report::NoEvent(origin, reason)).is_ok(),
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

/// Posts one batch after the other: the next when this one is answered, so that the order stays.
async fn lane(
    gateway: Arc<Gateway>,
    stream: String,
    mut batches: mpsc::Receiver<Batch>,
    report: mpsc::UnboundedSender<Report>,
    out: Arc<AtomicU64>,
    sending: CancellationToken,
) {
    while let Some(batch) = batches.recv().await {
        if sending.is_cancelled() {
            return;
        }
        out.fetch_add(batch.origins.len() as u64, Ordering::Relaxed);
        let again = |says: &str| drop(report.send(Report::Again(says.to_owned())));
        let posted = gateway.post(&stream, &batch, again).await;
        if report.send(Report::Posted(batch.origins, posted)).is_err() {
            return;
        }
    }
}

/// What is known of the events that went out.
struct Book {
    follower: Follower,
    tally: Tally,
    topics: Vec<Arc<str>>,
    error: Option<String>,
    told: u64,
    told_again: Option<Instant>,
    origin: &'static str,
}

impl Book {
    fn posted(&mut self, origins: &[u64], posted: Posted, progress: &Progress, stop: &Stop) {
        let Posted { outcome, attempts, first_sent, answered } = posted;
        let events = origins.len() as u64;
        self.tally.produced += events;
        self.tally.requests += attempts;
        self.tally.repeated += attempts - 1;
        self.tally.sent(first_sent);
        match outcome {
            Outcome::Decided(decision) => self.decided(origins, decision, answered, progress),
            Outcome::Unanswered(failure) => self.tally.unanswered.add(&failure, events),
            Outcome::Hopeless(says) => {
                self.tally.refused.add(&says, events);
                self.error = Some(says);
                stop.sending.cancel();
            }
        }
    }

    fn decided(&mut self, origins: &[u64], decision: Decision, now: Instant, progress: &Progress) {
        let Decision { receipts, without_receipt, refused, refused_alike, unmentioned } = decision;
        self.tally.accepted += receipts.len() as u64 + without_receipt;
        self.tally.without_receipt += without_receipt;
        for (index, reason) in refused {
            self.refused(origins.get(index).copied(), &reason, progress);
        }
        if let Some((reason, events)) = refused_alike {
            self.tally.refused.add(&reason, events);
        }
        self.tally.unanswered.add("the answer does not mention them", unmentioned);
        for receipt in receipts {
            match receipt.fate() {
                None => self.follow(&receipt, Status::Pending, now),
                Some(fate) if matches!(fate.status, Status::Pending | Status::Waiting) => {
                    self.follow(&receipt, fate.status, now);
                }
                Some(fate) => self.tally.decided(&fate, now),
            }
        }
    }

    fn follow(&mut self, receipt: &Receipt, status: Status, now: Instant) {
        let topic = match self.topics.iter().find(|topic| ***topic == *receipt.topic) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic: Arc<str> = Arc::from(receipt.topic.as_str());
                self.topics.push(Arc::clone(&topic));
                topic
            }
        };
        self.follower.follow(Place { topic, partition: receipt.partition, offset: receipt.offset }, status, now);
    }

    fn no_event(&mut self, origin: u64, reason: &str, progress: &Progress) {
        self.tally.produced += 1;
        self.refused(Some(origin), reason, progress);
    }

    fn refused(&mut self, origin: Option<u64>, reason: &str, progress: &Progress) {
        self.tally.refused.add(reason, 1);
        self.told += 1;
        if self.told <= REFUSED_TOLD {
            let origin = origin.map_or_else(String::new, |number| format!("{} {number}: ", self.origin));
            progress.tell(format_args!("{origin}refused: {reason}"));
        }
    }

    fn again(&mut self, says: &str, progress: &Progress) {
        let now = Instant::now();
        if self.told_again.is_none_or(|told| now >= told + TELL_AGAIN_EVERY) {
            progress.tell(format_args!("requests are sent again: {says}"));
            self.told_again = Some(now);
        }
    }

    /// Events whose answer was not waited for.
    fn given_up(&mut self, out: u64) {
        self.tally.produced += out;
        self.tally.unanswered.add("stopped before there was an answer", out);
    }
}

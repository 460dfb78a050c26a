//! Sends events from their source to the gateway, in several concurrent sequences of batches (lanes), and follows the
//! receipts of the events to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::account::Account;
use super::batch::Lanes;
use super::follow::{Follower, Place, Step};
use super::gateway::GatewayClient;
use super::pace::Pace;
use super::pipeline::{LaneReport, dispatch, lane, make};
use super::progress::ProgressDisplay;
use super::source::EventSource;
use super::stop::Stop;
use super::tally::{Balance, SendTally};

/// The maximum number of receipts that one request looks up. The gateway allows no more.
const REQUEST_PLACES: usize = 100;
/// The maximum length of these receipts in the query. API Gateway allows 10,240 bytes for the request line and all
/// headers together.
const REQUEST_BYTES: usize = 6_000;
const SHOW_EVERY: Duration = Duration::from_millis(200);

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
    /// The word that messages put before an event's number: `line` or `event`.
    pub(super) origin: &'static str,
}

/// The result of a run.
#[derive(Debug)]
pub(super) struct RunResult {
    pub(super) tally: SendTally,
    pub(super) waiting: u64,
    pub(super) pending: Vec<Place>,
    /// The error of the last failed lookup of receipts.
    pub(super) last_failure: Option<String>,
    /// Why sending failed or ended early.
    pub(super) error: Option<String>,
}

impl RunResult {
    /// Returns whether the run is a success: no event was refused, rejected or lost, no event still waits for its
    /// parent, and every outcome is known.
    pub(super) fn is_success(&self) -> bool {
        let pending = self.pending.len() as u64;
        let is_closed = self.tally.balance(self.waiting, pending) == Balance::Closed;
        self.error.is_none() && is_closed && self.tally.failed() == 0
    }
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
    let mut account = Account::new(follower, origin);
    let mut last_failure = None;
    let mut looks = FuturesUnordered::new();
    let mut is_sending = true;
    let mut show = tokio::time::interval(SHOW_EVERY);
    'following: loop {
        let mut places = Vec::new();
        let wake = loop {
            match account.follower.step(Instant::now(), !is_sending) {
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
        backlog.send_replace(account.follower.backlog());
        tokio::select! {
            report = reports.recv(), if is_sending => match report {
                Some(LaneReport::Posted(origins, posted)) => {
                    out.fetch_sub(origins.len() as u64, Ordering::Relaxed);
                    account.posted(&origins, posted, progress, stop);
                }
                Some(LaneReport::NoEvent(origin, reason)) => account.no_event(origin, &reason, progress),
                Some(LaneReport::Retry(says)) => account.again(&says, progress),
                None => is_sending = false,
            },
            Some((places, event_statuses)) = looks.next(), if !looks.is_empty() => {
                account.answered(&places, &event_statuses, Instant::now());
                last_failure = event_statuses.err().or(last_failure);
            }
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
            _ = show.tick() => {
                let sent = account.tally.produced + out.load(Ordering::Relaxed);
                progress.show(&account.tally, sent, account.follower.waiting() as u64, Instant::now());
            }
            () = stop.following.cancelled() => {
                account.given_up(out.load(Ordering::Relaxed));
                break;
            }
        }
    }
    drop(reports);
    let Account { follower, tally, error, .. } = account;
    // The producer ends once its receiver is dropped.
    let produced = producer.await.map_err(|error| error.to_string()).and_then(|made| made.map_err(|e| e.to_string()));
    let (waiting, pending) = (follower.waiting() as u64, follower.pending());
    RunResult { tally, waiting, pending, last_failure, error: error.or(produced.err()) }
}

/// Groups places into requests. Each request has its places and their ids.
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

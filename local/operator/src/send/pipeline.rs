//! Moves events to the gateway. One thread reads the events and groups them into batches. `dispatch` passes the batches
//! to lanes at the given pace, and each lane posts its batches in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::batch::{Lanes, RequestBatch};
use super::gateway::{GatewayClient, PostedBatch};
use super::pace::Pace;
use super::source::{EventSource, Next, SourceError};

/// The number of pending events at which sending pauses until some of them are decided.
const BACKLOG: usize = 200_000;

/// A batch for a lane, or a line without an event.
pub(super) enum Produced {
    Batch(usize, RequestBatch),
    NoEvent(u64, String),
}

/// A report about events, from a lane or from `dispatch`.
pub(super) enum LaneReport {
    Posted(Vec<u64>, PostedBatch),
    /// A batch is being retried, for this reason.
    Retry(String),
    NoEvent(u64, String),
}

/// Makes batches until the source ends, the receiver is dropped, or `sending` is cancelled.
pub(super) fn make(
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
pub(super) async fn dispatch(
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
pub(super) async fn lane(
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
        let retry = |says: &str| drop(report.send(LaneReport::Retry(says.to_owned())));
        let posted = gateway.post(&stream, &batch, retry).await;
        if report.send(LaneReport::Posted(batch.origins, posted)).is_err() {
            return;
        }
    }
}

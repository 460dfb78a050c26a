//! One partition: its records in order, as batches, one of them in flight.
//!
//! While a batch is in flight the next one is put together, no more; what comes after waits in librdkafka's queue,
//! which is bounded.

use std::sync::mpsc as blocking;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant as BlockingInstant};

use axum::body::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::batch::{Batch, BatchBuilder, Envelope, MOST_BYTES};
use super::function::Function;
use super::group::{GroupConsumer, Member};

/// A partition that is being read.
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) number: i32,
    stop: CancellationToken,
    abort: CancellationToken,
    finished: blocking::Receiver<Option<i64>>,
}

impl Partition {
    /// Takes no further records and begins no further invocation.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until nothing is in flight; from the deadline on, does not wait for the invocation. Returns the offset
    /// after the last record that the function has taken, if it took any. Blocks.
    pub(super) fn finish(&self, deadline: Option<BlockingInstant>) -> Option<i64> {
        if let Some(deadline) = deadline {
            let patience = deadline.saturating_duration_since(BlockingInstant::now());
            match self.finished.recv_timeout(patience) {
                Ok(next_offset) => return next_offset,
                Err(blocking::RecvTimeoutError::Disconnected) => return None,
                Err(blocking::RecvTimeoutError::Timeout) => self.abort.cancel(),
            }
        }
        self.finished.recv().ok().flatten()
    }
}

/// What a partition needs.
pub(super) struct Start {
    pub(super) envelope: Envelope,
    pub(super) topic: String,
    pub(super) number: i32,
    pub(super) batch_size: usize,
    pub(super) window: Duration,
    pub(super) function: Arc<dyn Function>,
    pub(super) hurry: CancellationToken,
    pub(super) consumer: Weak<GroupConsumer>,
}

impl Start {
    /// Begins to read.
    pub(super) fn begin(self, mut queue: PartitionQueue<Member>, runtime: &Handle) -> Partition {
        let arrived = Arc::new(Notify::new());
        let signal = Arc::clone(&arrived);
        queue.set_nonempty_callback(move || signal.notify_one());

        let stop = CancellationToken::new();
        let (finish, finished) = blocking::sync_channel(1);
        let (to_deliver, delivered) = mpsc::channel(1);
        let reader = Reader {
            queue,
            arrived,
            builder: BatchBuilder::new(self.envelope, self.batch_size, MOST_BYTES),
            window: self.window,
        };
        let deliverer = Deliverer {
            topic: self.topic.clone(),
            number: self.number,
            function: self.function,
            stop: stop.clone(),
            abort: self.hurry.clone(),
            consumer: self.consumer,
        };
        let stop_reading = stop.clone();
        runtime.spawn(async move {
            // The queue, a part of the consumer, is gone before anybody hears that this has ended: the consumer is
            // closed where its last owner lets it go, and that is to be the group's thread.
            let ((), next_offset) =
                tokio::join!(reader.read(to_deliver, stop_reading), deliverer.deliver_all(delivered));
            let _sent = finish.send(next_offset);
        });
        Partition { topic: self.topic, number: self.number, stop, abort: self.hurry, finished }
    }
}

/// Puts batches together.
struct Reader {
    queue: PartitionQueue<Member>,
    arrived: Arc<Notify>,
    builder: BatchBuilder,
    window: Duration,
}

impl Reader {
    async fn read(mut self, deliver: mpsc::Sender<Batch>, stop: CancellationToken) {
        let reading = async {
            // A batch is begun when there is room for it, so that two of them are all that is held.
            while let Ok(room) = deliver.reserve().await {
                room.send(self.next_batch().await);
            }
        };
        let _stopped = stop.run_until_cancelled(reading).await;
    }

    /// Waits for a first record, and closes the batch when it is full or its window is over.
    async fn next_batch(&mut self) -> Batch {
        // librdkafka signals that an empty queue got something. In case that a record and something else came at
        // once, look again after this long.
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let mut close_at = None;
        loop {
            self.take_what_is_there().await;
            if self.builder.is_full() {
                return self.builder.take();
            }
            let now = Instant::now();
            let mut wait_until = now + LOOK_AGAIN;
            if !self.builder.is_empty() {
                let close_at = *close_at.get_or_insert(now + self.window);
                if now >= close_at {
                    return self.builder.take();
                }
                wait_until = wait_until.min(close_at);
            }
            let _arrived = tokio::time::timeout_at(wait_until, self.arrived.notified()).await;
        }
    }

    async fn take_what_is_there(&mut self) {
        // How many records other tasks of this core have to wait for.
        const TURN: usize = 256;
        let mut taken = 0;
        while !self.builder.is_full() {
            match self.queue.poll(Duration::ZERO) {
                Some(Ok(message)) => self.builder.push(&message),
                Some(Err(error)) => tracing::warn!("reading from Kafka: {error}"),
                None => return,
            }
            taken += 1;
            if taken % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Invokes the function with batches, in order.
struct Deliverer {
    topic: String,
    number: i32,
    function: Arc<dyn Function>,
    stop: CancellationToken,
    abort: CancellationToken,
    consumer: Weak<GroupConsumer>,
}

/// An invocation was given up: its batch is not taken.
struct GivenUp;

impl Deliverer {
    /// Returns the offset after the last record that the function has taken.
    async fn deliver_all(self, mut batches: mpsc::Receiver<Batch>) -> Option<i64> {
        let mut achieved = None;
        while let Some(Some(batch)) = self.stop.run_until_cancelled(batches.recv()).await {
            let next_offset = batch.next_offset;
            if let Err(GivenUp) = self.deliver(batch).await {
                break;
            }
            achieved = Some(next_offset);
            self.commit(next_offset);
        }
        achieved
    }

    /// Until it succeeds: neither the number of tries nor the records' age ends it.
    async fn deliver(&self, batch: Batch) -> Result<(), GivenUp> {
        let payload = Bytes::from(batch.payload);
        let mut backoff = Backoff::default();
        loop {
            let invocation = self.function.invoke(payload.clone());
            let Some(outcome) = self.abort.run_until_cancelled(invocation).await else {
                return Err(GivenUp);
            };
            let Err(error) = outcome else {
                return Ok(());
            };
            let wait = backoff.next();
            tracing::warn!(
                topic = self.topic,
                partition = self.number,
                records = batch.records,
                "the invocation failed, the same batch again in {} ms: {error}",
                wait.as_millis()
            );
            let waited = self.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            if waited.is_none() {
                return Err(GivenUp);
            }
        }
    }

    /// Without waiting for the broker: a commit that is lost costs a batch that is delivered again, and the next
    /// one's covers it.
    fn commit(&self, next_offset: i64) {
        let Some(consumer) = self.consumer.upgrade() else {
            return;
        };
        let mut offsets = TopicPartitionList::new();
        let committed = offsets
            .add_partition_offset(&self.topic, self.number, Offset::Offset(next_offset))
            .and_then(|()| consumer.commit(&offsets, CommitMode::Async));
        if let Err(error) = committed {
            tracing::warn!(topic = self.topic, partition = self.number, "offsets were not committed: {error}");
        }
    }
}

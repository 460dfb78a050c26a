//! The event poller: groups the records of the assigned partitions into batches, and has the batches delivered.
//!
//! A partition's records are delivered in order, with one batch in flight at a time. A batch may contain records of
//! several partitions. While a batch is in flight, batches of other partitions are delivered concurrently. From a
//! partition whose batch is in flight, the poller reads only enough records for one more batch. Later records wait in
//! librdkafka's queues, which are bounded.
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>

use std::sync::mpsc as blocking;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant as BlockingInstant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, frame_bytes};
use super::delivery::{Delivery, Stopped};
use super::segment::{Origin, Segment};

/// A running poller.
pub(super) struct Poller {
    stop: CancellationToken,
    abort: CancellationToken,
    finished: blocking::Receiver<TopicPartitionList>,
}

impl Poller {
    /// Takes no further records, begins no further invocation, and waits until nothing is in flight. After `patience`,
    /// no longer waits for running invocations. Returns the offsets after the last records that the function accepted.
    /// Blocks the thread.
    pub(super) fn finish(&self, patience: Option<Duration>) -> TopicPartitionList {
        self.stop.cancel();
        if let Some(patience) = patience {
            let deadline = BlockingInstant::now() + patience;
            match self.finished.recv_timeout(deadline.saturating_duration_since(BlockingInstant::now())) {
                Ok(achieved) => return achieved,
                Err(blocking::RecvTimeoutError::Disconnected) => return TopicPartitionList::new(),
                Err(blocking::RecvTimeoutError::Timeout) => self.abort.cancel(),
            }
        }
        self.finished.recv().unwrap_or_default()
    }
}

/// The settings and handles of a poller.
pub(super) struct Start<C: ConsumerContext + 'static> {
    pub(super) batch_size: usize,
    pub(super) window: Duration,
    pub(super) delivery: Delivery,
    pub(super) consumer: Weak<BaseConsumer<C>>,
}

impl<C: ConsumerContext + 'static> Start<C> {
    /// Starts reading these partitions.
    pub(super) fn begin(self, queues: Vec<(Origin, PartitionQueue<C>)>, runtime: &Handle) -> Poller {
        let Self { batch_size, window, delivery, consumer } = self;
        let arrived = Arc::new(Notify::new());
        let partitions = queues.into_iter().map(|(origin, mut queue)| {
            let signal = Arc::clone(&arrived);
            queue.set_nonempty_callback(move || signal.notify_one());
            PolledPartition::new(origin, queue)
        });
        let partitions = partitions.collect();
        let (stop, abort) = (delivery.stop.clone(), delivery.abort.clone());
        let (finish, finished) = blocking::sync_channel(1);
        let reader = Reader {
            partitions,
            arrived,
            batch_size,
            window,
            delivery: Arc::new(delivery),
            in_flight: JoinSet::new(),
            consumer,
            achieved: TopicPartitionList::new(),
            has_uncommitted: false,
            next_commit: Instant::now(),
        };
        runtime.spawn(async move {
            // Only the thread that `group` starts for this member of the consumer group may close the consumer. The
            // queues share ownership of the consumer, and the thread that drops the last reference closes the consumer.
            // Therefore, `read` drops the queues before the poller reports its end.
            let achieved = reader.read().await;
            let _sent = finish.send(achieved);
        });
        Poller { stop, abort, finished }
    }
}

/// An assigned partition, with its queue and the records that were read from the queue.
struct PolledPartition<C: ConsumerContext + 'static> {
    queue: PartitionQueue<C>,
    /// Records that were read and are not in flight.
    pending: Segment,
    /// When the batching window of the pending records started. The window is the longest time that records wait for a
    /// batch to fill. If a batch takes only some of the pending records, a new window starts for the rest. `None` if no
    /// record is pending.
    pending_since: Option<Instant>,
    is_in_flight: bool,
}

impl<C: ConsumerContext> PolledPartition<C> {
    fn new(origin: Origin, queue: PartitionQueue<C>) -> Self {
        let pending = Segment::new(Arc::new(origin));
        Self { queue, pending, pending_since: None, is_in_flight: false }
    }

    /// Takes the first pending records, as many as fit.
    fn take(&mut self, most_records: usize, most_bytes: usize) -> Segment {
        let fitting = self.pending.fitting(most_bytes).min(most_records);
        let taken = self.pending.take(fitting);
        if !taken.is_empty() {
            self.is_in_flight = true;
            self.pending_since = (!self.pending.is_empty()).then(Instant::now);
        }
        taken
    }
}

struct Reader<C: ConsumerContext + 'static> {
    partitions: Vec<PolledPartition<C>>,
    arrived: Arc<Notify>,
    batch_size: usize,
    window: Duration,
    delivery: Arc<Delivery>,
    in_flight: JoinSet<Result<Delivered, Stopped>>,
    consumer: Weak<BaseConsumer<C>>,
    /// The offsets after the last delivered records.
    achieved: TopicPartitionList,
    /// Whether some of these offsets have not been committed yet.
    has_uncommitted: bool,
    /// The earliest time for the next commit.
    next_commit: Instant,
}

/// The minimum time between two commits. The broker answers the requests of a connection one by one, and takes a few
/// milliseconds to answer a commit. If each of many small batches were committed, heartbeats would have to wait behind
/// commits, and the broker would remove the mapping from its group.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// The offsets after the last records of a delivered batch, by partition.
type Delivered = Vec<(Arc<Origin>, i64)>;

impl<C: ConsumerContext> Reader<C> {
    /// Runs until the poller is stopped. Returns the offsets after the last records that the function accepted.
    async fn read(mut self) -> TopicPartitionList {
        // The queues are checked at this interval even without a signal. librdkafka signals only when an empty queue
        // receives something. A record that arrives while its queue still holds something else, such as an error,
        // causes no signal.
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let stop = self.delivery.stop.clone();
        while !stop.is_cancelled() {
            self.take_available().await;
            while let Some(batch) = self.complete_batch() {
                self.send(batch);
            }
            self.commit_if_due();
            let look_again = Instant::now() + LOOK_AGAIN;
            let commit = self.has_uncommitted.then_some(self.next_commit);
            let wait_until = self.window_ends().into_iter().chain(commit).fold(look_again, Instant::min);
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = self.in_flight.join_next() => self.settle(ended),
                () = self.arrived.notified() => {}
                () = tokio::time::sleep_until(wait_until) => {}
            }
        }
        while !self.in_flight.is_empty() {
            tokio::select! {
                Some(ended) = self.in_flight.join_next() => self.settle(ended),
                () = tokio::time::sleep_until(self.next_commit), if self.has_uncommitted => self.commit_if_due(),
            }
        }
        self.achieved
    }

    async fn take_available(&mut self) {
        // The number of records to read before other tasks on this core get a chance to run.
        const TURN: usize = 256;
        let most_bytes = self.delivery.envelope.room();
        let mut taken = 0;
        for partition in &mut self.partitions {
            while partition.pending.len() < self.batch_size && partition.pending.json().len() < most_bytes {
                match partition.queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => {
                        partition.pending.push(&message);
                        partition.pending_since.get_or_insert_with(Instant::now);
                    }
                    Some(Err(error)) => tracing::warn!("reading from Kafka: {error}"),
                    None => break,
                }
                taken += 1;
                if taken % TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Returns a batch that is due, if there is one. If one partition's records fill a batch, the batch contains only
    /// these records. Otherwise, the batch contains as many records as fit, from all partitions that have nothing in
    /// flight. A batch is due once the records of these partitions fill it, or once the window of one of them is over.
    fn complete_batch(&mut self) -> Option<Batch> {
        let room = self.delivery.envelope.room();
        let bytes = |partition: &PolledPartition<C>| partition.pending.json().len() + frame_bytes(&partition.pending);
        let (mut records, mut all_bytes, mut is_due) = (0, 0, false);
        let mut idle: Vec<&mut PolledPartition<C>> = self
            .partitions
            .iter_mut()
            .filter(|partition| !partition.is_in_flight && !partition.pending.is_empty())
            .collect();
        for partition in &idle {
            records += partition.pending.len();
            all_bytes += bytes(partition);
            is_due |= partition.pending_since.is_some_and(|since| since.elapsed() >= self.window);
        }
        if !is_due && records < self.batch_size && all_bytes <= room {
            return None;
        }
        let fills =
            |partition: &&mut PolledPartition<C>| partition.pending.len() >= self.batch_size || bytes(partition) > room;
        if let Some(full) = idle.iter().position(fills) {
            idle = vec![idle.swap_remove(full)];
        }
        idle.sort_by_key(|partition| partition.pending_since);
        let mut batch = Batch::default();
        let (mut records_left, mut bytes_left) = (self.batch_size, room);
        for partition in idle {
            let most_bytes = bytes_left.saturating_sub(frame_bytes(&partition.pending));
            // A record that is too large for any batch is delivered alone, so that the function rejects it.
            let is_alone = batch.is_empty() && partition.pending.fitting(most_bytes) == 0;
            let segment =
                if is_alone { partition.take(1, usize::MAX) } else { partition.take(records_left, most_bytes) };
            records_left -= segment.len();
            bytes_left = bytes_left.saturating_sub(segment.json().len() + frame_bytes(&segment));
            // If some records of this partition did not fit, the batch is full.
            let is_cut = !partition.pending.is_empty();
            batch.add(segment);
            if is_cut {
                break;
            }
        }
        Some(batch)
    }

    /// Returns the earliest end of the windows of the partitions that have nothing in flight.
    fn window_ends(&self) -> Option<Instant> {
        let waiting = self
            .partitions
            .iter()
            .filter(|partition| !partition.is_in_flight)
            .filter_map(|partition| partition.pending_since);
        waiting.min().map(|since| since + self.window)
    }

    fn send(&mut self, batch: Batch) {
        let delivery = Arc::clone(&self.delivery);
        self.in_flight.spawn(async move {
            let next_offset =
                |segment: &Segment| segment.next_offset().map(|offset| (Arc::clone(&segment.origin), offset));
            let delivered: Delivered = batch.segments().iter().filter_map(next_offset).collect();
            delivery.deliver(&batch).await.map(|()| delivered)
        });
    }

    /// Notes the offsets of a delivered batch, to be committed. After an interrupted delivery, there is nothing to do,
    /// because the poller is stopping.
    fn settle(&mut self, ended: Result<Result<Delivered, Stopped>, tokio::task::JoinError>) {
        let delivered = match ended {
            Ok(Ok(delivered)) => delivered,
            Ok(Err(Stopped)) => return,
            Err(panic) => {
                tracing::error!("a delivery panicked; its partitions are no longer read: {panic}");
                return;
            }
        };
        for (origin, next_offset) in delivered {
            let next_offset = Offset::Offset(next_offset);
            // The result can be ignored, because librdkafka rejects only negative offsets.
            let _set = match self.achieved.find_partition(&origin.topic, origin.partition) {
                Some(mut element) => element.set_offset(next_offset),
                None => self.achieved.add_partition_offset(&origin.topic, origin.partition, next_offset),
            };
            self.has_uncommitted = true;
            for partition in &mut self.partitions {
                partition.is_in_flight &= !Arc::ptr_eq(&partition.pending.origin, &origin);
            }
        }
    }

    /// Commits the noted offsets, unless the last commit was too recent. Does not wait for the broker. If the commit is
    /// lost, the next commit makes up for it. At worst, the batches of [`COMMIT_EVERY`] are delivered again.
    fn commit_if_due(&mut self) {
        if !self.has_uncommitted || Instant::now() < self.next_commit {
            return;
        }
        self.next_commit = Instant::now() + COMMIT_EVERY;
        self.has_uncommitted = false;
        let Some(consumer) = self.consumer.upgrade() else {
            return;
        };
        if let Err(error) = consumer.commit(&self.achieved, CommitMode::Async) {
            tracing::warn!(group = self.delivery.group, "offsets were not committed: {error}");
        }
    }
}

//! Looks up a consumer group's committed offsets, without joining the group.

use std::ffi::{CString, c_char};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings::{
    RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT, rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new,
    rd_kafka_AdminOptions_set_request_timeout, rd_kafka_AdminOptions_t, rd_kafka_ListConsumerGroupOffsets,
    rd_kafka_ListConsumerGroupOffsets_destroy, rd_kafka_ListConsumerGroupOffsets_new,
    rd_kafka_ListConsumerGroupOffsets_result_groups, rd_kafka_ListConsumerGroupOffsets_t, rd_kafka_admin_op_t,
    rd_kafka_error_code, rd_kafka_event_ListConsumerGroupOffsets_result, rd_kafka_event_destroy, rd_kafka_event_error,
    rd_kafka_event_t, rd_kafka_event_type, rd_kafka_group_result_error, rd_kafka_group_result_partitions,
    rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_queue_t, rd_kafka_resp_err_t,
    rd_kafka_topic_partition_list_find,
};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::ReadError;
use super::connection::{ReaderClient, read_error};

/// Returns the offsets that `group` has committed, in the order of `partitions`.
///
/// This uses the admin API (`ListConsumerGroupOffsets`), because a consumer can look up only the offsets of its own
/// group, and each topic has a different group.
#[expect(unsafe_code, reason = "rdkafka has no safe function that lists a group's offsets")]
pub(super) fn look_up(
    client: &ReaderClient,
    group: &str,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> Result<Vec<Option<i64>>, ReadError> {
    let failed = |error| read_error(error, topic, 0);
    let group = CString::new(group).map_err(KafkaError::Nul).map_err(failed)?;
    let name = CString::new(topic).map_err(KafkaError::Nul).map_err(failed)?;
    let mut wanted = TopicPartitionList::new();
    for partition in partitions {
        wanted.add_partition(topic, *partition);
    }
    let native = client.consumer.client().native_ptr();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives this call, and so do the names and the list, which librdkafka copies. Each object
    // that librdkafka creates for us is destroyed by its guard, in the reverse order. The data of a result lives as
    // long as the librdkafka event that carries it. The event is not destroyed before the data has been read.
    unsafe {
        let queue = Queue(rd_kafka_queue_new(native));
        let options =
            Options(rd_kafka_AdminOptions_new(native, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS));
        let mut said: [c_char; 512] = [0; 512];
        rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, said.as_mut_ptr(), said.len());
        let mut request = Request(rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), wanted.ptr()));
        rd_kafka_ListConsumerGroupOffsets(native, &raw mut request.0, 1, options.0, queue.0);
        let event = Event(rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(1_000)));
        if event.0.is_null() {
            return Err(failed(refused(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT)));
        }
        let error = rd_kafka_event_error(event.0);
        if error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(refused(error)));
        }
        if rd_kafka_event_type(event.0) != RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT {
            return Err(failed(KafkaError::Canceled));
        }
        let mut count = 0;
        let result = rd_kafka_event_ListConsumerGroupOffsets_result(event.0);
        let groups = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        if groups.is_null() || count == 0 {
            return Err(failed(KafkaError::Canceled));
        }
        let error = rd_kafka_group_result_error(*groups);
        if !error.is_null() {
            return Err(failed(refused(rd_kafka_error_code(error))));
        }
        let found = rd_kafka_group_result_partitions(*groups);
        let committed = partitions.iter().map(|&partition| {
            let one = rd_kafka_topic_partition_list_find(found, name.as_ptr(), partition);
            // A negative offset means that no offset is committed.
            if one.is_null() { None } else { Some((*one).offset).filter(|offset| *offset >= 0) }
        });
        Ok(committed.collect())
    }
}

/// Returns whether the group has no coordinator at the moment. This happens while a broker restarts. It also happens
/// when the cluster's first group is used, until Kafka has created its internal topic for committed offsets.
pub(super) fn is_coordinator_moving(error: &ReadError) -> bool {
    let ReadError::Failed(error) = error else { return false };
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

fn refused(code: rd_kafka_resp_err_t) -> KafkaError {
    KafkaError::OffsetFetch(code.into())
}

struct Queue(*mut rd_kafka_queue_t);
struct Options(*mut rd_kafka_AdminOptions_t);
struct Request(*mut rd_kafka_ListConsumerGroupOffsets_t);
struct Event(*mut rd_kafka_event_t);

macro_rules! destroyed_by {
    ($guard:ty, $destroy:ident) => {
        impl Drop for $guard {
            #[expect(unsafe_code, reason = "librdkafka's objects are destroyed by its functions")]
            fn drop(&mut self) {
                if !self.0.is_null() {
                    // SAFETY: the guard owns the object that it points to.
                    unsafe { $destroy(self.0) }
                }
            }
        }
    };
}

destroyed_by!(Queue, rd_kafka_queue_destroy);
destroyed_by!(Options, rd_kafka_AdminOptions_destroy);
destroyed_by!(Request, rd_kafka_ListConsumerGroupOffsets_destroy);
destroyed_by!(Event, rd_kafka_event_destroy);

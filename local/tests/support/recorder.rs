//! A function that records its invocations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use local::event_source_mapping::function::{Function, FunctionError, Invocation};
use serde_json::Value;
use tokio::sync::watch;

/// The time limit for each condition that a test awaits.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Answers = Box<dyn Fn(usize) -> Result<Bytes, FunctionError> + Send + Sync>;

/// Records every invocation, and answers as the test specifies.
pub struct Recorder {
    /// The payload of every invocation. AWS calls it an event; it contains a batch of records.
    pub log: watch::Sender<Vec<Value>>,
    /// Returns the response to the invocation with this number. Numbers begin at 0.
    answers: Answers,
    /// The number of invocations that may end.
    may_end: watch::Receiver<usize>,
}

/// Returns the error of a function that fails.
pub fn failure() -> FunctionError {
    FunctionError::Failed("as requested".to_owned())
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        Self::failing(|_| false)
    }

    pub fn failing(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Self::answering(move |number| if fails(number) { Err(failure()) } else { Ok(Bytes::new()) })
    }

    pub fn answering(answers: impl Fn(usize) -> Result<Bytes, FunctionError> + Send + Sync + 'static) -> Arc<Self> {
        let (_, may_end) = watch::channel(usize::MAX);
        Arc::new(Self { log: watch::channel(Vec::new()).0, answers: Box::new(answers), may_end })
    }

    /// Creates a recorder whose invocations end only when the test allows it. The returned sender sets how many
    /// invocations may end.
    pub fn held() -> (Arc<Self>, watch::Sender<usize>) {
        let (release, may_end) = watch::channel(0);
        let answers = Box::new(|_: usize| Ok(Bytes::new()));
        (Arc::new(Self { log: watch::channel(Vec::new()).0, answers, may_end }), release)
    }

    /// Waits until there are at least this many invocations. Returns all of them.
    pub async fn invocations(&self, at_least: usize) -> Vec<Value> {
        let mut log = self.log.subscribe();
        let found = tokio::time::timeout(PATIENCE, log.wait_for(|log| log.len() >= at_least)).await;
        match found {
            Ok(log) => log.unwrap().clone(),
            Err(_) => panic!("{} invocations instead of {at_least}", self.log.borrow().len()),
        }
    }

    /// Waits until the function has received this many different records.
    pub async fn has_seen(&self, count: usize) {
        let mut log = self.log.subscribe();
        let different = |log: &Vec<Value>| {
            let records = log.iter().flat_map(records);
            let names =
                records.map(|record| format!("{} {} {}", record["partition"], record["offset"], record["value"]));
            names.collect::<BTreeSet<_>>().len()
        };
        let all = log.wait_for(|log| different(log) >= count);
        tokio::time::timeout(PATIENCE, all).await.unwrap().unwrap();
    }
}

impl Function for Recorder {
    fn invoke(&self, payload: Bytes) -> Invocation<'_> {
        let event: Value = serde_json::from_slice(&payload).unwrap();
        let mut number = 0;
        self.log.send_modify(|log| {
            number = log.len();
            log.push(event);
        });
        Box::pin(async move {
            let mut may_end = self.may_end.clone();
            // If the sender was dropped, the invocation ends immediately.
            let _ended = may_end.wait_for(|count| *count > number).await;
            (self.answers)(number)
        })
    }
}

/// Returns an event's records, partition by partition.
pub fn records(event: &Value) -> Vec<&Value> {
    event["records"].as_object().unwrap().values().flat_map(|records| records.as_array().unwrap()).collect()
}

/// Returns a record's partition and offset.
pub fn place(record: &Value) -> (i64, i64) {
    (record["partition"].as_i64().unwrap(), record["offset"].as_i64().unwrap())
}

/// Returns the partitions and offsets of an event's records.
pub fn places(event: &Value) -> Vec<(i64, i64)> {
    records(event).into_iter().map(place).collect()
}

pub fn offsets(event: &Value) -> Vec<i64> {
    places(event).into_iter().map(|(_, offset)| offset).collect()
}

/// Returns the only partition of an event, and the offsets of the event's records.
pub fn records_of(event: &Value) -> (i64, Vec<i64>) {
    assert_eq!(event["records"].as_object().unwrap().len(), 1, "{event}");
    (places(event)[0].0, offsets(event))
}

/// Returns each partition's offsets in the order of their first delivery.
pub fn first_seen(recorders: &[&Arc<Recorder>]) -> BTreeMap<i64, Vec<i64>> {
    let mut seen: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for event in recorders.iter().flat_map(|recorder| recorder.log.borrow().clone()) {
        for (partition, offset) in places(&event) {
            let seen = seen.entry(partition).or_default();
            if !seen.contains(&offset) {
                seen.push(offset);
            }
        }
    }
    seen
}

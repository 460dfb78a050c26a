//! A function that writes down what it is invoked with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use local::event_source_mapping::function::{Function, FunctionError, Invocation};
use serde_json::Value;
use tokio::sync::watch;

/// What a test waits for comes within this, or never.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Writes down every invocation, and answers as it is told.
pub struct Recorder {
    /// Every invocation's event.
    pub log: watch::Sender<Vec<Value>>,
    /// Answers a batch once, or for the number of its invocation, from 0.
    fails: Box<dyn Fn(usize) -> bool + Send + Sync>,
    /// How many invocations may end.
    may_end: watch::Receiver<usize>,
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        Self::failing(|_| false)
    }

    pub fn failing(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Arc<Self> {
        let (_, may_end) = watch::channel(usize::MAX);
        Arc::new(Self { log: watch::channel(Vec::new()).0, fails: Box::new(fails), may_end })
    }

    /// One whose invocations end only as `may_end` grows.
    pub fn held() -> (Arc<Self>, watch::Sender<usize>) {
        let (release, may_end) = watch::channel(0);
        (Arc::new(Self { log: watch::channel(Vec::new()).0, fails: Box::new(|_| false), may_end }), release)
    }

    /// Waits until there are as many invocations, and returns all that there are.
    pub async fn invocations(&self, at_least: usize) -> Vec<Value> {
        let mut log = self.log.subscribe();
        let found = tokio::time::timeout(PATIENCE, log.wait_for(|log| log.len() >= at_least)).await;
        match found {
            Ok(log) => log.unwrap().clone(),
            Err(_) => panic!("{} invocations instead of {at_least}", self.log.borrow().len()),
        }
    }

    /// Waits until as many different records were seen.
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
            // The sender is gone: nothing holds invocations.
            let _ended = may_end.wait_for(|count| *count > number).await;
            if (self.fails)(number) { Err(FunctionError::Failed("as told".to_owned())) } else { Ok(Bytes::new()) }
        })
    }
}

pub fn records(event: &Value) -> &Vec<Value> {
    event["records"].as_object().unwrap().values().next().unwrap().as_array().unwrap()
}

pub fn offsets(event: &Value) -> Vec<i64> {
    records(event).iter().map(|record| record["offset"].as_i64().unwrap()).collect()
}

pub fn records_of(event: &Value) -> (i64, Vec<i64>) {
    (records(event)[0]["partition"].as_i64().unwrap(), offsets(event))
}

/// Each partition's offsets, the first time that they were delivered to anybody.
pub fn first_seen(recorders: &[&Arc<Recorder>]) -> BTreeMap<i64, Vec<i64>> {
    let mut seen: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for event in recorders.iter().flat_map(|recorder| recorder.log.borrow().clone()) {
        let (partition, offsets) = records_of(&event);
        let seen = seen.entry(partition).or_default();
        for offset in offsets {
            if !seen.contains(&offset) {
                seen.push(offset);
            }
        }
    }
    seen
}

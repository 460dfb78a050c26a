//! A fake of BigQuery's tables, in memory. It checks offsets, rejects appends to finalised streams, and injects faults:
//! lost answers, late appends, frozen appends, forgotten streams, refused rows, and an old schema.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consume::bigquery::{Append, RefusedRow, Tables, TablesError, WrittenQuery};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shared::contract::{BigQueryTable, Meta, Source};
use tokio::sync::{Notify, oneshot};

/// Rows whose number is a multiple of this are refused.
pub(crate) const REFUSED: i64 = 13;

/// A row of the table that the tests write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) number: i64,
    pub(crate) partition: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// BigQuery's tables.
#[derive(Debug)]
pub(crate) struct MemoryTables {
    state: Mutex<State>,
    frozen: Notify,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    rows: Vec<Row>,
    streams: BTreeMap<String, Stream>,
    created: u64,
    /// Appends that were sent but have not arrived.
    late: Vec<Late>,
    /// The probability that an append fails. Creating or finalising a stream fails half as often.
    faults: f64,
    freeze_next: bool,
    /// How many of the next appends are refused, as if BigQuery still used an old schema.
    lagging: u32,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Stream {
    rows: i64,
    is_finalized: bool,
}

#[derive(Debug)]
struct Late {
    stream: String,
    offset: i64,
    rows: Vec<Row>,
    answer: Option<oneshot::Sender<Result<(), TablesError>>>,
}

/// How many calls and faults there were.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) appends: u64,
    pub(crate) refused: u64,
    pub(crate) late: u64,
    pub(crate) finalized: u64,
    pub(crate) lost_streams: u64,
    pub(crate) compared: u64,
}

impl MemoryTables {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            rows: Vec::new(),
            streams: BTreeMap::new(),
            created: 0,
            late: Vec::new(),
            faults: 0.0,
            freeze_next: false,
            lagging: 0,
            counts: Counts::default(),
        };
        Arc::new(Self { state: Mutex::new(state), frozen: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the probability that an append fails.
    pub(crate) fn set_faults(&self, probability: f64) {
        self.state().faults = probability;
    }

    /// Freezes the next append: it arrives only at [`Self::thaw`], and its caller gets no answer before that.
    pub(crate) fn freeze_next(&self) {
        self.state().freeze_next = true;
    }

    /// Waits until an append is frozen.
    pub(crate) async fn frozen(&self) {
        self.frozen.notified().await;
    }

    /// Lets all late and frozen appends arrive.
    pub(crate) fn thaw(&self) {
        let mut state = self.state();
        state.freeze_next = false;
        for Late { stream, offset, rows, answer } in std::mem::take(&mut state.late) {
            let result = state.append(&stream, offset, rows);
            if let Some(answer) = answer {
                let _ = answer.send(result);
            }
        }
    }

    /// Forgets all streams, as BigQuery does after three idle days.
    pub(crate) fn forget_streams(&self) {
        let mut state = self.state();
        state.counts.lost_streams += state.streams.len() as u64;
        state.streams.clear();
    }

    /// Refuses this many of the next appends, as if BigQuery still used an old schema.
    pub(crate) fn lag(&self, appends: u32) {
        self.state().lagging = appends;
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.state().rows.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }
}

impl State {
    fn append(&mut self, stream: &str, offset: i64, rows: Vec<Row>) -> Result<(), TablesError> {
        self.counts.appends += 1;
        let stream = self.streams.get_mut(stream).ok_or(TablesError::UnknownStream)?;
        if stream.is_finalized {
            return Err(TablesError::Finalized);
        }
        if offset < stream.rows {
            return Err(TablesError::OffsetExists);
        }
        if offset > stream.rows {
            return Err(TablesError::OffsetOutOfRange);
        }
        if self.lagging > 0 {
            self.lagging -= 1;
            return Err(TablesError::Refused("the service does not know a column yet".to_owned()));
        }
        let refused: Vec<RefusedRow> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.number % REFUSED == 0)
            .map(|(index, _)| RefusedRow { index, reason: "an unlucky number".to_owned() })
            .collect();
        if !refused.is_empty() {
            self.counts.refused += 1;
            return Err(TablesError::Rows(refused));
        }
        stream.rows += rows.len() as i64;
        self.rows.extend(rows);
        Ok(())
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }
}

impl Tables for MemoryTables {
    fn create_stream<'a>(&'a self, table: &'a BigQueryTable) -> BoxFuture<'a, Result<String, TablesError>> {
        async move {
            tokio::task::yield_now().await;
            let name = {
                let mut state = self.state();
                let faults = state.faults;
                if state.chance(faults / 2.0) {
                    return Err(TablesError::Failed("no stream".to_owned()));
                }
                state.created += 1;
                let name = format!("{table}/streams/{}", state.created);
                state.streams.insert(name.clone(), Stream::default());
                name
            };
            tokio::task::yield_now().await;
            Ok(name)
        }
        .boxed()
    }

    fn is_stream_of(&self, stream: &str, table: &BigQueryTable) -> bool {
        stream.starts_with(&format!("{table}/streams/"))
    }

    fn append<'a>(&'a self, append: Append<'a>) -> BoxFuture<'a, Result<(), TablesError>> {
        async move {
            tokio::task::yield_now().await;
            let Append { stream, offset, columns, rows } = append;
            let rows: Vec<Row> = rows.into_iter().map(|row| decode(columns, row)).collect();
            let failed = || Err(TablesError::Failed("no answer".to_owned()));
            let answer = {
                let mut state = self.state();
                let faults = state.faults;
                let late = |answer| Late { stream: stream.to_owned(), offset, rows: rows.clone(), answer };
                if std::mem::take(&mut state.freeze_next) {
                    let (sender, receiver) = oneshot::channel();
                    state.late.push(late(Some(sender)));
                    self.frozen.notify_one();
                    receiver
                } else if state.chance(faults) {
                    match state.rng.random_range(0..3) {
                        0 => {}
                        1 => {
                            let _ = state.append(stream, offset, rows);
                        }
                        _ => {
                            state.counts.late += 1;
                            state.late.push(late(None));
                        }
                    }
                    return failed();
                } else {
                    let (sender, receiver) = oneshot::channel();
                    let _ = sender.send(state.append(stream, offset, rows));
                    receiver
                }
            };
            tokio::task::yield_now().await;
            answer.await.unwrap_or_else(|_| failed())
        }
        .boxed()
    }

    fn finalize<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<i64, TablesError>> {
        async move {
            tokio::task::yield_now().await;
            let result = {
                let mut state = self.state();
                let faults = state.faults;
                let (fails, is_done) = (state.chance(faults / 2.0), state.chance(0.5));
                if fails && !is_done {
                    return Err(TablesError::Failed("no answer".to_owned()));
                }
                state.counts.finalized += 1;
                let stream = state.streams.get_mut(stream).ok_or(TablesError::UnknownStream)?;
                stream.is_finalized = true;
                if fails { Err(TablesError::Failed("no answer".to_owned())) } else { Ok(stream.rows) }
            };
            tokio::task::yield_now().await;
            result
        }
        .boxed()
    }

    fn written_offsets<'a>(&'a self, query: WrittenQuery<'a>) -> BoxFuture<'a, Result<Vec<i64>, TablesError>> {
        async move {
            tokio::task::yield_now().await;
            let mut state = self.state();
            state.counts.compared += 1;
            let is_asked = |row: &&Row| row.partition == Some(query.partition.into()) && row.offset >= Some(query.from);
            Ok(state.rows.iter().filter(is_asked).filter_map(|row| row.offset).collect())
        }
        .boxed()
    }
}

/// Decodes a row. All of its columns are integers.
fn decode(columns: &[shared::contract::BigQueryColumn], mut row: &[u8]) -> Row {
    let mut decoded = Row { number: 0, partition: None, offset: None };
    while let Some(field) = varint(&mut row) {
        let value = varint(&mut row).expect("a value").cast_signed();
        let column = &columns[usize::try_from(field >> 3).expect("a small number") - 1].column;
        match &column.from {
            Source::Meta(Meta::Partition) => decoded.partition = Some(value),
            Source::Meta(Meta::Offset) => decoded.offset = Some(value),
            _ => decoded.number = value,
        }
    }
    decoded
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let (varint, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(varint.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
}

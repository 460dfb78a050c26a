//! Reports each stream's activity, minute by minute, and its current lag.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use shared::contract::Contract;
use shared::http::answer::List;
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::kafka::reader::Ends;
use shared::ledger::activity::Counts;
use shared::ledger::lag::{self, Lag};
use shared::ledger::minutes::{self, Minute};
use shared::ledger::progress::{self, Progress};
use shared::ledger::{POSTGRESQL, waiting};

use crate::Console;
use crate::error::Error;

/// The default and the maximum number of minutes.
const MINUTES: i32 = 60;
const MOST_MINUTES: i32 = 1_440;

/// A stream's activity.
#[derive(Debug, Serialize)]
pub(crate) struct StreamActivity {
    stream: String,
    topic: String,
    destination: &'static str,
    /// Records in Kafka that have not landed. `None` if Kafka did not answer.
    lag_events: Option<i64>,
    /// The age of the oldest record that has not landed. `None` if Kafka did not answer, or if none of the oldest
    /// records could be read in time.
    lag_seconds: Option<f64>,
    /// When the oldest waiting event began to wait for its parent.
    oldest_waiting_at: Option<Timestamp>,
    open_dead_letters: u64,
    /// The minutes in which something happened, oldest first.
    minutes: Vec<StreamMinute>,
}

/// The activity of a stream in one minute.
#[derive(Debug, Serialize)]
struct StreamMinute {
    minute: Timestamp,
    accepted: i64,
    written: i64,
    duplicate: i64,
    superseded: i64,
    waiting: i64,
    released: i64,
    rejected: i64,
    tombstones: i64,
    replays: i64,
    lag_ms: Option<i64>,
}

/// Reads the activity of all streams.
pub(crate) async fn list(console: &Console, query: &Fields) -> Result<List<StreamActivity>, Error> {
    let minutes = minutes(query)?;
    let ingest = &console.ingest;
    // The watermarks and the end offsets are read before the counts of the minutes. A record that lands between
    // these reads is counted in its minute, and perhaps also in the lag, so the record is never missing.
    let progress = in_time(progress::read(&ingest.pool)).await?;
    let topics = ingest.registry.contracts().map(|contract| contract.topic.clone()).collect();
    let ends = console.ends.ends(topics, progress.next_offsets()).await;
    let ends = ends.inspect_err(|error| tracing::warn!(%error, "cannot read the ends of the logs from Kafka")).ok();
    let (mut by_topic, waiting) = in_time(read(console, minutes, ends.as_ref())).await?;
    let now_ms = ingest.clock.now_ms();
    let stream = |contract: &Arc<Contract>| {
        let lag = ends.as_ref().map(|ends| lag::of_topic(&contract.topic, &progress, ends, now_ms));
        let minutes = by_topic.remove(&contract.topic).unwrap_or_default();
        let since_ms = waiting.get(&contract.stream).copied();
        StreamActivity::new(contract, &progress, lag, since_ms, minutes)
    };
    Ok(List { items: ingest.registry.contracts().map(stream).collect(), next: None })
}

fn minutes(query: &Fields) -> Result<i32, Error> {
    let Some(text) = query.get("minutes")? else { return Ok(MINUTES) };
    let minutes = text.parse().ok().filter(|minutes| (1..=MOST_MINUTES).contains(minutes));
    minutes.ok_or_else(|| Error::malformed(format!("`minutes` must be a number from 1 to {MOST_MINUTES}.")))
}

/// The active minutes of each topic, and the time at which the oldest waiting event of each stream began to wait.
type Read = (BTreeMap<String, Vec<Minute>>, HashMap<String, i64>);

async fn read(console: &Console, minutes: i32, ends: Option<&Ends>) -> Result<Read, sqlx::Error> {
    let mut connection = console.ingest.pool.acquire().await?;
    let ends = ends.into_iter().flatten();
    let ends = ends.map(|((topic, partition), position)| (topic.as_str(), *partition, position.end));
    let by_topic = minutes::read(&mut connection, minutes, ends).await?;
    Ok((by_topic, waiting::oldest(&mut *connection).await?))
}

impl StreamActivity {
    fn new(
        contract: &Contract,
        progress: &Progress,
        lag: Option<Lag>,
        waiting_since_ms: Option<i64>,
        minutes: Vec<Minute>,
    ) -> Self {
        Self {
            stream: contract.stream.clone(),
            topic: contract.topic.clone(),
            destination: POSTGRESQL,
            lag_events: lag.map(|lag| lag.events),
            lag_seconds: lag.and_then(|lag| lag.times).map(|times| times.oldest.as_secs_f64()),
            oldest_waiting_at: waiting_since_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            open_dead_letters: progress.open_dead_letters.get(&contract.topic).copied().unwrap_or_default(),
            minutes: minutes.into_iter().map(StreamMinute::from).collect(),
        }
    }
}

impl From<Minute> for StreamMinute {
    fn from(minute: Minute) -> Self {
        let Minute { began_ms, accepted, counts, max_lag_ms } = minute;
        let Counts { written, duplicates, superseded, waiting, released, rejected, tombstones, replays } = counts;
        Self {
            minute: Timestamp::from_millisecond(began_ms).unwrap_or_default(),
            accepted,
            written,
            duplicate: duplicates,
            superseded,
            waiting,
            released,
            rejected,
            tombstones,
            replays,
            lag_ms: max_lag_ms,
        }
    }
}

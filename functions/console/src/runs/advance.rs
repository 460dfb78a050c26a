//! Advances runs in steps. Each step is one transaction, and any process may carry out the next step. If a process is
//! killed during a step, another process repeats that step and sends the letters again under the same ids, so each
//! event lands once.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use ingest::{Ingest, send_records};
use shared::contract::Contract;
use shared::http::database::in_time;
use shared::kafka::{Outgoing, RecordHeader};
use shared::ledger::dead_letters::{self, DeadLetter};
use shared::ledger::replay_run_letters;
use shared::ledger::replay_runs::{self, Run, SkipReason};
use shared::record::place::Place;

use crate::Console;
use crate::error::Error;
use crate::replay::{Order, Sought, first_place, order, replay_headers, replayable};

/// The maximum number of letters in one step, and the maximum size of their payloads in bytes.
const LETTERS_AT_ONCE: i64 = 500;
const BYTES_AT_ONCE: i64 = 8 * 1_024 * 1_024;

/// The time limit for the search for later events in one step. After 30 s, PostgreSQL ends an idle transaction. The
/// search and the send must be over well before that.
const LONGEST_SEARCH: Duration = Duration::from_secs(5);

/// A run that is not forced skips a letter whose event was already replayed this many times. Replays of the event's
/// earlier dead letters count, too. Without this limit, runs could replay the event in a loop.
const MOST_REPLAYS: i32 = 3;

/// When a request looks up a run, it first advances the run for this long. The last step may take longer.
const FOR_REQUEST: Duration = Duration::from_secs(3);

/// How long the background task sleeps if nothing wakes it. It then looks for runs that other processes have created.
/// After a failure, it also sleeps this long.
const PAUSE: Duration = Duration::from_secs(5);

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Letters were replayed or skipped.
    Made,
    /// The run has ended, or another transaction has locked the run or its next letters.
    Idle,
}

/// The letters that a step has settled.
#[derive(Debug, Default)]
struct Settled {
    replayed: Vec<(i64, Place)>,
    skipped: Vec<(i64, SkipReason)>,
    /// Whether the broker failed to acknowledge some letters. These letters stay in the run.
    is_incomplete: bool,
}

/// Advances all runs until there is nothing to do, or until the time `until`.
///
/// # Errors
/// The database failed, or the broker did not acknowledge in time. The next process that advances the runs tries again.
pub(crate) async fn advance_all(console: &Console, until: Instant) -> Result<(), Error> {
    for id in in_time(replay_runs::running(&console.ingest.pool)).await? {
        advance(console, id, until).await?;
    }
    Ok(())
}

/// Advances a run until it ends, or until the time `until`.
///
/// # Errors
/// The same errors as those of [`advance_all`].
async fn advance(console: &Console, id: i64, until: Instant) -> Result<(), Error> {
    while Instant::now() < until && Box::pin(step(&console.ingest, id)).await? == Step::Made {}
    Ok(())
}

/// Advances a run before the run is returned to a caller. A failure is only logged: the caller sees that the run makes
/// no progress.
pub(super) async fn advance_for_request(console: &Console, id: i64) {
    if let Err(error) = advance(console, id, Instant::now() + FOR_REQUEST).await {
        tracing::warn!(run = id, %error, "cannot advance the run");
    }
}

/// Advances all runs, including runs that are created later, for as long as the process lives.
pub async fn advance_forever(console: &Console) {
    loop {
        let far = Instant::now() + Duration::from_secs(3_600);
        // The future is boxed, because the compiler limits how deeply futures may nest.
        if let Err(error) = Box::pin(advance_all(console, far)).await {
            tracing::warn!(%error, "cannot advance the runs; trying again");
            tokio::time::sleep(PAUSE).await;
        } else {
            // Looks for runs even if nothing woke this task, because another process may have created one.
            let _woken = tokio::time::timeout(PAUSE, console.woken()).await;
        }
    }
}

/// Replays the next letters of a run.
async fn step(ingest: &Ingest, id: i64) -> Result<Step, Error> {
    let mut transaction = in_time(ingest.pool.begin()).await?;
    let Some(run) = in_time(replay_runs::claim(&mut transaction, id)).await? else { return Ok(Step::Idle) };
    let next = replay_run_letters::next(&mut transaction, id, LETTERS_AT_ONCE, BYTES_AT_ONCE);
    let ids = in_time(next).await?;
    let letters = in_time(dead_letters::lock_free(&mut transaction, &ids)).await?;
    let existing: HashSet<i64> = in_time(dead_letters::existing(&mut *transaction, &ids)).await?.into_iter().collect();

    let missing = ids.iter().filter(|id| !existing.contains(id)).map(|&id| (id, SkipReason::NotOpen)).collect();
    let mut settled = Settled { skipped: missing, ..Settled::default() };
    let mut by_topic: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
    letters.iter().for_each(|letter| by_topic.entry(&letter.topic).or_default().push(letter));
    for letters in by_topic.into_values() {
        replay_letters(ingest, &run, &letters, &mut settled).await?;
    }

    let Settled { replayed, skipped, is_incomplete } = settled;
    let done: Vec<i64> = replayed.iter().map(|(id, _)| *id).chain(skipped.iter().map(|(id, _)| *id)).collect();
    let reasons = skipped.into_iter().map(|(_, reason)| reason);
    in_time(async {
        dead_letters::mark_replayed(&mut transaction, &replayed).await?;
        replay_run_letters::remove(&mut transaction, id, &done).await?;
        replay_runs::note_progress(&mut transaction, run, replayed.len(), reasons).await?;
        transaction.commit().await
    })
    .await?;
    match is_incomplete {
        true => Err(Error::unacknowledged()),
        false => Ok(if done.is_empty() { Step::Idle } else { Step::Made }),
    }
}

/// Sends a topic's letters, except letters that may not be replayed.
async fn replay_letters(
    ingest: &Ingest,
    run: &Run,
    letters: &[&DeadLetter],
    settled: &mut Settled,
) -> Result<(), Error> {
    let (mut contract, mut open) = (None, Vec::with_capacity(letters.len()));
    for &letter in letters {
        match replayable(ingest, letter) {
            Ok(_) if letter.replays >= MOST_REPLAYS && !run.is_forced => {
                settled.skipped.push((letter.id, SkipReason::ReplayedOften));
            }
            Ok(of_letter) => {
                contract = Some(of_letter);
                open.push(letter);
            }
            Err(reason) => settled.skipped.push((letter.id, reason.skip_reason())),
        }
    }
    let Some(contract) = contract else { return Ok(()) };
    // Older events are sent first, so that the newest of several events with the same key wins.
    open.sort_by_cached_key(|letter| {
        let Place { partition, offset, timestamp_ms, .. } = first_place(letter);
        (timestamp_ms, partition, offset)
    });
    let orders = if run.is_forced {
        open.iter().map(|_| Order::Irrelevant).collect()
    } else {
        let sought: Vec<_> = open.iter().map(|letter| Sought { letter, payload: &letter.payload }).collect();
        order(ingest, contract, &sought, Instant::now() + LONGEST_SEARCH).await?
    };
    let mut records = Vec::with_capacity(open.len());
    for (letter, order) in open.into_iter().zip(orders) {
        match order.allowed() {
            Ok(searched) => records.push((letter, replay_headers(letter, searched.as_ref(), false))),
            Err(reason) => settled.skipped.push((letter.id, reason.skip_reason())),
        }
    }
    send(ingest, contract, &records, settled).await;
    Ok(())
}

async fn send(
    ingest: &Ingest,
    contract: &Contract,
    letters: &[(&DeadLetter, Vec<RecordHeader>)],
    settled: &mut Settled,
) {
    let topic = &contract.topic;
    let records = letters.iter().map(|(letter, headers)| {
        let (key, value) = (letter.key.as_deref(), Some(&letter.payload[..]));
        Outgoing { topic, key, value, headers }
    });
    let records: Vec<Outgoing<'_>> = records.collect();
    for ((letter, _), sent) in letters.iter().zip(send_records(ingest, contract, &records).await) {
        match sent {
            Ok(receipt) => settled.replayed.push((letter.id, receipt.place())),
            // The letter is skipped, because no later attempt to send it would succeed.
            Err(ingest::Error::RecordTooLarge { .. }) => settled.skipped.push((letter.id, SkipReason::TooLarge)),
            Err(_unacknowledged) => settled.is_incomplete = true,
        }
    }
}

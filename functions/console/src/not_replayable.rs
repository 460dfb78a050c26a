//! Why a letter cannot be replayed.

use std::time::Duration;

use shared::ledger::filter::LetterStatus;
use shared::ledger::replay_runs::SkipReason;
use shared::record::place::Place;

/// The time limit for the search for later events when a single letter is replayed.
pub(crate) const LONGEST_SEARCH: Duration = Duration::from_secs(10);

/// Tells callers of the JSON route how to replay a letter despite later events.
pub(crate) const FORCE: &str = "`?force=true` replays the letter anyway.";

/// Why a letter cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReplayable {
    /// It was replayed before.
    #[error("The letter was already replayed.")]
    Replayed,
    /// It is discarded, or it is expired: its key, headers and payload were erased because its retention is over.
    #[error("The letter is {}. Only open letters can be replayed.", .0.name())]
    Closed(LetterStatus),
    /// Its event could not be written to BigQuery.
    #[error("The letter's event could not be written to BigQuery. Such letters cannot be replayed yet.")]
    OfBigquery,
    /// No contract names its topic.
    #[error("No stream uses the letter's topic any more.")]
    NoStream,
    /// A later event with the letter's key was written or may still be written.
    #[error(
        "A later event with the same key was sent and not rejected: {0}. The letter's older event would replace it. \
         {FORCE}"
    )]
    LaterEvent(Place),
    /// A replay of the letter was written or may still be written.
    #[error("The letter was already replayed, as {0}.")]
    SentAgain(Place),
    /// Kafka no longer has the letter's event, so the events after it cannot be searched.
    #[error("Kafka no longer has this event, so later events with the same key cannot be ruled out. {FORCE}")]
    Gone,
    /// The search for later events ran out of time.
    #[error(
        "The events that were sent to the topic after this one cannot be read within {} s, so a later event with the \
         same key cannot be ruled out. {FORCE}",
        LONGEST_SEARCH.as_secs()
    )]
    OutOfTime,
}

impl NotReplayable {
    /// Returns why a run skips the letter.
    pub(crate) fn skip_reason(&self) -> SkipReason {
        match self {
            Self::Replayed | Self::Closed(_) | Self::SentAgain(_) => SkipReason::NotOpen,
            Self::OfBigquery => SkipReason::OfBigquery,
            Self::NoStream => SkipReason::NoStream,
            Self::LaterEvent(_) => SkipReason::LaterEvent,
            Self::Gone | Self::OutOfTime => SkipReason::LaterEventPossible,
        }
    }
}

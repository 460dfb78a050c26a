//! Shows progress while events are sent: as a bar on a terminal, otherwise as an occasional line.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::complain;

use super::tally::SendTally;

const LINE_EVERY: Duration = Duration::from_secs(5);
/// The approximate period over which the displayed rate is averaged.
const RATE_OVER: Duration = Duration::from_secs(2);

/// Shows progress on standard error.
#[derive(Debug)]
pub(super) struct ProgressDisplay {
    bar: Option<ProgressBar>,
    since: Instant,
    settled_then: u64,
    rate: f64,
    next_line: Instant,
}

impl ProgressDisplay {
    /// Creates the display. `total` is the number of events, if it is known.
    pub(super) fn new(total: Option<u64>, now: Instant) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = match total {
                Some(_) => "{bar:20} {percent:>3} % {msg}",
                None => "{spinner} {msg}",
            };
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            // Both templates are constants. If one were invalid, the bar would have the default style.
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, since: now, settled_then: 0, rate: 0.0, next_line: now + LINE_EVERY }
    }

    /// Updates the display. `sent` is the number of events that were sent so far, and `waiting` the number of events
    /// that wait for their parents.
    pub(super) fn show(&mut self, tally: &SendTally, sent: u64, waiting: u64, now: Instant) {
        let since = now.saturating_duration_since(self.since);
        if since >= RATE_OVER {
            #[expect(clippy::cast_precision_loss, reason = "for display only")]
            let settled = (tally.settled() - self.settled_then) as f64;
            self.rate = settled / since.as_secs_f64();
            (self.since, self.settled_then) = (now, tally.settled());
        }
        let text = || {
            let mut text = format!("sent {sent}, written {}", tally.written + tally.duplicate);
            let others =
                [("waiting", waiting), ("rejected", tally.rejected.count()), ("refused", tally.refused.count())];
            for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
                text += &format!(", {name} {count}");
            }
            text + &format!(", {:.0}/s", self.rate)
        };
        match &self.bar {
            Some(bar) => {
                bar.set_message(text());
                bar.set_position(tally.settled() + tally.refused.count() + waiting);
            }
            None if now >= self.next_line => {
                complain(text());
                self.next_line = now + LINE_EVERY;
            }
            None => {}
        }
    }

    /// Prints a message without garbling the bar.
    pub(super) fn say(&self, line: impl std::fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(line)),
            None => complain(line),
        }
    }

    /// Clears the bar from the terminal.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

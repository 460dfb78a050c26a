//! What is shown while events are sent: a bar on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::complain;

use super::tally::Tally;

const LINE_EVERY: Duration = Duration::from_secs(5);
/// The rate shown is that of the time since about then.
const RATE_OVER: Duration = Duration::from_secs(2);

/// Shows how far things are, on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    since: Instant,
    settled_then: u64,
    rate: f64,
    next_line: Instant,
}

impl Progress {
    /// Of so many events, if that is known.
    pub(super) fn new(total: Option<u64>, now: Instant) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = match total {
                Some(_) => "{bar:20} {percent:>3} % {msg}",
                None => "{spinner} {msg}",
            };
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            // The templates are these two; an unusable one leaves the default.
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, since: now, settled_then: 0, rate: 0.0, next_line: now + LINE_EVERY }
    }

    /// Shows the state of things after `sent` events, if it is time.
    pub(super) fn show(&mut self, tally: &Tally, sent: u64, waiting: u64, now: Instant) {
        let since = now.saturating_duration_since(self.since);
        if since >= RATE_OVER {
            #[expect(clippy::cast_precision_loss, reason = "for the eye")]
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

    /// Says something without tearing the bar.
    pub(super) fn tell(&self, line: impl std::fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(line)),
            None => complain(line),
        }
    }

    /// Leaves the terminal to others.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

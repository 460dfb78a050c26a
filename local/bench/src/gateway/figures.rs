//! Medians and spreads over the rounds, and how they are shown.

use std::time::Duration;

use operator::terminal::say;
use serde_json::{Value, json};

use super::load::Load;
use super::serve::Kind;

/// A ratio that varies more than this between rounds, relative to its median, is marked as unreliable.
const MOST_SPREAD: f64 = 0.25;

/// One server in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) load: Load,
    /// What the server's process used meanwhile.
    pub(super) cpu_seconds: f64,
    /// How long after the load the last event landed.
    pub(super) lag: Duration,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "request counts are small")]
    fn cpu_seconds_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.load.requests as f64
    }
}

/// All samples at one number of connections.
#[derive(Debug)]
pub(super) struct Figures {
    connections: u32,
    samples: Vec<(Kind, Sample)>,
}

/// The middle and the variation of one figure.
#[derive(Debug, Clone, Copy)]
struct Spread {
    median: f64,
    /// The largest less the smallest, relative to the median.
    relative: f64,
}

impl Spread {
    fn from_values(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or_default();
        let width = values.last().zip(values.first()).map_or(0.0, |(last, first)| last - first);
        Self { median, relative: width / median }
    }

    fn is_reliable(self) -> bool {
        self.relative <= MOST_SPREAD
    }
}

impl Figures {
    pub(super) fn new(connections: u32) -> Self {
        Self { connections, samples: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: Kind, sample: Sample) {
        self.samples.push((kind, sample));
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |(each, _)| *each == kind).map(|(_, sample)| sample)
    }

    fn spread(&self, kind: Kind, figure: impl Fn(&Sample) -> f64) -> Spread {
        Spread::from_values(self.of_kind(kind).map(figure).collect())
    }

    /// Returns a figure's ratio to the bare gateway's of the same round.
    fn ratio(&self, kind: Kind, figure: impl Fn(&Sample) -> f64) -> Spread {
        let pairs = self.of_kind(kind).zip(self.of_kind(Kind::Bare));
        Spread::from_values(pairs.map(|(sample, bare)| figure(sample) / figure(bare)).collect())
    }

    /// Prints the figures as a table.
    pub(super) fn print(&self) {
        say(format_args!("{} connections; medians of {} rounds", self.connections, self.of_kind(Kind::Bare).count()));
        say("");
        say(
            "| server | requests/s | to bare | spread | p50 ms | to bare | p99 ms | CPU s per million | to bare | lag s |",
        );
        say("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for kind in [Kind::Bare, Kind::Paused, Kind::Landing] {
            let rate = self.ratio(kind, |sample| sample.load.rate());
            let mark = if rate.is_reliable() { "" } else { " (unreliable)" };
            say(format_args!(
                "| {} | {:.0} | {:.2}{mark} | {:.0} % | {:.2} | {:.2} | {:.2} | {:.0} | {:.2} | {:.1} |",
                kind.argument(),
                self.spread(kind, |sample| sample.load.rate()).median,
                rate.median,
                rate.relative * 100.0,
                self.spread(kind, p50_ms).median,
                self.ratio(kind, p50_ms).median,
                self.spread(kind, p99_ms).median,
                self.spread(kind, Sample::cpu_seconds_per_million).median,
                self.ratio(kind, Sample::cpu_seconds_per_million).median,
                self.spread(kind, lag_seconds).median,
            ));
        }
        say("");
    }

    /// Returns the figures as JSON.
    pub(super) fn to_json(&self) -> Value {
        let servers = [Kind::Bare, Kind::Paused, Kind::Landing].map(|kind| {
            let rate = self.ratio(kind, |sample| sample.load.rate());
            json!({
                "server": kind.argument(),
                "requests_per_second": self.spread(kind, |sample| sample.load.rate()).median,
                "rate_to_bare": rate.median,
                "rate_to_bare_spread": rate.relative,
                "is_reliable": rate.is_reliable(),
                "p50_ms": self.spread(kind, p50_ms).median,
                "p50_to_bare": self.ratio(kind, p50_ms).median,
                "p99_ms": self.spread(kind, p99_ms).median,
                "cpu_seconds_per_million": self.spread(kind, Sample::cpu_seconds_per_million).median,
                "cpu_to_bare": self.ratio(kind, Sample::cpu_seconds_per_million).median,
                "lag_seconds": self.spread(kind, lag_seconds).median,
            })
        });
        json!({"connections": self.connections, "servers": servers})
    }
}

#[expect(clippy::cast_precision_loss, reason = "latencies are small")]
fn p50_ms(sample: &Sample) -> f64 {
    sample.load.p50_us as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "latencies are small")]
fn p99_ms(sample: &Sample) -> f64 {
    sample.load.p99_us as f64 / 1e3
}

fn lag_seconds(sample: &Sample) -> f64 {
    sample.lag.as_secs_f64()
}

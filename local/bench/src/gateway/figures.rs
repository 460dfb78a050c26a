//! The samples of all rounds, and the table of their medians.

use std::time::Duration;

use serde_json::Value;

use super::load::Load;
use super::serve::Kind;
use crate::spread::Spread;
use crate::table::{Cell, Table};

const COLUMNS: [&str; 9] = [
    "server",
    "requests per second",
    "relative to bare",
    "p50 ms",
    "p50 relative to bare",
    "p99 ms",
    "CPU s per million",
    "CPU relative to bare",
    "lag s",
];

/// The measurements of one server in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) load: Load,
    /// The CPU time that the server's process used during the load.
    pub(super) processor_time: Duration,
    /// The time from the end of the load until the last event landed.
    pub(super) lag: Duration,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "request counts are small")]
    fn cpu_seconds_per_million(&self) -> f64 {
        self.processor_time.as_secs_f64() * 1e6 / self.load.requests as f64
    }
}

/// All samples at one number of connections.
#[derive(Debug)]
pub(super) struct Figures {
    connections: u32,
    samples: Vec<(Kind, Sample)>,
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

    fn median(&self, kind: Kind, figure: impl Fn(&Sample) -> f64) -> f64 {
        Spread::from_values(self.of_kind(kind).map(figure).collect()).median
    }

    /// Compares a figure with the bare gateway's figure in each round. Returns the ratios as one cell.
    fn ratio(&self, kind: Kind, figure: impl Fn(&Sample) -> f64) -> Cell {
        let pairs = self.of_kind(kind).zip(self.of_kind(Kind::Bare));
        Cell::Ratio(Spread::from_values(pairs.map(|(sample, bare)| figure(sample) / figure(bare)).collect()))
    }

    /// Prints the table and returns it as JSON.
    pub(super) fn print(&self) -> Value {
        let rounds = self.of_kind(Kind::Bare).count();
        let title =
            format!("POST /events/user-event over {} connections, medians of {rounds} rounds", self.connections);
        let mut table = Table::new(title, &COLUMNS);
        for kind in [Kind::Bare, Kind::Paused, Kind::Landing] {
            table.row(&[
                Cell::text(kind.argument()),
                Cell::Number(self.median(kind, |sample| sample.load.rate()), 0),
                self.ratio(kind, |sample| sample.load.rate()),
                Cell::Number(self.median(kind, p50_ms), 2),
                self.ratio(kind, p50_ms),
                Cell::Number(self.median(kind, p99_ms), 2),
                Cell::Number(self.median(kind, Sample::cpu_seconds_per_million), 0),
                self.ratio(kind, Sample::cpu_seconds_per_million),
                Cell::Number(self.median(kind, |sample| sample.lag.as_secs_f64()), 1),
            ]);
        }
        table.end()
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

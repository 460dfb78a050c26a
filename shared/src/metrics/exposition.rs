//! Prometheus's text format, line by line.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::{Display, Write as _};

/// A text in which each metric is described before its samples.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// A metric's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts of observations, by upper bound.
    Histogram,
}

impl Exposition {
    /// Describes a metric. Its samples follow.
    pub fn describe(&mut self, name: &str, kind: Kind, meaning: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {meaning}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// Adds a sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{label}=\"{escaped}\"")
            })
            .collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    /// Adds a histogram's samples: the number of observations within each bound, the number of all observations, and
    /// their sum.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        within: impl Iterator<Item = (String, u64)>,
        count: u64,
        sum: impl Display,
    ) {
        for (bound, within) in within.chain([("+Inf".to_owned(), count)]) {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labels, within);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// Returns the text so far.
    pub fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _written = writeln!(self.0, "{line}");
    }
}

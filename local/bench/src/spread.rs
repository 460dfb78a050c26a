//! The median and the spread of a figure over several rounds.

/// The largest reliable spread. A ratio with a larger spread is marked as unreliable.
const MOST_SPREAD: f64 = 0.25;

/// The median and the spread of one figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// The difference between the largest and the smallest value, divided by the median.
    pub(crate) relative: f64,
}

impl Spread {
    /// Summarises the rounds' values.
    pub(crate) fn from_values(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or_default();
        let width = values.last().zip(values.first()).map_or(0.0, |(last, first)| last - first);
        Self { median, relative: if median == 0.0 { 0.0 } else { width / median } }
    }

    pub(crate) fn is_reliable(self) -> bool {
        self.relative <= MOST_SPREAD
    }
}

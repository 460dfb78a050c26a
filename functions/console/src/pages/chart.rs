//! Draws charts of the last hour as SVGs that fill their box. Each chart also contains its figures as text, for people
//! who cannot see the chart.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::wording::{duration, number};

/// The number of minutes in a chart.
pub(super) const MINUTES: usize = 60;
/// The width of a minute and the height of a chart, in units of its `viewBox`.
const MINUTE: usize = 10;
const HEIGHT: i64 = 100;

/// The activity of one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) written: i64,
    pub(super) waiting: i64,
    pub(super) rejected: i64,
    /// The longest time from a record's timestamp to its landing. `None` if no record landed.
    pub(super) lag_ms: Option<i64>,
}

impl Bin {
    fn total(self) -> i64 {
        self.written + self.waiting + self.rejected
    }

    /// Adds another bin of the same minute.
    pub(super) fn add(&mut self, other: Self) {
        self.written += other.written;
        self.waiting += other.waiting;
        self.rejected += other.rejected;
        self.lag_ms = self.lag_ms.max(other.lag_ms);
    }
}

/// The bins of the last hour, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Hour {
    pub(super) bins: Vec<Bin>,
    first: i64,
}

impl Hour {
    /// Creates an hour whose last minute contains this time.
    pub(super) fn until(now_ms: i64) -> Self {
        Self { bins: vec![Bin::default(); MINUTES], first: now_ms.div_euclid(60_000) - 59 }
    }

    /// Adds what happened in a minute, if the minute belongs to the hour.
    pub(super) fn add(&mut self, minute: Timestamp, bin: Bin) {
        let index = minute.as_millisecond().div_euclid(60_000) - self.first;
        if let Some(own) = usize::try_from(index).ok().and_then(|index| self.bins.get_mut(index)) {
            own.add(bin);
        }
    }

    /// Adds the bins of another hour with the same end.
    pub(super) fn merge(&mut self, other: &Self) {
        self.bins.iter_mut().zip(&other.bins).for_each(|(own, other)| own.add(*other));
    }

    /// Sums up the hour.
    pub(super) fn sum(&self) -> Bin {
        self.bins.iter().fold(Bin::default(), |mut sum, bin| {
            sum.add(*bin);
            sum
        })
    }

    /// Returns the time at which a bin begins, as `HH:MM` in UTC.
    fn clock(&self, index: usize) -> String {
        let minute = self.first + i64::try_from(index).unwrap_or_default();
        let time = Timestamp::from_second(minute * 60).unwrap_or_default().to_zoned(TimeZone::UTC);
        time.strftime("%H:%M").to_string()
    }

    /// Draws the numbers of events that were written, began to wait or were rejected in each minute.
    pub(super) fn bars(&self) -> Markup {
        let most = self.bins.iter().map(|bin| bin.total()).max().unwrap_or_default();
        let Bin { written, waiting, rejected, .. } = self.sum();
        let label = format!(
            "In the last hour {} written, {} began to wait, {} rejected; at most {} in a minute.",
            number(written),
            number(waiting),
            number(rejected),
            number(most)
        );
        html! {
            svg.chart role="img" aria-label=(label) viewBox=(view_box()) preserveAspectRatio="none" {
                @for (index, bin) in self.bins.iter().enumerate().filter(|(_, bin)| bin.total() > 0) {
                    g {
                        title { (self.clock(index)) " UTC: " (number(bin.written)) " written, " (number(bin.waiting)) " waiting, " (number(bin.rejected)) " rejected" }
                        // This rectangle is as tall as the chart, so that hovering anywhere over the minute shows the
                        // title.
                        rect.reach x=(index * MINUTE) y="0" width=(MINUTE) height=(HEIGHT) {}
                        @for (class, top, height) in stacked(*bin, most) {
                            rect class=(class) x=(index * MINUTE + 1) y=(top) width=(MINUTE - 2) height=(height) {}
                        }
                    }
                }
                line.base x1="0" x2=(MINUTES * MINUTE) y1=(HEIGHT) y2=(HEIGHT) {}
            }
        }
    }

    /// Draws the longest lag of each minute.
    pub(super) fn trend(&self) -> Markup {
        let most = self.bins.iter().filter_map(|bin| bin.lag_ms).max();
        let label = match most {
            Some(most) => format!(
                "The longest time from sending to landing, for each minute of the last hour; at most {}.",
                duration(most)
            ),
            None => "Nothing landed in the last hour.".to_owned(),
        };
        let scale = most.unwrap_or_default().max(1);
        html! {
            svg.chart.trend role="img" aria-label=(label) viewBox=(view_box()) preserveAspectRatio="none" {
                line.base x1="0" x2=(MINUTES * MINUTE) y1=(HEIGHT) y2=(HEIGHT) {}
                @for run in runs(&self.bins) {
                    path.area d=(area(&run, scale)) {}
                    path.line d=(outline(&run, scale)) {}
                }
                @for (index, bin) in self.bins.iter().enumerate() {
                    @if let Some(lag_ms) = bin.lag_ms {
                        rect.reach x=(index * MINUTE) y="0" width=(MINUTE) height=(HEIGHT) {
                            title { (self.clock(index)) " UTC: " (duration(lag_ms)) }
                        }
                    }
                }
            }
        }
    }

    /// Shows the times below a chart.
    pub(super) fn axis(&self) -> Markup {
        html! {
            div.axis aria-hidden="true" {
                span { (self.clock(0)) }
                span { (self.clock(MINUTES / 2)) }
                span { (self.clock(MINUTES - 1)) " UTC" }
            }
        }
    }

    /// Returns the highest number of events in a minute, and the longest lag.
    pub(super) fn peaks(&self) -> (i64, Option<i64>) {
        let most = self.bins.iter().map(|bin| bin.total()).max().unwrap_or_default();
        (most, self.bins.iter().filter_map(|bin| bin.lag_ms).max())
    }
}

fn view_box() -> String {
    format!("0 0 {} {HEIGHT}", MINUTES * MINUTE)
}

/// Returns the rectangles of a bin from the bottom up, each with its top and its height. The rectangle of a count above
/// zero is always high enough to be seen.
fn stacked(bin: Bin, most: i64) -> Vec<(&'static str, i64, i64)> {
    const SMALLEST: i64 = 3;
    let mut bottom = HEIGHT;
    let mut parts = Vec::with_capacity(3);
    for (class, events) in [("written", bin.written), ("waiting", bin.waiting), ("rejected", bin.rejected)] {
        if events > 0 {
            let height = (events.saturating_mul(HEIGHT) / most.max(1)).max(SMALLEST);
            bottom = (bottom - height).max(0);
            parts.push((class, bottom, height));
        }
    }
    parts
}

/// Splits the lags into groups of consecutive minutes in which something landed.
fn runs(bins: &[Bin]) -> Vec<Vec<(usize, i64)>> {
    let lags: Vec<Option<(usize, i64)>> =
        bins.iter().enumerate().map(|(index, bin)| bin.lag_ms.map(|lag| (index, lag))).collect();
    lags.split(Option::is_none)
        .filter(|run| !run.is_empty())
        .map(|run| run.iter().flatten().copied().collect())
        .collect()
}

fn points(run: &[(usize, i64)], scale: i64) -> Vec<(usize, i64)> {
    // Some room is left at the top, so that the line is not cut off. A line needs at least two points, so the first and
    // the last minute also have a point at their outer edge.
    let y = |lag: i64| HEIGHT - 3 - lag.saturating_mul(HEIGHT - 8) / scale;
    let (first, last) = (run.first().copied().unwrap_or_default(), run.last().copied().unwrap_or_default());
    let mut points = vec![(first.0 * MINUTE, y(first.1))];
    points.extend(run.iter().map(|(index, lag)| (index * MINUTE + MINUTE / 2, y(*lag))));
    points.push(((last.0 + 1) * MINUTE, y(last.1)));
    points
}

fn outline(run: &[(usize, i64)], scale: i64) -> String {
    let points: Vec<String> = points(run, scale).into_iter().map(|(x, y)| format!("{x} {y}")).collect();
    format!("M{}", points.join(" L"))
}

fn area(run: &[(usize, i64)], scale: i64) -> String {
    let points = points(run, scale);
    let (left, right) = (points.first().map_or(0, |point| point.0), points.last().map_or(0, |point| point.0));
    format!("{} L{right} {HEIGHT} L{left} {HEIGHT} Z", outline(run, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_557_258_853_563;

    fn minute(back: i64) -> Timestamp {
        Timestamp::from_millisecond((NOW_MS - back * 60_000).div_euclid(60_000) * 60_000).unwrap_or_default()
    }

    #[test]
    fn only_the_minutes_of_the_hour_are_counted() {
        let mut hour = Hour::until(NOW_MS);
        let bin = Bin { written: 3, waiting: 0, rejected: 1, lag_ms: Some(20) };
        for back in [0, 59, 60, -1] {
            hour.add(minute(back), bin);
        }
        assert_eq!((hour.bins[59], hour.bins[0]), (bin, bin));
        assert_eq!(hour.sum(), Bin { written: 6, waiting: 0, rejected: 2, lag_ms: Some(20) });
        assert_eq!((hour.clock(0), hour.clock(59)), ("18:55".to_owned(), "19:54".to_owned()));
    }

    #[test]
    fn a_few_rejected_events_are_visible_among_many_written_ones() {
        let bin = Bin { written: 1_000_000, waiting: 0, rejected: 1, lag_ms: None };
        let drawn = stacked(bin, bin.total());
        assert_eq!(drawn, [("written", 1, 99), ("rejected", 0, 3)]);
        assert_eq!(stacked(Bin::default(), 0), []);
    }

    #[test]
    fn the_trend_is_interrupted_where_nothing_landed() {
        let lag = |lag_ms| Bin { lag_ms, ..Bin::default() };
        let bins = [lag(Some(1)), lag(Some(2)), lag(None), lag(Some(3))];
        assert_eq!(runs(&bins), [vec![(0, 1), (1, 2)], vec![(3, 3)]]);
        assert!(runs(&[lag(None)]).is_empty());
    }
}

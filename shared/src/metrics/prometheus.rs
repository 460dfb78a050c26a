//! Prometheus's text format.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use super::exposition::{Exposition, Kind};
use super::{Counted, Counter, LAG_BOUNDS_MS, LAG_MS, Metrics, requests};

impl Metrics {
    /// Renders all counts so far.
    pub fn prometheus(&self) -> String {
        text(&self.lock())
    }
}

/// Renders every counter of each stream for which anything was counted, including counters that are zero.
fn text(counted: &Counted) -> String {
    let mut text = Exposition::default();
    for &counter in Counter::ALL {
        let name = format!("sluice_{}_total", counter.name());
        text.describe(&name, Kind::Counter, counter.meaning());
        for (stream, count) in &counted.streams {
            text.sample(&name, &labels(stream.as_deref()), count.counted(counter));
        }
    }
    text.describe(FAILED_BATCHES, Kind::Counter, "Batches that did not land, by the invocation's error type.");
    for (error_type, batches) in &counted.failed_batches {
        text.sample(FAILED_BATCHES, &[("error_type", error_type)], batches);
    }
    let name = format!("sluice_{LAG_MS}");
    text.describe(&name, Kind::Histogram, "Milliseconds from a batch's oldest new record to its commit.");
    for (stream, count) in counted.streams.iter().filter(|(_, count)| count.lag.batches > 0) {
        let within = LAG_BOUNDS_MS.iter().map(u64::to_string).zip(count.lag.within);
        text.histogram(&name, &labels(stream.as_deref()), within, count.lag.batches, count.lag.sum_ms);
    }
    requests::write(&mut text, &counted.requests);
    text.into_text()
}

const FAILED_BATCHES: &str = "sluice_failed_batches_total";

fn labels(stream: Option<&str>) -> Vec<(&'static str, &str)> {
    stream.map(|stream| ("stream", stream)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::metrics::{Counter, Metrics};

    #[test]
    fn counters_are_labelled_by_stream_or_error_type_and_durations_are_counted_in_buckets() {
        let metrics = Metrics::default();
        metrics.count(Counter::Accepted, Some("a \"b\"\\"), 2);
        metrics.count(Counter::Invalid, None, 3);
        metrics.note_lag("city", 11);
        metrics.note_lag("city", 4_000_000);
        metrics.count_failed_batch("Sluice.Stop");
        metrics.note_request("ingest", "/events/{stream}", 202, Duration::from_millis(25));
        metrics.note_request("ingest", "/events/{stream}", 200, Duration::from_secs(60));
        let text = metrics.prometheus();
        for line in [
            "# HELP sluice_accepted_total Events that the broker acknowledged.",
            "# TYPE sluice_accepted_total counter",
            r#"sluice_accepted_total{stream="a \"b\"\\"} 2"#,
            "sluice_invalid_total 3",
            r#"sluice_invalid_total{stream="city"} 0"#,
            "# TYPE sluice_lag_ms histogram",
            r#"sluice_lag_ms_bucket{stream="city",le="10"} 0"#,
            r#"sluice_lag_ms_bucket{stream="city",le="30"} 1"#,
            r#"sluice_lag_ms_bucket{stream="city",le="+Inf"} 2"#,
            r#"sluice_lag_ms_sum{stream="city"} 4000011"#,
            r#"sluice_lag_ms_count{stream="city"} 2"#,
            r#"sluice_failed_batches_total{error_type="Sluice.Stop"} 1"#,
            "# TYPE sluice_http_request_duration_seconds histogram",
            r#"sluice_http_request_duration_seconds_bucket{function="ingest",route="/events/{stream}",status="2xx",le="0.01"} 0"#,
            r#"sluice_http_request_duration_seconds_bucket{function="ingest",route="/events/{stream}",status="2xx",le="0.025"} 1"#,
            r#"sluice_http_request_duration_seconds_bucket{function="ingest",route="/events/{stream}",status="2xx",le="+Inf"} 2"#,
            r#"sluice_http_request_duration_seconds_sum{function="ingest",route="/events/{stream}",status="2xx"} 60.025"#,
            r#"sluice_http_request_duration_seconds_count{function="ingest",route="/events/{stream}",status="2xx"} 2"#,
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}

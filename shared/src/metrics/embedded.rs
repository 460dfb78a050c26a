//! CloudWatch's embedded metric format: metrics as lines of the log.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write as _;

use serde_json::{Map, Value, json};

use super::{Count, Counted, Counter, LAG_MS, Metrics};
use crate::process::clock::Clock;

/// The metrics' namespace in CloudWatch.
const NAMESPACE: &str = "Sluice";

/// The name of CloudWatch's metric for batches that did not land.
const FAILED_BATCHES: &str = "failed_batches";

/// Writes to standard output what was counted since the last call. Each stream and each error type has a separate line,
/// because both are dimensions, and a line has only one value for each dimension. If nothing was counted, nothing is
/// written. Request durations are left out, because API Gateway has its own metrics for them.
pub fn embed(metrics: &Metrics) {
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let lines = lines(&metrics.take(), &function, Clock::system().now_ms());
    // If standard output is closed, nobody reads the metrics. The invocation should not fail because of that.
    let _unread = std::io::stdout().lock().write_all(lines.as_bytes());
}

fn lines(counted: &Counted, function: &str, now_ms: i64) -> String {
    let of_stream = |(stream, count): (&Option<String>, &Count)| {
        line(function, stream.as_deref().map(|stream| ("stream", stream)), metrics(count), now_ms)
    };
    let of_failures = |(error_type, batches): (&&str, &u64)| {
        let metrics = vec![(FAILED_BATCHES, "Count", *batches)];
        line(function, Some(("error_type", *error_type)), metrics, now_ms)
    };
    let lines = counted.streams.iter().map(of_stream).chain(counted.failed_batches.iter().map(of_failures));
    lines.map(|line| line.to_string() + "\n").collect()
}

/// Returns a stream's metrics: name, unit and value.
fn metrics(count: &Count) -> Vec<(&'static str, &'static str, u64)> {
    let counters = Counter::ALL.iter().map(|&counter| (counter.name(), "Count", count.counted(counter)));
    let lag = count.lag.longest_ms.map(|lag_ms| (LAG_MS, "Milliseconds", lag_ms));
    counters.filter(|(_, _, n)| *n > 0).chain(lag).collect()
}

fn line(
    function: &str,
    dimension: Option<(&str, &str)>,
    metrics: Vec<(&'static str, &'static str, u64)>,
    now_ms: i64,
) -> Value {
    let mut members = Map::new();
    let mut definitions = Vec::new();
    for (name, unit, value) in metrics {
        definitions.push(json!({"Name": name, "Unit": unit}));
        members.insert(name.to_owned(), value.into());
    }
    let mut dimensions = vec![vec!["function"]];
    members.insert("function".to_owned(), function.into());
    if let Some((name, value)) = dimension {
        dimensions.push(vec!["function", name]);
        members.insert(name.to_owned(), value.into());
    }
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions});
    members.insert("_aws".to_owned(), json!({"Timestamp": now_ms, "CloudWatchMetrics": [directive]}));
    members.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_and_error_type_has_a_line_in_the_specified_format() {
        let metrics = Metrics::default();
        metrics.count(Counter::Written, Some("city"), 2);
        metrics.count(Counter::Written, Some("city"), 1);
        metrics.count(Counter::Rejected, Some("city"), 0);
        metrics.count(Counter::Invalid, None, 4);
        metrics.note_lag("city", 70);
        metrics.note_lag("city", 20);
        metrics.count_failed_batch("Sluice.Stop");
        let written = lines(&metrics.take(), "consume", 1_700_000_000_000);
        let lines: Vec<Value> = written.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let directive = |dimensions: Value, metrics: Value| {
            let directive = json!({"Namespace": "Sluice", "Dimensions": dimensions, "Metrics": metrics});
            json!({"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": [directive]})
        };
        let of_none = directive(json!([["function"]]), json!([{"Name": "invalid", "Unit": "Count"}]));
        let of_city = directive(
            json!([["function"], ["function", "stream"]]),
            json!([{"Name": "written", "Unit": "Count"}, {"Name": "lag_ms", "Unit": "Milliseconds"}]),
        );
        let of_failures = directive(
            json!([["function"], ["function", "error_type"]]),
            json!([{"Name": "failed_batches", "Unit": "Count"}]),
        );
        assert_eq!(
            lines,
            [
                json!({"_aws": of_none, "function": "consume", "invalid": 4}),
                json!({"_aws": of_city, "function": "consume", "stream": "city", "written": 3, "lag_ms": 70}),
                json!({"_aws": of_failures, "function": "consume", "error_type": "Sluice.Stop", "failed_batches": 1}),
            ]
        );
        assert_eq!(super::lines(&metrics.take(), "consume", 0), "", "what was written is not written again");
    }
}

//! CloudWatch's embedded metric format: metrics in a line of the log.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write as _;

use serde_json::{Map, Value, json};

use super::{Count, Counter, Counts, LAG_MS, Metrics};
use crate::clock::Clock;

/// CloudWatch's namespace for them.
const NAMESPACE: &str = "Sluice";

/// Writes what was counted since the last time to standard output: a line for each stream, as its name is a dimension,
/// which has one value a line. An invocation that counted nothing writes nothing.
pub fn embed(metrics: &Metrics) {
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let lines = lines(&metrics.take(), &function, Clock::system().now_ms());
    // Nobody reads them: nothing that an invocation should fail for.
    let _unread = std::io::stdout().lock().write_all(lines.as_bytes());
}

fn lines(counts: &Counts, function: &str, now_ms: i64) -> String {
    let line = |(stream, count): (&Option<String>, &Count)| line(stream.as_deref(), count, function, now_ms);
    counts.iter().map(|counted| line(counted).to_string() + "\n").collect()
}

fn line(stream: Option<&str>, count: &Count, function: &str, now_ms: i64) -> Value {
    let mut members = Map::new();
    let mut definitions = Vec::new();
    for &counter in Counter::ALL.iter().filter(|counter| count.of(**counter) > 0) {
        definitions.push(json!({"Name": counter.name(), "Unit": "Count"}));
        members.insert(counter.name().to_owned(), count.of(counter).into());
    }
    if let Some(lag_ms) = count.lag.longest_ms {
        definitions.push(json!({"Name": LAG_MS, "Unit": "Milliseconds"}));
        members.insert(LAG_MS.to_owned(), lag_ms.into());
    }
    let mut dimensions = vec![vec!["function"]];
    members.insert("function".to_owned(), function.into());
    if let Some(stream) = stream {
        dimensions.push(vec!["function", "stream"]);
        members.insert("stream".to_owned(), stream.into());
    }
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions});
    members.insert("_aws".to_owned(), json!({"Timestamp": now_ms, "CloudWatchMetrics": [directive]}));
    members.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_a_line_as_the_specification_says() {
        let metrics = Metrics::default();
        metrics.count(Counter::Written, Some("city"), 2);
        metrics.count(Counter::Written, Some("city"), 1);
        metrics.count(Counter::Rejected, Some("city"), 0);
        metrics.count(Counter::Invalid, None, 4);
        metrics.note_lag("city", 70);
        metrics.note_lag("city", 20);
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
        assert_eq!(
            lines,
            [
                json!({"_aws": of_none, "function": "consume", "invalid": 4}),
                json!({"_aws": of_city, "function": "consume", "stream": "city", "written": 3, "lag_ms": 70}),
            ]
        );
        assert!(metrics.take().is_empty(), "what was written is not written again");
    }
}

//! Prometheus's text format.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::{self, Write as _};

use super::{Counter, Counts, LAG_BOUNDS_MS, LAG_MS, Lag};

/// Every counter of every stream. Of a stream that has counted anything, the zeros too.
pub(super) fn text(counts: &Counts) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _written = write(&mut text, counts);
    text
}

fn write(text: &mut String, counts: &Counts) -> fmt::Result {
    for &counter in Counter::ALL {
        let (name, meaning) = (counter.name(), counter.meaning());
        writeln!(text, "# HELP sluice_{name}_total {meaning}\n# TYPE sluice_{name}_total counter")?;
        for (stream, count) in counts {
            writeln!(text, "sluice_{name}_total{} {}", labels(stream.as_deref(), None), count.of(counter))?;
        }
    }
    writeln!(text, "# HELP sluice_{LAG_MS} Milliseconds from a batch's oldest new record to its commit.")?;
    writeln!(text, "# TYPE sluice_{LAG_MS} histogram")?;
    for (stream, count) in counts.iter().filter(|(_, count)| count.lag.batches > 0) {
        write_lag(text, stream.as_deref(), &count.lag)?;
    }
    Ok(())
}

fn write_lag(text: &mut String, stream: Option<&str>, lag: &Lag) -> fmt::Result {
    for (bound_ms, within) in LAG_BOUNDS_MS.iter().zip(lag.within) {
        writeln!(text, "sluice_{LAG_MS}_bucket{} {within}", labels(stream, Some(&bound_ms.to_string())))?;
    }
    writeln!(text, "sluice_{LAG_MS}_bucket{} {}", labels(stream, Some("+Inf")), lag.batches)?;
    writeln!(text, "sluice_{LAG_MS}_sum{} {}", labels(stream, None), lag.sum_ms)?;
    writeln!(text, "sluice_{LAG_MS}_count{} {}", labels(stream, None), lag.batches)
}

fn labels(stream: Option<&str>, bound: Option<&str>) -> String {
    let label = |name, value: Option<&str>| {
        let escaped = value?.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        Some(format!("{name}=\"{escaped}\""))
    };
    let labels: Vec<String> = [label("stream", stream), label("le", bound)].into_iter().flatten().collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Counter, Metrics};

    #[test]
    fn sums_are_told_by_stream_and_the_lag_in_buckets() {
        let metrics = Metrics::default();
        metrics.count(Counter::Accepted, Some("a \"b\"\\"), 2);
        metrics.count(Counter::Invalid, None, 3);
        metrics.note_lag("city", 11);
        metrics.note_lag("city", 4_000_000);
        let text = metrics.prometheus();
        for line in [
            "# HELP sluice_accepted_total Events that were accepted: the broker has acknowledged them.",
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
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}

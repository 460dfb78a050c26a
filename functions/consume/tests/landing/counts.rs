//! The metrics that count the outcomes of events.

use serde_json::json;

use crate::support::{Function, NOW_MS, Record, record, route};

#[tokio::test]
async fn each_outcome_of_an_event_is_counted_under_its_stream() {
    let function = Function::new().await;
    let keyed = |offset| Record {
        headers: vec![("idempotency-key".to_owned(), "k".to_owned())],
        ..record("routes", offset, &route(1, 1.0))
    };
    let tombstone = Record { value: None, ..record("routes", 3, &json!(null)) };
    let routes = [record("routes", 0, &json!({})), keyed(1), keyed(2), tombstone];
    function.land(&routes).await;
    function.land(&[record("routes", 7, &route(2, 1.0))]).await;
    function.land(&routes[..2]).await;
    let later = |offset| Record { timestamp_ms: NOW_MS + 1_000_000, ..record("routes", offset, &route(3, 1.0)) };
    function.land(&[later(0)]).await;
    let child = json!({"name": "Iran", "continent": "Asia", "population": 1, "area": 1});
    function.land(&[record("country", 0, &child)]).await;
    function.land(&[record("continent", 0, &json!({"name": "Asia", "population": 1, "area": 1}))]).await;
    let update = json!({"action": "I", "schema": "landing", "table": "t",
        "columns": [{"name": "id", "type": "integer", "value": 1}], "pk": [{"name": "id", "type": "integer"}]});
    let missing = json!({"action": "D", "schema": "landing", "table": "t", "identity": [{"name": "id", "type": "integer", "value": 2}]});
    function.land(&[record("changes", 0, &update), record("changes", 1, &missing)]).await;

    let metrics = function.metrics.prometheus();
    for line in [
        r#"sluice_written_total{stream="route"} 3"#,
        r#"sluice_duplicate_total{stream="route"} 1"#,
        r#"sluice_rejected_total{stream="route"} 1"#,
        r#"sluice_tombstones_total{stream="route"} 1"#,
        r#"sluice_gaps_total{stream="route"} 3"#,
        r#"sluice_replayed_total{stream="route"} 2"#,
        r#"sluice_incarnations_total{stream="route"} 1"#,
        r#"sluice_waiting_total{stream="country"} 1"#,
        r#"sluice_released_total{stream="country"} 1"#,
        r#"sluice_written_total{stream="country"} 1"#,
        r#"sluice_written_total{stream="continent"} 1"#,
        r#"sluice_skipped_rows_total{stream="changes"} 1"#,
        // The lag is measured only for batches with new records.
        r#"sluice_lag_ms_count{stream="route"} 3"#,
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn the_lag_is_measured_from_the_oldest_new_record() {
    let function = Function::new().await;
    let at =
        |offset, before_ms| Record { timestamp_ms: NOW_MS - before_ms, ..record("routes", offset, &route(1, 1.0)) };
    function.land(&[at(0, 5_000)]).await;
    function.land(&[at(0, 5_000), at(1, 200), at(2, 700), at(3, -50)]).await;
    let metrics = function.metrics.prometheus();
    assert!(metrics.contains("sluice_lag_ms_sum{stream=\"route\"} 5700\n"), "{metrics}");
}

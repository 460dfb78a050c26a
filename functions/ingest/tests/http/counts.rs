use crate::support::{CITY, Lacking, NDJSON, ROUTE, TestIngest};

fn assert_metrics(function: &TestIngest, expected: &[&str]) {
    let metrics = function.metrics.prometheus();
    for line in expected {
        assert!(metrics.lines().any(|found| found == *line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn accepted_and_invalid_events_are_counted_for_each_stream() {
    let function = TestIngest::start().await;
    function.post("/events/route", &[NDJSON], format!("{ROUTE}\n{ROUTE}")).await;
    function.post("/events/route", &[NDJSON], format!("{ROUTE}\n{{}}\n{{\"userID\": 1}}")).await;
    function.post("/events/route", &[], "no JSON").await;
    function.post("/events/route", &[NDJSON, ("prefer", "handling=lenient")], format!("{ROUTE}\n{{}}\nno")).await;
    function.post("/city", &[], CITY).await;
    assert_metrics(
        &function,
        &[
            r#"sluice_accepted_total{stream="route"} 3"#,
            r#"sluice_invalid_total{stream="route"} 5"#,
            r#"sluice_accepted_total{stream="city"} 1"#,
            r#"sluice_unacknowledged_total{stream="route"} 0"#,
        ],
    );
    function.end().await;
}

#[tokio::test]
async fn events_that_the_broker_does_not_acknowledge_are_counted() {
    let function = TestIngest::start_lacking(Lacking { topics: true, ..Lacking::default() }).await;
    function.post("/events/route", &[NDJSON], format!("{ROUTE}\n{ROUTE}")).await;
    let expected = [r#"sluice_unacknowledged_total{stream="route"} 2"#, r#"sluice_accepted_total{stream="route"} 0"#];
    assert_metrics(&function, &expected);
}

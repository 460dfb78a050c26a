use crate::support::{Function, Lacking};

const ROUTE: &str = r#"{"userID": 5, "timestamp": 1557258853.563, "coordinates": [52.3676, 4.9041]}"#;
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

fn counted(function: &Function, lines: &[&str]) {
    let told = function.metrics.prometheus();
    for line in lines {
        assert!(told.lines().any(|have| have == *line), "{line} is not in\n{told}");
    }
}

#[tokio::test]
async fn accepted_and_invalid_events_are_counted_by_stream() {
    let function = Function::start().await;
    function.post("/events/route", &[NDJSON], format!("{ROUTE}\n{ROUTE}")).await;
    function.post("/events/route", &[NDJSON], format!("{ROUTE}\n{{}}\n{{\"userID\": 1}}")).await;
    function.post("/events/route", &[], "no JSON").await;
    function.post("/events/route", &[NDJSON, ("prefer", "handling=lenient")], format!("{ROUTE}\n{{}}\nno")).await;
    function.post("/city", &[], r#"{"country": "Iran", "name": "Alvand"}"#).await;
    counted(
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
    let function = Function::start_lacking(Lacking { topics: true, ..Lacking::default() }).await;
    function.post("/events/route", &[NDJSON], format!("{ROUTE}\n{ROUTE}")).await;
    let expected = [r#"sluice_unacknowledged_total{stream="route"} 2"#, r#"sluice_accepted_total{stream="route"} 0"#];
    counted(&function, &expected);
}

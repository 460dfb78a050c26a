use axum::http::StatusCode;
use serde_json::json;

use super::browser::TestPages;

#[tokio::test]
async fn an_event_is_found_by_its_receipt_and_by_its_key() {
    let function = TestPages::start().await;
    function.land_everything("routes", 4).await;
    let mut browser = function.signed_in().await;
    let stream = browser.open("/console/streams/route").await;
    browser.submit(&stream, "Send", &[]).await;
    let record = function.records("routes").await.remove(0);
    let place = format!("{}/{}/{}", function.topic("routes"), record.partition, record.offset);
    let page = browser.open("/console/follow").await;
    let pasted = ["", "/receipts/", "https://example.com/prod/receipts/"].map(|before| format!("{before}{place}"));
    for receipt in pasted.into_iter().chain([format!("{place}/1557258853563")]) {
        let page = browser.submit(&page, "Follow", &[("receipt", &receipt)]).await;
        assert_eq!(page.status, StatusCode::OK);
        page.shows(&place);
        page.shows("<b>Written</b>");
        page.shows("sent by Admin");
    }
    // The test's clock is set to 2019, but records have the broker's time.
    let now = jiff::Timestamp::now();
    let minute =
        |offset: i64| (now + jiff::SignedDuration::from_secs(offset)).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let range = [("since", &*minute(-600)), ("until", &*minute(600))];
    let find = |value| [("stream", "route"), ("by", "key"), ("value", value), range[0], range[1]];
    let page = browser.submit(&page, "Find", &find("5")).await;
    page.shows(&place);
    let page = browser.submit(&page, "Find", &find("6")).await;
    page.shows("Nothing found");
    page.shows(&format!("Kafka has no such event from {}Z until {}Z.", &*minute(-600), &*minute(600)));
    page.shows("value=\"6\"");
    let page = browser.submit(&page, "Follow", &[("receipt", &format!("{}/0/7", function.topic("city")))]).await;
    page.shows("Kafka has no event at this offset yet.");
    let page = browser.submit(&page, "Follow", &[("receipt", "routes/x")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows("<code>receipt</code> must be TOPIC/PARTITION/OFFSET.");
    function.end().await;
}

#[tokio::test]
async fn a_pending_event_shows_why_its_partition_is_stalled() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    let stream = browser.open("/console/streams/route").await;
    browser.submit(&stream, "Send", &[]).await;
    let record = function.records("routes").await.remove(0);
    let path = format!("/console/follow?receipt={}/{}/{}", function.topic("routes"), record.partition, record.offset);
    browser.open(&path).await.shows("<b>On its way</b>");
    let stalled = r#"insert into sluice.stalls (topic, "partition", error_type, fault, reason, since, last_failed_at)
                     values ($1, $2, 'Sluice.Stop', 'operator', 'Stream route: a column <is> missing.', now(), now())"#;
    let stalled = sqlx::query(stalled).bind(function.topic("routes")).bind(record.partition);
    stalled.execute(&function.pool).await.unwrap();
    let page = browser.open(&path).await;
    page.shows("<b>Stalled</b>");
    page.shows("Stream route: a column &lt;is&gt; missing.");
    browser.open("/console/streams/route").await.shows("a column &lt;is&gt; missing.");
    browser.open("/console/streams/city").await.lacks("missing");
    function.end().await;
}

#[tokio::test]
async fn a_rejected_event_leads_to_its_dead_letter_and_after_a_replay_also_to_the_replay() {
    let function = TestPages::start().await;
    function.land_everything("routes", 4).await;
    let id = function.reject("routes", 0, 41, b"{\"userID\": 5}", &json!([])).await;
    let mut browser = function.signed_in().await;
    let path = format!("/console/follow?receipt={}/0/41", function.topic("routes"));
    let page = browser.open(&path).await;
    page.shows("<b>Rejected</b>");
    page.shows("it exists already");
    let letter = browser.open(&page.link(&format!("#{id}"))).await;
    browser.submit(&letter, "Replay", &[]).await;
    let page = browser.open(&path).await;
    page.shows("<b>Replayed</b>");
    let record = function.records("routes").await.remove(0);
    page.shows(&format!("{}/{}/{}</a>", function.topic("routes"), record.partition, record.offset));
    function.end().await;
}

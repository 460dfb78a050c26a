use serde_json::json;

use super::browser::TestPages;

#[tokio::test]
async fn the_overview_lists_the_stalled_partitions_and_every_stream_with_its_dead_letters() {
    let function = TestPages::start().await;
    for offset in 0..3 {
        function.reject("routes", 0, offset, b"{}", &json!([])).await;
    }
    let mut browser = function.signed_in().await;
    let page = browser.open("/console").await;
    for stream in ["changes", "city", "continent", "country", "login", "route", "user-event"] {
        assert_eq!(page.link(stream), format!("/console/streams/{stream}"));
    }
    assert_eq!(page.text.matches("href=\"/console/dead-letters?stream=route\">3</a>").count(), 1);
    page.shows("data-refresh=\"10\"");
    page.shows("id=\"overview\"");
    page.shows("aria-current=\"page\">Overview</a>");
    page.lacks("cannot land");
    let stalled = r#"insert into sluice.stalls (topic, "partition", error_type, fault, reason, since, last_failed_at)
                     select $1, p, 'Sluice.Stop', 'operator', 'Stream route: a column <is> missing.', now(), now()
                     from generate_series(1, 2) p"#;
    sqlx::query(stalled).bind(function.topic("routes")).execute(&function.pool).await.unwrap();
    let page = browser.open("/console").await;
    page.shows("Events of these partitions cannot land");
    assert_eq!(page.text.matches("a column &lt;is&gt; missing.").count(), 1, "one reason is shown once");
    page.shows(&format!("<code>{0}/1</code>, <code>{0}/2</code> since ", function.topic("routes")));
    assert_eq!(page.link("Open the stream route"), "/console/streams/route");
    function.end().await;
}

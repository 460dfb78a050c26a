use axum::http::StatusCode;
use serde_json::json;

use super::browser::TestPages;

async fn store(function: &TestPages, letters: i64) {
    for offset in 0..letters {
        function.reject("routes", 0, offset, b"{}", &json!([])).await;
    }
}

#[tokio::test]
async fn the_pages_count_the_matching_letters_then_replay_exactly_these_and_show_the_progress() {
    let function = TestPages::start().await;
    store(&function, 12).await;
    function.reject("city", 0, 1, b"{}", &json!([])).await;
    let mut browser = function.signed_in().await;
    let page = browser.open("/console/dead-letters?stream=route").await;
    let page = browser.open(&page.link("Replay all 12 letters…")).await;
    page.shows("<b class=\"number\">12</b> open letters match");
    // This letter arrives after the count was shown, so it must not be replayed.
    function.reject("routes", 0, 99, b"{}", &json!([])).await;
    assert_eq!(function.records("routes").await.len(), 0, "opening the confirmation page replays nothing");
    let page = browser.submit(&page, "Replay 12 letters", &[]).await;
    assert_eq!(page.path, "/console/dead-letters/replays/1");
    page.shows("The run has started with 12 letters.");
    // There is no task that advances runs, so each request for the run advances the run.
    let page = browser.open(&page.path).await;
    page.shows(">done</span>");
    page.shows("<b class=\"number\">12</b> of <b class=\"number\">12</b> replayed");
    page.shows("aria-live=\"polite\"");
    page.lacks("data-refresh");
    page.lacks("Cancel the run");
    page.shows("<b>1 open letter</b> matches the filter now.");
    assert_eq!(page.link("See which letters match now"), "/console/dead-letters?stream=route");
    assert_eq!(function.records("routes").await.len(), 12);
    let history = browser.open("/console/dead-letters/replays").await;
    history.shows("12 of 12");
    history.shows("stream <b>route</b>");
    browser.open("/console/dead-letters").await.shows("Replay all 2 letters…");
    function.end().await;
}

#[tokio::test]
async fn the_page_of_a_run_says_why_letters_were_left_out() {
    let function = TestPages::start().await;
    store(&function, 2).await;
    function.reject("gone", 0, 0, b"{}", &json!([])).await;
    let looping = "update sluice.dead_letters set replays = 3 where topic = 'gone' or \"offset\" = 0";
    sqlx::query(looping).execute(&function.pool).await.unwrap();
    let mut browser = function.signed_in().await;
    let page = browser.open("/console/dead-letters").await;
    let page = browser.open(&page.link("Replay all 3 letters…")).await;
    let page = browser.submit(&page, "Replay 3 letters", &[]).await;
    let page = browser.open(&page.path).await;
    page.shows("<b class=\"number\">2</b> left out");
    page.shows("<b class=\"number\">1</b> left out: no stream uses the topic any more");
    page.shows("<b class=\"number\">1</b> left out: the event was already replayed three times");
    page.lacks("older version");
    // An older version of Sluice counts the letters that it skips, but does not note why.
    sqlx::query("update sluice.replay_runs set skipped = skipped + 4").execute(&function.pool).await.unwrap();
    browser.open(&page.path).await.shows("<b class=\"number\">4</b> left out by an older version of Sluice");
    function.end().await;
}

#[tokio::test]
async fn a_run_is_cancelled_by_its_form() {
    let function = TestPages::start().await;
    store(&function, 3).await;
    let mut browser = function.signed_in().await;
    // The JSON route creates the run without advancing it. The form that creates a run would redirect to the run's
    // page, which advances the run.
    let basic = [("authorization", "Basic QWRtaW46dGhlIGFkbWluJ3MgcGFzc3dvcmQ="), ("content-type", "application/json")];
    let created = function.post("/dead-letters/replays", &basic, json!({"filter": {}}).to_string()).await;
    assert_eq!(created.status, StatusCode::ACCEPTED, "{created:?}");
    let answer = browser.send("POST", "/console/dead-letters/replays/1", &[], "").await;
    assert_eq!(answer.header("location"), "/console/dead-letters/replays/1");
    let page = browser.open("/console/dead-letters/replays/1").await;
    page.shows(">cancelled</span>");
    page.shows("Cancelled after 0 letters.");
    assert_eq!(function.records("routes").await.len(), 0);
    let page = browser.open("/console/dead-letters/replays/17").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    function.end().await;
}

use axum::http::StatusCode;
use serde_json::json;
use shared::ledger::Rejection;

use super::browser::TestPages;

const ROUTE: &str = r#"{"userID": 5, "timestamp": 1557258853.50, "coordinates": [52.3676, 4.9041]}"#;

#[tokio::test]
async fn a_stored_event_is_shown_as_text_and_its_wrong_value_is_marked() {
    let function = TestPages::start().await;
    let evil = "</code></pre><script>alert(1)</script><img src=x onerror=alert(1)>";
    let payload = json!({"userID": evil, evil: ["1.50", {"a": "b"}]}).to_string().replace("\"1.50\"", "1.50");
    let rejection = Rejection::new(evil, evil).at("/userID");
    let headers = json!([{"name": evil, "value": evil}, {"name": "x-bin", "bytes": [255, 0]}]);
    let id = function.reject_because("routes", (0, 1), payload.as_bytes(), &headers, &rejection).await;
    let text = function.reject("routes", 0, 2, evil.as_bytes(), &json!([])).await;
    let binary = function.reject("routes", 0, 3, b"\xff\xfe", &json!([])).await;
    let mut browser = function.signed_in().await;
    let paths = [
        "/console/dead-letters".to_owned(),
        format!("/console/dead-letters/{id}"),
        format!("/console/dead-letters/{text}"),
        format!("/console/follow?receipt={}/0/1", function.topic("routes")),
        "/console/dead-letters?contains=%3Cscript%3E%22%3E".to_owned(),
        "/console/follow?stream=route&value=%22%3E%3Cscript%3E".to_owned(),
        "/console/users/delete?user=%22%3E%3Cscript%3E".to_owned(),
    ];
    for path in paths {
        let page = browser.open(&path).await;
        page.lacks("<script>");
        page.lacks("<img src=x");
        page.lacks("</code></pre><script");
    }
    let page = browser.open(&format!("/console/dead-letters/{id}")).await;
    page.shows("&lt;script&gt;alert(1)&lt;/script&gt;");
    page.shows("<mark><span class=\"name\">&quot;userID&quot;</span>: ");
    assert_eq!(page.text.matches("<mark>").count(), 1);
    page.shows("  1.50,\n");
    page.shows("[255,0]");
    browser.open(&format!("/console/dead-letters/{binary}")).await.shows("//4=");
    function.end().await;
}

#[tokio::test]
async fn a_long_payload_is_cut_and_cannot_be_edited_on_the_page() {
    let function = TestPages::start().await;
    let payload = json!({"userID": "x".repeat(200_000)}).to_string();
    let id = function.reject("routes", 0, 1, payload.as_bytes(), &json!([])).await;
    let mut browser = function.signed_in().await;
    let page = browser.open(&format!("/console/dead-letters/{id}")).await;
    page.shows("Cut after 64 KB of 196 KB.");
    page.shows("too long or is not text");
    assert!(page.text.len() < 90_000, "{}", page.text.len());
    function.end().await;
}

#[tokio::test]
async fn the_filter_is_in_the_address_after_following_a_groups_link_and_after_submitting_the_filter_form() {
    let function = TestPages::start().await;
    for (offset, value) in [(1, "12"), (2, "13"), (3, "14")] {
        let rejection = Rejection::new("23503", format!("there is no user {value}"));
        function.reject_because("routes", (0, offset), b"{\"needle\": 1}", &json!([]), &rejection).await;
    }
    function.reject("city", 0, 1, b"{}", &json!([])).await;
    let mut browser = function.signed_in().await;
    let page = browser.open("/console/dead-letters").await;
    page.shows("Replay all 4 letters…");
    page.shows("there is no user 13");
    let group = page.link("there is no user …");
    let page = browser.open(&group).await;
    page.shows("Replay all 3 letters…");
    page.lacks("it exists already");
    let page = browser.submit(&page, "Apply", &[("contains", "needle")]).await;
    page.shows("name=\"contains\" value=\"needle\"");
    page.shows("Replay all 3 letters…");
    let page = browser.submit(&page, "Apply", &[("contains", "haystack")]).await;
    page.shows("Nothing matches");
    let page = browser.open(&page.link("Show all open dead letters")).await;
    let page = browser.submit(&page, "Apply", &[("stream", "city"), ("since", "2001-01-01T00:00")]).await;
    page.shows("Replay 1 letter…");
    page.shows("value=\"2001-01-01T00:00:00\"");
    let page = browser.submit(&page, "Apply", &[("status", "discarded")]).await;
    page.lacks("Replay 1 letter");
    let page = browser.open("/console/dead-letters?since=yesterday").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows("<code>since</code> must be a time");
    function.end().await;
}

#[tokio::test]
async fn the_page_of_a_letter_links_back_to_the_filtered_list() {
    let function = TestPages::start().await;
    let id = function.reject("routes", 0, 1, b"{\"needle\": 1}", &json!([])).await;
    let mut browser = function.signed_in().await;
    let list = browser.open("/console/dead-letters?stream=route&contains=needle").await;
    let letter = list.link(&format!("#{id}"));
    assert_eq!(letter, format!("/console/dead-letters/{id}?stream=route&contains=needle"));
    let back = format!("<a href=\"{}\">Dead letters</a>", list.path.replace('&', "&amp;"));
    let page = browser.open(&letter).await;
    page.shows(&back);
    let page = browser.submit(&page, "Discard", &[("note", " ")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows(&back);
    let page = browser.submit(&page, "Discard", &[("note", "too old")]).await;
    assert_eq!(page.path, letter);
    page.shows(&back);
    let page = browser.open(&format!("/console/dead-letters/{id}?cause=1")).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    function.end().await;
}

#[tokio::test]
async fn pages_that_have_nothing_to_list_say_so() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    // The audit log must be empty, but it has an entry about the registration of the test's user.
    sqlx::query("delete from sluice.audit").execute(&function.pool).await.unwrap();
    let page = browser.open("/console/dead-letters").await;
    page.shows("No open dead letters");
    assert_eq!(page.link("follow it"), "/console/follow");
    browser.open("/console/dead-letters/replays").await.shows("No runs yet");
    browser.open("/console/audit").await.shows("Nothing yet");
    browser.open("/console/users").await.shows("Nobody is blocked.");
    browser.open("/console/follow").await.shows("What happened to an event?");
    let page = browser.open("/console/dead-letters/17").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    page.shows("There is no such dead letter.");
    function.end().await;
}

#[tokio::test]
async fn a_letter_is_replayed_once_and_the_page_says_what_became_of_it() {
    let function = TestPages::start().await;
    function.land_everything("routes", 4).await;
    let id = function.reject("routes", 0, 1, ROUTE.as_bytes(), &json!([])).await;
    let mut browser = function.signed_in().await;
    let page = browser.open(&format!("/console/dead-letters/{id}")).await;
    let done = browser.submit(&page, "Replay", &[]).await;
    assert_eq!((done.status, &*done.path), (StatusCode::OK, &*page.path));
    done.shows("role=\"status\">Replayed as ");
    done.shows(">replayed</span>");
    done.lacks("What to do");
    browser.open(&page.path).await.lacks("role=\"status\"");
    assert_eq!(function.records("routes").await.len(), 1);
    // Submits the form of the page that was loaded before the replay.
    let again = browser.submit(&page, "Replay", &[]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    again.shows("The letter was already replayed.");
    assert_eq!(function.records("routes").await.len(), 1);
    browser.open("/console/audit").await.shows(&format!("dead-letters/{id}</a>"));
    function.end().await;
}

#[tokio::test]
async fn an_edited_event_stays_on_the_page_until_it_is_valid_and_sent() {
    let function = TestPages::start().await;
    function.land_everything("routes", 4).await;
    let id = function.reject("routes", 0, 1, br#"{"userID": "five", "coordinates": []}"#, &json!([])).await;
    let mut browser = function.signed_in().await;
    let page = browser.open(&format!("/console/dead-letters/{id}")).await;
    // The event is unchanged, so it still violates its contract.
    let page = browser.submit(&page, "Check and replay", &[]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("<code>/userID</code>");
    page.shows("&quot;five&quot;");
    let page = browser.submit(&page, "Check and replay", &[("event", "{\"<b>\":")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows("The event is not JSON: the text ends where a value must follow.");
    page.lacks("EOF");
    page.shows("{&quot;&lt;b&gt;&quot;:</textarea>");
    for injected in ["1}", "1, \"force\": true", "{}, \"event\": {}"] {
        let page = browser.submit(&page, "Check and replay", &[("event", injected)]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{injected}");
    }
    assert_eq!(function.records("routes").await.len(), 0);
    let page = browser.submit(&page, "Check and replay", &[("event", ROUTE)]).await;
    page.shows("Replayed as ");
    let records = function.records("routes").await;
    assert_eq!((records.len(), &*records[0].value), (1, ROUTE));
    page.shows("&quot;five&quot;");
    function.end().await;
}

#[tokio::test]
async fn one_letter_or_all_that_match_are_discarded_with_a_note() {
    let function = TestPages::start().await;
    let id = function.reject("routes", 0, 1, b"{}", &json!([])).await;
    for offset in 2..5 {
        function.reject("routes", 0, offset, b"{}", &json!([])).await;
    }
    function.reject("city", 0, 1, b"{}", &json!([])).await;
    let mut browser = function.signed_in().await;
    let page = browser.open(&format!("/console/dead-letters/{id}")).await;
    let page = browser.submit(&page, "Discard", &[("note", " ")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows("<code>note</code> must say why");
    let long = format!("</textarea>{}", "x".repeat(1_000));
    let page = browser.submit(&page, "Discard", &[("note", &long)]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows(&format!("&lt;/textarea&gt;{}", "x".repeat(1_000)));
    let page = browser.submit(&page, "Discard", &[("note", "sent <by> a test")]).await;
    page.shows("sent &lt;by&gt; a test");
    page.shows(">discarded</span>");

    let page = browser.open("/console/dead-letters?stream=route").await;
    let page = browser.open(&page.link("Discard all…")).await;
    page.shows("<b class=\"number\">3</b> open letters match");
    let page = browser.submit(&page, "Discard 3 letters", &[("note", &long)]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows(&format!("&lt;/textarea&gt;{}", "x".repeat(1_000)));
    let page = browser.submit(&page, "Discard 3 letters", &[("note", "too old")]).await;
    assert_eq!(page.path, "/console/dead-letters");
    page.shows("Discarded 3 letters.");
    page.shows("Replay 1 letter…");
    let audit = browser.open("/console/audit").await;
    audit.shows("too old");
    audit.shows("<b>Admin</b>");
    let discarded = browser.open(&audit.link("dead-letters")).await;
    assert!(
        discarded.path.contains("stream=route") && discarded.path.ends_with("status=discarded"),
        "{}",
        discarded.path
    );
    function.end().await;
}

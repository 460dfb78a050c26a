use axum::http::StatusCode;

use super::browser::TestPages;

#[tokio::test]
async fn unknown_addresses_are_not_found_and_values_that_are_too_long_are_refused() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    for path in ["/console/dead-letters/groups", "/console/dead-letters/replays/x", "/console/dead-letters/0"] {
        assert_eq!(browser.send("GET", path, &[], "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // The page calls a JSON route. In that route's address, the value is percent-encoded, so it is three times as long.
    let path = format!("/console/dead-letters?contains={}", "(".repeat(30_000));
    let answer = browser.send("GET", &path, &[], "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert!(answer.text.contains("too long"), "{}", answer.text);
    function.end().await;
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_address_of_the_console_leads_to_the_overview() {
    let function = TestPages::start().await;
    let mut browser = function.browser();
    for (path, expected) in [("/console/", "/console"), ("/console/?x=%2F&y", "/console?x=%2F&y")] {
        let answer = browser.send("GET", path, &[], "").await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::PERMANENT_REDIRECT, expected), "{path}");
    }
    function.end().await;
}

use axum::http::StatusCode;

use super::browser::TestPages;

#[tokio::test]
async fn addresses_that_name_nothing_are_not_found_and_values_that_are_too_long_are_refused() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    for path in ["/console/dead-letters/groups", "/console/dead-letters/replays/x", "/console/dead-letters/0"] {
        assert_eq!(browser.send("GET", path, &[], "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // Three times as long once it is encoded.
    let path = format!("/console/dead-letters?contains={}", "(".repeat(30_000));
    let answer = browser.send("GET", &path, &[], "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert!(answer.text.contains("too long"), "{}", answer.text);
    function.end().await;
}

use axum::http::StatusCode;
use serde_json::json;

use super::browser::{TestPages, USER};

#[tokio::test]
async fn a_blocked_user_is_listed_with_the_time_left_and_can_be_unblocked() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    for name in [USER.0, "no/such user"] {
        for _ in 0..5 {
            let body = json!({"user": name, "pass": "wrong password"}).to_string();
            function.post("/login", &[("content-type", "application/json")], body).await;
        }
    }
    function.clock.advance(60_000);
    let page = browser.open("/console/users").await;
    page.shows("14 min 0 s");
    page.shows("no/such user");
    page.shows(">blocked</span>");
    let page = browser.submit(&page, "Unblock", &[]).await;
    page.shows("ann may log in again.");
    let body = json!({"user": USER.0, "pass": USER.1}).to_string();
    let login = function.post("/login", &[("content-type", "application/json")], body).await;
    assert_eq!(login.status, StatusCode::OK);
    let page = browser.submit(&page, "Unblock", &[]).await;
    page.shows("no/such user may log in again.");
    page.shows("Nobody is blocked.");
    browser.open("/console/audit").await.shows("unblocked");
    function.end().await;
}

#[tokio::test]
async fn a_user_is_deleted_after_a_confirmation_and_the_last_admin_stays() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    let page = browser.open("/console/users/delete?user=ann").await;
    let page = browser.submit(&page, "Delete ann", &[]).await;
    assert_eq!(page.path, "/console/users");
    page.shows("ann was deleted.");
    page.lacks("Delete ann");
    let page = browser.open("/console/users/delete?user=Admin").await;
    page.shows("This is you");
    let page = browser.submit(&page, "Delete Admin", &[]).await;
    page.shows("role=\"alert\"");
    page.shows("(you)");
    browser.open("/console/audit").await.shows("users/ann");
    function.end().await;
}

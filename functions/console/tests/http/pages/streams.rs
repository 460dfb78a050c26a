use axum::http::StatusCode;

use super::browser::TestPages;

#[tokio::test]
async fn checking_an_event_sends_nothing_and_sending_it_leads_to_the_page_about_that_event() {
    let function = TestPages::start().await;
    function.land_everything("routes", 4).await;
    let mut browser = function.signed_in().await;
    let page = browser.open("/console/streams/route").await;
    page.shows("curl -u 'Admin' http://127.0.0.1:9000/events/route");
    page.shows("<code>public.routes_table</code>");
    // The form contains the contract's example.
    let checked = browser.submit(&page, "Check", &[]).await;
    assert_eq!(checked.status, StatusCode::OK);
    checked.shows("1 valid event. Nothing was sent.");
    checked.shows("&quot;user_id&quot;</span>: 5");
    let wrong = browser.submit(&checked, "Check", &[("events", "{\"userID\": \"<b>\"}")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.shows("<code>/userID</code>");
    wrong.shows("{&quot;userID&quot;: &quot;&lt;b&gt;&quot;}</textarea>");
    let wrong = browser.submit(&wrong, "Send", &[]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let wrong = browser.submit(&wrong, "Send", &[("events", "{\n  nonsense")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    wrong.shows(" Line 2, column ");
    assert_eq!(function.records("routes").await.len(), 0);

    let sent = browser.submit(&page, "Send", &[]).await;
    assert!(sent.path.starts_with("/console/follow?receipt="), "{}", sent.path);
    sent.shows("The event was sent.");
    let records = function.records("routes").await;
    assert_eq!((records.len(), &*records[0].headers["sluice-user"]), (1, "Admin"));
    sent.shows("sent by Admin");
    let several = browser.submit(&page, "Send", &[("events", &format!("[{0}, {0}]", records[0].value))]).await;
    assert_eq!(several.path, "/console/streams/route");
    several.shows("Sent 2 events");
    function.end().await;
}

#[tokio::test]
async fn a_stream_whose_contract_names_no_roles_has_no_form_and_an_unknown_stream_has_no_page() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    let page = browser.open("/console/streams/login").await;
    page.shows("no user may send its events here");
    page.lacks("<textarea");
    let page = browser.open("/console/streams/routes").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    page.shows("Did you mean &quot;route&quot;?");
    function.end().await;
}

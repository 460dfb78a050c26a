use axum::http::StatusCode;
use serde_json::json;
use shared::identity::name::UserName;
use shared::identity::password::Password;

use super::browser::{ADMIN, TestPages, USER};

/// All pages, and the paths of all forms.
pub(super) const PAGES: [&str; 12] = [
    "/console",
    "/console/streams/route",
    "/console/dead-letters",
    "/console/dead-letters/1",
    "/console/dead-letters/replay",
    "/console/dead-letters/discard?stream=route",
    "/console/dead-letters/replays",
    "/console/dead-letters/replays/1",
    "/console/follow",
    "/console/users",
    "/console/users/delete?user=ann",
    "/console/audit",
];
const FORMS: [&str; 6] = [
    "/console/streams/route",
    "/console/dead-letters/1",
    "/console/dead-letters/replay",
    "/console/dead-letters/discard",
    "/console/dead-letters/replays/1",
    "/console/users",
];

#[tokio::test]
async fn without_a_session_every_page_leads_to_the_sign_in_form_and_no_browser_asks_for_a_password() {
    let function = TestPages::start().await;
    let mut browser = function.browser();
    let basic = ("authorization", "Basic QWRtaW46dGhlIGFkbWluJ3MgcGFzc3dvcmQ=");
    let requests = PAGES.map(|path| ("GET", path)).into_iter().chain(FORMS.map(|path| ("POST", path)));
    for (method, path) in requests.chain([("GET", "/console/none"), ("POST", "/console/none")]) {
        for headers in [&[][..], &[basic], &[("cookie", "sluice-console=x.y.z")]] {
            let answer = browser.send(method, path, headers, "").await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{method} {path}");
            let location = answer.header("location");
            assert!(location.starts_with("/console/sign-in"), "{method} {path}: {location}");
            assert_eq!((answer.header("www-authenticate"), &*answer.text), ("", ""), "{method} {path}");
        }
    }
    let page = browser.open("/console/audit?after=7").await;
    assert_eq!((page.status, &*page.path), (StatusCode::OK, "/console/sign-in?next=/console/audit%3Fafter%3D7"));
    function.end().await;
}

#[tokio::test]
async fn an_admin_can_sign_in_and_return_to_the_page_and_sign_out() {
    let function = TestPages::start().await;
    let mut browser = function.browser();
    let page = browser.open("/console/audit").await;
    let page = browser.submit(&page, "Sign in", &[("user", "admin"), ("password", "wrong password")]).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    page.shows("User name or password is wrong.");
    page.shows("value=\"admin\"");
    assert!(browser.cookies.is_empty());
    let page = browser.submit(&page, "Sign in", &[("user", ADMIN.0), ("password", ADMIN.1)]).await;
    assert_eq!((page.status, &*page.path), (StatusCode::OK, "/console/audit"));
    page.shows("Sign out");
    let session = browser.cookies["sluice-console"].clone();
    let page = browser.submit(&page, "Sign out", &[]).await;
    assert_eq!((&*page.path, browser.cookies.len()), ("/console/sign-in", 0));
    assert!(browser.open("/console").await.path.starts_with("/console/sign-in"));
    assert!(!session.is_empty());
    function.end().await;
}

#[tokio::test]
async fn signing_out_ends_this_session_for_all_copies_of_its_cookie_and_ends_no_other_session() {
    let function = TestPages::start().await;
    let (mut browser, mut elsewhere) = (function.signed_in().await, function.signed_in().await);
    let copied = async |session: &str| {
        let mut thief = function.browser();
        thief.cookies.insert("sluice-console".to_owned(), session.to_owned());
        let page = thief.open("/console/audit").await;
        let bearer = format!("Bearer {session}");
        let answer = function.send("GET", "/users", &[("authorization", &bearer)], "").await;
        (page.path, answer.status)
    };
    let first = browser.cookies["sluice-console"].clone();
    // The session is renewed. Its earlier token stays valid until that token expires.
    function.clock.advance(1_900_000);
    let page = browser.open("/console").await;
    let renewed = browser.cookies["sluice-console"].clone();
    assert_ne!(first, renewed);
    for session in [&first, &renewed] {
        assert_eq!(copied(session).await, ("/console/audit".to_owned(), StatusCode::OK));
    }

    let page = browser.submit(&page, "Sign out", &[]).await;
    assert_eq!(page.path, "/console/sign-in");
    for session in [&first, &renewed] {
        let expected = ("/console/sign-in?next=/console/audit".to_owned(), StatusCode::UNAUTHORIZED);
        assert_eq!(copied(session).await, expected);
    }
    // Signing out again, or without a session, is not an error.
    browser.cookies.insert("sluice-console".to_owned(), renewed);
    assert_eq!(browser.send("POST", "/console/sign-out", &[], "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.send("POST", "/console/sign-out", &[], "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(elsewhere.open("/console/audit").await.path, "/console/audit");

    // When the second session is ended, the first session's row is deleted, because the first session's tokens have
    // expired.
    let ended = async || {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from sluice.ended_sessions");
        count.fetch_one(&function.pool).await.unwrap()
    };
    function.clock.advance(1_900_000);
    elsewhere.open("/console/audit").await;
    function.clock.advance(1_800_000);
    let page = elsewhere.open("/console/audit").await;
    elsewhere.submit(&page, "Sign out", &[]).await;
    assert_eq!(ended().await, 1);
    function.end().await;
}

#[tokio::test]
async fn the_browser_keeps_the_cookie_of_a_session_that_cannot_be_ended() {
    let function = TestPages::start().await;
    let mut browser = function.signed_in().await;
    let rename = "alter table sluice.ended_sessions rename to elsewhere";
    sqlx::query(rename).execute(&function.pool).await.unwrap();
    let answer = browser.send("POST", "/console/sign-out", &[], "").await;
    assert_eq!((answer.status, answer.header("set-cookie")), (StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    let rename = "alter table sluice.elsewhere rename to ended_sessions";
    sqlx::query(rename).execute(&function.pool).await.unwrap();
    assert_eq!(browser.send("POST", "/console/sign-out", &[], "").await.status, StatusCode::SEE_OTHER);
    assert!(browser.cookies.is_empty());
    function.end().await;
}

#[tokio::test]
async fn signing_in_replaces_a_planted_session_with_a_new_cookie_that_is_only_for_this_host() {
    let function = TestPages::start().await;
    let form = "user=Admin&password=the+admin%27s+password";
    for (host, name, secure) in
        [("localhost:9000", "sluice-console", false), ("sluice.example", "__Host-sluice-console", true)]
    {
        let mut browser = function.browser();
        browser.host = host;
        browser.cookies.insert(name.to_owned(), "planted".to_owned());
        let answer = browser.send("POST", "/console/sign-in", &[], form).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/console"), "{answer:?}");
        let cookie = answer.header("set-cookie").to_owned();
        let (pair, attributes) = cookie.split_once(';').unwrap();
        assert!(pair.starts_with(&format!("{name}=")) && !pair.contains("planted"), "{cookie}");
        for attribute in ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=3600"] {
            assert!(attributes.contains(attribute), "{cookie}");
        }
        assert_eq!(attributes.contains("Secure"), secure, "{cookie}");
        assert_eq!(browser.open("/console").await.path, "/console");
    }
    function.end().await;
}

#[tokio::test]
async fn only_admins_get_in() {
    let function = TestPages::start().await;
    let mut browser = function.browser();
    let page = browser.open("/console").await;
    let page = browser.submit(&page, "Sign in", &[("user", USER.0), ("password", USER.1)]).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    page.shows("This user is not an admin.");
    assert!(browser.cookies.is_empty());

    // Neither a token from `/login` nor a service key is a session.
    for (user, password) in [USER, ADMIN] {
        let login = json!({"user": user, "pass": password}).to_string();
        let login = function.post("/login", &[("content-type", "application/json")], login).await;
        browser.cookies.insert("sluice-console".to_owned(), login.body["token"].as_str().unwrap().to_owned());
        assert!(browser.open("/console").await.path.starts_with("/console/sign-in"), "{user}");
    }
    let basic = [("authorization", "Basic QWRtaW46dGhlIGFkbWluJ3MgcGFzc3dvcmQ="), ("content-type", "application/json")];
    let key = function.post("/keys", &basic, json!({"name": "k", "streams": ["route"]}).to_string()).await;
    browser.cookies.insert("sluice-console".to_owned(), key.body["key"].as_str().unwrap().to_owned());
    assert!(browser.open("/console").await.path.starts_with("/console/sign-in"));

    // The admin loses the role while signed in.
    let answer = browser.send("POST", "/console/sign-in", &[], "user=Admin&password=the+admin%27s+password").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    sqlx::query("update sluice.users set role = 'user'").execute(&function.pool).await.unwrap();
    for path in PAGES {
        let page = browser.open(path).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
        page.lacks("<table");
    }
    for path in FORMS {
        assert_eq!(browser.send("POST", path, &[], "").await.status, StatusCode::FORBIDDEN, "{path}");
    }
    function.end().await;
}

#[tokio::test]
async fn wrong_passwords_in_the_sign_in_form_and_at_the_login_route_count_together() {
    let function = TestPages::start().await;
    let mut browser = function.browser();
    let wrong = json!({"user": ADMIN.0, "pass": "wrong password"}).to_string();
    for _ in 0..3 {
        let answer = function.post("/login", &[("content-type", "application/json")], wrong.clone()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let page = browser.open("/console").await;
    for _ in 0..2 {
        let page = browser.submit(&page, "Sign in", &[("user", ADMIN.0), ("password", "wrong password")]).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    }
    let answer = browser.send("POST", "/console/sign-in", &[], "user=Admin&password=the+admin%27s+password").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::FORBIDDEN, "900"));
    assert!(answer.text.contains("Try again in 15 min 0 s"), "{}", answer.text);
    assert_eq!(answer.header("set-cookie"), "");
    function.clock.advance(900_000);
    let page = browser.submit(&page, "Sign in", &[("user", ADMIN.0), ("password", ADMIN.1)]).await;
    assert_eq!(page.status, StatusCode::OK);
    function.end().await;
}

#[tokio::test]
async fn a_session_ends_after_an_idle_hour_or_a_password_change_or_the_deletion_of_the_user() {
    let function = TestPages::start().await;
    let name = UserName::parse(ADMIN.0).unwrap();
    let mut browser = function.signed_in().await;
    // The request after 59 minutes renews the session. The request of a page that refreshes itself does not renew it.
    for elapsed_ms in [1_700_000, 1_840_000] {
        function.clock.advance(elapsed_ms);
        assert_eq!(browser.open("/console/audit").await.path, "/console/audit");
    }
    function.clock.advance(3_599_000);
    let refreshed = browser.send("GET", "/console/audit", &[("sec-fetch-mode", "cors")], "").await;
    assert_eq!((refreshed.status, refreshed.header("set-cookie")), (StatusCode::OK, ""));
    function.clock.advance(1_000);
    assert!(browser.open("/console/audit").await.path.starts_with("/console/sign-in"));

    let mut browser = function.signed_in().await;
    assert!(function.identity.reset_password(&name, Password::given(ADMIN.1)).await.unwrap());
    assert!(browser.open("/console/audit").await.path.starts_with("/console/sign-in"));

    let mut browser = function.signed_in().await;
    let other = UserName::parse("other admin").unwrap();
    shared::identity::make_admin(&function.pool, &other, Password::given("another password")).await.unwrap();
    function.identity.delete(&name, None, ADMIN.0).await.unwrap();
    assert!(browser.open("/console/audit").await.path.starts_with("/console/sign-in"));
    function.end().await;
}

#[tokio::test]
async fn signing_in_leads_only_to_pages_of_the_console() {
    let function = TestPages::start().await;
    for (next, expected) in [
        ("%2Fconsole%2Faudit%3Fafter%3D7", "/console/audit?after=7"),
        ("https%3A%2F%2Fevil.example", "/console"),
        ("%2F%2Fevil.example%2Fconsole", "/console"),
        ("%2Fusers", "/console"),
        ("%2Fconsole%2F..%2Fusers", "/console"),
        ("%2Fconsole%5C..%5Cusers", "/console"),
        ("%2Fconsole%2F%0D%0Ax%3A+y", "/console"),
        ("javascript%3Aalert(1)", "/console"),
    ] {
        let form = format!("user=Admin&password=the+admin%27s+password&next={next}");
        let answer = function.browser().send("POST", "/console/sign-in", &[], &form).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, expected), "{next}");
        let mut browser = function.browser();
        browser.open(&format!("/console/sign-in?next={next}")).await.shows(&format!("value=\"{expected}\""));
    }
    function.end().await;
}

#[tokio::test]
async fn forms_from_other_sites_are_refused() {
    let function = TestPages::start().await;
    let id = function.reject("routes", 0, 1, b"{}", &json!([])).await;
    let mut browser = function.signed_in().await;
    let path = format!("/console/dead-letters/{id}");
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "https://evil.example")], [("origin", "null")]] {
        for path in [&path, "/console/sign-in", "/console/sign-out", "/console/users"] {
            let answer = browser.send("POST", path, &headers, "action=discard&note=x").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    browser.open(&path).await.shows(">open</span>");
    let own = [("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:9000")];
    assert_eq!(browser.send("POST", &path, &own, "action=discard&note=x").await.status, StatusCode::SEE_OTHER);
    browser.open(&path).await.shows(">discarded</span>");
    function.end().await;
}

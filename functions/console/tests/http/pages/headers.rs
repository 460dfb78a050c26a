use axum::http::StatusCode;
use serde_json::json;

use super::browser::TestPages;
use super::sign_in::PAGES;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

#[tokio::test]
async fn no_page_may_run_inline_scripts_or_be_shown_in_a_frame_or_be_cached() {
    let function = TestPages::start().await;
    function.reject("routes", 0, 1, b"{}", &json!([])).await;
    let mut browser = function.signed_in().await;
    let others = ["/console/none", "/console/streams/none", "/console/dead-letters?x=1", "/console/sign-in"];
    let mut statuses = Vec::new();
    for path in PAGES.into_iter().chain(others) {
        let answer = browser.send("GET", path, &[], "").await;
        statuses.push(answer.status.as_u16());
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
        let page = answer.text;
        for inline in ["<style", " style=\"", " onclick=", "<script>", "javascript:"] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
        // Each page has one main heading, a language and a link to its content, and each table has a caption.
        assert_eq!(page.matches("<h1>").count() + page.matches("<h1 ").count(), 1, "{path}");
        assert!(page.contains("<html lang=\"en\">") && page.contains("href=\"#content\""), "{path}");
        assert_eq!(page.matches("<table").count(), page.matches("<caption>").count(), "{path}");
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), PAGES.len(), "{statuses:?}");
    function.end().await;
}

#[tokio::test]
async fn files_may_be_cached_forever_because_their_names_change_with_their_content() {
    let function = TestPages::start().await;
    let mut browser = function.browser();
    let page = browser.open("/console/sign-in").await;
    let files: Vec<&str> = page.text.split('"').filter(|text| text.starts_with("/console/assets/")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let answer = browser.send("GET", file, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let expected = match file.rsplit_once('.').unwrap().1 {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!(answer.header("content-type"), expected);
    }
    let answer = browser.send("GET", "/console/assets/console-0000000000000000.css", &[], "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    function.end().await;
}

//! Signs people in: a form takes the name and the password, and a cookie holds a token like those of `POST /login`. The
//! session ends with its token: when the token expires, the password changes, or the user is deleted. Signing out also
//! ends the session. The token is renewed while someone uses the pages.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HOST, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use percent_encoding::percent_decode_str;
use shared::http::edge::{Origin, note_user};
use shared::http::fields::Fields;
use shared::http::problem::Problem;
use shared::identity::Denied;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::session::SessionToken;

use super::api::{Api, Refusal};
use super::form::Form;
use super::layout::{Notice, Page, SeeOther, Tone, refusal_page};
use super::query::{encoded, with_query};
use super::sign_in;
use super::state::Pages;

/// The session's cookie. Browsers accept the prefix `__Host-` only from this host, over TLS, so no other host of the
/// domain can set this cookie.
const SECURE_SESSION: &str = "__Host-sluice-console";
/// The session's cookie on loopback, where there is no TLS.
const LOOPBACK_SESSION: &str = "sluice-console";
const NOTICE: &str = "sluice-console-notice";

/// Lets only signed-in admins through, and renders what the handlers return.
pub(super) async fn signed_in(State(pages): State<Pages>, mut request: Request, next: Next) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let token = cookie(&headers, session_name(&headers)).unwrap_or_default();
    let session = match pages.identity.session(&token).await {
        Ok(session) => session,
        Err(Denied::InvalidToken) => return to_sign_in(&uri),
        Err(denied) => {
            denied.log();
            return refusal_page(&Refusal::from(denied.problem())).respond(None, None);
        }
    };
    let caller = session.caller();
    note_user(&caller.name);
    if let Err(denied) = caller.must_be_admin() {
        // The user was an admin when the session began, but is not an admin any more.
        return refusal_page(&Refusal::from(denied.problem())).respond(Some(&caller.name), None);
    }
    let name = caller.name.clone();
    let api = Api::new(pages.api.clone(), caller.clone(), request.extensions());
    request.extensions_mut().insert(api);
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    let mut response = rendered(response, &name, &headers);
    if is_from_person(&headers)
        && let Ok(Some(SessionToken { token, seconds })) = pages.identity.renew_session(&session)
    {
        set_cookie(&mut response, &headers, session_name(&headers), &token, seconds);
    }
    response
}

/// Returns whether a person made the request. The script of a page that is left open keeps requesting the page, and
/// these requests must not keep the session alive.
fn is_from_person(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

/// Renders what a handler returned.
fn rendered(mut response: Response, user: &str, headers: &HeaderMap) -> Response {
    let extensions = response.extensions_mut();
    if let Some(SeeOther { path, notice }) = extensions.remove::<SeeOther>() {
        let mut response = see_other(&path);
        if let Some(notice) = notice {
            set_cookie(&mut response, headers, NOTICE, &written(&notice), 60);
        }
        return response;
    }
    let page = match (extensions.remove::<Page>(), extensions.remove::<Refusal>(), extensions.remove::<Problem>()) {
        (Some(page), _, _) => page,
        (None, Some(refusal), _) => refusal_page(&refusal),
        (None, None, Some(problem)) => refusal_page(&Refusal::from(problem)),
        (None, None, None) => return response,
    };
    let notice = cookie(headers, NOTICE).and_then(|text| read(&text));
    let mut response = page.respond(Some(user), notice.as_ref());
    if notice.is_some() {
        set_cookie(&mut response, headers, NOTICE, "", 0);
    }
    response
}

/// Shows the sign-in form.
pub(super) async fn show_form(headers: HeaderMap, uri: Uri) -> Response {
    let next = Fields::from_query(uri.query(), &["next"]).ok();
    let next = next.as_ref().and_then(|fields| fields.get("next").ok().flatten());
    let next = local(next.unwrap_or_default());
    // The cookie is `SameSite=Strict`. So the browser does not send the cookie when someone follows a link from another
    // site, even if there is a session. For this case, the page has a link to `next`. When the person follows that
    // link, the browser sends the cookie.
    let is_from_elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    sign_in::page(next, "", None, is_from_elsewhere).respond(None, None)
}

/// Checks the name and the password as `POST /login` does, and begins a new session.
pub(super) async fn sign_in(
    State(pages): State<Pages>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    form: Result<Form, Refusal>,
) -> Response {
    let form = match form {
        Ok(form) => form,
        Err(refusal) => return refusal_page(&refusal).respond(None, None),
    };
    let (name, next) = (form.get("user"), local(form.get("next")));
    match admit(&pages, name, form.get("password"), &origin).await {
        Ok(SessionToken { token, seconds }) => {
            let mut response = see_other(next);
            set_cookie(&mut response, &headers, session_name(&headers), &token, seconds);
            response
        }
        Err(denied) => {
            denied.log();
            let refusal = Refusal::new(&denied.problem(), &origin.request_id);
            let mut response = sign_in::page(next, name, Some(&denied), false).refused(&refusal).respond(None, None);
            if let Denied::Blocked { retry_after_seconds } = denied {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds));
            }
            response
        }
    }
}

/// Begins a session if the password is correct and the user is an admin.
async fn admit(pages: &Pages, name: &str, password: &str, origin: &Origin) -> Result<SessionToken, Denied> {
    let name = UserName::parse_existing(name).map_err(|_| Denied::WrongPassword)?;
    let (caller, token) = pages.identity.begin_session(&name, Password::given(password), origin).await?;
    note_user(&caller.name);
    caller.must_be_admin()?;
    Ok(token)
}

/// Ends the session, even for someone who has copied its cookie.
pub(super) async fn sign_out(
    State(pages): State<Pages>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let token = cookie(&headers, session_name(&headers)).unwrap_or_default();
    if let Err(denied) = pages.identity.end_session(&token).await {
        denied.log();
        // The cookie stays, so that the person can try again.
        return refusal_page(&Refusal::new(&denied.problem(), &origin.request_id)).respond(None, None);
    }
    let mut response = see_other("/console/sign-in");
    set_cookie(&mut response, &headers, session_name(&headers), "", 0);
    response
}

fn to_sign_in(uri: &Uri) -> Response {
    let next = uri.path_and_query().map_or("/console", |path| path.as_str());
    match next {
        "/console" => see_other("/console/sign-in"),
        next => see_other(&with_query("/console/sign-in", [("next", next)])),
    }
}

/// Returns `path` if it is a path of the console. Otherwise, returns the path of the overview, so that signing in never
/// redirects to another site.
fn local(path: &str) -> &str {
    let (before_query, _) = path.split_once(['?', '#']).unwrap_or((path, ""));
    let decoded: Vec<u8> = percent_decode_str(before_query).collect();
    let is_below = before_query == "/console" || before_query.starts_with("/console/");
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let climbs = decoded.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."));
    if is_below && is_plain && !climbs && !decoded.contains(&b'\\') { path } else { "/console" }
}

fn see_other(path: &str) -> Response {
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/console"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)], [("cache-control", "no-store")]).into_response()
}

fn session_name(headers: &HeaderMap) -> &'static str {
    if is_on_loopback(headers) { LOOPBACK_SESSION } else { SECURE_SESSION }
}

/// Returns whether the request was sent to a loopback address, according to its `Host`. No web page can make a browser
/// send a false `Host`.
pub(super) fn is_on_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the first cookie of this name.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(cookie, _)| *cookie == name).map(|(_, value)| value.to_owned())
}

fn set_cookie(response: &mut Response, headers: &HeaderMap, name: &str, value: &str, seconds: i64) {
    let secure = if is_on_loopback(headers) { "" } else { "; Secure" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    // Tokens and encoded texts consist of ASCII characters that are valid in a cookie, so the conversion cannot fail.
    if let Ok(text) = HeaderValue::try_from(text) {
        response.headers_mut().append(SET_COOKIE, text);
    }
}

/// Encodes a notice for a cookie. The text is truncated, because browsers drop cookies of more than 4 KB.
fn written(notice: &Notice) -> String {
    const MOST_CHARACTERS: usize = 300;
    let tone = match notice.tone {
        Tone::Done => "done",
        Tone::Failed => "failed",
    };
    let text: String = notice.text.chars().take(MOST_CHARACTERS).collect();
    format!("{tone}.{}", encoded(&text))
}

/// Decodes a notice that [`written`] encoded.
fn read(cookie: &str) -> Option<Notice> {
    let (tone, text) = cookie.split_once('.')?;
    let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
    match tone {
        "done" => Some(Notice::done(text)),
        "failed" => Some(Notice::failed(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_the_console_is_followed_after_signing_in() {
        for path in ["/console", "/console/audit?after=7", "/console/dead-letters?reason=a%2F..%2Fb", "/console?x#y"] {
            assert_eq!(local(path), path);
        }
        for path in [
            "",
            "/",
            "/consoles",
            "//evil.example/console",
            "https://evil.example/console",
            "/console/../users",
            "/console/%2e%2E/users",
            "/console\\..\\x",
            "/console/%5c%5cevil.example",
            "/console/\n",
            "/console/a b",
            "console",
            "javascript:alert(1)",
        ] {
            assert_eq!(local(path), "/console", "{path:?}");
        }
    }

    #[test]
    fn a_notice_is_read_back_from_its_cookie_and_a_long_notice_is_cut() {
        let notice = Notice::failed("a; b=\"c\" é, <d>");
        assert_eq!(read(&written(&notice)), Some(notice));
        let long = read(&written(&Notice::done("é".repeat(1_000))));
        assert_eq!(long.map(|notice| notice.text.chars().count()), Some(300));
        assert_eq!(read("neither.x"), None);
    }

    #[test]
    fn cookies_are_secure_except_on_loopback() {
        let name = |host: &'static str| {
            session_name(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))])) == SECURE_SESSION
        };
        for host in ["127.0.0.1", "127.0.0.1:9000", "localhost:9000", "LOCALHOST", "[::1]:9000", "[::1]"] {
            assert!(!name(host), "{host}");
        }
        for host in ["", "sluice.example", "localhost.example:443", "127.0.0.1.example", "10.0.0.1:9000"] {
            assert!(name(host), "{host}");
        }
    }
}

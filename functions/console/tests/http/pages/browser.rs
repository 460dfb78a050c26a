//! Simulates a browser without scripts, and starts the function with its pages.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use console::Console;
use ingest::Ingest;
use shared::identity::lockout::Rule;
use shared::identity::name::UserName;
use shared::identity::password::{Blocklist, Password};
use shared::identity::{Identity, IdentitySettings, TokenKeys, make_admin};
use testing::function::{Connections, Lacking, TestFunction, TextAnswer, WAIT_FOR_PARENT};
use users::{Registration, Users, UsersSettings};

/// The admin of every test, and a user without that role.
pub(super) const ADMIN: (&str, &str) = ("Admin", "the admin's password");
pub(super) const USER: (&str, &str) = ("ann", "ann's password");

/// The function with its pages, together with `ingest` and `users`.
pub(super) struct TestPages {
    function: TestFunction,
    pub(super) identity: Identity,
}

impl Deref for TestPages {
    type Target = TestFunction;

    fn deref(&self) -> &TestFunction {
        &self.function
    }
}

impl TestPages {
    pub(super) async fn start() -> Self {
        let mut started = None;
        let routes = |connections: Connections| {
            let Connections { pool, registry, producer, reader, clock, metrics } = connections;
            let settings = IdentitySettings {
                token_keys: TokenKeys::parse(&"5a".repeat(32)).unwrap(),
                token_for: Duration::from_secs(3_600),
                lockout: Rule { after: 5, window_ms: 60_000, for_ms: 900_000 },
            };
            let identity = Identity::new(pool.clone(), clock.clone(), &settings, None);
            started = Some(identity.clone());
            let settings = UsersSettings { registration: Registration::Open, blocklist: Blocklist::Off };
            let users = Users::new(identity.clone(), pool.clone(), Arc::clone(&registry), clock.clone(), settings);
            let ingest = Ingest::new(pool, registry, producer, reader, clock, WAIT_FOR_PARENT, metrics);
            let ingest = Arc::new(ingest);
            let console = Arc::new(Console::new(Arc::clone(&ingest)));
            let console = console::routes(console, users.clone(), identity.clone());
            ingest::routes(ingest, identity).merge(users::routes(users)).merge(console)
        };
        let function = TestFunction::start(Lacking::default(), None, routes).await;
        let identity = started.unwrap();
        make_admin(&function.pool, &UserName::parse(ADMIN.0).unwrap(), Password::given(ADMIN.1)).await.unwrap();
        let name = UserName::parse(USER.0).unwrap();
        assert!(identity.register(&name, Password::given(USER.1), USER.0).await.unwrap());
        Self { function, identity }
    }

    /// Sets the watermarks of all of a topic's partitions far above every event of the test, so that every event counts
    /// as applied.
    pub(super) async fn land_everything(&self, topic: &str, partitions: i32) {
        for partition in 0..partitions {
            self.apply(topic, partition, 1_000_000, 4_000_000_000_000).await;
        }
    }

    pub(super) fn browser(&self) -> Browser<'_> {
        Browser { function: &self.function, host: "127.0.0.1:9000", cookies: BTreeMap::new() }
    }

    /// Returns a browser in which the admin has signed in.
    pub(super) async fn signed_in(&self) -> Browser<'_> {
        let mut browser = self.browser();
        let page = browser.open("/console").await;
        let page = browser.submit(&page, "Sign in", &[("user", ADMIN.0), ("password", ADMIN.1)]).await;
        assert_eq!(page.path, "/console", "{}", page.text);
        browser
    }

    /// Deletes the test's topics and database.
    pub(super) async fn end(self) {
        self.function.end().await;
    }
}

/// A browser.
pub(super) struct Browser<'f> {
    function: &'f TestFunction,
    pub(super) host: &'static str,
    pub(super) cookies: BTreeMap<String, String>,
}

/// A page that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) path: String,
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Opened {
    /// Asserts that the page contains a text.
    #[track_caller]
    pub(super) fn shows(&self, text: &str) {
        assert!(self.text.contains(text), "{} lacks {text:?}: {}", self.path, self.text);
    }

    #[track_caller]
    pub(super) fn lacks(&self, text: &str) {
        assert!(!self.text.contains(text), "{} has {text:?}: {}", self.path, self.text);
    }

    /// Returns the target of the link with this text.
    #[track_caller]
    pub(super) fn link(&self, text: &str) -> String {
        let end = self.text.find(&format!(">{text}</a>")).unwrap_or_else(|| panic!("no link {text:?}: {}", self.text));
        let tag = &self.text[self.text[..end].rfind("<a ").unwrap()..end];
        attribute(tag, "href").unwrap()
    }
}

impl Browser<'_> {
    /// Sends a request and keeps the cookies of its answer. Follows no redirect.
    pub(super) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TextAnswer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = vec![("host", self.host), ("cookie", &*cookies)];
        if method == "POST" {
            all.push(("content-type", "application/x-www-form-urlencoded"));
        }
        all.extend(headers);
        let answer = self.function.fetch(method, path, &all, body.to_owned()).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    async fn visit(&mut self, method: &str, path: &str, body: &str) -> Opened {
        let (mut path, mut answer) = (path.to_owned(), self.send(method, path, &[], body).await);
        while answer.status == StatusCode::SEE_OTHER {
            path = answer.header("location").split('#').next().unwrap().to_owned();
            answer = self.send("GET", &path, &[], "").await;
        }
        Opened { path, status: answer.status, text: answer.text }
    }

    /// Opens a page.
    pub(super) async fn open(&mut self, path: &str) -> Opened {
        self.visit("GET", path, "").await
    }

    /// Fills in fields of the form that has this button, and submits the form.
    pub(super) async fn submit(&mut self, page: &Opened, button: &str, fields: &[(&str, &str)]) -> Opened {
        let form = Form::with_button(&page.text, button);
        let form = form.unwrap_or_else(|| panic!("{} has no button {button:?}: {}", page.path, page.text));
        let encode = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        let given = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let kept = form.fields.into_iter().filter(|(name, _)| fields.iter().all(|(given, _)| given != name));
        let body: Vec<String> =
            kept.chain(given).map(|(name, value)| format!("{}={}", encode(&name), encode(&value))).collect();
        let action = form.action.split('#').next().unwrap().to_owned();
        match form.method.as_str() {
            "post" => self.visit("POST", &action, &body.join("&")).await,
            _ => self.open(&format!("{action}?{}", body.join("&"))).await,
        }
    }
}

/// A form of a page, with the fields that will be submitted.
struct Form {
    method: String,
    action: String,
    fields: Vec<(String, String)>,
}

impl Form {
    fn with_button(page: &str, button: &str) -> Option<Self> {
        for form in page.split("<form ").skip(1) {
            let form = form.split("</form>").next()?;
            let Some(end) = form.find(&format!(">{button}</button>")) else { continue };
            let tag = &form[form[..end].rfind("<button")?..end];
            assert!(!tag.contains(" disabled"), "the button {button:?} is disabled");
            let head = form.split('>').next()?;
            let pressed = attribute(tag, "name").zip(attribute(tag, "value"));
            return Some(Self {
                method: attribute(head, "method")?,
                action: attribute(head, "action")?,
                fields: fields(form).into_iter().chain(pressed).collect(),
            });
        }
        None
    }
}

fn fields(form: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for tag in form.split('<').skip(1) {
        let (head, text) = tag.split_once('>').unwrap();
        let Some(name) = attribute(head, "name") else { continue };
        let value = attribute(head, "value");
        if head.starts_with("input") && attribute(head, "type").as_deref() != Some("checkbox") {
            fields.push((name, value.unwrap_or_default()));
        } else if head.starts_with("textarea") {
            fields.push((name, unescaped(text.strip_prefix('\n').unwrap_or(text)).replace('\n', "\r\n")));
        } else if head.starts_with("select") {
            let options = form.split(&format!("name=\"{name}\"")).nth(1).unwrap();
            let options: Vec<&str> = options.split("</select>").next().unwrap().split("<option ").skip(1).collect();
            let chosen = options.iter().find(|option| option.contains(" selected")).or(options.first()).unwrap();
            fields.push((name, attribute(chosen, "value").unwrap()));
        }
    }
    fields
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(unescaped(rest.split('"').next()?))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

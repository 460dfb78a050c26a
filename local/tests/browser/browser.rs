//! Acts like a person at a browser: finds links, buttons and fields by their texts or labels, and counts the clicks.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::inspection::{self, Theme};
use super::support::gateway::{ADMIN, TestGateway};
use super::webdriver::{Element, Fault, Session};

const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the browser runs the scripts of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scripts {
    On,
    Off,
}

/// A browser for a gateway's console.
pub(super) struct Browser {
    pub(super) session: Session,
    url: String,
    /// The number of clicks.
    pub(super) clicks: u32,
    scripts: Scripts,
}

/// Returns whether the browser tests are switched off. If they are, prints a line that says so.
pub(super) fn is_skipped() -> bool {
    let is_skipped = std::env::var_os("SLUICE_WITHOUT_BROWSER").is_some();
    if is_skipped {
        // `eprintln!` is not used, because a test program hides the output of `eprintln!` if the test passes.
        let _shown = writeln!(std::io::stderr(), "the browser tests: skipped, because SLUICE_WITHOUT_BROWSER is set");
    }
    is_skipped
}

impl Browser {
    /// Starts a browser that runs scripts and is not signed in to the console.
    pub(super) async fn start(gateway: &TestGateway) -> Self {
        let browser =
            Self { session: Session::start().await, url: gateway.url.clone(), clicks: 0, scripts: Scripts::On };
        inspection::show_at(&browser.session, 1_280, Theme::Light).await;
        browser
    }

    /// Starts a browser in which the admin has signed in.
    pub(super) async fn signed_in(gateway: &TestGateway) -> Self {
        let mut browser = Self::start(gateway).await;
        browser.sign_in().await;
        browser.clicks = 0;
        browser
    }

    pub(super) async fn sign_in(&mut self) {
        self.open("/console").await;
        self.fill("User name", ADMIN.0).await;
        self.fill("Password", ADMIN.1).await;
        self.click("Sign in").await;
        self.shows("Overview").await;
    }

    /// Switches scripts on or off, from the next page on.
    pub(super) async fn switch(&mut self, scripts: Scripts) {
        self.scripts = scripts;
        let off = json!({"value": scripts == Scripts::Off});
        self.session.devtools("Emulation.setScriptExecutionDisabled", off).await;
    }

    /// Loads the page with this path.
    pub(super) async fn open(&self, path: &str) {
        self.session.open(&format!("{}{path}", self.url)).await;
    }

    /// Returns the path and the query of the page.
    pub(super) async fn path(&self) -> String {
        let url = self.session.url().await;
        url.strip_prefix(&self.url).unwrap_or(&url).to_owned()
    }

    /// Returns the text that the page shows.
    pub(super) async fn text(&self) -> String {
        let text = self.session.evaluate("document.body.innerText").await;
        text.map(|text| text.as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    /// Waits until the page shows a text.
    #[track_caller]
    pub(super) fn shows<'b>(&'b self, text: &'b str) -> impl Future<Output = ()> + 'b {
        let caller = std::panic::Location::caller();
        async move {
            let begun = Instant::now();
            while !self.text().await.contains(text) {
                if begun.elapsed() > PATIENCE {
                    panic!("{caller}: {} lacks {text:?}:\n{}", self.path().await, self.text().await);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Asserts that the page does not show a text.
    pub(super) async fn lacks(&self, text: &str) {
        let shown = self.text().await;
        assert!(!shown.contains(text), "{} shows {text:?}:\n{shown}", self.path().await);
    }

    /// Clicks a link, a button or a summary with this text or label.
    pub(super) async fn click(&mut self, name: &str) {
        let quoted = quoted(name);
        let xpath = format!(
            "//*[self::a or self::button or self::summary][normalize-space(.) = {quoted} or @aria-label = {quoted}]"
        );
        self.clicks += 1;
        self.until_done(name, &xpath, async |session, element| session.click(&element).await).await;
    }

    /// Clicks a button, even if a link to a section has the same text. [`Self::click`] would click the link.
    pub(super) async fn press(&mut self, name: &str) {
        let xpath = format!("//button[normalize-space(.) = {}]", quoted(name));
        self.clicks += 1;
        self.until_done(name, &xpath, async |session, element| session.click(&element).await).await;
    }

    /// Ticks a checkbox.
    pub(super) async fn tick(&mut self, label: &str) {
        self.clicks += 1;
        self.until_done(label, &field(label), async |session, element| session.click(&element).await).await;
    }

    /// Chooses an option of the field with this label.
    pub(super) async fn choose(&self, label: &str, option: &str) {
        let xpath = format!("{}/option[normalize-space(.) = {}]", field(label), quoted(option));
        self.until_done(label, &xpath, async |session, element| session.click(&element).await).await;
    }

    /// Replaces a field's text.
    pub(super) async fn fill(&self, label: &str, text: &str) {
        let fill = async |session: &Session, element: Element| {
            session.clear(&element).await?;
            session.type_text(&element, text).await
        };
        self.until_done(label, &field(label), fill).await;
    }

    /// Sets a field's value with a script. In a time field, for example, a test cannot type the value, because the keys
    /// to type depend on the browser's language.
    pub(super) async fn set(&self, name: &str, value: &str) {
        let script = "document.querySelector(`[name=${arguments[0]}]`).value = arguments[1]; arguments[2]()";
        self.session.run(script, &[json!(name), json!(value)]).await.unwrap();
    }

    /// Does something with the first displayed element that an XPath selects. Waits for such an element, because the
    /// page may still be loading.
    async fn until_done(&self, name: &str, xpath: &str, action: impl AsyncFn(&Session, Element) -> Result<(), Fault>) {
        let begun = Instant::now();
        loop {
            let fault = match self.first_displayed(xpath).await {
                Ok(Some(element)) => match action(&self.session, element).await {
                    Ok(()) => return,
                    Err(fault) => fault.to_string(),
                },
                Ok(None) => "no such element is displayed".to_owned(),
                Err(fault) => fault.to_string(),
            };
            if begun.elapsed() > PATIENCE {
                panic!("no {name:?} at {}: {fault}\n{}", self.path().await, self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn first_displayed(&self, xpath: &str) -> Result<Option<Element>, Fault> {
        for element in self.session.find(xpath).await? {
            if self.session.is_displayed(&element).await? {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }

    /// Inspects the current page in both themes and at three widths. Does nothing if scripts are off, because the page
    /// looks the same without them.
    pub(super) async fn inspect(&self, name: &str) {
        if self.scripts == Scripts::On {
            inspection::inspect(&self.session, name).await;
        }
    }
}

/// Returns the XPath of the field whose label begins with a text.
fn field(label: &str) -> String {
    format!(
        "//label[starts-with(normalize-space(.), {})]//*[self::input or self::select or self::textarea]",
        quoted(label)
    )
}

fn quoted(text: &str) -> String {
    if text.contains('"') { format!("'{text}'") } else { format!("\"{text}\"") }
}

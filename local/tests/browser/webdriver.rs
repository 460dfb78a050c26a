//! A client for ChromeDriver, which speaks WebDriver: JSON over HTTP (<https://www.w3.org/TR/webdriver2/>). The
//! existing clients do not suit the workspace. `fantoccini` depends on code under the MPL. `thirtyfour` switches on a
//! feature of `serde_json` for all crates, so the tested JSON code would differ from the deployed code.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The JSON member that marks a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running ChromeDriver with one Chromium. Dropping this value ends both programs.
pub(super) struct Session {
    http: reqwest::Client,
    port: u16,
    path: String,
    _driver: Child,
    // This folder is removed last. It holds the files that a killed Chromium leaves behind.
    _folder: TempDir,
}

/// An error of WebDriver, such as `no such element`.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: String,
    pub(super) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.error, self.message)
    }
}

/// A reference to an element of the page.
#[derive(Debug, Clone)]
pub(super) struct Element(String);

impl Session {
    /// Starts ChromeDriver and Chromium.
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is not installed: ./local/test installs it");
        let output = driver.stdout.take().unwrap();
        let port = tokio::time::timeout(PATIENCE, port(output)).await.expect("ChromeDriver starts in time");
        let http = reqwest::Client::new();
        let mut session = Self { http, port, path: String::new(), _driver: driver, _folder: folder };
        let mut arguments = vec!["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
        if rustix::process::geteuid().is_root() {
            // Tests in a container run as root, and Chromium does not start its sandbox for root.
            arguments.push("--no-sandbox");
        }
        let options = json!({"args": arguments});
        let capabilities = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let created = session.request("POST", "/session", &capabilities).await.unwrap();
        session.path = format!("/session/{}", created["sessionId"].as_str().unwrap());
        session
    }

    async fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, Fault> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = self.http.request(method.parse().unwrap(), url).timeout(2 * PATIENCE);
        let request = if method == "POST" { request.body(body.to_string()) } else { request };
        let answer = request.send().await.unwrap();
        let is_success = answer.status().is_success();
        let answer: Value = answer.json().await.unwrap();
        let value = &answer["value"];
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        if is_success { Ok(value.clone()) } else { Err(Fault { error: text("error"), message: text("message") }) }
    }

    async fn post(&self, command: &str, body: &Value) -> Result<Value, Fault> {
        self.request("POST", &format!("{}{command}", self.path), body).await
    }

    async fn get(&self, command: &str) -> Result<Value, Fault> {
        self.request("GET", &format!("{}{command}", self.path), &Value::Null).await
    }

    /// Loads the page at an address, and waits until the page is loaded.
    pub(super) async fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url})).await.unwrap();
    }

    /// Returns the address of the page.
    pub(super) async fn url(&self) -> String {
        self.get("/url").await.unwrap().as_str().unwrap().to_owned()
    }

    /// Returns the elements that an XPath selects, in their order in the page.
    pub(super) async fn find(&self, xpath: &str) -> Result<Vec<Element>, Fault> {
        let found = self.post("/elements", &json!({"using": "xpath", "value": xpath})).await?;
        let reference = |element: &Value| Element(element[ELEMENT].as_str().unwrap().to_owned());
        Ok(found.as_array().unwrap().iter().map(reference).collect())
    }

    /// Returns whether a person can see an element.
    pub(super) async fn is_displayed(&self, Element(element): &Element) -> Result<bool, Fault> {
        Ok(self.get(&format!("/element/{element}/displayed")).await? == true)
    }

    /// Scrolls to an element and clicks on its middle. Fails if something covers the element.
    pub(super) async fn click(&self, Element(element): &Element) -> Result<(), Fault> {
        self.post(&format!("/element/{element}/click"), &json!({})).await.map(drop)
    }

    /// Clears a field.
    pub(super) async fn clear(&self, Element(element): &Element) -> Result<(), Fault> {
        self.post(&format!("/element/{element}/clear"), &json!({})).await.map(drop)
    }

    /// Types text into a field.
    pub(super) async fn type_text(&self, Element(element): &Element, text: &str) -> Result<(), Fault> {
        self.post(&format!("/element/{element}/value"), &json!({"text": text})).await.map(drop)
    }

    /// Runs a script in the page. The script is the body of a function. The script runs even if scripts are switched
    /// off, and even though the page's policy forbids inline scripts. After `arguments`, WebDriver passes one more
    /// argument: a callback, which the script must call with its result.
    pub(super) async fn run(&self, script: &str, arguments: &[Value]) -> Result<Value, Fault> {
        self.post("/execute/async", &json!({"script": script, "args": arguments})).await
    }

    /// Evaluates an expression in the page.
    pub(super) async fn evaluate(&self, expression: &str) -> Result<Value, Fault> {
        self.post("/execute/sync", &json!({"script": format!("return {expression}"), "args": []})).await
    }

    /// Sends a command of Chromium's own protocol (<https://chromedevtools.github.io/devtools-protocol/>).
    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters})).await.unwrap()
    }
}

impl Drop for Session {
    /// Ends Chromium, which would keep running if only ChromeDriver were killed.
    fn drop(&mut self) {
        let Ok(mut driver) = TcpStream::connect(("127.0.0.1", self.port)) else { return };
        let request = format!("DELETE {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", self.path);
        let _timed = driver.set_read_timeout(Some(PATIENCE));
        let _ended = driver.write_all(request.as_bytes()).and_then(|()| driver.read(&mut [0; 64]));
    }
}

/// Returns ChromeDriver's port, which is in ChromeDriver's output.
async fn port(output: tokio::process::ChildStdout) -> u16 {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim_end_matches('.').parse().unwrap();
        }
    }
    panic!("ChromeDriver has ended");
}

//! `cargo lambda watch`: runs each function in its own process behind a Runtime API, as Lambda does.
//! <https://www.cargo-lambda.info/commands/watch.html>

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use reqwest::Url;
use tokio::process::Command;
use tokio::time::Instant;

use super::data_folder::DataFolder;
use super::kafka_jars::target_folder;
use super::log::Log;
use super::process::{ServerProcess, StopSignal};
use super::{ServerError, port};

const NAME: &str = "cargo lambda watch";
/// The functions are built with the profile of this program.
const PROFILE: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Each function, with the path of a request that starts the function. Any answer shows that the function runs.
const FIRST_REQUESTS: [(&str, &str); 5] = [
    ("ingest", "/health"),
    ("console", "/dead-letters"),
    ("users", "/blocked"),
    ("report", "/report"),
    ("consume", "/2015-03-31/functions/consume/invocations"),
];

/// The functions behind `cargo lambda watch`.
#[derive(Debug)]
pub struct LambdaWatch {
    process: ServerProcess,
    url: Url,
    log: PathBuf,
}

impl LambdaWatch {
    /// Builds the functions, and shows cargo's output. Then serves the functions on this port of 127.0.0.1, with their
    /// log in `data`. Waits until every function answers. The functions get this process's environment plus
    /// `variables`.
    ///
    /// # Errors
    /// cargo-lambda is missing, the functions cannot be built, the port is taken, or a function does not answer. In the
    /// last case, the error contains the log's last lines.
    pub async fn start(data: &DataFolder, port: u16, variables: Vec<(String, String)>) -> Result<Self, ServerError> {
        let program = program()?;
        build().await?;
        if !port::is_free(port) {
            return Err(ServerError::PortTaken { name: NAME, port });
        }
        let folder = data.subfolder("functions");
        fs::create_dir_all(&folder.path).map_err(|source| ServerError::Folder { path: folder.path.clone(), source })?;
        let log = Log::in_folder(&folder);
        let mut command = Command::new(program);
        command
            .args(["lambda", "--color", "never", "watch"])
            .args(PROFILE)
            // By default, `cargo lambda watch` listens on all addresses.
            .args(["--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
            .current_dir(workspace())
            // The option --env-file of `cargo lambda watch` is not used, because this option would require secrets on
            // disk, and because a value such as a certificate may have several lines.
            .envs(variables);
        let process = ServerProcess::spawn(NAME, command, log.clone(), StopSignal::Terminate, &folder)?;
        let url =
            format!("http://127.0.0.1:{port}").parse().map_err(|_| ServerError::PortTaken { name: NAME, port })?;
        let mut watch = Self { process, url, log: log.path().to_owned() };
        let ready = tokio::select! {
            ready = every_function_answers(&watch.url) => if ready { Ok(()) } else {
                Err(ServerError::NotReady { name: NAME, patience: START_PATIENCE, log: log.tail() })
            },
            died = watch.process.died() => Err(died),
        };
        match ready {
            Ok(()) => Ok(watch),
            Err(error) => {
                watch.process.kill9().await;
                Err(error)
            }
        }
    }

    /// Returns the base address of the HTTP API and of Lambda's Invoke API.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the file with the logs of `cargo lambda watch` and of the functions.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until `cargo lambda watch` ends on its own, and returns how it ended.
    pub async fn died(&self) -> ServerError {
        self.process.died().await
    }

    /// Stops `cargo lambda watch` and the functions.
    pub async fn stop(mut self) {
        self.process.stop(STOP_PATIENCE).await;
    }
}

/// Looks for cargo-lambda where `./local/up --lambda` installs it, then in `PATH`.
fn program() -> Result<PathBuf, ServerError> {
    const PROGRAM: &str = "cargo-lambda";
    let ours = target_folder().join("tools/python/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(ours)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(PROGRAM))
        .find(|program| program.is_file())
        .ok_or(ServerError::NotInstalled { what: PROGRAM })
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds the functions beforehand, because `cargo lambda watch` would build each function only at its first request.
/// Selects the same packages as `cargo lambda watch`, so that nothing is built twice.
async fn build() -> Result<(), ServerError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked"])
        .args(PROFILE)
        .args(FIRST_REQUESTS.iter().flat_map(|(function, _)| ["--bin", function]))
        .current_dir(workspace())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|source| ServerError::Spawn { name: "cargo build", source })?;
    if built.success() { Ok(()) } else { Err(ServerError::Build) }
}

/// Returns whether every function answers in time, with any status.
async fn every_function_answers(base: &Url) -> bool {
    // An event without records.
    const EVENT: &str = r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"","records":{}}"#;
    let deadline = Instant::now() + START_PATIENCE;
    let client = reqwest::Client::new();
    let answers = FIRST_REQUESTS.map(async |(_, path)| {
        let mut url = base.clone();
        url.set_path(path);
        loop {
            let request = if path.ends_with("invocations") {
                client.post(url.clone()).body(EVENT)
            } else {
                client.get(url.clone())
            };
            match tokio::time::timeout_at(deadline, request.send()).await {
                Ok(Ok(_answer)) => return true,
                Ok(Err(_not_yet)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(_too_late) => return false,
            }
        }
    });
    join_all(answers).await.into_iter().all(|answers| answers)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::template::{self, Template};

    type Routes = BTreeMap<String, String>;

    /// Returns the function of each path in the template, and the function that gets requests for any other path.
    fn in_template() -> (Routes, String) {
        let template = Template::read(&template::own_path()).unwrap();
        let (mut routes, mut others) = (Routes::new(), String::new());
        for (_, resource) in template.resources() {
            let function = resource["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap_or_default();
            let events = resource["Properties"]["Events"].as_mapping();
            for event in events.into_iter().flat_map(|events| events.values()) {
                if event["Type"].as_str() != Some("HttpApi") {
                    continue;
                }
                match event["Properties"]["Path"].as_str() {
                    Some(path) => {
                        let before = routes.insert(path.to_owned(), function.to_owned());
                        assert!(before.is_none_or(|before| before == function), "{path} has two functions");
                    }
                    None => function.clone_into(&mut others),
                }
            }
        }
        (routes, others)
    }

    fn in_cargo_toml() -> Result<Routes, Box<dyn std::error::Error>> {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(workspace());
        let metadata: Value = serde_json::from_slice(&cargo.output()?.stdout)?;
        Ok(serde_json::from_value(metadata["metadata"]["lambda"]["watch"]["router"].clone())?)
    }

    /// Converts `{proxy+}`, the template's notation for the rest of a path, to `{*proxy}`, the router's notation.
    fn rest_of_path(path: &str) -> String {
        match path.strip_suffix("+}").and_then(|path| path.rsplit_once('{')) {
            Some((before, name)) => format!("{before}{{*{name}}}"),
            None => path.to_owned(),
        }
    }

    #[test]
    fn cargo_lambda_watch_serves_the_templates_routes_with_the_templates_functions() {
        let (template, others) = in_template();
        assert!(template.len() > 10, "the template has more than ten routes: {template:?}");
        let mut router = in_cargo_toml().unwrap_or_default();
        let rest = ["/", "/{*path}"].map(|path| router.remove(path));
        assert_eq!(rest, [Some(others.clone()), Some(others.clone())], "the default function gets all other requests");
        // Cargo.toml need not list the routes that lead to the default function.
        let routes = template.into_iter().filter(|(_, function)| *function != others);
        let routes: Routes = routes.map(|(path, function)| (rest_of_path(&path), function)).collect();
        assert_eq!(router, routes, "[workspace.metadata.lambda.watch.router] in Cargo.toml repeats template.yaml");
    }

    #[test]
    fn every_function_that_has_routes_in_the_template_is_built_and_awaited() {
        let (template, others) = in_template();
        let mut functions: Vec<&str> = FIRST_REQUESTS.iter().map(|(function, _)| *function).collect();
        functions.sort_unstable();
        assert!(template.values().chain([&others]).all(|function| functions.contains(&function.as_str())));
    }
}

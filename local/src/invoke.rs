//! `cargo local invoke`: one event to one function.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use reqwest::Url;

use crate::CommandError;
use crate::event_source_mapping::function::{Function as _, OverHttp};
use crate::scheduler;
use crate::terminal::say;

/// Posts an event to a function, where `local/up` or `cargo lambda watch` serve it, and prints the answer.
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// The function: ingest, consume, users or report.
    name: String,
    /// Where the function is served.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    endpoint: Url,
    /// The event as JSON [default: for `report` its schedule's, for others an empty one].
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
}

impl Invoke {
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let event = match &self.event {
            Some(path) => std::fs::read(path).map_err(|source| CommandError::Event { path: path.clone(), source })?,
            None if self.name == "report" => scheduler::event("Hourly", Timestamp::now()).to_string().into_bytes(),
            None => b"{}".to_vec(),
        };
        let function = OverHttp::new(&self.endpoint, &self.name)?;
        let answer = function.invoke(event.into()).await.map_err(CommandError::Invocation)?;
        say(String::from_utf8_lossy(&answer));
        Ok(())
    }
}

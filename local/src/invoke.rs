//! `cargo local invoke`: sends one event to one function.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use operator::terminal::say;
use reqwest::Url;
use serde_json::json;

use crate::CommandError;
use crate::event_source_mapping::function::{Function as _, OverHttp};
use crate::{scheduler, template};

/// Posts an event to a function that `local/up` or `cargo lambda watch` serves, and prints the answer.
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// Name of the function: ingest, consume, console, users or report.
    name: String,
    /// Base address of the functions.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    endpoint: Url,
    /// File with the event's JSON [default: the scheduled event for `console`, `consume` and `report`; an empty event
    /// for the other functions].
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
}

impl Invoke {
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let event = match &self.event {
            Some(path) => std::fs::read(path).map_err(|source| CommandError::Event { path: path.clone(), source })?,
            None => {
                let schedules = scheduler::read_template(&template::own_path())?;
                let schedule = schedules.into_iter().find(|schedule| schedule.function == self.name);
                let event = schedule.map_or(json!({}), |schedule| scheduler::event(&schedule.name, Timestamp::now()));
                event.to_string().into_bytes()
            }
        };
        let function = OverHttp::new(&self.endpoint, &self.name)?;
        let answer = function.invoke(event.into()).await.map_err(CommandError::Invocation)?;
        say(String::from_utf8_lossy(&answer));
        Ok(())
    }
}

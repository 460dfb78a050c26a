//! Handles one invocation of the function.

use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use serde_json::{Value, json};
use shared::aws::Aws;
use shared::database::OwnerSource;
use shared::identity::password::Blocklist;
use shared::identity::{random_password, set_admin};
use shared::process::settings::SettingsError;
use tokio::time::timeout;

use crate::custom_resource;
use crate::error::MigrateError;
use crate::prepare::prepare;
use crate::request::Request;

/// The part of an invocation's time that is reserved for the answer.
const RESERVE: Duration = Duration::from_secs(45);
/// The time limit of an invocation without a usable deadline. `cargo lambda watch` reports a deadline in 1970.
const DEFAULT_TIME_LEFT: Duration = Duration::from_secs(900);

/// The function. `V` reads an environment variable.
pub struct MigrateFunction<V> {
    logging: Result<(), SettingsError>,
    variable: V,
    aws: Aws,
}

impl<V: Fn(&'static str) -> Option<String>> MigrateFunction<V> {
    /// Creates a function that reads its settings through `variable` at each invocation. If `logging` is an error, the
    /// preparation of the database and the cluster fails with this error.
    pub fn new(logging: Result<(), SettingsError>, variable: V, aws: Aws) -> Self {
        Self { logging, variable, aws }
    }

    /// Handles an invocation that ends at `deadline`, and returns its response.
    ///
    /// # Errors
    /// An operator must fix something. A failure that was reported to CloudFormation is not an error here.
    pub async fn invoke(&self, payload: &str, deadline: SystemTime) -> Result<Value, MigrateError> {
        let left = deadline.duration_since(SystemTime::now()).unwrap_or(DEFAULT_TIME_LEFT).saturating_sub(RESERVE);
        // The futures are boxed, because the compiler limits how deeply futures may nest.
        let answered = match Request::read(payload)? {
            Request::CloudFormation(request) => {
                custom_resource::answer(&request, left, self.prepare().boxed_local()).boxed_local().await
            }
            Request::Prepare => {
                timeout(left, self.prepare().boxed_local()).await.unwrap_or(Err(MigrateError::Deadline(left)))
            }
            Request::Admin { name } => self.make_admin(&name).boxed_local().await,
        };
        answered.inspect_err(|error| tracing::error!("{error}"))
    }

    async fn prepare(&self) -> Result<Value, MigrateError> {
        self.logging.clone()?;
        let done = prepare(&self.variable, &self.aws).boxed_local().await?;
        Ok(json!(done))
    }

    /// Creates an admin with a random password. Only the response contains the password.
    async fn make_admin(&self, name: &str) -> Result<Value, MigrateError> {
        let owner = OwnerSource::read(&self.variable)?.look_up(&self.aws).await?;
        let (pool, _) = owner.open().await?;
        let password = random_password();
        let made = set_admin(&pool, name, &password, Blocklist::Off, "function: migrate").await;
        pool.close().await;
        made?;
        tracing::info!("a user was made an admin");
        Ok(json!({"admin": name, "password": password}))
    }
}

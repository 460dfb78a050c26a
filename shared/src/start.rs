//! How a function starts: variables, then what they name at AWS, then connections; whatever can be at the same time, is.
//!
//! What an operator has to mend stops the start with one line: a variable, a secret that is not there, a certificate or
//! password that is refused. What passes (nobody answers) does not: Lambda would start the function again and again
//! while its world is away. It is tried again by the first request, which tells.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::spawn_blocking;

use crate::aws::{Aws, LookUpError, is_arn};
use crate::clock::Clock;
use crate::contract::{ContractError, Registry};
use crate::database::{DatabaseError, Login};
use crate::identity::IdentitySettings;
use crate::kafka::{KafkaSource, Producer, ProducerError};
use crate::settings::{Settings, SettingsError, from_env};

/// How long broker and database have to answer, after what is looked up at AWS: Lambda gives Init 10 s for all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a function does not start. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable is missing or malformed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A contract is wrong.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// A secret is not there.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The brokers refuse.
    #[error(transparent)]
    Producer(#[from] ProducerError),
}

/// What a function works with.
pub struct World {
    /// The contracts.
    pub registry: Arc<Registry>,
    /// Connections to the database.
    pub pool: PgPool,
    /// Their login.
    pub login: Login,
    /// The machine's clock.
    pub clock: Clock,
    /// How long a row waits for its parent.
    pub wait_for_parent: Duration,
}

/// What one that answers HTTP works with beside that.
pub struct HttpWorld {
    /// What it shares with the others.
    pub world: World,
    /// Who users are.
    pub identity: IdentitySettings,
    /// The way to Kafka.
    pub producer: Producer,
}

impl World {
    /// For a function that needs contracts and the database, with as many connections at most.
    ///
    /// # Errors
    /// What an operator has to mend.
    pub async fn connect(max_connections: u32) -> Result<Self, StartError> {
        Self::with(&Aws::default(), max_connections, async { Ok(()) }).await.map(|(world, ())| world)
    }

    /// The world, and what is done `beside` connecting to it.
    async fn with<T>(
        aws: &Aws,
        max_connections: u32,
        beside: impl Future<Output = Result<T, StartError>>,
    ) -> Result<(Self, T), StartError> {
        let settings = Settings::read(from_env)?;
        let clock = Clock::system();
        let database = async {
            let (pool, login) = Login::open(&settings.database, aws, &clock, max_connections).await?;
            if let Err(error) = login.connect(PATIENCE).await {
                if !error.passes() {
                    return Err(error.into());
                }
                tracing::warn!("{error}");
            }
            Ok((pool, login))
        };
        // It keeps a processor for some milliseconds, in which the others go on.
        let contracts_dir = settings.contracts_dir;
        let loading = spawn_blocking(move || Registry::load(contracts_dir.as_deref()).map(Arc::new));
        let contracts = async { Ok(loading.await.unwrap_or_else(|failed| resume_unwind(failed.into_panic()))?) };
        let ((pool, login), beside, registry) = futures::try_join!(database, beside, contracts)?;
        let wait_for_parent = settings.wait_for_parent;
        Ok((Self { registry, pool, login, clock, wait_for_parent }, beside))
    }
}

impl HttpWorld {
    /// For a function that knows users and sends to Kafka, with as many connections to the database at most.
    ///
    /// # Errors
    /// What an operator has to mend.
    pub async fn connect(max_connections: u32) -> Result<Self, StartError> {
        let (aws, source) = (Aws::default(), KafkaSource::read(from_env)?);
        let identity = match token_secret(from_env)? {
            Some(arn) => Err(arn),
            None => Ok(IdentitySettings::read(from_env)?),
        };
        let connecting = async {
            let producer = Producer::looked_up(source, aws.clone());
            if let Err(error) = producer.connect(PATIENCE).await {
                if !error.passes() {
                    return Err(error.into());
                }
                tracing::warn!("{error}");
            }
            Ok(producer)
        };
        let knowing = async {
            let arn = match identity {
                Ok(identity) => return Ok(identity),
                Err(arn) => arn,
            };
            // Nothing can be done without it, so here an AWS that is away stops the start, too.
            let key = aws.secret(TOKEN_SECRET, &arn).await?;
            let key = || Some(key.reveal().trim().to_owned());
            Ok(IdentitySettings::read(|name| if name == TOKEN_KEY { key() } else { from_env(name) })?)
        };
        let beside = async { futures::try_join!(connecting, knowing) };
        let (world, (producer, identity)) = World::with(&aws, max_connections, beside).await?;
        Ok(Self { world, identity, producer })
    }
}

const TOKEN_KEY: &str = "TOKEN_KEY";
const TOKEN_SECRET: &str = "TOKEN_SECRET_ARN";

/// The secret that holds the tokens' keys, if it is not a variable that does.
fn token_secret(variable: impl Fn(&'static str) -> Option<String>) -> Result<Option<String>, SettingsError> {
    match variable(TOKEN_SECRET) {
        Some(_) if variable(TOKEN_KEY).is_some() => Ok(None),
        Some(arn) if is_arn(&arn, "secretsmanager", "secret:") => Ok(Some(arn)),
        Some(_) => Err(SettingsError::Malformed {
            name: TOKEN_SECRET,
            expected: "the ARN of a secret whose text is what TOKEN_KEY would hold",
        }),
        None => Ok(None),
    }
}

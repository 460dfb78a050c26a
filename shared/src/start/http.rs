//! Starts a function that answers HTTP. Besides the connections that every function has, it needs a producer, and an
//! [`Identity`], which authenticates callers.

use sqlx::PgPool;

use super::{PATIENCE, StartError, World};
use crate::aws::{Aws, LookUpError, is_arn};
use crate::contract::{Contract, Registry};
use crate::identity::{Identity, IdentitySettings, Relay};
use crate::kafka::reader::KafkaReader;
use crate::kafka::{KafkaSource, Producer};
use crate::process::settings::{SettingsError, from_env};

/// The connections and settings of a function that answers HTTP.
pub struct HttpWorld {
    /// The part that every function has.
    pub world: World,
    /// The users.
    pub identity: Identity,
    /// The producer, which sends to Kafka.
    pub producer: Producer,
    /// The reader of Kafka. It connects on first use.
    pub reader: KafkaReader,
}

/// Creates the relay of login attempts. Returns `None` if no contract describes the stream `login`.
pub fn login_relay(registry: &Registry, pool: &PgPool, producer: &Producer) -> Option<Relay> {
    let topic = registry.stream(Contract::LOGIN)?.topic.clone();
    Some(Relay::to_topic(topic, pool.clone(), producer.clone()))
}

impl HttpWorld {
    /// Starts a function that authenticates callers and sends to Kafka, with at most `max_connections` connections to
    /// the database.
    ///
    /// # Errors
    /// There is a problem that an operator has to fix, or AWS does not answer when asked for the keys that sign tokens.
    pub async fn connect(max_connections: u32) -> Result<Self, StartError> {
        let (aws, source) = (Aws::default(), KafkaSource::read(from_env)?);
        let identity = match token_secret(from_env)? {
            Some(arn) => Err(arn),
            None => Ok(IdentitySettings::read(from_env)?),
        };
        let reader = KafkaReader::looked_up(source.clone(), aws.clone());
        let connecting = async {
            let producer = Producer::looked_up(source, aws.clone());
            if let Err(error) = producer.connect(PATIENCE).await {
                if !error.is_temporary() {
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
            // The function can do nothing without the keys, so it does not start if AWS does not answer.
            let key = aws.secret(TOKEN_SECRET, &arn).await?;
            let key = || Some(key.reveal().trim().to_owned());
            let settings = IdentitySettings::read(|name| if name == TOKEN_KEY { key() } else { from_env(name) });
            settings.map_err(|error| match error {
                SettingsError::Malformed { name: TOKEN_KEY, expected } => {
                    LookUpError::Unfit { variable: TOKEN_SECRET, expected }.into()
                }
                error @ (SettingsError::Missing { .. } | SettingsError::Malformed { .. }) => StartError::from(error),
            })
        };
        let beside = async { futures::try_join!(connecting, knowing) };
        let (world, (producer, identity)) = World::with(&aws, max_connections, beside).await?;
        let relay = login_relay(&world.registry, &world.pool, &producer);
        let identity = Identity::new(world.pool.clone(), world.clock.clone(), &identity, relay);
        Ok(Self { world, identity, producer, reader })
    }
}

const TOKEN_KEY: &str = "TOKEN_KEY";
const TOKEN_SECRET: &str = "TOKEN_SECRET_ARN";

/// Returns the ARN of the secret that contains the keys for signing tokens. Returns `None` if `TOKEN_KEY` contains the
/// keys, or no secret is named.
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

//! The owner's access to the database. `migrate` uses it to prepare the database for the functions.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::time::timeout;

use super::login::is_refusal;
use super::{DatabaseError, DatabaseSource, FunctionsLogin, Login};
use crate::aws::{Aws, LookUpError, is_arn};
use crate::process::settings::SettingsError;

const SECRET: &str = "OWNER_SECRET_ARN";

/// The time limit for the server's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The logins of the owner and the functions, before anything is looked up at AWS.
#[derive(Debug, Clone)]
pub struct OwnerSource {
    functions: DatabaseSource,
    arn: String,
}

/// The owner's access to the functions' database.
#[derive(Debug, Clone)]
pub struct Owner {
    options: PgConnectOptions,
    functions_options: PgConnectOptions,
    /// The functions' login.
    pub functions: FunctionsLogin,
}

impl OwnerSource {
    /// Reads `OWNER_SECRET_ARN`, and the variables of [`DatabaseSource::read`], through `variable`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        const EXPECTED: &str = "the ARN of a secret with username and password of the database's owner";
        let functions = DatabaseSource::read(&variable)?;
        let arn = variable(SECRET).ok_or(SettingsError::Missing { name: SECRET, expected: EXPECTED })?;
        if is_arn(&arn, "secretsmanager", "secret:") {
            Ok(Self { functions, arn })
        } else {
            Err(SettingsError::Malformed { name: SECRET, expected: EXPECTED })
        }
    }

    /// Looks up both logins.
    ///
    /// # Errors
    /// AWS does not answer, or a secret is unsuitable.
    pub async fn look_up(&self, aws: &Aws) -> Result<Owner, LookUpError> {
        let ((functions_options, functions), secret) =
            futures::try_join!(self.functions.look_up_login(aws), aws.secret(SECRET, &self.arn))?;
        let members = secret.members().unwrap_or_default();
        let (Some(name), Some(password)) = (members.get("username"), members.get("password")) else {
            return Err(LookUpError::Unfit { variable: SECRET, expected: "a JSON object with username and password" });
        };
        let options = functions_options.clone().username(name.reveal()).password(password.reveal());
        Ok(Owner { options, functions_options, functions })
    }
}

impl Owner {
    /// Returns whether the functions log in as the owner.
    pub fn is_shared(&self) -> bool {
        self.options.get_username() == self.functions.name
    }

    /// Connects as the owner, and creates the database if it does not exist. Returns a pool, and whether the database
    /// was created.
    ///
    /// # Errors
    /// The server does not answer, or refuses the connection or the new database.
    pub async fn open(&self) -> Result<(PgPool, bool), DatabaseError> {
        let pool = Login::for_address(DatabaseSource::from_options(self.options.clone()), 1);
        let refused = |error| DatabaseError::from_connect(error, &self.options);
        let connected = pool.acquire().await.map(drop);
        match connected {
            Ok(()) => Ok((pool, false)),
            Err(error) if is_unknown_database(&error) => {
                let created = self.create_database().await?;
                pool.acquire().await.map(drop).map_err(refused)?;
                Ok((pool, created))
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Creates the database. Returns false if somebody else has just created it.
    async fn create_database(&self) -> Result<bool, DatabaseError> {
        const DUPLICATE: &str = "42P04";
        let failed = |error| DatabaseError::from_connect(error, &self.options);
        let mut server = self.connect(&self.options.clone().database("postgres")).await?;
        let name = self.options.get_database().unwrap_or(self.options.get_username());
        let create: String = sqlx::query_scalar("select format('create database %I', $1)")
            .bind(name)
            .fetch_one(&mut server)
            .await
            .map_err(failed)?;
        let created = server.execute(create.as_str()).await;
        let _closed_either_way = server.close().await;
        match created {
            Ok(_) => Ok(true),
            Err(error) if code(&error).as_deref() == Some(DUPLICATE) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns whether the functions' login works. To find out, this opens a connection and closes it again.
    ///
    /// # Errors
    /// The server does not answer, or refuses the connection for a reason other than the login.
    pub async fn functions_can_log_in(&self) -> Result<bool, DatabaseError> {
        match self.connect(&self.functions_options).await {
            Ok(connection) => {
                let _closed_either_way = connection.close().await;
                Ok(true)
            }
            Err(DatabaseError::Refused(error)) if is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
        let connected = timeout(PATIENCE, options.connect()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        connected.map_err(|error| DatabaseError::from_connect(error, options))
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Returns whether the server has no such database (SQLSTATE 3D000).
fn is_unknown_database(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("3D000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_variable_if_it_is_missing_or_malformed() {
        let read = |arn: Option<&str>| {
            let source = OwnerSource::read(|name| match name {
                "DATABASE_URL" => Some("postgres://functions:p@localhost/sluice".to_owned()),
                SECRET => arn.map(str::to_owned),
                _ => None,
            });
            source.err().map(|error| error.to_string())
        };
        let expected = "it should hold the ARN of a secret with username and password of the database's owner";
        assert_eq!(read(None), Some(format!("OWNER_SECRET_ARN is not set: {expected}")));
        assert_eq!(read(Some("hunter2")), Some(format!("OWNER_SECRET_ARN is malformed: {expected}")));
        assert_eq!(read(Some("arn:aws:secretsmanager:eu-central-1:123456789012:secret:owner-AbCdEf")), None);
    }
}

//! `cargo local admin`: makes a user an admin. No HTTP route can do this.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use shared::database::{self, DatabaseSource};
use shared::identity::password::Blocklist;
use shared::identity::set_admin;

use crate::environment::Environment;
use crate::error::OperatorError;
use crate::terminal::say;

/// Makes a user an admin and sets the user's password. Creates the user if no user has this name. Asks for the password
/// if standard input is a terminal. Otherwise, the password is the first line of standard input.
#[derive(Debug, Args)]
pub struct Admin {
    /// The user's name.
    name: String,
}

impl Admin {
    /// Reads the password and makes the user an admin.
    ///
    /// # Errors
    /// A variable is invalid, the password cannot be read or is refused, or the database is not ready.
    pub async fn run(self) -> Result<(), OperatorError> {
        let environment = Environment::default();
        let (database, blocklist) = (environment.database()?, environment.blocklist()?);
        let password = if io::stdin().is_terminal() {
            rpassword::prompt_password(format!("Password for {}: ", self.name))
        } else {
            io::stdin().lock().lines().next().unwrap_or_else(|| Ok(String::new()))
        }
        .map_err(OperatorError::Password)?;
        make(&database, &self.name, &password, blocklist, "cargo local: admin").await?;
        say(format_args!("{} is now an admin with this password", self.name));
        Ok(())
    }
}

/// Gives a user the role of an admin and this password. Creates the user if the database has no user of this name. `by`
/// names the command in the audit log.
///
/// # Errors
/// The name or the password is refused, or the database is not ready.
pub async fn make(
    database: &DatabaseSource,
    name: &str,
    password: &str,
    blocklist: Blocklist,
    by: &str,
) -> Result<(), OperatorError> {
    let pool = database::connect_to(database, 1).await?;
    let made = set_admin(&pool, name, password, blocklist, by).await;
    pool.close().await;
    Ok(made?)
}

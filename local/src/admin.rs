//! `cargo local admin`: the first admin, whom nobody else can make.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use shared::database::{self, DatabaseSource};
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::{Blocklist, Password};

use crate::CommandError;
use crate::environment::Environment;
use crate::terminal::say;

/// Makes a user an admin, with a new password; adds the user, if there is none of this name. The password comes from
/// the terminal, or from standard input's first line.
#[derive(Debug, Args)]
pub(crate) struct Admin {
    /// The user's name.
    name: String,
}

impl Admin {
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let environment = Environment::default();
        let (database, users) = (environment.database()?, environment.users()?);
        let password = if io::stdin().is_terminal() {
            rpassword::prompt_password(format!("Password for {}: ", self.name))
        } else {
            io::stdin().lock().lines().next().unwrap_or_else(|| Ok(String::new()))
        }
        .map_err(CommandError::Password)?;
        make(&database, &self.name, &password, users.blocklist).await?;
        say(format_args!("{} is an admin, with this password", self.name));
        Ok(())
    }
}

/// Makes a user of the database an admin.
pub(crate) async fn make(
    database: &DatabaseSource,
    name: &str,
    password: &str,
    blocklist: Blocklist,
) -> Result<(), CommandError> {
    let refused = |what, error: String| CommandError::Admin(format!("the admin's {what} {error}"));
    let name = UserName::parse(name).map_err(|error| refused("name", error.to_string()))?;
    let password = Password::new(password, &name, blocklist).map_err(|error| refused("password", error.to_string()))?;
    let pool = database::connect_to(database, 1).await?;
    let made = make_admin(&pool, &name, password).await;
    pool.close().await;
    made.map_err(|error| CommandError::Admin(format!("no admin was made: {error}")))
}

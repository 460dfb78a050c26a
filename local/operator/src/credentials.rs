//! A name and a password on the command line.

use std::fmt;
use std::str::FromStr;

/// A name and a password for HTTP Basic.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for Credentials {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, password) = text.split_once(':').ok_or("should be NAME:PASSWORD")?;
        Ok(Self { name: name.to_owned(), password: password.to_owned() })
    }
}

//! A name and a password on the command line.

use std::fmt;
use std::str::FromStr;

/// Name and password, for HTTP Basic.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Credentials {
    /// Those of a fresh gateway's admin: the password is random.
    pub(crate) fn demo() -> Self {
        Self { name: "demo".to_owned(), password: uuid::Uuid::new_v4().simple().to_string() }
    }
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

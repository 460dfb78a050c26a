//! Secrets of AWS Secrets Manager.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

/// A secret text, which is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Parses the secret as a JSON object, which is the form of RDS's and MSK's secrets. Numbers keep their spelling.
    pub(crate) fn members(&self) -> Option<HashMap<String, Secret>> {
        let members: HashMap<String, Value> = serde_json::from_str(&self.0).ok()?;
        let text = |value| match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        Some(members.into_iter().filter_map(|(name, value)| Some((name, Self(text(value)?)))).collect())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rds_secret_is_parsed_and_never_shown() {
        let secret = Secret::new(r#"{"username":"u","password":"p w","port":5432,"masterarn":null}"#.to_owned());
        let members = secret.members().unwrap_or_default();
        let member = |name: &str| members.get(name).map(Secret::reveal);
        assert_eq!((member("username"), member("password"), member("port")), (Some("u"), Some("p w"), Some("5432")));
        assert_eq!(member("masterarn"), None);
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert!(Secret::new("plain".to_owned()).members().is_none());
    }
}

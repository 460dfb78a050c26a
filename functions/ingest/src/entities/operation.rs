//! The operation that a method means, as an entity command states it.

use axum::http::Method;
use bytes::Bytes;
use serde_json::Value;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `POST`. A command that states no operation creates.
    Create,
    /// `PUT`.
    Update,
    /// `DELETE`.
    Delete,
}

impl Operation {
    /// What a method means.
    pub(crate) fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::POST => Some(Self::Create),
            Method::PUT => Some(Self::Update),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Has the command state this operation. Answers its text anew, if it has changed: `op` comes first, the rest
    /// stays as it was written.
    ///
    /// # Errors
    /// The command states another operation: what is wrong with `op`.
    pub(crate) fn state_in(self, text: &[u8], command: &mut Value) -> Result<Option<Bytes>, String> {
        let (Some(members), Some((b'{', rest))) = (command.as_object_mut(), text.split_first()) else {
            return Ok(None);
        };
        match members.get("op") {
            Some(op) if op == self.name() => Ok(None),
            Some(_) => Err(format!("is not {:?}, which this method means", self.name())),
            None if self == Self::Create => Ok(None),
            None => {
                let comma = if members.is_empty() { "" } else { "," };
                let mut stated = format!("{{\"op\":\"{}\"{comma}", self.name()).into_bytes();
                stated.extend_from_slice(rest);
                members.insert("op".to_owned(), self.name().into());
                Ok(Some(stated.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(operation: Operation, text: &str) -> (Result<Option<Bytes>, String>, Value) {
        let mut command = serde_json::from_str(text).unwrap_or_default();
        (operation.state_in(text.as_bytes(), &mut command), command)
    }

    #[test]
    fn the_operation_is_put_before_what_was_written() {
        let (stated, command) = state(Operation::Update, "{ \"name\":\"Iran\", \"area\": 1.50}");
        let text = "{\"op\":\"update\", \"name\":\"Iran\", \"area\": 1.50}";
        assert_eq!(stated, Ok(Some(Bytes::from(text))));
        assert_eq!(serde_json::from_str::<Value>(text).ok(), Some(command));
        assert_eq!(state(Operation::Delete, "{}").0, Ok(Some(Bytes::from("{\"op\":\"delete\"}"))));
    }

    #[test]
    fn a_command_that_says_so_already_stays_as_it_is() {
        assert_eq!(state(Operation::Create, "{\"name\":\"Iran\"}"), (Ok(None), json!({"name": "Iran"})));
        assert_eq!(state(Operation::Delete, "{\"op\":\"delete\"}").0, Ok(None));
        assert_eq!(state(Operation::Delete, "[1]").0, Ok(None));
    }

    #[test]
    fn a_command_that_states_another_operation_is_refused() {
        assert!(state(Operation::Create, "{\"op\":\"delete\"}").0.is_err());
        assert!(state(Operation::Delete, "{\"op\":null}").0.is_err());
    }
}

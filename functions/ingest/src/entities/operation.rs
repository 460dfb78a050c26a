//! The operation of an entity command, which follows from the HTTP method.

use axum::http::Method;
use bytes::Bytes;
use serde_json::Value;

/// An operation on an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `POST`. A command that names no operation is also a creation.
    Create,
    /// `PUT`.
    Update,
    /// `DELETE`.
    Delete,
}

impl Operation {
    /// Returns the operation that a method stands for.
    pub(crate) fn from_method(method: &Method) -> Option<Self> {
        match *method {
            Method::POST => Some(Self::Create),
            Method::PUT => Some(Self::Update),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    /// Returns the operation of a command that was checked against its contract. `create` is the default.
    pub(crate) fn from_command(command: &Value) -> Self {
        match command.get("op").and_then(Value::as_str) {
            Some("update") => Self::Update,
            Some("delete") => Self::Delete,
            Some(_) | None => Self::Create,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Adds the operation to a command that names none. The default, `create`, is not added. If the command changed,
    /// returns its new text: `op` comes first, and the rest stays as it was sent.
    ///
    /// # Errors
    /// The command has a different operation. The error says what is wrong with `op`.
    pub(crate) fn add_to(self, text: &[u8], command: &mut Value) -> Result<Option<Bytes>, String> {
        let (Some(members), Some((b'{', rest))) = (command.as_object_mut(), text.split_first()) else {
            return Ok(None);
        };
        match members.get("op") {
            Some(op) if op == self.name() => Ok(None),
            Some(_) => Err(format!("must be {:?} with this HTTP method, or be omitted", self.name())),
            None if self == Self::Create => Ok(None),
            None => {
                let comma = if members.is_empty() { "" } else { "," };
                let mut extended = format!("{{\"op\":\"{}\"{comma}", self.name()).into_bytes();
                extended.extend_from_slice(rest);
                members.insert("op".to_owned(), self.name().into());
                Ok(Some(extended.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn added(operation: Operation, text: &str) -> (Result<Option<Bytes>, String>, Value) {
        let mut command = serde_json::from_str(text).unwrap_or_default();
        (operation.add_to(text.as_bytes(), &mut command), command)
    }

    #[test]
    fn the_operation_is_inserted_before_the_other_members() {
        let (text_with_op, command) = added(Operation::Update, "{ \"name\":\"Iran\", \"area\": 1.50}");
        let text = "{\"op\":\"update\", \"name\":\"Iran\", \"area\": 1.50}";
        assert_eq!(text_with_op, Ok(Some(Bytes::from(text))));
        assert_eq!(serde_json::from_str::<Value>(text).ok(), Some(command));
        assert_eq!(added(Operation::Delete, "{}").0, Ok(Some(Bytes::from("{\"op\":\"delete\"}"))));
    }

    #[test]
    fn a_command_that_already_has_the_operation_is_unchanged() {
        assert_eq!(added(Operation::Create, "{\"name\":\"Iran\"}"), (Ok(None), json!({"name": "Iran"})));
        assert_eq!(added(Operation::Delete, "{\"op\":\"delete\"}").0, Ok(None));
        assert_eq!(added(Operation::Delete, "[1]").0, Ok(None));
    }

    #[test]
    fn a_command_with_a_different_operation_is_rejected() {
        assert!(added(Operation::Create, "{\"op\":\"delete\"}").0.is_err());
        assert!(added(Operation::Delete, "{\"op\":null}").0.is_err());
    }
}

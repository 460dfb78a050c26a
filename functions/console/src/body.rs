//! Reads the JSON bodies of operators' requests. An error describes the body in the caller's terms, with a JSON
//! pointer. `Deserialize` is not derived for the bodies: its errors would name Rust's types, and it would accept an
//! array in place of an object.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde_json::{Map, Value};
use shared::contract::{json, pointer};
use shared::http::body::{Coding, Unreceived, essence, is_utf8, receive};

use crate::error::Error;

/// The maximum size of a body, in bytes. An event may have 1,000,000 bytes, and an edited event is wrapped in an
/// object.
const MOST_BYTES: usize = 1_100_000;

/// The members of an object in a body.
#[derive(Debug)]
pub(crate) struct Members {
    /// The object's JSON pointer.
    at: String,
    members: Map<String, Value>,
}

/// Reads the request's body, an object that may have only the members in `names`.
pub(crate) async fn read(request: Request, names: &[&str]) -> Result<Members, Error> {
    let body = receive_optional(request).await?;
    Members::parse(&body.ok_or_else(|| Error::malformed("The body is missing."))?, names)
}

impl Members {
    /// Parses a body, an object that may have only the members in `names`.
    ///
    /// # Errors
    /// The body is not JSON, is not an object, or has other members.
    pub(crate) fn parse(body: &[u8], names: &[&str]) -> Result<Self, Error> {
        Self::of(String::new(), json::parse(body).map_err(Error::NotJson)?, names)
    }

    fn of(at: String, value: Value, names: &[&str]) -> Result<Self, Error> {
        let Value::Object(members) = value else {
            return Err(Error::wrong_member(at, "must be an object"));
        };
        match members.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(Self { at, members }),
            Some(other) => {
                let at = format!("{at}{}", pointer::join([other.as_str()]));
                let names = names.join(", ");
                let detail = format!("is not allowed here; the object may have only these members: {names}");
                Err(Error::wrong_member(at, detail))
            }
        }
    }

    fn pointer(&self, name: &str) -> String {
        format!("{}{}", self.at, pointer::join([name]))
    }

    fn wrong(&self, name: &str, detail: &'static str) -> Error {
        Error::wrong_member(self.pointer(name), detail)
    }

    /// Checks that the object has a member.
    pub(crate) fn require(&self, name: &str) -> Result<(), Error> {
        if self.members.contains_key(name) { Ok(()) } else { Err(self.wrong(name, "is missing")) }
    }

    /// Takes out the member `name`, an object that may have only the members in `names`.
    pub(crate) fn object(&mut self, name: &str, names: &[&str]) -> Result<Self, Error> {
        self.require(name)?;
        Self::of(self.pointer(name), self.members.remove(name).unwrap_or_default(), names)
    }

    /// Takes out the member `name`, a boolean. Returns false if there is no such member.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Error> {
        match self.members.remove(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(name, "must be true or false")),
        }
    }

    /// Takes out the member `name`, a string, if there is such a member. `null` is refused, because a client may send
    /// `null` for a variable that it never set. If `null` counted as a missing condition of a filter, the request would
    /// act on all dead letters. PostgreSQL cannot store U+0000, so no string may contain it.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(self.wrong(name, "must not contain U+0000")),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(self.wrong(name, "must be a string"))
            }
        }
    }

    /// Takes out the member `name`, an array of ids, if there is such a member. `null` is refused, too.
    pub(crate) fn ids(&mut self, name: &str) -> Result<Option<Vec<i64>>, Error> {
        let ids = match self.members.remove(name) {
            None => return Ok(None),
            Some(Value::Array(ids)) => ids,
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                return Err(self.wrong(name, "must be an array of ids"));
            }
        };
        let id = |(index, id): (usize, Value)| {
            let at = || format!("{}/{index}", self.pointer(name));
            id.as_i64().ok_or_else(|| Error::wrong_member(at(), "must be a whole number"))
        };
        ids.into_iter().enumerate().map(id).collect::<Result<_, _>>().map(Some)
    }
}

/// Receives the body of a request: JSON, or nothing.
pub(crate) async fn receive_optional(request: Request) -> Result<Option<Bytes>, Error> {
    let (head, body) = request.into_parts();
    let received = receive(body, MOST_BYTES).await.map_err(|unreceived| match unreceived {
        Unreceived::TooLarge => Error::TooLarge,
        Unreceived::CutShort => Error::malformed("The body is incomplete."),
    })?;
    if received.is_empty() {
        return Ok(None);
    }
    let media_type = match head.headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().map_err(|_| Error::MediaType)?,
        None => "application/json",
    };
    if essence(media_type) != "application/json" || !is_utf8(media_type) {
        return Err(Error::MediaType);
    }
    if Coding::from_headers(&head.headers) != Some(Coding::Identity) {
        return Err(Error::Coding);
    }
    Ok(Some(received))
}

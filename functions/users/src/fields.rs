//! The fields that users post, as JSON or as a form.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;
use shared::contract::json;
use shared::http::body::{Coding, Unreceived, essence, is_utf8, receive};
use shared::http::fields::{Fields, Malformed};

use crate::error::{Error, FieldError};

/// The maximum size of a body in bytes. A body with the longest name and passwords is smaller.
const MOST_BYTES: usize = 16_384;

/// The posted fields. A value is checked only when it is read.
#[derive(Debug)]
pub(crate) struct PostedFields(Vec<(String, Value)>);

/// Reads the request's body.
pub(crate) async fn read(request: Request) -> Result<PostedFields, Error> {
    let (head, body) = request.into_parts();
    let is_form = is_form(&head.headers)?;
    if Coding::from_headers(&head.headers) != Some(Coding::Identity) {
        return Err(Error::Coding);
    }
    let body = receive(body, MOST_BYTES).await.map_err(|unreceived| match unreceived {
        Unreceived::TooLarge => Error::TooLarge,
        Unreceived::CutShort => Error::Malformed(Malformed("The body is incomplete.".into())),
    })?;
    if is_form {
        let fields = Fields::parse(&body)?.into_inner();
        return Ok(PostedFields(fields.into_iter().map(|(name, text)| (name, Value::String(text))).collect()));
    }
    match json::parse(&body).map_err(Error::NotJson)? {
        Value::Object(members) => Ok(PostedFields(members.into_iter().collect())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Error::Refused(vec![FieldError::new("", "must be an object")]))
        }
    }
}

/// Returns whether the body is a form and not JSON. A body without a `Content-Type` counts as JSON. Any other media
/// type is an error.
fn is_form(headers: &HeaderMap) -> Result<bool, Error> {
    let media_type = match headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().map_err(|_| Error::MediaType)?,
        None => "",
    };
    if !is_utf8(media_type) {
        return Err(Error::MediaType);
    }
    match essence(media_type).as_str() {
        "" | "application/json" => Ok(false),
        "application/x-www-form-urlencoded" => Ok(true),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(false),
        _ => Err(Error::MediaType),
    }
}

impl PostedFields {
    /// Returns the string posted under one of these names. If the field is missing or not a string, adds an error to
    /// `errors` and returns an empty string.
    pub(crate) fn text(&self, names: &[&str], errors: &mut Vec<FieldError>) -> Result<String, Malformed> {
        let mut given = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let name = names.first().copied().unwrap_or_default();
        let found = given.next();
        if given.next().is_some() {
            let detail = match names {
                [name] => format!("`{name}` appears twice."),
                names => format!("Send only one of `{}`, and only once.", names.join("` and `")),
            };
            return Err(Malformed(detail.into()));
        }
        match found {
            Some((_, Value::String(text))) => return Ok(text.clone()),
            Some((name, _)) => errors.push(FieldError::new(name, "must be a string")),
            None => errors.push(FieldError::new(
                name,
                match names {
                    [_, other, ..] => format!("is missing (`{other}` is accepted too)"),
                    _ => "is missing".to_owned(),
                },
            )),
        }
        Ok(String::new())
    }

    /// Returns the value posted under this name. A field whose value is `null` counts as missing.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(given, value)| given == name && !value.is_null()).map(|(_, value)| value)
    }

    /// Returns an error for each field whose name is none of these.
    pub(crate) fn others_than(&self, names: &[&str]) -> Vec<FieldError> {
        let others = self.0.iter().filter(|(given, _)| !names.contains(&given.as_str()));
        let detail = format!("is not a field of this route, which has only {}", names.join(", "));
        // A JSON pointer must escape these characters (RFC 6901, section 3).
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        others.map(|(given, _)| FieldError::new(&escaped(given), detail.clone())).collect()
    }

    /// Returns whether a field of this name was posted.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }
}

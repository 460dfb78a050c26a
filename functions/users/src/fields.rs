//! What users post: a few texts, as JSON or as a form.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;
use shared::contract::json;
use shared::http::body::{Coding, Unreceived, essence, is_utf8, receive};
use shared::http::fields::{Fields, Malformed};

use crate::error::{Error, FieldError};

/// Nobody has a name and a password of that size.
const MOST_BYTES: usize = 16_384;

/// Texts by name.
#[derive(Debug)]
pub(crate) struct Posted(Vec<(String, Value)>);

/// Reads the request's body.
pub(crate) async fn read(request: Request) -> Result<Posted, Error> {
    let (head, body) = request.into_parts();
    let is_form = is_form(&head.headers)?;
    if Coding::of(&head.headers) != Some(Coding::Identity) {
        return Err(Error::Coding);
    }
    let body = receive(body, MOST_BYTES).await.map_err(|unreceived| match unreceived {
        Unreceived::TooLarge => Error::TooLarge,
        Unreceived::CutShort => Error::Malformed(Malformed("The body ended before its end.".into())),
    })?;
    if is_form {
        let fields = Fields::parse(&body)?.into_inner();
        return Ok(Posted(fields.into_iter().map(|(name, text)| (name, Value::String(text))).collect()));
    }
    match json::parse(&body).map_err(Error::NotJson)? {
        Value::Object(members) => Ok(Posted(members.into_iter().collect())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Error::Refused(vec![FieldError::new("", "should be an object")]))
        }
    }
}

/// Whether the body is a form; else it is JSON, which clients often send under no type or a form's.
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

impl Posted {
    /// The text that is posted under one of these names; what is wrong with it goes to `errors`.
    pub(crate) fn text(&self, names: &[&str], errors: &mut Vec<FieldError>) -> Result<String, Malformed> {
        let mut given = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let name = names.first().copied().unwrap_or_default();
        let found = given.next();
        if given.next().is_some() {
            return Err(Malformed(format!("{name} is given twice").into()));
        }
        match found {
            Some((_, Value::String(text))) => return Ok(text.clone()),
            Some((name, _)) => errors.push(FieldError::new(name, "should be a text")),
            None => errors.push(FieldError::new(
                name,
                match names {
                    [_, other, ..] => format!("is missing; it may be called {other} as well"),
                    _ => "is missing".to_owned(),
                },
            )),
        }
        Ok(String::new())
    }

    /// Whether something is posted under this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }
}

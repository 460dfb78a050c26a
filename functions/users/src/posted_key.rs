//! The fields that describe the key to create.

use serde_json::Value;
use shared::identity::Grant;
use shared::identity::name::is_control;

use crate::error::{Error, FieldError};
use crate::fields::PostedFields;

const FIELDS: [&str; 4] = ["name", "streams", "expires_in", "user"];

/// The fields of `POST /keys`. Each field is valid by itself.
#[derive(Debug)]
pub(crate) struct PostedKey {
    /// The key's name, for people.
    pub(crate) name: String,
    /// The key's streams without duplicates, or only [`Grant::ALL`].
    pub(crate) streams: Vec<String>,
    /// How many seconds the key works. `None` means that it works until it is deleted.
    pub(crate) expires_in_seconds: Option<i64>,
    /// The user to whom the key will belong. `None` means the caller.
    pub(crate) user: Option<String>,
}

impl PostedKey {
    /// Reads the fields.
    ///
    /// # Errors
    /// A field is missing, wrong or unknown. Unknown fields are errors, so that a misspelt `expires_in` does not create
    /// a key that never expires.
    pub(crate) fn read(posted: &PostedFields) -> Result<Self, Error> {
        let mut errors = posted.others_than(&FIELDS);
        let name = posted.text(&["name"], &mut errors)?;
        if posted.value("name").is_some_and(Value::is_string) {
            errors.extend(wrong_name(&name));
        }
        let streams = streams(posted.value("streams"), &mut errors);
        let expires_in_seconds = expires_in_seconds(posted.value("expires_in"), &mut errors);
        let user = posted.value("user").map(|_| posted.text(&["user"], &mut errors)).transpose()?;
        if errors.is_empty() {
            Ok(Self { name, streams, expires_in_seconds, user })
        } else {
            Err(Error::Refused(errors))
        }
    }
}

fn wrong_name(name: &str) -> Option<FieldError> {
    const MOST_CHARACTERS: usize = 100;
    let is_legal = !name.is_empty()
        && name.chars().count() <= MOST_CHARACTERS
        && name.trim() == name
        && !name.chars().any(is_control);
    let detail = "must be 1 to 100 characters without control characters, and without white space at either end";
    (!is_legal).then(|| FieldError::new("name", detail))
}

fn streams(given: Option<&Value>, errors: &mut Vec<FieldError>) -> Vec<String> {
    let Some(Value::Array(given)) = given else {
        errors.push(FieldError::new("streams", "must be an array of stream names, or [\"*\"] for all streams"));
        return Vec::new();
    };
    if given.is_empty() {
        errors.push(FieldError::new("streams", "must name at least one stream"));
    }
    let mut streams: Vec<String> = Vec::new();
    for (index, stream) in given.iter().enumerate() {
        let mut wrong = |detail: &str| errors.push(FieldError::new(&format!("streams/{index}"), detail));
        match stream.as_str() {
            None => wrong("must be a string"),
            Some(Grant::ALL) if given.len() > 1 => wrong("must be the only entry: it stands for all streams"),
            Some(name) if streams.iter().any(|stream| stream == name) => wrong("appears twice"),
            Some(name) => streams.push(name.to_owned()),
        }
    }
    streams
}

fn expires_in_seconds(given: Option<&Value>, errors: &mut Vec<FieldError>) -> Option<i64> {
    /// A hundred years.
    const MOST: i64 = 100 * 365 * 86_400;
    let given = given?;
    let seconds = given.as_i64().filter(|seconds| (1..=MOST).contains(seconds));
    if seconds.is_none() {
        errors.push(FieldError::new("expires_in", format!("must be a whole number of seconds from 1 to {MOST}")));
    }
    seconds
}

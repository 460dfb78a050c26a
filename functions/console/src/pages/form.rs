//! Reads the forms of pages.

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use shared::http::body::{Unreceived, essence, receive};
use shared::http::fields::Fields;
use shared::http::problem::Problem;

use super::api::Refusal;

/// The maximum size of a form, in bytes. An event may have 1,000,000 bytes, and percent-encoding can triple every byte.
const MOST_BYTES: usize = 4 * 1_024 * 1_024;

/// A posted form.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Returns the first value of a field; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media_type.is_empty() && essence(media_type) != "application/x-www-form-urlencoded" {
            return Err(
                Problem::unsupported_media_type("`Content-Type` must be `application/x-www-form-urlencoded`.").into()
            );
        }
        let body = receive(body, MOST_BYTES).await.map_err(|unreceived| match unreceived {
            Unreceived::TooLarge => Problem::too_large("A form must not exceed 4 MiB."),
            Unreceived::CutShort => Problem::malformed("The form is incomplete."),
        })?;
        let fields = Fields::parse(&body).map_err(|malformed| Problem::malformed(malformed.0))?;
        Ok(Self(fields.into_inner()))
    }
}

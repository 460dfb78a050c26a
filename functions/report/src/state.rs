//! What the handlers and the schedule share.

use std::sync::Arc;

use shared::aws::Aws;
use shared::process::clock::Clock;
use sqlx::PgPool;

use crate::mail::{MailError, Post};
use crate::settings::ReportSettings;

/// The function's state.
#[derive(Clone)]
pub struct Reports {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) post: Option<Arc<Post>>,
}

impl Reports {
    /// Creates the state for reports on the events in the database of `pool`. `settings` say how reports are mailed.
    /// `aws` gives access to SES.
    ///
    /// # Errors
    /// The configured way to send mail cannot be used.
    pub fn new(pool: PgPool, clock: Clock, settings: &ReportSettings, aws: &Aws) -> Result<Self, MailError> {
        let post = settings.mail.as_ref().map(|mail| Post::new(mail, aws)).transpose()?.map(Arc::new);
        Ok(Self { pool, clock, post })
    }
}

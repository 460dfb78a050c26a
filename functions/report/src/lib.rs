//! Reports: user events counted, as JSON, as a page, and by mail every hour.
//!
//! A report's way: `question` (what is asked) → `summary` (the counts, from PostgreSQL) → `tally` (what `place_name`
//! takes for one city is counted as one) → JSON, `page` or `mail`. `schedule` sends it once an hour.

mod accept;
mod error;
mod hour;
mod invocation;
mod mail;
mod page;
mod place_name;
mod question;
mod routes;
mod schedule;
mod settings;
mod summary;
mod tally;

use std::sync::Arc;

use shared::aws::Aws;
use shared::clock::Clock;
use sqlx::PgPool;

pub use crate::invocation::{Function, InvocationError};
pub use crate::mail::MailError;
use crate::mail::Post;
pub use crate::routes::routes;
pub use crate::schedule::ScheduleError;
pub use crate::settings::{MailSettings, MailTransport, ReportSettings};

/// What the function works with.
#[derive(Clone)]
pub struct Reports {
    pool: PgPool,
    clock: Clock,
    post: Option<Arc<Post>>,
}

impl Reports {
    /// Reports on the events in `pool`, mailed as `settings` say, if by SES then of `aws`.
    ///
    /// # Errors
    /// The way by which mail is to be sent cannot be used.
    pub fn new(pool: PgPool, clock: Clock, settings: &ReportSettings, aws: &Aws) -> Result<Self, MailError> {
        let post = settings.mail.as_ref().map(|mail| Post::new(mail, aws)).transpose()?.map(Arc::new);
        Ok(Self { pool, clock, post })
    }
}

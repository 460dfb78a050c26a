//! Reports: counts user events, and shows them as JSON, as a page, and in a mail every hour.
//!
//! The path of a report: `question` (the parsed query) → `summary` (counts from PostgreSQL) → `tally` (combines the
//! spellings of one city by the rules of `place_name`) → JSON, `page` or `mail`. `page` and `mail` share `wording`.
//! `schedule` mails a report once an hour.

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
mod state;
mod summary;
mod tally;
mod wording;

pub use crate::invocation::{InvocationError, ReportFunction};
pub use crate::mail::MailError;
pub use crate::routes::routes;
pub use crate::schedule::ScheduleError;
pub use crate::settings::{MailSettings, MailTransport, ReportSettings, SMTP_SECRET};
pub use crate::state::Reports;

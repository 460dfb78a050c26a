//! The types of problems: what each type means and what the caller can do. The functions' answers,
//! `GET /problems/{code}`, OpenAPI and docs/HTTP.md all take the types from this table.

use axum::http::StatusCode;
use serde::Serialize;

/// A type of problem. Only this file creates types, so [`ProblemType::ALL`] has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemType {
    /// The HTTP status of answers with this type.
    pub status: StatusCode,
    /// The type's stable name, which is the last part of its URI.
    pub code: &'static str,
    /// The title, for people.
    pub title: &'static str,
    /// What the type means.
    pub meaning: &'static str,
    /// What the caller can do about such a problem.
    pub remedy: &'static str,
}

/// A type as `GET /problems/{code}` describes it.
#[derive(Debug, Serialize)]
pub struct Explanation {
    #[serde(rename = "type")]
    uri: String,
    status: u16,
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

impl ProblemType {
    /// Returns the URI reference in the member `type` of an answer (RFC 9457, section 3.1.1).
    pub fn uri(&self) -> String {
        format!("/problems/{}", self.code)
    }

    /// Finds a type by its code.
    pub fn from_code(code: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|known| known.code == code)
    }

    /// Returns what `GET /problems/{code}` says about the type.
    pub fn explain(&self) -> Explanation {
        let Self { status, title, meaning, remedy, .. } = *self;
        Explanation { uri: self.uri(), status: status.as_u16(), title, meaning, remedy }
    }
}

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident: $status:ident $code:literal, $title:literal, $meaning:literal, $remedy:literal;)+) => {
        impl ProblemType {
            $(
                $(#[$doc])*
                pub const $name: Self = Self {
                    status: StatusCode::$status,
                    code: $code,
                    title: $title,
                    meaning: $meaning,
                    remedy: $remedy,
                };
            )+

            /// All types, sorted by status and code.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

problem_types! {
    /// `400`: the request, its query or a header is malformed.
    MALFORMED: BAD_REQUEST "malformed", "The request is malformed",
        "A header, a query parameter, the path or the body cannot be read. `detail` says which, and what it should be.",
        "Correct what `detail` names. An unknown query parameter is an error, too: the route would otherwise ignore it.";
    /// `400`: the body is not JSON.
    NOT_JSON: BAD_REQUEST "not-json", "The body is not JSON",
        "The body, or an event in it, is not JSON. `line` and `column` count from 1 and say where the error is; in NDJSON, they count in the whole body.",
        "Send UTF-8 JSON without a byte order mark, and name each member of an object once.";
    /// `401`: the caller is unknown.
    UNAUTHORIZED: UNAUTHORIZED "unauthorized", "Authentication is required",
        "The request has no credentials, the user does not exist, the password is wrong, or the token or service key is no longer valid.",
        "Send `Authorization: Basic` with a registered user's name and password, or `Authorization: Bearer` with a service key or with a token from `POST /login`.";
    /// `403`: too many logins failed.
    BLOCKED: FORBIDDEN "blocked", "The user is blocked",
        "Too many logins failed in a short time, so even the right password is refused. Tokens that were issued earlier still work.",
        "Wait for the number of seconds in `Retry-After`, or have an admin lift the block with `DELETE /blocked/{user}`.";
    /// `403`: a browser sent the request on behalf of another site.
    CROSS_SITE: FORBIDDEN "cross-site", "The request comes from another site",
        "`Sec-Fetch-Site` or `Origin` says that another site made the browser send this request, so the request may act against the user's will.",
        "Send the request from a page of the same origin, or without a browser.";
    /// `403`: the caller lacks the permission.
    FORBIDDEN: FORBIDDEN "forbidden", "This is not allowed",
        "The caller is known, but the route or the stream's contract requires another role, or the caller's service key is not for this route or stream.",
        "Ask an admin, or post to a stream whose contract lists your role in `roles`: `GET /streams` shows the roles of each stream.";
    /// `403`: the old password is wrong.
    WRONG_PASSWORD: FORBIDDEN "wrong-password", "The old password is wrong",
        "Users who change their own password must send the current password in `old`. A wrong password in `old` counts as a failed login.",
        "Send the current password in `old`, or ask an admin to set a new password.";
    /// `404`: the resource does not exist.
    NOT_FOUND: NOT_FOUND "not-found", "Not found",
        "The route, stream, topic, entity, user or dead letter does not exist. `detail` says which.",
        "Check the path. `GET /openapi.json` lists the routes, and `GET /streams` lists the streams.";
    /// `405`: the route does not support the method.
    METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED "method-not-allowed", "The method is not allowed",
        "The route exists, but not with this method.",
        "Use one of the methods in the `Allow` header.";
    /// `408`: the body stopped arriving.
    TOO_SLOW: REQUEST_TIMEOUT "too-slow", "The request is too slow",
        "No byte of the body arrived for a while, so the connection was closed. No event was sent.",
        "Send the request again. With an `Idempotency-Key`, its events land at most once.";
    /// `409`: the user is the last admin.
    LAST_ADMIN: CONFLICT "last-admin", "The last admin stays",
        "The user is the only admin. Without an admin, nobody could delete other users or lift blocks.",
        "Make another admin with `cargo local admin NAME` first.";
    /// `409`: the dead letter cannot be replayed.
    NOT_REPLAYABLE: CONFLICT "not-replayable", "The dead letter was not replayed",
        "The letter is not open, no stream uses its topic any more, or the replay could undo a later event with the same key. `detail` says which.",
        "Compare the letter with its row. `?force=true` replays the letter regardless of later events.";
    /// `409`: the name is taken.
    TAKEN: CONFLICT "taken", "The name is taken",
        "A user with this name, or with a name that looks the same, already exists.",
        "Choose another name.";
    /// `413`: the request exceeds a limit.
    TOO_LARGE: PAYLOAD_TOO_LARGE "too-large", "The request is too large",
        "The decoded body, an event, or the number of events exceeds a limit, or a record exceeds the broker's limit. `detail` says which. Events in `receipts` were accepted.",
        "Send fewer events per request. An event over 1,000,000 bytes cannot be sent: store its large part elsewhere.";
    /// `415`: the route does not support the content coding.
    CONTENT_ENCODING: UNSUPPORTED_MEDIA_TYPE "content-encoding", "The content coding is not supported",
        "`Content-Encoding` names a coding that the route does not read, or names several codings.",
        "Compress events with gzip or zstd, once. Other bodies must not be compressed.";
    /// `415`: the route does not support the media type.
    MEDIA_TYPE: UNSUPPORTED_MEDIA_TYPE "media-type", "The media type is not supported",
        "`Content-Type` is none of the types that the route reads, or its charset is not UTF-8.",
        "Set `Content-Type` to one of the types that `detail` lists. `curl -d` sends a form's content type unless `-H` sets another.";
    /// `422`: events break the contract.
    CONTRACT: UNPROCESSABLE_ENTITY "contract", "The contract is violated",
        "At least one event breaks its stream's contract, so none was sent. `errors` lists up to 100 violations, each with the event's index, a JSON pointer to the wrong value, and what that value must be.",
        "Correct the events: `GET /streams/{stream}` returns the contract. With `Prefer: handling=lenient`, the valid events of a batch are sent even if other events are invalid.";
    /// `422`: the batch has no event.
    EMPTY: UNPROCESSABLE_ENTITY "empty", "The batch is empty",
        "The array, or the NDJSON, contains no event.",
        "Send at least one event.";
    /// `422`: the number of random events is out of range.
    NUMBER: UNPROCESSABLE_ENTITY "number", "Invalid number of events",
        "`POST /submit/{n}` sends n random events.",
        "Choose a number from 1 to 10,000.";
    /// `422`: posted fields have invalid values.
    REFUSED: UNPROCESSABLE_ENTITY "refused", "Invalid values",
        "A posted field is missing or invalid. `errors` lists each of these fields with its JSON pointer.",
        "Correct the fields that `errors` names.";
    /// `422`: accepted events could not be written.
    REJECTED: UNPROCESSABLE_ENTITY "rejected", "Events were rejected",
        "The events were accepted, but at least one could not be written and became a dead letter, or was lost because Kafka no longer had it. `receipts` has each event's status and reason. Only requests with `Prefer: wait` get this answer.",
        "Do not send the whole batch again: the other events are written or on their way. Correct the rejected events and send them as new events, or have an admin replay the dead letters.";
    /// `500`: something failed that should not have failed.
    INTERNAL: INTERNAL_SERVER_ERROR "internal", "Internal error",
        "Something went wrong on the server's side. The server's log has the cause under `request_id`.",
        "Report the `request_id` to the operators. A retry under the same `Idempotency-Key` is safe.";
    /// `503`: the broker or the database does not answer, or the server is too busy.
    UNAVAILABLE: SERVICE_UNAVAILABLE "unavailable", "Temporarily unavailable",
        "The broker or the database did not answer in time, or the server is busy checking passwords. Events in `receipts` were acknowledged; the others may still arrive.",
        "Try again after the number of seconds in `Retry-After`, with the same `Idempotency-Key` if the request had one.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_type_has_a_unique_code_that_a_path_can_hold() {
        let codes: BTreeSet<_> = ProblemType::ALL.iter().map(|known| known.code).collect();
        assert_eq!(codes.len(), ProblemType::ALL.len());
        for known in ProblemType::ALL {
            assert!(known.code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", known.code);
            assert_eq!(ProblemType::from_code(known.code), Some(known));
            assert!(known.status.is_client_error() || known.status.is_server_error(), "{}", known.code);
        }
        assert!(ProblemType::ALL.is_sorted_by_key(|known| (known.status, known.code)));
    }

    #[test]
    fn the_documentation_has_the_same_table() {
        let documentation = include_str!("../../../docs/HTTP.md");
        let (_, table) = documentation.split_once("| type | status | meaning | what to do |\n").unwrap_or_default();
        let rows: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
        let row = |known: &ProblemType| {
            let ProblemType { status, code, meaning, remedy, .. } = known;
            format!("| `{code}` | {} | {meaning} | {remedy} |", status.as_u16())
        };
        let expected: Vec<String> = ProblemType::ALL.iter().map(row).collect();
        assert_eq!(rows, expected, "docs/HTTP.md should have this table:\n{}", expected.join("\n"));
    }
}

//! Builds an operation step by step.

use serde_json::{Map, Value, json};
use shared::http::problem_type::ProblemType;

use super::parts::media;
use super::problems;

/// An operation: who may call it, its input, and all its possible answers.
pub(super) struct Operation {
    object: Map<String, Value>,
    responses: Map<String, Value>,
    problems: Vec<ProblemType>,
}

impl Operation {
    /// Creates an operation for registered users.
    pub(super) fn new(tag: &str, id: &str, summary: &str) -> Self {
        let object = json!({"operationId": id, "tags": [tag], "summary": summary});
        let problems = [
            ProblemType::MALFORMED,
            ProblemType::UNAUTHORIZED,
            ProblemType::BLOCKED,
            // This is also the answer to a service key on a route that does not accept keys.
            ProblemType::FORBIDDEN,
            ProblemType::INTERNAL,
            ProblemType::UNAVAILABLE,
        ];
        let object = object.as_object().cloned().unwrap_or_default();
        Self { object, responses: Map::new(), problems: problems.to_vec() }
    }

    /// Opens the operation to callers without credentials.
    pub(super) fn open(self) -> Self {
        let mut open = self.with("security", json!([]));
        let of_callers = [ProblemType::UNAUTHORIZED, ProblemType::BLOCKED, ProblemType::FORBIDDEN];
        open.problems.retain(|known| !of_callers.contains(known));
        open
    }

    /// Opens the operation to service keys, too.
    pub(super) fn with_key(self) -> Self {
        self.with("security", json!([{"basic": []}, {"bearer": []}, {"serviceKey": []}]))
    }

    /// Restricts the operation to service keys.
    pub(super) fn key_only(self) -> Self {
        self.with("security", json!([{"serviceKey": []}]))
    }

    /// Adds a member.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.object.insert(name.to_owned(), value);
        self
    }

    /// Sets the parameters.
    pub(super) fn parameters(self, parameters: Vec<Value>) -> Self {
        self.with("parameters", parameters.into())
    }

    /// Adds the problem of an operation that changes something: requests from other sites are rejected.
    pub(super) fn changes(self) -> Self {
        self.fails(&[ProblemType::CROSS_SITE])
    }

    /// Sets the body: media types with their content.
    pub(super) fn body(self, content: Value) -> Self {
        self.with("requestBody", json!({"required": true, "content": content})).fails(&[
            ProblemType::NOT_JSON,
            ProblemType::TOO_SLOW,
            ProblemType::TOO_LARGE,
            ProblemType::CONTENT_ENCODING,
            ProblemType::MEDIA_TYPE,
        ])
    }

    /// Adds an answer.
    pub(super) fn answers(mut self, status: &str, response: Value) -> Self {
        self.responses.insert(status.to_owned(), response);
        self
    }

    /// Adds the answer `200` with a JSON body.
    pub(super) fn ok(self, schema: Value, example: Value) -> Self {
        self.answers("200", json!({"description": "Success.", "content": {"application/json": media(schema, example)}}))
    }

    /// Adds an HTML page to the answer `200`, for callers that prefer one.
    pub(super) fn or_page(mut self) -> Self {
        self.responses["200"]["content"]["text/html"] =
            json!({"schema": {"type": "string"}, "example": "<!DOCTYPE html><html lang=\"en\">…</html>"});
        self
    }

    /// Adds the answer `204`.
    pub(super) fn no_content(self) -> Self {
        self.answers("204", json!({"description": "Success."}))
    }

    /// Adds the answers of an operation that sends events to a topic.
    pub(super) fn accepts(self, topic: &str) -> Self {
        self.answers("200", problems::written(topic)).answers("202", problems::accepted(topic))
    }

    /// Extends the answer `200` to cover requests with `validate_only`.
    pub(super) fn or_validates(mut self) -> Self {
        problems::or_validated(&mut self.responses["200"]);
        self
    }

    /// Adds problems.
    pub(super) fn fails(mut self, problems: &[ProblemType]) -> Self {
        self.problems.extend(problems);
        self
    }

    /// Removes a problem that the operation cannot have.
    pub(super) fn never(mut self, problem: ProblemType) -> Self {
        self.problems.retain(|known| *known != problem);
        self
    }

    /// Returns the Operation Object.
    pub(super) fn build(self) -> Value {
        let Self { mut object, mut responses, problems } = self;
        responses.extend(problems::responses(&problems));
        object.insert("responses".to_owned(), responses.into());
        object.into()
    }
}

//! Checks answers against the OpenAPI document that `GET /openapi.json` returns.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// The document, and the operations that the answers have covered.
pub(crate) struct Document {
    value: Value,
    /// The ids of the operations that have succeeded.
    pub(crate) succeeded: BTreeSet<String>,
    /// The number of answers that were checked.
    pub(crate) checked: usize,
}

/// An operation: its method, and its path in the document, with placeholders.
pub(crate) type Operation = (String, String);

/// An answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The media type, without parameters such as `charset`.
    pub(crate) media_type: &'a str,
    pub(crate) body: &'a [u8],
}

impl Document {
    pub(crate) fn new(value: Value) -> Self {
        Self { value, succeeded: BTreeSet::new(), checked: 0 }
    }

    /// Returns all operations.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        let paths = self.value["paths"].as_object().unwrap();
        let methods = |(path, item): (&String, &Value)| {
            let path = path.clone();
            item.as_object()
                .unwrap()
                .keys()
                .map(move |method| (method.to_uppercase(), path.clone()))
                .collect::<Vec<_>>()
        };
        paths.iter().flat_map(methods).collect()
    }

    fn operation(&self, (method, path): &Operation) -> &Value {
        &self.value["paths"][path.as_str()][method.to_lowercase().as_str()]
    }

    /// Returns an operation's path, with an example in place of each parameter.
    pub(crate) fn example_path(&self, operation: &Operation) -> String {
        let parameters = self.operation(operation)["parameters"].as_array().into_iter().flatten();
        let in_path = parameters.filter(|parameter| parameter["in"] == "path");
        in_path.fold(operation.1.clone(), |path, parameter| {
            let example = &parameter["example"];
            let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &example)
        })
    }

    /// Returns the example of an operation's JSON body. Returns `None` if the operation has no JSON body.
    pub(crate) fn example_body(&self, operation: &Operation) -> Option<String> {
        let content = self.operation(operation).get("requestBody")?["content"].get("application/json")?;
        let first = || Some(&content["examples"].as_object()?.values().next()?["value"]);
        content.get("example").or_else(first).map(Value::to_string)
    }

    /// Checks that the document declares this answer of the operation.
    pub(crate) fn check(&mut self, operation: &Operation, answer: &Answer<'_>) {
        let Answer { status, media_type, body } = answer;
        let text = String::from_utf8_lossy(body);
        let described = self.operation(operation);
        let mut response = &described["responses"][status.to_string().as_str()];
        if let Some(reference) = response["$ref"].as_str() {
            response = self.value.pointer(reference.trim_start_matches('#')).unwrap();
        }
        assert!(response.is_object(), "{operation:?} does not declare {status}: {text}");
        if body.is_empty() {
            assert!(response.get("content").is_none(), "{operation:?} {status} declares a body");
        } else {
            let content = &response["content"][*media_type];
            assert!(content.is_object(), "{operation:?} {status} does not declare {media_type}: {text}");
            if media_type.ends_with("json") {
                let value = serde_json::from_slice(body).unwrap();
                let wrong = self.violations(&content["schema"], &value);
                assert!(wrong.is_empty(), "{operation:?} {status}: {wrong:#?} in {value:#}");
            }
        }
        let id = described["operationId"].as_str().unwrap().to_owned();
        self.checked += 1;
        if (200..300).contains(status) {
            self.succeeded.insert(id);
        }
    }

    fn violations(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut root = self.value.clone();
        root["$ref"] = json!("#/the-schema");
        root["the-schema"] = schema.clone();
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&root).unwrap();
        let violation = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
        validator.iter_errors(value).map(violation).collect()
    }
}

//! JSON pointers (RFC 6901), split into tokens when a contract is read.

use serde::Deserialize;
use serde_json::Value;

/// A pointer into an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    index: Option<usize>,
}

impl Pointer {
    /// Returns the value at this pointer, if there is one.
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.tokens.iter().try_fold(value, |value, token| match value {
            Value::Object(members) => members.get(&token.name),
            Value::Array(elements) => elements.get(token.index?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// Returns the pointer's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the unescaped tokens.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(|token| token.name.as_str())
    }

    /// Returns whether this pointer is equal to `other`, or leads to a value within the value at `other`.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.tokens.starts_with(&other.tokens)
    }

    /// Returns the top-level member that the pointer starts with, or `None` if the pointer refers to the whole event.
    pub fn first(&self) -> Option<&str> {
        self.tokens.first().map(|token| token.name.as_str())
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let tokens = match text.strip_prefix('/') {
            Some(tokens) => tokens
                .split('/')
                .map(|token| {
                    let name = token.replace("~1", "/").replace("~0", "~");
                    let index = index(&name);
                    Token { name, index }
                })
                .collect(),
            None if text.is_empty() => Vec::new(),
            None => {
                return Err(format!("{text:?} is not a JSON pointer: it should be empty or start with /"));
            }
        };
        Ok(Self { text, tokens })
    }
}

/// Returns the index of an array's element that a token means, if it means one. An index has no sign and no leading
/// zero (RFC 6901, section 4).
pub fn index(token: &str) -> Option<usize> {
    let is_index = token == "0" || token.starts_with(|first| matches!(first, '1'..='9'));
    token.parse().ok().filter(|_| is_index)
}

/// Builds a pointer from unescaped tokens.
pub fn join<'t>(tokens: impl IntoIterator<Item = &'t str>) -> String {
    tokens
        .into_iter()
        .fold(String::new(), |pointer, token| pointer + "/" + &token.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pointer_leads_through_members_and_elements() {
        let event = json!({"a": {"b/c": [10, {"~": "x"}]}});
        let at = |text: &str| Pointer::try_from(text.to_owned()).ok().and_then(|p| p.get(&event).cloned());
        assert_eq!(at("/a/b~1c/0"), Some(json!(10)));
        assert_eq!(at("/a/b~1c/1/~0"), Some(json!("x")));
        assert_eq!(at(""), Some(event.clone()));
        for nothing in ["/a/none", "/a/b~1c/01", "/a/b~1c/+1", "/a/b~1c/2"] {
            assert_eq!(at(nothing), None, "{nothing}");
        }
        assert!(Pointer::try_from("a".to_owned()).is_err());
    }

    #[test]
    fn a_pointer_is_within_itself_and_its_ancestors_but_not_within_every_prefix_of_its_text() {
        let pointer = |text: &str| Pointer::try_from(text.to_owned());
        for (other, expected) in [("", true), ("/a", true), ("/a/b", true), ("/a/b/c", false), ("/a/", false)] {
            let is_within = pointer("/a/b").and_then(|inner| Ok(inner.is_within(&pointer(other)?)));
            assert_eq!(is_within, Ok(expected), "{other}");
        }
        let is_within = pointer("/ab").and_then(|inner| Ok(inner.is_within(&pointer("/a")?)));
        assert_eq!(is_within, Ok(false));
    }
}

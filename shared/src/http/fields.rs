//! Query strings and forms: percent-encoded fields, and the paging parameters of lists.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode;

use super::problem::Problem;

/// What is wrong with a query string or form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub Cow<'static, str>);

/// The paging parameters of a list.
pub const PAGE: [&str; 2] = ["after", "limit"];

/// Fields in their original order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Parses `application/x-www-form-urlencoded` text (WHATWG URL, section 5.1). Unlike the standard, this rejects
    /// invalid UTF-8 instead of replacing it.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let decode = |text: &[u8]| {
            let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            String::from_utf8(percent_decode(&spaced).collect())
                .map_err(|_| Malformed("A field is not valid UTF-8.".into()))
        };
        let field = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == b'=').unwrap_or(field.len());
            Ok((decode(&field[..end])?, decode(field.get(end + 1..).unwrap_or_default())?))
        };
        text.split(|byte| *byte == b'&').filter(|text| !text.is_empty()).map(field).collect::<Result<_, _>>().map(Self)
    }

    /// Parses the query string of a route that supports parameters of these names.
    ///
    /// # Errors
    /// A parameter is malformed, or the route does not support it.
    pub fn from_query(query: Option<&str>, supported: &[&str]) -> Result<Self, Malformed> {
        let fields = Self::parse(query.unwrap_or_default().as_bytes())?;
        match fields.0.iter().find(|(name, _)| !supported.contains(&name.as_str())) {
            None => Ok(fields),
            Some((name, _)) => {
                let supported: Vec<String> = supported.iter().map(|name| format!("`{name}`")).collect();
                let supported = if supported.is_empty() { "none".to_owned() } else { supported.join(", ") };
                Err(Malformed(format!("There is no parameter {name:?}. This route supports {supported}.").into()))
            }
        }
    }

    /// Returns the value of an optional field that may appear at most once.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Malformed> {
        let mut values = self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(Malformed(format!("`{name}` appears twice.").into()));
        }
        if value.is_some_and(|value| value.contains('\0')) {
            return Err(Malformed(format!("`{name}` must not contain U+0000.").into()));
        }
        Ok(value)
    }

    /// Returns the value of a required field that must appear exactly once.
    pub fn require(&self, name: &str) -> Result<&str, Malformed> {
        self.get(name)?.ok_or_else(|| Malformed(format!("The query parameter `{name}` is missing.").into()))
    }

    /// Returns the requested page size: `limit`, by default 100, at most 1,000.
    pub fn limit(&self) -> Result<u16, Malformed> {
        const DEFAULT: u16 = 100;
        const MOST: u16 = 1_000;
        let wrong = || Malformed("`limit` must be a number from 1 to 1000.".into());
        match self.get("limit")? {
            None => Ok(DEFAULT),
            Some(text) if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_digit()) => Err(wrong()),
            Some(text) => text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or_else(wrong),
        }
    }

    /// Returns the id after which a list continues: the cursor `after`, or 0 on the first page.
    pub fn after_id(&self) -> Result<i64, Malformed> {
        let Some(cursor) = self.get("after")? else { return Ok(0) };
        cursor.parse().map_err(|_| Malformed("`after` must be a cursor from `next`.".into()))
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the fields without those of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(field, _)| field != name);
        self
    }

    /// Returns the id before which a list continues: the cursor `after`, or the highest possible id on the first page.
    /// Use this for a list that begins with the newest item.
    pub fn before_id(&self) -> Result<i64, Malformed> {
        match self.get("after")? {
            None => Ok(i64::MAX),
            Some(_) => self.after_id(),
        }
    }

    /// Returns the fields as pairs of name and value, in their original order.
    pub fn into_inner(self) -> Vec<(String, String)> {
        self.0
    }
}

/// A handler's argument on routes without query parameters. A request with a parameter is answered with `400`, because
/// a misspelled parameter must not be ignored silently.
#[derive(Debug, Clone, Copy)]
pub struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Fields::from_query(parts.uri.query(), &[]) {
            Ok(_) => Ok(Self),
            Err(malformed) => Err(Problem::malformed(malformed.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_keep_their_order() {
        let fields = Fields::parse(b"name=S%C3%A3o+Paulo&&a=%25%4&b&c=1=2").map(Fields::into_inner).ok();
        let expected = [("name", "São Paulo"), ("a", "%%4"), ("b", ""), ("c", "1=2")];
        assert_eq!(fields, Some(expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()));
    }

    #[test]
    fn a_field_that_is_not_utf8_is_rejected_instead_of_replaced() {
        assert!(Fields::parse(b"name=%ff").is_err());
        assert!(Fields::parse("name=\u{fffd}".as_bytes()).is_ok());
    }

    #[test]
    fn a_parameter_that_appears_twice_or_contains_nul_is_rejected() {
        let get = |query: &str| {
            Fields::from_query(Some(query), &["a", "b"]).and_then(|f| f.get("a").map(|v| v.map(str::to_owned)))
        };
        assert_eq!(get("a=1&b=2").ok(), Some(Some("1".to_owned())));
        assert_eq!(get("b=2").ok(), Some(None));
        assert!(get("a=1&a=1").is_err());
        assert!(get("a=%00").is_err());
    }

    #[test]
    fn the_error_names_a_parameter_that_the_route_does_not_support() {
        let wrong =
            |query, supported: &[&str]| Fields::from_query(Some(query), supported).err().map(|wrong| wrong.to_string());
        assert_eq!(wrong("after=1&limit=2", &PAGE), None);
        let expected = r#"There is no parameter "limits". This route supports `after`, `limit`."#;
        assert_eq!(wrong("after=1&limits=2", &PAGE).as_deref(), Some(expected));
        let expected = r#"There is no parameter "after". This route supports none."#;
        assert_eq!(wrong("after=1", &[]).as_deref(), Some(expected));
    }

    #[test]
    fn a_page_has_100_items_by_default_and_at_most_1000() {
        let limit = |query: &str| Fields::from_query(Some(query), &PAGE).and_then(|fields| fields.limit()).ok();
        assert_eq!(limit(""), Some(100));
        assert_eq!(limit("limit=7"), Some(7));
        assert_eq!(limit("limit=1000"), Some(1_000));
        assert_eq!(limit("limit=1001"), None);
        assert_eq!(limit(&format!("limit={}", "9".repeat(100))), None);
        assert_eq!(limit("limit=007"), Some(7));
        assert_eq!(limit("limit="), None);
        assert_eq!(limit("limit=%2B7"), None);
        assert_eq!(limit("limit=0"), None);
        assert_eq!(limit("limit=-1"), None);
        assert_eq!(limit("limit=many"), None);
    }
}

//! Query strings and forms: percent-encoded fields, and the paging that lists share.

use std::borrow::Cow;

/// A query string or form that cannot be read: what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub Cow<'static, str>);

/// Fields in the order they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded` text (WHATWG URL, section 5.1), strictly: what is not UTF-8 is
    /// refused instead of replaced.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let decode = |text: &[u8]| {
            let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            String::from_utf8(percent_decode(&spaced)).map_err(|_| Malformed("a field is not UTF-8".into()))
        };
        let field = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == b'=').unwrap_or(field.len());
            Ok((decode(&field[..end])?, decode(field.get(end + 1..).unwrap_or_default())?))
        };
        text.split(|byte| *byte == b'&').filter(|text| !text.is_empty()).map(field).collect::<Result<_, _>>().map(Self)
    }

    /// The fields of a query string.
    pub fn of_query(query: Option<&str>) -> Result<Self, Malformed> {
        Self::parse(query.unwrap_or_default().as_bytes())
    }

    /// The value of a field that may be given once.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Malformed> {
        let mut values = self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(Malformed(format!("{name} is given twice").into()));
        }
        if value.is_some_and(|value| value.contains('\0')) {
            return Err(Malformed(format!("{name} contains U+0000").into()));
        }
        Ok(value)
    }

    /// The value of a field that must be given once.
    pub fn require(&self, name: &str) -> Result<&str, Malformed> {
        self.get(name)?.ok_or_else(|| Malformed(format!("the query lacks {name}").into()))
    }

    /// How many items a list is asked for: `limit`, 100 unless told, at most 1,000.
    pub fn limit(&self) -> Result<u16, Malformed> {
        const DEFAULT: u16 = 100;
        const MOST: u16 = 1_000;
        let wrong = || Malformed("limit should be a number from 1 to 1000".into());
        match self.get("limit")? {
            None => Ok(DEFAULT),
            Some(text) if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_digit()) => Err(wrong()),
            // Digits that are no u16 are too many of them.
            Some(text) => match text.parse().unwrap_or(MOST) {
                0 => Err(wrong()),
                limit => Ok(limit.min(MOST)),
            },
        }
    }

    /// The fields as they were given.
    pub fn into_inner(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Replaces `%41` by `A`. A `%` that begins no such triple stands for itself.
pub fn percent_decode(text: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        decoded.push(match (first, hex(after.first()), hex(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                rest = &after[2..];
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            _ => *first,
        });
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_in_their_order() {
        let fields = Fields::parse(b"name=S%C3%A3o+Paulo&&a=%25%4&b&c=1=2").map(Fields::into_inner).ok();
        let expected = [("name", "São Paulo"), ("a", "%%4"), ("b", ""), ("c", "1=2")];
        assert_eq!(fields, Some(expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()));
    }

    #[test]
    fn a_field_that_is_not_utf8_is_refused_instead_of_replaced() {
        assert!(Fields::parse(b"name=%ff").is_err());
        assert!(Fields::parse("name=\u{fffd}".as_bytes()).is_ok());
    }

    #[test]
    fn a_parameter_given_twice_or_with_a_nul_is_refused() {
        let get = |query: &str| Fields::of_query(Some(query)).and_then(|f| f.get("a").map(|v| v.map(str::to_owned)));
        assert_eq!(get("a=1&b=2").ok(), Some(Some("1".to_owned())));
        assert_eq!(get("b=2").ok(), Some(None));
        assert!(get("a=1&a=1").is_err());
        assert!(get("a=%00").is_err());
    }

    #[test]
    fn a_list_is_100_items_long_unless_told_and_1000_at_most() {
        let limit = |query: &str| Fields::of_query(Some(query)).and_then(|fields| fields.limit()).ok();
        assert_eq!(limit(""), Some(100));
        assert_eq!(limit("limit=7"), Some(7));
        assert_eq!(limit("limit=1000000"), Some(1_000));
        assert_eq!(limit(&format!("limit={}", "9".repeat(100))), Some(1_000));
        assert_eq!(limit("limit=007"), Some(7));
        assert_eq!(limit("limit="), None);
        assert_eq!(limit("limit=%2B7"), None);
        assert_eq!(limit("limit=0"), None);
        assert_eq!(limit("limit=-1"), None);
        assert_eq!(limit("limit=many"), None);
    }
}

//! `Authorization`: what a request says of who it comes from.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64_simd::STANDARD;

use super::Denied;
use super::password::Password;

/// What a request carries.
#[derive(Debug)]
pub(super) enum Credentials {
    /// A name and a password (RFC 7617).
    Basic { name: String, password: Password },
    /// A token (RFC 6750).
    Bearer(String),
}

impl Credentials {
    /// The request's credentials: one header, its scheme in any case.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Denied> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Denied::Missing);
        };
        let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Denied::Missing)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Ok(Self::Bearer(rest.to_owned()))
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic(rest).ok_or(Denied::Missing)
        } else {
            Err(Denied::Missing)
        }
    }
}

fn basic(encoded: &str) -> Option<Credentials> {
    let text = String::from_utf8(STANDARD.decode_to_vec(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Credentials::Basic { name: name.to_owned(), password: Password::given(password) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(values: &[&str]) -> Option<Credentials> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).ok()?);
        }
        Credentials::of(&headers).ok()
    }

    #[test]
    fn a_password_may_contain_colons() {
        let text = format!("bAsIc {}", STANDARD.encode_to_string("ann:a:b:c é"));
        let found = of(&[&text]);
        let Some(Credentials::Basic { name, password }) = found else {
            panic!("{found:?}");
        };
        assert_eq!((name.as_str(), password.bytes()), ("ann", "a:b:c é".as_bytes()));
    }

    #[test]
    fn what_cannot_be_read_is_no_credentials() {
        assert!(matches!(of(&["Bearer a.b.c"]), Some(Credentials::Bearer(token)) if token == "a.b.c"));
        let without_colon = format!("Basic {}", STANDARD.encode_to_string("ann"));
        let not_text = format!("Basic {}", STANDARD.encode_to_string(b"\xff:\xff"));
        for refused in [
            &[][..],
            &["Basic"],
            &["Basic !"],
            &[&without_colon],
            &[&not_text],
            &["Digest x"],
            &["Bearer a", "Bearer b"],
        ] {
            assert!(of(refused).is_none(), "{refused:?}");
        }
    }
}

//! `Authorization`: what a request says of who it comes from.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64_simd::STANDARD;

use super::Denied;
use super::name::UserName;
use super::password::Password;

/// What a request carries.
#[derive(Debug)]
pub(super) enum Credentials {
    /// A name and a password (RFC 7617).
    Basic { name: UserName, password: Password },
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
        let bytes = value.as_bytes();
        let (scheme, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b' ').ok_or(Denied::Missing)?);
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let token = std::str::from_utf8(rest).map_err(|_| Denied::InvalidToken)?;
            Ok(Self::Bearer(token.to_owned()))
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            let (name, password) = basic(rest).ok_or(Denied::Missing)?;
            // Nobody has a name that is none, and everybody may know: it is neither looked up nor counted.
            let name = UserName::parse(&name).map_err(|_| Denied::WrongPassword)?;
            Ok(Self::Basic { name, password })
        } else {
            Err(Denied::Missing)
        }
    }
}

fn basic(encoded: &[u8]) -> Option<(String, Password)> {
    let text = String::from_utf8(STANDARD.decode_to_vec(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Password::given(password)))
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
        assert_eq!((name.shown(), password.bytes()), ("ann", "a:b:c é".as_bytes()));
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

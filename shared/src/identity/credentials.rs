//! The `Authorization` header.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64_simd::STANDARD;

use super::Denied;
use super::name::UserName;
use super::password::Password;
use super::service_key::{self, ServiceKey};

/// A request's credentials.
#[derive(Debug)]
pub(super) enum Credentials<'h> {
    /// A name and a password (RFC 7617).
    Basic { name: UserName, password: Password },
    /// A token (RFC 6750).
    Bearer(&'h str),
    /// A service key, which is sent like a token.
    Key(ServiceKey),
}

impl<'h> Credentials<'h> {
    /// Reads the credentials from the `Authorization` header. There must be exactly one such header. The case of the
    /// scheme's name does not matter.
    pub(super) fn from_headers(headers: &'h HeaderMap) -> Result<Self, Denied> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Denied::Missing);
        };
        let bytes = value.as_bytes();
        let (scheme, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b' ').ok_or(Denied::Missing)?);
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let token = std::str::from_utf8(rest).map_err(|_| Denied::InvalidToken)?;
            if token.starts_with(service_key::PREFIX) {
                return ServiceKey::parse(token).map(Self::Key).ok_or(Denied::InvalidKey);
            }
            Ok(Self::Bearer(token))
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            let (name, password) = basic(rest).ok_or(Denied::Missing)?;
            // If the service key were treated as a user's name, the key would be stored and shown with the failed
            // attempts.
            if name.starts_with(service_key::PREFIX) {
                return Err(Denied::KeyAsName);
            }
            // An invalid name belongs to no user, so it is neither looked up nor counted. The quick response reveals
            // this, which is harmless.
            let name = UserName::parse_existing(&name).map_err(|_| Denied::WrongPassword)?;
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

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values.iter().filter_map(|value| HeaderValue::from_str(value).ok());
        values.map(|value| (AUTHORIZATION, value)).collect()
    }

    fn is_refused(values: &[&str]) -> bool {
        Credentials::from_headers(&headers(values)).is_err()
    }

    #[test]
    fn a_password_may_contain_colons() {
        let text = format!("bAsIc {}", STANDARD.encode_to_string("ann:a:b:c é"));
        let headers = headers(&[&text]);
        let found = Credentials::from_headers(&headers).ok();
        let Some(Credentials::Basic { name, password }) = found else {
            panic!("{found:?}");
        };
        assert_eq!((name.shown(), password.bytes()), ("ann", "a:b:c é".as_bytes()));
    }

    #[test]
    fn a_bearer_token_that_begins_like_a_service_key_is_a_service_key_or_invalid() {
        let key = ServiceKey::generate();
        let with_key = headers(&[&format!("Bearer {}", key.reveal())]);
        let found = Credentials::from_headers(&with_key).ok();
        assert!(matches!(&found, Some(Credentials::Key(found)) if *found == key), "{found:?}");
        assert!(matches!(Credentials::from_headers(&headers(&["Bearer SLK_a"])), Ok(Credentials::Bearer("SLK_a"))));
        for mistyped in ["slk_", "slk_a", &format!("{}0", key.reveal()), &key.reveal()[..52]] {
            assert!(is_refused(&[&format!("Bearer {mistyped}")]), "{mistyped}");
        }
    }

    #[test]
    fn a_service_key_in_the_place_of_a_name_is_refused_before_the_attempt_is_counted() {
        let key = ServiceKey::generate();
        let basic = format!("Basic {}", STANDARD.encode_to_string(format!("{}:", key.reveal())));
        assert!(matches!(Credentials::from_headers(&headers(&[&basic])), Err(Denied::KeyAsName)));
    }

    #[test]
    fn unreadable_headers_carry_no_credentials() {
        assert!(matches!(Credentials::from_headers(&headers(&["Bearer a.b.c"])), Ok(Credentials::Bearer("a.b.c"))));
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
            assert!(is_refused(refused), "{refused:?}");
        }
    }
}

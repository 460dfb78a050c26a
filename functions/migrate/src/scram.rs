//! A password as PostgreSQL stores it (SCRAM-SHA-256, RFC 5802 and RFC 7677).
//!
//! `create role … password '…'` puts the text between the quotes into PostgreSQL's log if statements are logged, or if
//! the statement fails. In place of the password, PostgreSQL also accepts the password's stored form. Nobody can log in
//! with the stored form.
//! <https://www.postgresql.org/docs/current/sql-createrole.html>

use base64_simd::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use shared::aws::Secret;

use crate::error::MigrateError;

/// PostgreSQL's default number of iterations.
const ITERATIONS: u32 = 4_096;
const SALT_BYTES: usize = 16;

/// Returns a password's stored form, with a random salt.
///
/// # Errors
/// The password contains characters that SASLprep (RFC 4013) prohibits.
pub(crate) fn stored(password: &Secret) -> Result<String, MigrateError> {
    with_salt(password, &rand::random::<[u8; SALT_BYTES]>())
}

fn with_salt(password: &Secret, salt: &[u8]) -> Result<String, MigrateError> {
    let prepared = stringprep::saslprep(password.reveal()).map_err(|_prohibited| MigrateError::Password)?;
    let salted = salted(prepared.as_bytes(), salt);
    let client_key = hash(&salted, &[b"Client Key"]);
    let (stored_key, server_key) = (Sha256::digest(client_key), hash(&salted, &[b"Server Key"]));
    let [salt, stored_key, server_key] = [salt, &stored_key, &server_key].map(|bytes| STANDARD.encode_to_string(bytes));
    Ok(format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored_key}:{server_key}"))
}

/// PBKDF2 for one block (RFC 8018, section 5.2).
fn salted(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let mut last = hash(password, &[salt, &1_u32.to_be_bytes()]);
    let mut sum = last;
    for _ in 1..ITERATIONS {
        last = hash(password, &[&last]);
        sum.iter_mut().zip(last).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
fn hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Hmac::<Sha256>::new_from_slice(key).expect("the key may have any length");
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_that_of_rfc_7677() {
        let salt = STANDARD.decode_to_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap_or_default();
        let stored = with_salt(&Secret::new("pencil".to_owned()), &salt).ok();
        let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert_eq!(stored.as_deref(), Some(expected));
    }

    #[test]
    fn a_password_with_a_prohibited_character_is_refused() {
        assert!(matches!(stored(&Secret::new("a\u{7}b".to_owned())), Err(MigrateError::Password)));
    }
}

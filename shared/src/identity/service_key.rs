//! The text of a service key: `slk_`, 43 random characters, and 6 characters that are a checksum of the others, as in
//! GitHub's tokens
//! (<https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>).
//!
//! With the checksum, a process can reject typos and random guesses without asking the database, and scanners can
//! recognise a leaked key. The checksum is not secret: what protects a key is its randomness. Because keys are random,
//! Sluice can store a fast hash of a key and look up keys by their hashes. The duration of a lookup may reveal
//! something about a hash, but a hash reveals nothing about its key.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The text with which every key begins. Tokens from `/login` begin with `ey`.
pub(super) const PREFIX: &str = "slk_";

/// The characters of a key. A double click selects all of them, and none needs encoding anywhere.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The number of random characters: 62^43 is more than 2^256.
const RANDOM: usize = 43;

/// The number of characters of the checksum: 62^6 is more than 2^32.
const CHECKSUM: usize = 6;

/// The number of characters that a list of keys shows. The 35 random characters that such a list does not show have 208
/// bits.
const SHOWN: usize = PREFIX.len() + 8;

/// The SHA-256 hash of a key.
pub(super) type KeyHash = [u8; 32];

/// A well-formed service key, whether or not it belongs to a user.
#[derive(PartialEq, Eq)]
pub struct ServiceKey(String);

impl ServiceKey {
    /// Generates a key with `rand`'s cryptographically secure generator, which the operating system seeds.
    pub(super) fn generate() -> Self {
        let mut text = PREFIX.to_owned();
        text.extend((0..RANDOM).map(|_| char::from(ALPHABET[rand::random_range(..ALPHABET.len())])));
        let checksum = checksum(&text);
        Self(text + &checksum)
    }

    /// Parses a key. Returns `None` if its length or its checksum is wrong.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (body, given) = text.split_at_checked(PREFIX.len() + RANDOM)?;
        (body.starts_with(PREFIX) && checksum(body) == given).then(|| Self(text.to_owned()))
    }

    /// Returns the hash that the key is stored under.
    pub(super) fn hash(&self) -> KeyHash {
        Sha256::digest(&self.0).into()
    }

    /// Returns the first characters, which may be shown.
    pub(super) fn prefix(&self) -> &str {
        &self.0[..SHOWN]
    }

    /// Returns the whole key. Show it only to the caller who creates it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Returns the checksum: the first 32 bits of SHA-256, in base 62, most significant digit first.
fn checksum(body: &str) -> String {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(body));
    let mut left = u32::from_be_bytes([a, b, c, d]) as usize;
    let mut digits = [0; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[left % ALPHABET.len()];
        left /= ALPHABET.len();
    }
    digits.map(char::from).iter().collect()
}

/// Shows nothing that helps to guess the key.
impl fmt::Debug for ServiceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServiceKey({}…)", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn generated_keys_are_well_formed_and_all_different() {
        let keys: Vec<ServiceKey> = (0..3_000).map(|_| ServiceKey::generate()).collect();
        let texts: BTreeSet<&str> = keys.iter().map(ServiceKey::reveal).collect();
        assert_eq!(texts.len(), 3_000);
        for text in &texts {
            assert_eq!(text.len(), 53);
            assert!(text.strip_prefix("slk_").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric())));
            assert_eq!(ServiceKey::parse(text).as_ref().map(ServiceKey::reveal), Some(*text));
        }
        // At every random position, each of the 62 characters occurs in some key. The probability that 3,000 keys lack
        // a character at any position is below 1e-17.
        for position in 4..47 {
            let found: BTreeSet<u8> = texts.iter().map(|text| text.as_bytes()[position]).collect();
            assert_eq!(found.len(), 62, "{position}");
        }
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let body = format!("slk_{}", "0".repeat(43));
        let key = format!("{body}{}", checksum(&body));
        assert_eq!(key, "slk_00000000000000000000000000000000000000000002ka1o0");
        assert_eq!(
            ServiceKey::parse(&key).map(|key| hex::encode(key.hash())),
            Some("e870632bd7c694097d1900615024a56fbd95d120787e464cfb9b47d6b7b9b34a".to_owned())
        );
    }

    #[test]
    fn a_key_with_any_character_changed_is_rejected() {
        let key = ServiceKey::generate();
        for position in 0..key.reveal().len() {
            for other in ["0", "Z", "_", "é"] {
                let mut changed = key.reveal().to_owned();
                changed.replace_range(position..=position, other);
                assert!(changed == key.reveal() || ServiceKey::parse(&changed).is_none(), "{changed}");
            }
        }
        let swapped: String = key.reveal().chars().rev().collect();
        for malformed in ["", "slk_", &key.reveal()[1..], &format!("{}0", key.reveal()), &swapped] {
            assert!(ServiceKey::parse(malformed).is_none(), "{malformed}");
        }
    }

    #[test]
    fn debug_output_shows_only_the_first_characters() {
        let key = ServiceKey::generate();
        assert_eq!(format!("{key:?}"), format!("ServiceKey({}…)", &key.reveal()[..12]));
    }
}

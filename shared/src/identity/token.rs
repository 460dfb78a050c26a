//! Tokens that clients send instead of a password.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64_simd::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::remembered::CAPACITY;
use crate::process::clock::Clock;

/// Signs and verifies tokens: JSON Web Tokens (RFC 7519) with HMAC and SHA-256. Tokens with other algorithms are
/// invalid.
#[derive(Clone)]
pub struct Tokens {
    signs: EncodingKey,
    verify: Vec<DecodingKey>,
    validation: Validation,
    valid_for_seconds: i64,
    /// The claims of tokens whose signatures were verified before. A client sends its token with every request, so most
    /// verifications can be skipped.
    verified: Arc<Cache<String, Arc<Claims>>>,
}

/// `TOKEN_KEY`: one or more keys. The first key signs new tokens. A token is valid if any of the keys signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKeys(Vec<Vec<u8>>);

/// The minimum length of a key in bytes, which is the length of the hash (RFC 7518, section 3.2).
const FEWEST_BYTES: usize = 32;

impl TokenKeys {
    /// Parses keys in hex or base64, separated by commas. Returns `None` if any of them is malformed or too short.
    pub fn parse(text: &str) -> Option<Self> {
        let keys: Option<Vec<_>> = text.split(',').map(|key| decode(key.trim())).collect();
        keys.filter(|keys| keys.iter().all(|key| key.len() >= FEWEST_BYTES)).map(Self)
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if let Ok(key) = hex::decode(text) {
        return Some(key);
    }
    let unpadded = text.trim_end_matches('=');
    STANDARD.decode_to_vec(text).or_else(|_| URL_SAFE_NO_PAD.decode_to_vec(unpadded)).ok()
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenKeys({} of them)", self.0.len())
    }
}

/// A token's claims.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The user's name, in the form in which names are compared.
    pub(super) sub: String,
    /// The account's number. It is needed because another account may have the same name later.
    pub(super) uid: i64,
    /// The generation of the password, which counts its changes.
    #[serde(rename = "gen")]
    pub(super) generation: i32,
    /// The number of the token's session. `None` if the token belongs to no session.
    #[serde(rename = "sid", default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<i64>,
    aud: String,
    iat: i64,
    /// When the token expires, in seconds since the Unix epoch.
    pub(super) exp: i64,
}

impl Claims {
    /// Returns whether the claims belong to this account and are still current: the password has not been changed since
    /// the token was issued, and the token's session has not ended.
    pub(super) fn are_current(&self, account: &Account) -> bool {
        let has_ended = self.session.is_some_and(|session| account.ended_sessions.contains(&session));
        account.id == self.uid && account.generation == self.generation && !has_ended
    }
}

const AUDIENCE: &str = "sluice";

impl Tokens {
    /// Creates a signer with these keys. Its tokens are valid for `valid_for`.
    pub fn new(keys: &TokenKeys, valid_for: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // `Tokens::read` checks the expiry against the functions' clock (`Clock`) instead.
        validation.validate_exp = false;
        let signing = keys.0.first().map(Vec::as_slice).unwrap_or_default();
        Self {
            signs: EncodingKey::from_secret(signing),
            verify: keys.0.iter().map(|key| DecodingKey::from_secret(key)).collect(),
            validation,
            valid_for_seconds: i64::try_from(valid_for.as_secs()).unwrap_or(i64::MAX),
            verified: Arc::new(Cache::new(CAPACITY)),
        }
    }

    /// Returns how many seconds a token is valid for.
    pub fn valid_for_seconds(&self) -> i64 {
        self.valid_for_seconds
    }

    /// Issues a token for an account. With `session`, the token belongs to that session.
    ///
    /// # Errors
    /// The token cannot be signed.
    pub(super) fn issue(
        &self,
        account: &Account,
        session: Option<i64>,
        clock: &Clock,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let now_seconds = clock.now_ms() / 1_000;
        let claims = Claims {
            sub: account.key.clone(),
            uid: account.id,
            generation: account.generation,
            session,
            aud: AUDIENCE.to_owned(),
            iat: now_seconds,
            exp: now_seconds.saturating_add(self.valid_for_seconds),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signs)
    }

    /// Returns whether half of a valid token's time has passed.
    pub(super) fn is_half_over(&self, claims: &Claims, clock: &Clock) -> bool {
        claims.exp - clock.now_ms() / 1_000 < self.valid_for_seconds / 2
    }

    /// Returns a token's claims, if one of the keys signed it and it is still valid.
    pub(super) fn read(&self, token: &str, clock: &Clock) -> Option<Arc<Claims>> {
        let claims = match self.verified.get(token) {
            Some(claims) => claims,
            None => {
                let read = |key| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok();
                let claims = Arc::new(self.verify.iter().find_map(read)?.claims);
                self.verified.insert(token.to_owned(), Arc::clone(&claims));
                claims
            }
        };
        (clock.now_ms() / 1_000 < claims.exp).then_some(claims)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tokens({} keys)", self.verify.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;

    const A: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
    const B: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

    fn tokens(keys: &str) -> Tokens {
        let keys = TokenKeys::parse(keys);
        assert!(keys.is_some());
        Tokens::new(&keys.unwrap_or(TokenKeys(Vec::new())), Duration::from_secs(3_600))
    }

    fn account() -> Account {
        Account {
            id: 7,
            name: "Ann".to_owned(),
            key: "ann".to_owned(),
            role: Role::User,
            password_hash: String::new(),
            generation: 3,
            blocked_until_ms: None,
            ended_sessions: Vec::new(),
        }
    }

    #[test]
    fn a_key_has_at_least_32_bytes_in_hex_or_base64() {
        assert_eq!(TokenKeys::parse(A), Some(TokenKeys(vec![vec![0xa1; 32]])));
        assert_eq!(TokenKeys::parse(B), Some(TokenKeys(vec![vec![0x42; 32]])));
        assert_eq!(TokenKeys::parse(&format!("{A}, {B}")).map(|keys| keys.0.len()), Some(2));
        for refused in ["", &A[..62], "not base64 at all, nor hex, but it is long enough for both", &format!("{A},")] {
            assert_eq!(TokenKeys::parse(refused), None, "{refused}");
        }
        assert_eq!(TokenKeys::parse(A).map(|keys| format!("{keys:?}")), Some("TokenKeys(1 of them)".to_owned()));
    }

    #[test]
    fn a_token_is_valid_until_it_expires_and_only_if_the_key_that_signed_it_is_known() {
        let clock = Clock::fixed(1_700_000_000_000);
        let token = tokens(A).issue(&account(), None, &clock).unwrap_or_default();
        let reads = |keys: &str| {
            tokens(keys).read(&token, &clock).map(|claims| (claims.sub.clone(), claims.uid, claims.generation))
        };
        assert_eq!(reads(A), Some(("ann".to_owned(), 7, 3)));
        assert_eq!(reads(&format!("{B},{A}")), Some(("ann".to_owned(), 7, 3)));
        assert_eq!(reads(B), None);
        clock.advance(3_599_999);
        assert!(reads(A).is_some());
        clock.advance(1);
        assert!(reads(A).is_none());
    }

    #[test]
    fn a_token_of_another_algorithm_or_audience_is_invalid() {
        let clock = Clock::fixed(1_700_000_000_000);
        let encode = |text: &str| URL_SAFE_NO_PAD.encode_to_string(text);
        let claims = |aud: &str| serde_json::json!({"sub": "ann", "uid": 7, "gen": 3, "aud": aud, "iat": 1_700_000_000, "exp": 1_800_000_000});
        let unsigned = |alg: &str| {
            let header = format!("{{\"alg\":\"{alg}\",\"typ\":\"JWT\"}}");
            format!("{}.{}.", encode(&header), encode(&claims(AUDIENCE).to_string()))
        };
        for alg in ["none", "None", "HS256", "RS256"] {
            assert!(tokens(A).read(&unsigned(alg), &clock).is_none(), "{alg}");
        }
        let signed = |alg, aud| {
            jsonwebtoken::encode(&Header::new(alg), &claims(aud), &EncodingKey::from_secret(&[0xa1; 32]))
                .unwrap_or_default()
        };
        assert!(tokens(A).read(&signed(Algorithm::HS256, AUDIENCE), &clock).is_some());
        assert!(tokens(A).read(&signed(Algorithm::HS512, AUDIENCE), &clock).is_none());
        assert!(tokens(A).read(&signed(Algorithm::HS256, "other"), &clock).is_none());
    }
}

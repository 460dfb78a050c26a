//! Passwords: the rules for them, and the slow hash that is stored.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{self, Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use unicode_normalization::UnicodeNormalization as _;

use super::name::{self, UserName};
use crate::process::settings::SettingsError;

/// A password. It is never displayed, not even in part.
#[derive(Clone)]
pub struct Password(String);

/// Why a password is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongPassword {
    /// The password is too short or too long.
    #[error("must have 8 to 256 characters")]
    Length,
    /// The password is the user's name.
    #[error("must not be the user name")]
    IsName,
    /// The password is in a list of common and breached passwords, or similar to one of them.
    #[error("is too common and would be guessed quickly; choose another one")]
    Common,
}

/// Whether common and breached passwords are rejected: `PASSWORD_BLOCKLIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocklist {
    /// They are rejected.
    Common,
    /// They are allowed.
    Off,
}

impl Blocklist {
    /// Reads `PASSWORD_BLOCKLIST`; the default is `common`.
    ///
    /// # Errors
    /// The variable is malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        const NAME: &str = "PASSWORD_BLOCKLIST";
        match variable(NAME).as_deref() {
            None | Some("common") => Ok(Self::Common),
            Some("off") => Ok(Self::Off),
            Some(_) => Err(SettingsError::Malformed { name: NAME, expected: "common or off" }),
        }
    }
}

impl Password {
    /// Reads a password that is to be compared with a hash. The password is composed (NFC, RFC 8265), so that it does
    /// not depend on how a keyboard encodes accents.
    pub fn given(text: &str) -> Self {
        Self(text.nfc().collect())
    }

    /// Reads a new password for `name`.
    ///
    /// # Errors
    /// The password breaks a rule.
    pub fn new(text: &str, name: &UserName, blocklist: Blocklist) -> Result<Self, WrongPassword> {
        // zxcvbn needs fewer guesses than this for passwords from breaches, for words and names, and for the usual
        // variations of all of these.
        const FEWEST_GUESSES_LOG10: f64 = 6.0;
        let password = Self::given(text);
        if !(8..=256).contains(&password.0.chars().count()) {
            Err(WrongPassword::Length)
        } else if name::key(&password.0) == name.key() {
            Err(WrongPassword::IsName)
        } else if blocklist == Blocklist::Common
            && zxcvbn::zxcvbn(&password.0, &[name.shown()]).guesses_log10() < FEWEST_GUESSES_LOG10
        {
            Err(WrongPassword::Common)
        } else {
            Ok(password)
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

/// Hashes passwords with argon2id (RFC 9106) with the parameters that OWASP's Password Storage Cheat Sheet recommends:
/// 19 MiB of memory, two passes, no parallelism. Only a few passwords are hashed at a time, so that a flood of logins
/// exhausts neither memory nor processors.
///
/// The memory of a hash is kept for later hashes: freeing and allocating 19 MiB for every hash would fragment the heap,
/// and the process would grow without end (<https://github.com/RustCrypto/password-hashes/issues/526>).
#[derive(Clone)]
pub(super) struct Hasher {
    permits: Arc<Semaphore>,
    memory: Arc<Mutex<Vec<Memory>>>,
}

type Memory = Vec<Block>;

/// The maximum time to wait for a permit. API Gateway abandons a request after 30 s.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// No permit was free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being compared")]
pub struct Busy;

/// A permit to hash one password.
pub(super) struct Permit {
    permit: OwnedSemaphorePermit,
    memory: Arc<Mutex<Vec<Memory>>>,
}

/// The result of comparing a password with a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compared {
    /// The password is wrong.
    Differs,
    /// The password is correct.
    Same {
        /// A new hash, if the stored one was made with weaker parameters.
        rehashed: Option<String>,
    },
}

impl Hasher {
    /// Creates a hasher that hashes at most `at_once` passwords in parallel.
    pub(super) fn new(at_once: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), memory: Arc::default() }
    }

    /// Hashes a password into a PHC string.
    ///
    /// # Errors
    /// No permit was free in time, or the system has no random bytes or no memory.
    pub(super) async fn hash(&self, password: Password) -> Result<String, HashError> {
        let permit = self.permit().await?;
        Ok(permit.run(move |memory| hash(password.bytes(), memory)).await?)
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// No permit was free in time.
    pub(super) async fn permit(&self) -> Result<Permit, Busy> {
        match tokio::time::timeout(PERMIT_TIMEOUT, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit { permit, memory: Arc::clone(&self.memory) }),
            Ok(Err(_)) | Err(_) => Err(Busy),
        }
    }
}

impl Permit {
    /// Compares a password with a stored hash. Without a hash, the work is the same and the result is
    /// [`Compared::Differs`], so that response times do not reveal whether the user exists.
    ///
    /// # Errors
    /// The stored hash is malformed, or the system has no random bytes or no memory.
    pub(super) async fn compare(self, password: Password, stored: Option<String>) -> Result<Compared, Unhashable> {
        self.run(move |memory| compare(&password, stored.as_deref(), memory)).await
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Memory) -> Result<T, Unhashable> + Send + 'static,
    ) -> Result<T, Unhashable> {
        // The permit moves into the task: if the caller goes away, the task continues and still uses its memory.
        let Self { permit, memory } = self;
        let run = tokio::task::spawn_blocking(move || {
            let lock = || memory.lock().unwrap_or_else(PoisonError::into_inner);
            let mut mine = lock().pop().unwrap_or_default();
            let done = work(&mut mine);
            lock().push(mine);
            drop(permit);
            done
        });
        run.await.map_err(|error| Unhashable(error.to_string()))?
    }
}

/// Why a password was not hashed.
#[derive(Debug)]
pub enum HashError {
    /// No permit was free in time.
    Busy,
    /// Hashing failed.
    Unhashable(Unhashable),
}

impl From<Busy> for HashError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl From<Unhashable> for HashError {
    fn from(error: Unhashable) -> Self {
        Self::Unhashable(error)
    }
}

/// Why hashing failed. The text does not contain the password.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash a password: {0}")]
pub struct Unhashable(String);

impl From<argon2::password_hash::Error> for Unhashable {
    fn from(error: argon2::password_hash::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<argon2::Error> for Unhashable {
    fn from(error: argon2::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<phc::Error> for Unhashable {
    fn from(error: phc::Error) -> Self {
        Self(error.to_string())
    }
}

/// The salt that is used if there is no stored hash. The output is discarded.
const NOBODYS_SALT: [u8; 16] = [0; 16];

fn hash(password: &[u8], memory: &mut Memory) -> Result<String, Unhashable> {
    let salt = Salt::generate();
    let params = Params::DEFAULT;
    let made = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        hash: Some(output(password, &salt, params, memory)?),
        salt: Some(salt),
    };
    Ok(made.to_string())
}

fn output(password: &[u8], salt: &[u8], params: Params, memory: &mut Memory) -> Result<Output, Unhashable> {
    memory.resize(params.block_count(), Block::new());
    let mut bytes = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password, salt, &mut bytes, memory.as_mut_slice())?;
    Ok(Output::new(&bytes)?)
}

fn compare(password: &Password, stored: Option<&str>, memory: &mut Memory) -> Result<Compared, Unhashable> {
    let Some(stored) = stored else {
        output(password.bytes(), &NOBODYS_SALT, Params::DEFAULT, memory)?;
        return Ok(Compared::Differs);
    };
    let stored = PasswordHash::new(stored)?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        return Err(Unhashable("a stored hash has no salt or no output".to_owned()));
    };
    let params = Params::try_from(&stored)?;
    let is_weaker = params.m_cost() < Params::DEFAULT.m_cost() || params.t_cost() < Params::DEFAULT.t_cost();
    // Outputs are compared in constant time.
    if output(password.bytes(), salt, params, memory)? != *expected {
        return Ok(Compared::Differs);
    }
    let rehashed = if is_weaker { Some(hash(password.bytes(), memory)?) } else { None };
    Ok(Compared::Same { rehashed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(password: &str, blocklist: Blocklist) -> Option<WrongPassword> {
        let name = UserName::parse("baltimore").ok()?;
        Password::new(password, &name, blocklist).err()
    }

    #[test]
    fn a_password_has_8_to_256_characters_and_is_not_the_name() {
        assert_eq!(refused("1234567", Blocklist::Off), Some(WrongPassword::Length));
        assert_eq!(refused(&"é".repeat(257), Blocklist::Off), Some(WrongPassword::Length));
        assert_eq!(refused(&"é".repeat(256), Blocklist::Off), None);
        assert_eq!(refused("Baltimore", Blocklist::Off), Some(WrongPassword::IsName));
        assert_eq!(refused("test1234", Blocklist::Off), None);
    }

    #[test]
    fn common_passwords_are_rejected_if_the_blocklist_is_on() {
        for common in ["password", "Password1", "qwertyuiop", "12345678", "iloveyou1", "baltimore1", "trustno1"] {
            assert_eq!(refused(common, Blocklist::Common), Some(WrongPassword::Common), "{common}");
        }
        for uncommon in ["correct horse battery staple", "kV9#qLw2pZ", "Übermorgen-um-vier"] {
            assert_eq!(refused(uncommon, Blocklist::Common), None, "{uncommon}");
        }
    }

    #[tokio::test]
    async fn a_password_is_the_same_from_every_keyboard() -> Result<(), HashError> {
        let hasher = Hasher::new(1);
        let stored = hasher.hash(Password::given("gar\u{e7}on-8")).await?;
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let same = hasher.permit().await?.compare(Password::given("garc\u{327}on-8"), Some(stored.clone())).await?;
        assert_eq!(same, Compared::Same { rehashed: None });
        let other = hasher.permit().await?.compare(Password::given("garcon-8"), Some(stored)).await?;
        assert_eq!(other, Compared::Differs);
        let nobodys = hasher.permit().await?.compare(Password::given("garcon-8"), None).await?;
        assert_eq!(nobodys, Compared::Differs);
        Ok(())
    }

    #[test]
    fn a_hash_with_weaker_parameters_is_replaced() -> Result<(), Unhashable> {
        use argon2::PasswordHasher as _;
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8_192, 1, 1, None)?);
        let stored = weak.hash_password(b"test1234")?.to_string();
        let mut memory = Memory::new();
        let given = Password::given("test1234");
        let Compared::Same { rehashed: Some(rehashed) } = compare(&given, Some(&stored), &mut memory)? else {
            return Err(Unhashable("the weak hash is not replaced".to_owned()));
        };
        assert_eq!(compare(&given, Some(&rehashed), &mut memory)?, Compared::Same { rehashed: None });
        assert_eq!(compare(&given, Some(&stored.replace("t=1", "t=2")), &mut memory)?, Compared::Differs);
        // The library's own function accepts the new hash, although the memory for it was used by an earlier hash.
        use argon2::PasswordVerifier as _;
        Argon2::default().verify_password(b"test1234", rehashed.as_str())?;
        Ok(())
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(format!("{:?}", Password::given("test1234")), "Password(…)");
    }
}

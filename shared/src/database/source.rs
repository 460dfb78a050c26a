//! How to reach the database: settings from environment variables.

use std::fmt;
use std::str::FromStr as _;

use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::functions_login::{Authentication, FunctionsLogin};
use crate::aws::{Aws, DatabaseUser, LookUpError, Secret, is_arn};
use crate::network::pem::{Kind, Pem};
use crate::network::resolve::resolves;
use crate::process::settings::SettingsError;

const URL: &str = "DATABASE_URL";
const SECRET: &str = "DATABASE_SECRET_ARN";
const AUTH: &str = "DATABASE_AUTH";
const ADDRESS: &str = "a PostgreSQL address such as postgres://user:password@host:5432/database";

const UNFIT_SECRET: LookUpError = LookUpError::Unfit {
    variable: SECRET,
    expected: "a JSON object with username and password, and with host if DATABASE_URL is not set",
};

/// The database's address and login, before anything is looked up at AWS.
#[derive(Clone)]
pub struct DatabaseSource {
    options: PgConnectOptions,
    has_address: bool,
    /// The password in the address. The options contain the password, too, but do not return it.
    password: Option<Secret>,
    login: LoginSource,
}

#[derive(Clone)]
enum LoginSource {
    /// The login in the address.
    Address,
    /// A name and a password in a secret at AWS. The secret may change.
    Secret { arn: String },
    /// The name in the address. The password is a token that our IAM role signs.
    Iam,
}

impl fmt::Debug for DatabaseSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options contain the password, so only the host and the port are shown.
        write!(formatter, "DatabaseSource({}:{})", self.options.get_host(), self.options.get_port())
    }
}

impl DatabaseSource {
    /// Reads `DATABASE_URL`, `DATABASE_SECRET_ARN` and `DATABASE_AUTH` through `variable`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        let malformed = |name, expected| SettingsError::Malformed { name, expected };
        let url = variable(URL);
        let login = match (variable(AUTH).as_deref(), variable(SECRET)) {
            (None, None) => LoginSource::Address,
            (None, Some(arn)) if is_arn(&arn, "secretsmanager", "secret:") => LoginSource::Secret { arn },
            (None, Some(_)) => return Err(malformed(SECRET, "the ARN of a secret with username and password")),
            (Some("iam"), None) => LoginSource::Iam,
            (Some(_), _) => return Err(malformed(AUTH, "iam (allowed only without DATABASE_SECRET_ARN), or nothing")),
        };
        let (options, password, has_address) = match (&login, url) {
            (_, Some(url)) => {
                let (options, password) = parse(&url)?;
                (options, password, true)
            }
            // An RDS secret contains the address, too.
            (LoginSource::Secret { .. }, None) => (PgConnectOptions::new_without_pgpass(), None, false),
            (LoginSource::Address | LoginSource::Iam, None) => {
                return Err(SettingsError::Missing { name: URL, expected: ADDRESS });
            }
        };
        if matches!(login, LoginSource::Iam) && !is_encrypted(&verified(options.clone())) {
            return Err(malformed(
                URL,
                "sslmode=verify-full, because DATABASE_AUTH=iam requires encrypted connections",
            ));
        }
        Ok(Self { options, has_address, password, login })
    }

    /// Creates a source from an address alone.
    ///
    /// # Errors
    /// The address is malformed.
    pub fn from_url(url: &str) -> Result<Self, SettingsError> {
        let (options, password) = parse(url)?;
        Ok(Self { options, has_address: true, password, login: LoginSource::Address })
    }

    /// Creates a source from the options of another source.
    pub(super) fn from_options(options: PgConnectOptions) -> Self {
        Self { options, has_address: true, password: None, login: LoginSource::Address }
    }

    /// Returns the host in the address if the host's name does not resolve.
    pub async fn unresolved_host(&self) -> Option<String> {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        let is_named = self.has_address && self.options.get_socket().is_none();
        (is_named && !resolves(host, port).await).then(|| host.to_owned())
    }

    /// Returns whether the login can change during the process's life.
    pub(super) fn changes(&self) -> bool {
        match self.login {
            LoginSource::Address => false,
            LoginSource::Secret { .. } | LoginSource::Iam => true,
        }
    }

    /// Returns whether the login must be renewed before it expires.
    pub(super) fn expires(&self) -> bool {
        match self.login {
            LoginSource::Address | LoginSource::Secret { .. } => false,
            LoginSource::Iam => true,
        }
    }

    /// Returns the options that are known without a lookup. If the login must be looked up first, the options name a
    /// port on which nothing listens, so that no connection can be opened.
    pub(super) fn known(&self) -> PgConnectOptions {
        match self.login {
            LoginSource::Address => verified(self.options.clone()),
            LoginSource::Secret { .. } | LoginSource::Iam => self.options.clone().host("127.0.0.1").port(1),
        }
    }

    /// Looks up the secret or signs a token, and returns the options to connect with.
    ///
    /// # Errors
    /// AWS does not answer, or the resource is unsuitable.
    pub(super) async fn look_up(&self, aws: &Aws, now_ms: i64) -> Result<PgConnectOptions, LookUpError> {
        let options = match &self.login {
            LoginSource::Address => self.options.clone(),
            LoginSource::Secret { arn } => self.with_secret(&aws.secret(SECRET, arn).await?).ok_or(UNFIT_SECRET)?,
            LoginSource::Iam => {
                let (host, port, name) =
                    (self.options.get_host(), self.options.get_port(), self.options.get_username());
                let password = aws.database_token(DatabaseUser { host, port, name }, now_ms).await?;
                self.options.clone().password(password.reveal())
            }
        };
        Ok(verified(options))
    }

    /// Returns the database's address, and the login with which the functions connect to the database. `migrate` needs
    /// both, because it connects to this address as the database's owner, and then creates this login.
    ///
    /// # Errors
    /// AWS does not answer, or the secret is unsuitable.
    pub(super) async fn look_up_login(&self, aws: &Aws) -> Result<(PgConnectOptions, FunctionsLogin), LookUpError> {
        let (options, authentication) = match &self.login {
            LoginSource::Address => (self.options.clone(), Authentication::Password(self.password.clone())),
            LoginSource::Secret { arn } => {
                let secret = aws.secret(SECRET, arn).await?;
                let password = secret.members().and_then(|mut members| members.remove("password"));
                let options = self.with_secret(&secret).ok_or(UNFIT_SECRET)?;
                (options, Authentication::Password(password))
            }
            LoginSource::Iam => (self.options.clone(), Authentication::Iam),
        };
        let name = options.get_username().to_owned();
        Ok((verified(options), FunctionsLogin { name, authentication }))
    }

    /// Combines the address with the secret. The login comes from the secret. The server comes from the address, or
    /// from the secret if there is no address.
    fn with_secret(&self, secret: &Secret) -> Option<PgConnectOptions> {
        let members = secret.members()?;
        let member = |name: &str| members.get(name).map(Secret::reveal);
        let mut options = self.options.clone().username(member("username")?).password(member("password")?);
        if !self.has_address {
            options = options.host(member("host")?);
            if let Some(port) = member("port") {
                options = options.port(port.parse().ok()?);
            }
            if let Some(database) = member("dbname") {
                options = options.database(database);
            }
        }
        Some(options)
    }
}

/// Parses an address and the password in it. `sslrootcert` may be a path, as in libpq, or the certificates themselves.
fn parse(url: &str) -> Result<(PgConnectOptions, Option<Secret>), SettingsError> {
    let malformed = |expected| SettingsError::Malformed { name: URL, expected };
    let parsed = Url::parse(url).map_err(|_unreadable| malformed(ADDRESS))?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err(malformed(ADDRESS));
    }
    let mut without_root = parsed.clone();
    let mut root = None;
    without_root.query_pairs_mut().clear();
    for (name, value) in parsed.query_pairs() {
        if matches!(&*name, "sslrootcert" | "ssl-root-cert" | "ssl-ca") {
            root = Some(value.into_owned());
        } else {
            without_root.query_pairs_mut().append_pair(&name, &value);
        }
    }
    let options = PgConnectOptions::from_str(without_root.as_str()).map_err(|_malformed| {
        let is_mode = parsed.query_pairs().any(|(name, _)| name == "sslmode");
        malformed(if is_mode { "sslmode=disable, verify-ca or verify-full, or no sslmode" } else { ADDRESS })
    })?;
    let options = match root.as_deref() {
        // As in libpq, `system` means the public certificate authorities. They are also the default.
        None | Some("system") => options,
        Some(value) => {
            let pem = Pem::read(URL, value, Kind::Certificates).map_err(|_unreadable| {
                malformed("an sslrootcert that is the path of a file with certificates in PEM")
            })?;
            options.ssl_root_cert_from_pem(pem.text().as_bytes().to_vec())
        }
    };
    let decoded = |password| percent_decode_str(password).decode_utf8_lossy().into_owned();
    Ok((options, parsed.password().map(decoded).map(Secret::new)))
}

/// Makes encrypted connections verify the server's certificate. By themselves, the modes `prefer` (the default),
/// `allow` and `require` would accept any certificate, and `prefer` and `allow` would even accept an unencrypted
/// connection. So these three modes become `verify-full`. But if the server is on this machine, `prefer` and `allow`
/// become `disable`.
fn verified(options: PgConnectOptions) -> PgConnectOptions {
    let mode = match options.get_ssl_mode() {
        PgSslMode::Allow | PgSslMode::Prefer if is_here(&options) => PgSslMode::Disable,
        PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => PgSslMode::VerifyFull,
        mode @ (PgSslMode::Disable | PgSslMode::VerifyCa | PgSslMode::VerifyFull) => mode,
    };
    options.ssl_mode(mode)
}

fn is_encrypted(options: &PgConnectOptions) -> bool {
    !matches!(options.get_ssl_mode(), PgSslMode::Disable)
}

/// Returns whether the server is on this machine.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    options.get_socket().is_some() || host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sluice-AbCdEf";

    fn read(variables: &[(&str, &str)]) -> Result<DatabaseSource, String> {
        DatabaseSource::read(|name| {
            variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
        })
        .map_err(|error| error.to_string())
    }

    fn mode(url: &str) -> Option<PgSslMode> {
        read(&[(URL, url)]).ok().map(|source| source.known().get_ssl_mode())
    }

    #[test]
    fn every_server_is_verified_unless_it_is_on_this_machine_or_the_address_says_otherwise() {
        for (url, expected) in [
            ("postgres://u:p@127.0.0.1:5432/d", PgSslMode::Disable),
            ("postgres://u:p@localhost/d", PgSslMode::Disable),
            ("postgres://u:p@[::1]/d", PgSslMode::Disable),
            ("postgres://u:p@db.example.org/d", PgSslMode::VerifyFull),
            ("postgres://u:p@db.example.org/d?sslmode=prefer", PgSslMode::VerifyFull),
            ("postgres://u:p@db.example.org/d?sslmode=require", PgSslMode::VerifyFull),
            ("postgres://u:p@localhost/d?sslmode=require", PgSslMode::VerifyFull),
            ("postgres://u:p@db.example.org/d?sslmode=verify-ca", PgSslMode::VerifyCa),
            ("postgres://u:p@db.example.org/d?sslmode=disable", PgSslMode::Disable),
        ] {
            let found = mode(url);
            assert!(
                matches!(found, Some(found) if format!("{found:?}") == format!("{expected:?}")),
                "{url}: {found:?}"
            );
        }
    }

    #[test]
    fn a_missing_or_malformed_variable_is_named_with_its_expected_content_and_without_its_value() {
        let address = (URL, "postgres://u:hunter2@db.example.org/d");
        for (variables, named) in [
            (vec![], "DATABASE_URL is not set: it should hold a PostgreSQL address"),
            (vec![(URL, "mysql://u:hunter2@h/d")], "DATABASE_URL is malformed: it should hold a PostgreSQL address"),
            (vec![(URL, "postgres://u:hunter2@h:x/d")], "DATABASE_URL is malformed"),
            (
                vec![(URL, "postgres://u:hunter2@h/d?sslmode=maybe")],
                "DATABASE_URL is malformed: it should hold sslmode=",
            ),
            (
                vec![(URL, "postgres://u:hunter2@h/d?sslrootcert=/not/there")],
                "DATABASE_URL is malformed: it should hold an sslrootcert",
            ),
            (vec![address, (AUTH, "password")], "DATABASE_AUTH is malformed: it should hold iam"),
            (vec![address, (AUTH, "iam"), (SECRET, ARN)], "DATABASE_AUTH is malformed"),
            (vec![(AUTH, "iam")], "DATABASE_URL is not set"),
            (
                vec![(AUTH, "iam"), (URL, "postgres://u@h/d?sslmode=disable")],
                "DATABASE_URL is malformed: it should hold sslm",
            ),
            (vec![(SECRET, "hunter2")], "DATABASE_SECRET_ARN is malformed"),
        ] {
            let error = read(&variables).err().unwrap_or_default();
            assert!(error.starts_with(named), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_secret_supplies_the_login_but_supplies_the_address_only_if_no_variable_does() {
        let secret = Secret::new(
            r#"{"username":"rotated","password":"p","host":"rds.example.org","port":5433,"dbname":"events"}"#
                .to_owned(),
        );
        let found = |variables: &[(&str, &str)]| {
            let options = read(variables).ok()?.with_secret(&secret)?;
            let database = options.get_database().map(str::to_owned);
            Some((options.get_username().to_owned(), options.get_host().to_owned(), options.get_port(), database))
        };
        let name = || "rotated".to_owned();
        assert_eq!(
            found(&[(SECRET, ARN)]),
            Some((name(), "rds.example.org".to_owned(), 5433, Some("events".to_owned())))
        );
        assert_eq!(
            found(&[(SECRET, ARN), (URL, "postgres://proxy.example.org/d")]),
            Some((name(), "proxy.example.org".to_owned(), 5432, Some("d".to_owned())))
        );
    }

    #[test]
    fn the_password_is_never_logged() {
        let source = read(&[(URL, "postgres://u:hunter2@h/d")]);
        assert!(!format!("{source:?}").contains("hunter2"));
    }
}

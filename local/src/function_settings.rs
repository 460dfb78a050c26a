//! Reads the settings of functions on this machine from the environment, with defaults for local development.

use operator::environment::Environment;
use report::ReportSettings;
use shared::identity::IdentitySettings;
use shared::kafka::KafkaSource;
use shared::process::settings::SettingsError;
use shared::start::Settings;
use users::UsersSettings;

/// Returns the settings for this database. The credentials come from the environment, unless `cargo local` runs the
/// database itself (`is_ours`).
///
/// # Errors
/// A variable is malformed.
pub fn settings_for(environment: &Environment, database_url: &str, is_ours: bool) -> Result<Settings, SettingsError> {
    Settings::read(|name| match name {
        "DATABASE_URL" => Some(database_url.to_owned()),
        "DATABASE_SECRET_ARN" | "DATABASE_AUTH" if is_ours => None,
        _ => environment.variable(name),
    })
}

/// Returns the settings for these brokers. The authentication comes from the environment, unless `cargo local` runs the
/// brokers itself (`is_ours`).
///
/// # Errors
/// A variable is missing or malformed.
pub fn kafka_at(
    environment: &Environment,
    bootstrap_servers: &str,
    is_ours: bool,
) -> Result<KafkaSource, SettingsError> {
    KafkaSource::read(|name| match name {
        "KAFKA_BOOTSTRAP_SERVERS" => Some(bootstrap_servers.to_owned()),
        _ if is_ours => None,
        _ => environment.variable(name),
    })
}

/// Returns the identity settings of a gateway on this machine. If the environment sets no `TOKEN_KEY`, tokens become
/// invalid when the gateway stops.
///
/// # Errors
/// A variable is malformed.
pub fn identity(environment: &Environment) -> Result<IdentitySettings, SettingsError> {
    IdentitySettings::read(|name| match name {
        "TOKEN_KEY" => Some(environment.variable(name).unwrap_or_else(random_key)),
        _ => environment.variable(name),
    })
}

/// Returns the settings for registration. Common passwords are allowed unless the environment says otherwise.
///
/// # Errors
/// A variable is malformed.
pub fn users(environment: &Environment) -> Result<UsersSettings, SettingsError> {
    UsersSettings::read(|name| match name {
        "PASSWORD_BLOCKLIST" => Some(environment.variable(name).unwrap_or_else(|| "off".to_owned())),
        _ => environment.variable(name),
    })
}

/// Returns the settings for mailing reports. If `smtp_url` is given, reports are sent through the SMTP server at that
/// address. If that server is the mail sink (`is_sink`), the sender and the recipient have defaults.
///
/// # Errors
/// A variable is missing or malformed.
pub fn reports(
    environment: &Environment,
    smtp_url: Option<&str>,
    is_sink: bool,
) -> Result<ReportSettings, SettingsError> {
    ReportSettings::read(|name| report_variable(environment, name, smtp_url, is_sink))
}

fn report_variable(environment: &Environment, name: &str, smtp_url: Option<&str>, is_sink: bool) -> Option<String> {
    match name {
        "SMTP_URL" => smtp_url.map(str::to_owned),
        "REPORT_TO" if is_sink => Some(environment.variable(name).unwrap_or_else(|| "reports@localhost".to_owned())),
        "REPORT_FROM" if is_sink => Some(environment.variable(name).unwrap_or_else(|| "sluice@localhost".to_owned())),
        _ => environment.variable(name),
    }
}

/// Returns environment variables for functions that run in their own processes:
///
/// - the variables of the file of `--env-file` that this process's environment lacks
/// - the variables for which [`identity`], [`users()`] and [`reports`] have defaults, whether or not a default is used
/// - `CONTRACTS_DIR` as an absolute path
///
/// The functions inherit this process's other variables. The caller adds those of [`for_broker`] and [`for_database`].
pub fn for_functions(environment: &Environment, smtp_url: Option<&str>, is_sink: bool) -> Vec<(String, String)> {
    let from_file = environment.only_in_file();
    let mut variables: Vec<_> = from_file.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
    set("TOKEN_KEY", environment.variable("TOKEN_KEY").unwrap_or_else(random_key));
    set("PASSWORD_BLOCKLIST", environment.variable("PASSWORD_BLOCKLIST").unwrap_or_else(|| "off".to_owned()));
    for name in ["SMTP_URL", "REPORT_TO", "REPORT_FROM"] {
        if let Some(value) = report_variable(environment, name, smtp_url, is_sink) {
            set(name, value);
        }
    }
    // The path must be absolute, because the functions run in another folder than this process.
    if let Some(folder) = environment.contracts_dir().and_then(|folder| std::path::absolute(folder).ok()) {
        set("CONTRACTS_DIR", folder.display().to_string());
    }
    variables
}

/// Returns environment variables for functions that run in their own processes. With these variables, the functions
/// have the settings that [`kafka_at`] returns. An empty variable counts as unset, and overrides an inherited variable.
pub fn for_broker(bootstrap_servers: &str, is_ours: bool) -> Vec<(String, String)> {
    const ACCESS: [&str; 8] = [
        "MSK_CLUSTER_ARN",
        "KAFKA_AUTH",
        "KAFKA_SSL_CA",
        "KAFKA_SSL_CERT",
        "KAFKA_SSL_KEY",
        "KAFKA_SASL_USERNAME",
        "KAFKA_SASL_PASSWORD",
        "KAFKA_SECRET_ARN",
    ];
    let none = ACCESS.iter().filter(|_| is_ours).map(|name| ((*name).to_owned(), String::new()));
    none.chain([("KAFKA_BOOTSTRAP_SERVERS".to_owned(), bootstrap_servers.to_owned())]).collect()
}

/// Returns environment variables for functions that run in their own processes. With these variables, the functions
/// have the database settings that [`settings_for`] returns. An empty variable counts as unset, and overrides an
/// inherited variable.
pub fn for_database(database_url: &str, is_ours: bool) -> Vec<(String, String)> {
    let access = ["DATABASE_SECRET_ARN", "DATABASE_AUTH"].into_iter().filter(|_| is_ours);
    let none = access.map(|name| (name.to_owned(), String::new()));
    none.chain([("DATABASE_URL".to_owned(), database_url.to_owned())]).collect()
}

fn random_key() -> String {
    let bytes: [u8; 32] = rand::random();
    base64_simd::STANDARD.encode_to_string(bytes)
}

//! `cargo local up`: runs everything until Ctrl-C.

mod announcement;
mod demo;
mod functions;
mod mail;

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use operator::credentials::Credentials;
use operator::environment::Environment;
use operator::interrupts::Interrupts;
use operator::terminal::say;
use operator::{admin, schema};
use shared::aws::Aws;
use shared::contract::Registry;
use shared::kafka::KafkaSettings;
use shared::process::clock::Clock;
use shared::start::Settings;
use tokio::net::TcpListener;

use self::functions::Functions;
use self::mail::Mail;
use crate::event_source_mapping::{EventSourceMapping, configuration};
use crate::gateway::Gateway;
use crate::mail_sink::MailSink;
use crate::scheduler::{self, Scheduler};
use crate::servers::{
    self, BrokerChoice, DataFolder, DatabaseChoice, LambdaWatch, PostgresOptions, RunningServers, ServerError,
};
use crate::{CommandError, function_settings, poll, template};

/// Starts Apache Kafka, PostgreSQL and the functions, and runs until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Kafka to use: embedded, docker or HOST:PORT.
    #[arg(long, value_name = "BROKER", default_value = "embedded")]
    broker: BrokerChoice,
    /// PostgreSQL to use: embedded, docker or a postgres:// address.
    #[arg(long, value_name = "DATABASE", default_value = "embedded")]
    database: DatabaseChoice,
    /// Port of 127.0.0.1 to listen on.
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Keeps the servers' state, their ports and the demo password in this folder [default: a temporary folder, removed
    /// at the end].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Name and password of an admin [default: demo, with a random password].
    #[arg(long, value_name = "NAME:PASSWORD")]
    admin: Option<Credentials>,
    /// SMTP server for e-mails, as in smtps://user:password@host [default: SMTP_URL, else an embedded sink that keeps
    /// e-mails as files in the data folder].
    #[arg(long, value_name = "URL")]
    smtp: Option<String>,
    /// File of NAME=value lines for variables that the environment does not set.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Runs the functions under `cargo lambda watch`, each in its own processes, instead of in this process.
    #[arg(long)]
    lambda: bool,
    /// Runs an optimised build instead of the development build.
    #[arg(long)]
    release: bool,
}

impl Up {
    pub(crate) async fn run(self) -> Result<ExitCode, CommandError> {
        if self.release && cfg!(debug_assertions) {
            return Err(optimised());
        }
        let mut interrupts = Interrupts::listen().map_err(CommandError::Signals)?;
        let environment = Environment::with_file(self.env_file.as_deref())?;
        let registry = Arc::new(Registry::load(environment.contracts_dir().as_deref())?);
        let listener = listen(self.port).await?;
        let data = match &self.data {
            Some(folder) => DataFolder::kept(folder),
            None => DataFolder::temporary(),
        }
        .map_err(CommandError::Data)?;

        let outcome = self.run_in(&data, listener, &environment, registry, &mut interrupts).await;
        servers::wait_for_dropped_servers().await;
        data.remove().await;
        outcome
    }

    async fn run_in(
        &self,
        data: &DataFolder,
        listener: TcpListener,
        environment: &Environment,
        registry: Arc<Registry>,
        interrupts: &mut Interrupts,
    ) -> Result<ExitCode, CommandError> {
        let admin = match &self.admin {
            Some(admin) => admin.clone(),
            None => demo::credentials(data).map_err(CommandError::Data)?,
        };
        let servers = tokio::select! {
            started = self.start_servers(data) => started?,
            () = interrupts.next() => return Err(CommandError::Interrupted),
        };
        let running = tokio::select! {
            died = servers.died() => Err(died.into()),
            running = self.start_functions(data, &servers, listener, environment, registry.clone(), &admin) => running,
            () = interrupts.next() => Err(CommandError::Interrupted),
        };
        let outcome = match running {
            Ok(mut running) => {
                announcement::announce(running.port, &servers, &registry, &admin, &running.mail);
                let ended = running.until(interrupts, &servers).await;
                running.stop(interrupts, ended.is_ok()).await;
                ended
            }
            Err(error) => Err(error),
        };
        say("stopping the servers");
        servers.stop_or_kill(interrupts.next()).await;
        outcome.map(|()| ExitCode::SUCCESS)
    }

    /// Returns how to reach the servers. The credentials of servers that this command did not start come from the
    /// environment.
    async fn settings(
        &self,
        servers: &RunningServers,
        environment: &Environment,
    ) -> Result<(Settings, KafkaSettings), CommandError> {
        let settings = function_settings::settings_for(environment, &servers.database_url, self.is_database_ours())?;
        let kafka = function_settings::kafka_at(environment, &servers.bootstrap_servers, self.is_broker_ours())?;
        Ok((settings, kafka.look_up(&Aws::default()).await?))
    }

    /// Returns the environment of functions that run in their own processes.
    fn variables(&self, servers: &RunningServers, environment: &Environment, mail: &Mail) -> Vec<(String, String)> {
        let (smtp_url, is_sink) = mail.smtp();
        let mut variables = function_settings::for_functions(environment, Some(smtp_url), is_sink);
        variables.extend(function_settings::for_broker(&servers.bootstrap_servers, self.is_broker_ours()));
        variables.extend(function_settings::for_database(&servers.database_url, self.is_database_ours()));
        variables
    }

    fn is_broker_ours(&self) -> bool {
        !matches!(self.broker, BrokerChoice::Existing(_))
    }

    fn is_database_ours(&self) -> bool {
        !matches!(self.database, DatabaseChoice::Existing(_))
    }

    async fn mail(&self, data: &DataFolder, environment: &Environment) -> Result<Mail, CommandError> {
        match self.smtp.clone().or_else(|| environment.variable("SMTP_URL")) {
            Some(url) => Ok(Mail::Server(url)),
            None => MailSink::start(&data.path().join("mail")).await.map(Mail::Sink).map_err(CommandError::MailSink),
        }
    }

    async fn start_functions(
        &self,
        data: &DataFolder,
        servers: &RunningServers,
        listener: TcpListener,
        environment: &Environment,
        registry: Arc<Registry>,
        admin: &Credentials,
    ) -> Result<Running, CommandError> {
        let mail = self.mail(data, environment).await?;
        let (smtp_url, is_sink) = mail.smtp();
        let (settings, kafka) = self.settings(servers, environment).await?;
        let (identity, users) = (function_settings::identity(environment)?, function_settings::users(environment)?);
        let report = function_settings::reports(environment, Some(smtp_url), is_sink)?;
        schema::migrate(&settings.database, settings.contracts_dir.as_deref()).await?;
        schema::create_topics(&kafka, &registry).await?;
        admin::make(&settings.database, &admin.name, &admin.password, users.blocklist, "cargo local: up").await?;

        let configurations = configuration::for_registry(&template::own_path(), &registry)?;
        let schedules = scheduler::read_template(&template::own_path())?;
        let port = listener.local_addr().map_err(CommandError::Serve)?.port();
        let functions = if self.lambda {
            say("building the functions and starting them under cargo lambda watch");
            // Releases the port, which this process has held so far, so that `cargo lambda watch` can listen on it.
            drop(listener);
            let watch = LambdaWatch::start(data, port, self.variables(servers, environment, &mail)).await?;
            say(format_args!("the functions' log is {}", watch.log().display()));
            Functions::watched(watch, kafka)?
        } else {
            let gateway = Gateway::new(settings, kafka, &identity, users, &report, registry, Clock::system()).await?;
            Functions::in_process(gateway, listener)
        };
        functions.compare().await;
        let mappings = configurations
            .into_iter()
            .map(|configuration| functions.start_mapping(configuration))
            .collect::<Result<_, _>>()?;
        let endpoint =
            format!("http://127.0.0.1:{port}").parse().map_err(|_| CommandError::Listen("no address".into()))?;
        let scheduler = Scheduler::start(schedules, &endpoint, &Clock::system())?;
        Ok(Running { port, functions, mail, scheduler, mappings })
    }

    async fn start_servers(&self, data: &DataFolder) -> Result<RunningServers, ServerError> {
        let begun = Instant::now();
        let kafka = self.is_broker_ours().then_some("Apache Kafka");
        let postgres = self.is_database_ours().then_some("PostgreSQL");
        let ours: Vec<&str> = [kafka, postgres].into_iter().flatten().collect();
        if !ours.is_empty() {
            say(format_args!("starting {}", ours.join(" and ")));
        }
        let options = PostgresOptions::default();
        let servers = RunningServers::start(&self.broker, &self.database, data, options).await?;
        if !ours.is_empty() {
            say(format_args!("ready after {:.1} s", begun.elapsed().as_secs_f64()));
        }
        Ok(servers)
    }
}

async fn listen(port: u16) -> Result<TcpListener, CommandError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        CommandError::Listen(if error.kind() == std::io::ErrorKind::AddrInUse {
            format!("port {port} is taken: stop the program that listens there, or choose another port with --port")
        } else {
            format!("cannot listen on port {port}: {error}")
        })
    })
}

/// Everything that runs except the servers.
struct Running {
    port: u16,
    functions: Functions,
    mail: Mail,
    scheduler: Scheduler,
    mappings: Vec<EventSourceMapping>,
}

impl Running {
    /// Waits for a signal. Returns an error if a server or the functions end first.
    async fn until(&mut self, interrupts: &mut Interrupts, servers: &RunningServers) -> Result<(), CommandError> {
        tokio::select! {
            () = interrupts.next() => Ok(()),
            died = servers.died() => Err(died.into()),
            ended = self.functions.ended() => Err(ended),
        }
    }

    /// Stops accepting requests, lets running requests finish, and then lets batches finish. The mappings stop last,
    /// because a running request may wait until its events have landed.
    async fn stop(mut self, interrupts: &mut Interrupts, is_orderly: bool) {
        say("stopping; press Ctrl-C again to hurry");
        drop(self.scheduler);
        self.functions.stop_accepting(interrupts, is_orderly).await;
        if !is_orderly {
            // A server or the functions have ended, so running invocations may never finish. The cancelled tokens make
            // the mappings stop without waiting for invocations.
            self.mappings.iter().for_each(|mapping| mapping.hurrier().cancel());
        }
        poll::stop(self.mappings, interrupts).await;
        self.functions.close().await;
    }
}

/// Builds this program with optimisation, and replaces this process with the result. Returns only if that fails.
fn optimised() -> CommandError {
    let source = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--locked", "--package", "local", "--bin", "local", "--"])
        .args(std::env::args_os().skip(1))
        .exec();
    CommandError::Command { program: "cargo".into(), source }
}

//! Prints the first instructions once everything runs.

use std::sync::Arc;

use operator::DEFAULT_ADDRESS;
use operator::credentials::Credentials;
use operator::terminal::say;
use shared::contract::{Contract, Registry};

use super::mail::Mail;
use crate::servers::RunningServers;

/// Prints the addresses, and a few commands that can be copied and run.
pub(super) fn announce(port: u16, servers: &RunningServers, registry: &Registry, admin: &Credentials, mail: &Mail) {
    let RunningServers { database_url, bootstrap_servers, .. } = servers;
    say(text(port, database_url, bootstrap_servers, registry, admin, mail));
}

fn text(
    port: u16,
    database_url: &str,
    bootstrap_servers: &str,
    registry: &Registry,
    admin: &Credentials,
    mail: &Mail,
) -> String {
    let Credentials { name, password } = admin;
    let user = format!("-u '{}'", format!("{name}:{password}").replace('\'', r"'\''"));
    let ann = r#"'{"user": "ann", "pass": "test1234"}'"#;
    let address = format!("http://127.0.0.1:{port}");
    let json = "-H 'content-type: application/json'";
    let wait = "-H 'prefer: wait=10'";
    let event = r#"'{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}'"#;
    let mails = match mail {
        Mail::Server(_) => "E-mails go to the given SMTP server".to_owned(),
        Mail::Sink(sink) => format!("E-mails are kept as files in {}", sink.folder.display()),
    };
    let continent = r#"'{"name":"Europe","population":741000000,"area":10180000}'"#;
    let of_streams = [
        (
            "route",
            format!(
                "Post an event and wait until it is written; post another event and look up its receipt; look at the rows:
  curl -s {user} {address}/events/route {json} {wait} -d {event}
  curl -s {user} {address}$(curl -s {user} {address}/events/route {json} {wait} -d {event} | grep -o '/receipts/[^\"]*')
  psql '{database_url}' -c 'select * from routes_table'
"
            ),
        ),
        (
            "continent",
            format!(
                "Create a continent, and list all continents:
  curl -s {user} {address}/continent {json} {wait} -d {continent}
  curl -s {user} {address}/continents
"
            ),
        ),
        (
            "user-event",
            format!(
                "Send ten random user events; get the report, which counts user events by city (a browser shows it as a page); mail the report now:
  curl -s {user} {address}/submit/10 {wait}
  curl -s {user} {address}/report
  cargo local invoke report --endpoint {address}
"
            ),
        ),
    ];
    // If the contracts come from another folder, some or all of these streams may be missing.
    let of_streams: String =
        of_streams.into_iter().filter(|(stream, _)| registry.stream(stream).is_some()).map(|(_, text)| text).collect();
    let is_own = |contract: &&Arc<Contract>| contract.stream != Contract::LOGIN && !contract.roles.is_empty();
    let of_streams = match registry.contracts().find(is_own) {
        Some(contract) if of_streams.is_empty() => of_own_stream(contract, &user, &address, database_url),
        Some(_) | None => of_streams,
    };
    format!(
        "\
The console: {address}/console
Log in as {name} with the password {password}
Sluice is ready at {address}
DATABASE_URL={database_url}
KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}
{mails}
{name} is an admin, who may use the console and replay dead letters.

{of_streams}Register a user and get a token, which is checked faster than a password:
  curl -s {address}/register {json} -d {ann}
  curl -s {address}/login {json} -d {ann}
Every route and every stream's schema:
  curl -s {address}/openapi.json

Ctrl-C stops everything."
    )
}

/// Returns commands for a stream that is not one of the built-in streams.
fn of_own_stream(contract: &Contract, user: &str, address: &str, database_url: &str) -> String {
    let stream = &contract.stream;
    // Without `--to`, `send` uses the default address.
    let to = if address == DEFAULT_ADDRESS { String::new() } else { format!(" --to {address}") };
    let send = format!(
        "Check an event of the stream {stream} without sending it (put your event in place of {{}}); send ten random events:
  curl -s {user} '{address}/events/{stream}?validate_only=true' -H 'content-type: application/json' -d '{{}}'
  CONTRACTS_DIR=\"${{CONTRACTS_DIR:?the folder of your contracts}}\" cargo local send {stream}{to} {} --count 10
",
        user.replacen("-u", "--user", 1)
    );
    let rows = contract.landing().map(|landing| {
        let table = landing.table.quoted();
        format!("Look at the rows:\n  psql '{database_url}' -c 'select * from {table} limit 10'\n")
    });
    send + &rows.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the announcement for a team that has only the stream `order`.
    fn of_orders(port: u16) -> String {
        let admin = Credentials { name: "demo".to_owned(), password: "secret".to_owned() };
        let mail = Mail::Server("smtp://here".to_owned());
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/orders/contracts");
        let registry = Registry::load(Some(std::path::Path::new(folder))).unwrap();
        text(port, "postgres://here", "here:9092", &registry, &admin, &mail)
    }

    #[test]
    fn a_team_that_has_only_its_own_streams_gets_commands_for_one_of_them() {
        let printed = of_orders(9000);
        assert!(printed.contains("cargo local send order --user 'demo:secret' --count 10"), "{printed}");
        assert!(printed.contains("http://127.0.0.1:9000/events/order?validate_only=true"), "{printed}");
        assert!(printed.contains("-c 'select * from \"public\".\"orders\" limit 10'"), "{printed}");
    }

    #[test]
    fn the_command_that_sends_events_names_the_address_if_the_port_is_not_the_default() {
        let printed = of_orders(9410);
        let send = "cargo local send order --to http://127.0.0.1:9410 --user 'demo:secret' --count 10";
        assert!(printed.contains(send), "{printed}");
    }

    #[test]
    fn the_announcement_says_that_the_user_is_an_admin() {
        let printed = of_orders(9000);
        assert!(printed.contains("\nLog in as demo with the password secret\n"), "{printed}");
        assert!(printed.contains("\ndemo is an admin, who may use the console"), "{printed}");
    }

    #[test]
    fn ann_has_the_same_password_in_the_announcement_and_in_the_readme() {
        let admin = Credentials { name: "demo".to_owned(), password: "secret".to_owned() };
        let mail = Mail::Server("smtp://here".to_owned());
        let registry = Registry::load(None).unwrap();
        let printed = text(9000, "postgres://here", "here:9092", &registry, &admin, &mail);
        let readme = include_str!("../../../README.md");
        for text in [&printed, readme] {
            let anns: Vec<&str> = text.lines().filter(|line| line.contains(r#"{"user": "ann""#)).collect();
            assert!(!anns.is_empty(), "{text}");
            assert!(anns.iter().all(|line| line.contains(r#"{"user": "ann", "pass": "test1234"}"#)), "{anns:?}");
        }
        assert!(readme.contains("--user ann:test1234"));
    }
}

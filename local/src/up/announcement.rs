//! Prints the first instructions once everything runs.

use operator::credentials::Credentials;
use operator::terminal::say;
use shared::contract::Registry;

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
    // If the contracts come from another folder, some of these streams may be missing.
    let of_streams: String =
        of_streams.into_iter().filter(|(stream, _)| registry.stream(stream).is_some()).map(|(_, text)| text).collect();
    format!(
        "\
The console: {address}/console
Log in as {name} with the password {password}
Sluice is ready at {address}
DATABASE_URL={database_url}
KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}
{mails}

{of_streams}Register a user and get a token, which is checked faster than a password:
  curl -s {address}/register {json} -d {ann}
  curl -s {address}/login {json} -d {ann}
Every route and every stream's schema:
  curl -s {address}/openapi.json

Ctrl-C stops everything."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! What a newcomer is told once everything runs.

use crate::servers::RunningServers;
use crate::terminal::say;

/// Prints the addresses, and commands that work as they are printed.
pub(super) fn announce(port: u16, servers: &RunningServers) {
    let RunningServers { database_url, bootstrap_servers, .. } = servers;
    let address = format!("http://127.0.0.1:{port}");
    let json = "-H 'content-type: application/json'";
    let wait = "-H 'prefer: wait=10'";
    let event = r#"'{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}'"#;
    let continent = r#"'{"name":"Europe","population":741000000,"area":10180000}'"#;
    say(format_args!(
        "\
Sluice is ready at {address}
DATABASE_URL={database_url}
KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}

Post an event and wait until it is written; then post another one and read its receipt:
  curl -s {address}/events/route {json} {wait} -d {event}
  curl -s {address}$(curl -s {address}/events/route {json} {wait} -d {event} | grep -o '/receipts/[^\"]*')
Create a continent and list them:
  curl -s {address}/continent {json} {wait} -d {continent}
  curl -s {address}/continents
Look into the database:
  psql '{database_url}' -c 'select * from routes_table'

Ctrl-C stops everything."
    ));
}

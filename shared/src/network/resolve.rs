//! Checks whether host names resolve to addresses.

use tokio::net::lookup_host;

/// Returns whether a host's name, or its address as text, resolves now.
pub(crate) async fn resolves(host: &str, port: u16) -> bool {
    let host = host.trim_matches(['[', ']']);
    lookup_host((host, port)).await.is_ok_and(|mut addresses| addresses.next().is_some())
}

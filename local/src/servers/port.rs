//! Selects free ports for the servers, and the same ports again after a restart.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use rand::RngExt as _;

use super::ServerError;

/// The ports to choose from. They are below the range from which the kernel assigns ports to outgoing connections
/// (32768 and up on Linux, 49152 and up on macOS). Otherwise, while a server is down, the kernel could assign the
/// server's port to a client that tries to connect. The client would then be connected to itself, and the server could
/// not restart.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// The maximum number of launches of a server. A launch is repeated on other ports only if a port was taken. The last
/// failure is reported.
pub(super) const LAUNCH_ATTEMPTS: usize = 3;

/// Returns a free port on 127.0.0.1. `None` if a thousand ports were taken.
pub(super) fn free() -> Option<u16> {
    let mut random = rand::rng();
    (0..1_000).map(|_| random.random_range(RANGE)).find(|port| is_free(*port))
}

/// Returns whether a server could currently listen on the port.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns the port that `file` contains if nothing listens on that port, and another free port otherwise.
///
/// With `--data`, addresses thus stay the same across runs, so that a client's configuration remains valid.
pub(super) fn remembered_or_free(file: &Path) -> Option<u16> {
    let remembered = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    remembered.filter(|port| is_free(*port)).or_else(free)
}

/// Writes a port to `file` for [`remembered_or_free`].
pub(super) fn remember(file: &Path, port: u16) -> Result<(), ServerError> {
    fs::write(file, format!("{port}\n")).map_err(|source| ServerError::Folder { path: file.to_owned(), source })
}

//! Ports that are free.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt as _;

/// Below the range that the kernel gives to outgoing connections (32768 and up on Linux, 49152 on macOS). From
/// within it, a client that tries again and again to reach a server that is down may be given the very port, connect
/// to itself, and keep the server from coming back.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// A port on 127.0.0.1 that nothing listens on at the moment; none after a thousand that were taken.
pub(super) fn free() -> Option<u16> {
    let mut random = rand::rng();
    (0..1_000).map(|_| random.random_range(RANGE)).find(|port| is_free(*port))
}

/// Whether a server could listen on the port now.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

//! A proxy that passes on the answers of PostgreSQL late, as if the server were far away.
//!
//! It has threads of its own, because the timers of tokio are not more precise than a millisecond.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use local::CommandError;
use url::Url;

/// A running proxy. It accepts connections until the program ends.
pub(super) struct DelayingProxy {
    /// The database's URL, with the proxy's address.
    pub(super) url: String,
}

impl DelayingProxy {
    /// Starts a proxy for the server of this URL. It holds each piece of an answer back for `delay`. Pieces that follow
    /// each other are held back at the same time, as on a long line.
    pub(super) fn start(url: &str, delay: Duration) -> Result<Self, CommandError> {
        let failed = |error: &dyn std::fmt::Display| CommandError::Bench(format!("{url}: {error}"));
        let mut url = Url::parse(url).map_err(|error| failed(&error))?;
        let server = url.socket_addrs(|| Some(5432)).map_err(CommandError::Serve)?;
        let server = *server.first().ok_or_else(|| failed(&"the host has no address"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(CommandError::Serve)?;
        let port = listener.local_addr().map_err(CommandError::Serve)?.port();
        url.set_ip_host(Ipv4Addr::LOCALHOST.into()).map_err(|()| failed(&"no host"))?;
        url.set_port(Some(port)).map_err(|()| failed(&"no port"))?;
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If the server refuses the connection, the client's connection is closed, and the client reports it.
                let _connected = connect(client, server, delay);
            }
        });
        Ok(Self { url: url.into() })
    }
}

/// Connects a client with the server.
fn connect(client: TcpStream, server: SocketAddr, delay: Duration) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    pass_on(client.try_clone()?, server.try_clone()?, Duration::ZERO);
    pass_on(server, client, delay);
    Ok(())
}

/// Passes on everything that `from` sends, each piece after `delay`.
fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    const PIECE_BYTES: usize = 64 * 1024;
    let (held, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if held.send((Instant::now() + delay, piece[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (at, piece) in due {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        // The other side may have closed the connection already.
        let _closed = to.shutdown(Shutdown::Both);
    });
}

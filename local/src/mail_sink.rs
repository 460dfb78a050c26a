//! A mail server that delivers nothing: it keeps every message as a file.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use operator::terminal::say;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// The maximum length of a line. RFC 5321, section 4.5.3.1, allows 1,000 bytes.
const MOST_LINE_BYTES: u64 = 10_000;
/// The maximum length of a message.
const MOST_MESSAGE_BYTES: usize = 10_000_000;

/// Receives e-mails until this value is dropped.
#[derive(Debug)]
pub struct MailSink {
    /// The sink's address.
    pub url: String,
    /// The folder that keeps the messages.
    pub folder: PathBuf,
    _serving: AbortOnDropHandle<()>,
}

impl MailSink {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The folder cannot be created, or no port is free.
    pub async fn start(folder: &Path) -> io::Result<Self> {
        Self::serve_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, folder)
    }

    /// Serves the connections of a listener.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn serve_on(listener: TcpListener, folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let url = format!("smtp://{}", listener.local_addr()?);
        let messages = Arc::new(Messages { folder: folder.to_owned(), number: AtomicU64::new(count(folder)?) });
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, messages)));
        Ok(Self { url, folder: folder.to_owned(), _serving: serving })
    }
}

/// The messages on disk.
#[derive(Debug)]
struct Messages {
    folder: PathBuf,
    number: AtomicU64,
}

fn count(folder: &Path) -> io::Result<u64> {
    Ok(std::fs::read_dir(folder)?.count().try_into().unwrap_or(u64::MAX))
}

async fn serve(listener: TcpListener, messages: Arc<Messages>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(tokio::spawn(converse(stream, peer, Arc::clone(&messages)))),
            Err(error) => tracing::warn!(%error, "a mail connection was not accepted"),
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, messages: Arc<Messages>) {
    // A client that hangs up early is not an error of the sink.
    if let Err(error) = talk(stream, &messages).await {
        tracing::debug!(%peer, %error, "a mail connection ended early");
    }
}

/// Speaks the server's side of SMTP (RFC 5321), as far as a client without extensions needs it.
async fn talk(stream: TcpStream, messages: &Messages) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 localhost ready\r\n").await?;
    let mut recipients = Vec::new();
    loop {
        let mut line = String::new();
        if (&mut stream).take(MOST_LINE_BYTES).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-localhost\r\n250 8BITMIME".to_owned(),
            "HELO" | "NOOP" => "250 OK".to_owned(),
            "MAIL" | "RSET" => {
                recipients.clear();
                "250 OK".to_owned()
            }
            "RCPT" => {
                recipients.push(address(line).to_owned());
                "250 OK".to_owned()
            }
            "DATA" if recipients.is_empty() => "503 RCPT first".to_owned(),
            "DATA" => {
                stream.write_all(b"354 go on, end with a dot\r\n").await?;
                match read_message(&mut stream).await? {
                    Some(message) => messages.keep(&message, &recipients).await?,
                    None => "552 the message is too large".to_owned(),
                }
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 not known here".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
    }
}

/// Returns the text between the brackets of `RCPT TO:<…>`.
fn address(line: &str) -> &str {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(address, _)| address)
}

/// Reads a message up to the line with a single dot, and removes the dot that clients add to each line that starts with
/// a dot (RFC 5321, section 4.5.2). Returns `None` if the message is too large.
async fn read_message(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let mut fits = true;
    loop {
        let mut line = Vec::new();
        if (&mut *stream).take(MOST_LINE_BYTES).read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(fits.then_some(message));
        }
        fits &= message.len() + line.len() <= MOST_MESSAGE_BYTES;
        if fits {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

impl Messages {
    /// Keeps a message as a file and prints its subject. Returns the reply to the client.
    async fn keep(&self, message: &[u8], recipients: &[String]) -> io::Result<String> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.folder.join(format!("{number:04}.eml"));
        tokio::fs::write(&path, message).await?;
        let text = String::from_utf8_lossy(message);
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or("without a subject");
        say(format_args!("mail to {}: {subject} ({})", recipients.join(", "), path.display()));
        Ok(format!("250 kept as {number}"))
    }
}

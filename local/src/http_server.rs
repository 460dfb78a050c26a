//! Serves HTTP/1.1 and cuts off clients that are too slow, as API Gateway does on AWS. Otherwise, a few hundred idle
//! connections would use up this process's sockets.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::http::edge::Peer;
use shared::http::problem::Problem;
use shared::http::problem_type::ProblemType;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The times for which the server waits for a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The time for all headers of a request, including the time before the first byte.
    pub(crate) headers: Duration,
    /// The time for each further byte of a body.
    pub(crate) body: Duration,
}

/// The times for which the gateway waits for a client.
pub(crate) const PATIENCE: Patience = Patience { headers: Duration::from_secs(10), body: Duration::from_secs(30) };

/// Answers requests with `answer` until `stop` is cancelled, then finishes the requests that have begun.
pub(crate) async fn serve<F: Future<Output = Response> + Send + 'static>(
    listener: TcpListener,
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
    patience: Patience,
    stop: CancellationToken,
) -> io::Result<()> {
    /// The pause after an error such as too many open files. During the pause, other connections may close.
    const PAUSE: Duration = Duration::from_secs(1);
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(serve_connection(stream, peer, answer.clone(), patience, stop.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                let _stopped = stop.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

async fn serve_connection<F: Future<Output = Response> + Send + 'static>(
    stream: TcpStream,
    peer: SocketAddr,
    answer: impl Fn(Request) -> F + Send + Sync + 'static,
    patience: Patience,
    stop: CancellationToken,
) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        // Finishes a request even if its client closes the connection in the meantime. Without this setting, hyper
        // would also read from the connection, into a new buffer, while a request is being handled.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = match stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Responds `408` to a request whose body stops arriving, and closes the connection.
pub(crate) async fn cut_off_slow_bodies(State(patience): State<Patience>, request: Request, next: Next) -> Response {
    cut_off_slow_body(patience, request, async |request| next.run(request).await).await
}

/// Runs a request. If its body stops arriving, responds `408` and closes the connection.
pub(crate) async fn cut_off_slow_body(
    patience: Patience,
    request: Request,
    run: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    if request.body().is_end_stream() {
        return run(request).await;
    }
    let is_cut_off = Arc::new(AtomicBool::new(false));
    let within =
        |body| Body::new(Within { body, patience: patience.body, pause: None, is_cut_off: Arc::clone(&is_cut_off) });
    let response = run(request.map(within)).await;
    if !is_cut_off.load(Ordering::Relaxed) {
        return response;
    }
    let problem = Problem::new(
        ProblemType::TOO_SLOW,
        format!("No byte of the body arrived within {} seconds.", patience.body.as_secs()),
    );
    let mut response = problem.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body that ends with an error if the next byte does not arrive within `patience`.
struct Within {
    body: Body,
    patience: Duration,
    /// The timer, which runs only while the next byte is awaited. Bytes that have already arrived need no timer.
    pause: Option<Pin<Box<Sleep>>>,
    is_cut_off: Arc<AtomicBool>,
}

impl HttpBody for Within {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, patience, pause, is_cut_off } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            *pause = None;
            return Poll::Ready(frame);
        }
        let pause = pause.get_or_insert_with(|| Box::pin(sleep(*patience)));
        ready!(pause.as_mut().poll(context));
        is_cut_off.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error of a body that was cut off.
#[derive(Debug, thiserror::Error)]
#[error("no byte arrived in time")]
struct TooSlow;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use shared::http::edge;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;
    use tokio_util::task::AbortOnDropHandle;
    use tower::ServiceExt as _;

    use super::*;

    /// A time that is far longer than the time after which a client is cut off.
    const LONG: Duration = Duration::from_secs(20);
    const SHORT_HEADERS: Patience = Patience { headers: Duration::from_millis(300), body: LONG };
    const SHORT_BODY: Patience = Patience { headers: LONG, body: Duration::from_millis(300) };

    fn answering(routes: Router) -> impl Fn(Request) -> BoxFuture<'static, Response> + Clone {
        move |request| {
            let answered = routes.clone().oneshot(request);
            async move { answered.await.unwrap() }.boxed()
        }
    }

    async fn start(patience: Patience) -> (SocketAddr, AbortOnDropHandle<io::Result<()>>) {
        let routes = Router::new()
            .route("/", post(async |body: String| body.len().to_string()))
            .route("/", get(async || "hello"))
            .layer(from_fn_with_state(patience, cut_off_slow_bodies));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, answering(edge::serve(routes)), patience, CancellationToken::new()));
        (address, AbortOnDropHandle::new(serving))
    }

    /// Sends the parts with pauses between them. Returns everything received until the server closes the connection.
    async fn received(address: SocketAddr, parts: &[&str], pause: Duration) -> String {
        let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
        let sending = async {
            for part in parts {
                if writer.write_all(part.as_bytes()).await.is_err() {
                    break;
                }
                sleep(pause).await;
            }
            // The client itself never closes the connection.
            std::future::pending::<()>().await
        };
        let mut answer = Vec::new();
        let reading = timeout(LONG, async {
            // A reset after the answer also counts as the end.
            let _end = reader.read_to_end(&mut answer).await;
        });
        tokio::select! {
            closed = reading => closed.expect("the server closes the connection"),
            () = sending => {}
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_sends_no_headers_is_cut_off() {
        let (address, _serving) = start(SHORT_HEADERS).await;
        assert_eq!(received(address, &[], Duration::ZERO).await, "");
    }

    #[tokio::test]
    async fn a_client_that_drips_its_headers_is_cut_off_after_the_total_time_for_headers() {
        let (address, _serving) = start(SHORT_HEADERS).await;
        let parts = ["GET / HTTP/1.1\r\n"].into_iter().chain(std::iter::repeat_n("a: b\r\n", 200)).collect::<Vec<_>>();
        let answer = received(address, &parts, Duration::from_millis(100)).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }

    #[tokio::test]
    async fn a_client_whose_body_stops_arriving_is_answered_408_and_cut_off() {
        let (address, _serving) = start(SHORT_BODY).await;
        for request in [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        ] {
            let answer = received(address, &[request], Duration::ZERO).await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{request} {answer}");
            assert!(answer.contains("/problems/too-slow") && answer.contains("connection: close"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_slow_body_that_keeps_arriving_is_read() {
        // The sum of the pauses exceeds the limit for a single pause.
        let (address, _serving) = start(Patience { headers: LONG, body: Duration::from_secs(2) }).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
        let parts: Vec<&str> = [head].into_iter().chain(std::iter::repeat_n("x", 10)).collect();
        let answer = received(address, &parts, Duration::from_millis(300)).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n10"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_serves_several_requests_and_is_closed_when_the_server_stops() {
        let routes = Router::new().route("/", get(async || "hello"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let patience = Patience { headers: LONG, body: LONG };
        let serving = tokio::spawn(serve(listener, answering(routes), patience, stop.clone()));
        let mut connection = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            connection.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            while !answer.ends_with("hello") {
                answer.push(char::from(connection.read_u8().await.unwrap()));
            }
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        stop.cancel();
        timeout(LONG, serving).await.expect("the server ends").unwrap().unwrap();
        assert_eq!(connection.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

//! Serves the functions: in this process, or in their own processes under `cargo lambda watch`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::future::Either;
use jiff::Timestamp;
use operator::interrupts::Interrupts;
use shared::kafka::KafkaSettings;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::CommandError;
use crate::event_source_mapping::EventSourceMapping;
use crate::event_source_mapping::configuration::MappingConfiguration;
use crate::event_source_mapping::function::{Function, OverHttp};
use crate::gateway::Gateway;
use crate::scheduler;
use crate::servers::LambdaWatch;

/// The time that requests may take to end after a stop. `Prefer: wait` waits for at most 25 s.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

/// The running functions.
pub(super) enum Functions {
    /// In this process.
    InProcess { gateway: Gateway, stop_accepting: CancellationToken, serving: JoinHandle<io::Result<()>> },
    /// Under `cargo lambda watch`, with a client that invokes `consume` there.
    Watched { watch: Box<LambdaWatch>, kafka: KafkaSettings, consume: Arc<dyn Function> },
}

impl Functions {
    pub(super) fn in_process(gateway: Gateway, listener: TcpListener) -> Self {
        let stop_accepting = CancellationToken::new();
        let serving = tokio::spawn(gateway.serve(listener, stop_accepting.clone()));
        Self::InProcess { gateway, stop_accepting, serving }
    }

    pub(super) fn watched(watch: LambdaWatch, kafka: KafkaSettings) -> Result<Self, CommandError> {
        let consume = Arc::new(OverHttp::new(watch.url(), "consume")?);
        Ok(Self::Watched { watch: Box::new(watch), kafka, consume })
    }

    /// Makes `consume` compare the watermarks with Kafka, as a schedule does every minute. `up` calls this before it
    /// starts any mapping, so that events missing from a restored database land before newer events. Failures are
    /// retried, because just after its start, a broker cannot yet answer questions about consumer groups.
    pub(super) async fn compare(&self) {
        const ATTEMPTS: usize = 10;
        const PAUSE: Duration = Duration::from_millis(500);
        let event = Bytes::from(scheduler::event("Compare", Timestamp::now()).to_string());
        for attempt in 1..=ATTEMPTS {
            let compared = match self {
                Self::InProcess { gateway, .. } => gateway.consume().invoke(event.clone()).await,
                Self::Watched { consume, .. } => consume.invoke(event.clone()).await,
            };
            match compared {
                Ok(_summary) => return,
                Err(_error) if attempt < ATTEMPTS => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    tracing::warn!("the watermarks were not compared with Kafka; the schedule will retry: {error}");
                }
            }
        }
    }

    /// Starts a mapping that invokes `consume`.
    pub(super) fn start_mapping(
        &self,
        configuration: MappingConfiguration,
    ) -> Result<EventSourceMapping, CommandError> {
        match self {
            Self::InProcess { gateway, .. } => gateway.start_mapping(configuration),
            Self::Watched { kafka, consume, .. } => {
                Ok(EventSourceMapping::start(configuration, kafka, Arc::clone(consume))?)
            }
        }
    }

    /// Waits until serving ends without having been stopped, and returns the reason.
    pub(super) async fn ended(&mut self) -> CommandError {
        match self {
            Self::InProcess { serving, .. } => {
                let ended = serving.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                CommandError::Serve(ended.err().unwrap_or_else(|| io::Error::other("the server ended")))
            }
            Self::Watched { watch, .. } => watch.died().await.into(),
        }
    }

    /// Accepts no further requests. If `is_orderly` is true, lets running requests finish, but stops waiting after
    /// [`REQUEST_PATIENCE`] or at the next interrupt. `cargo lambda watch` cannot do so: it accepts requests until
    /// [`Self::close`] stops it.
    pub(super) async fn stop_accepting(&mut self, interrupts: &mut Interrupts, is_orderly: bool) {
        let Self::InProcess { stop_accepting, serving, .. } = self else {
            return;
        };
        stop_accepting.cancel();
        let abort = serving.abort_handle();
        if is_orderly {
            let requests = tokio::time::timeout(REQUEST_PATIENCE, serving);
            tokio::pin!(requests);
            if let Either::Right(_) = futures::future::select(requests, Box::pin(interrupts.next())).await {
                tracing::warn!("requests that were still running were cut off");
            }
        }
        abort.abort();
    }

    /// Closes the database connections once they are unused, or ends the functions' processes.
    pub(super) async fn close(self) {
        match self {
            Self::InProcess { gateway, .. } => gateway.close().await,
            Self::Watched { watch, .. } => watch.stop().await,
        }
    }
}

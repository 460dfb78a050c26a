//! The functions that serve: in this process, or in processes of their own under `cargo lambda watch`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;
use shared::kafka::KafkaSettings;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::CommandError;
use crate::event_source_mapping::EventSourceMapping;
use crate::event_source_mapping::configuration::MappingConfiguration;
use crate::event_source_mapping::function::{Function, OverHttp};
use crate::gateway::Gateway;
use crate::interrupts::Interrupts;
use crate::servers::LambdaWatch;

/// How long requests may take to end once we stop. `Prefer: wait` waits for 25 s at most.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

/// The functions, serving.
pub(super) enum Functions {
    /// In this process.
    InProcess { gateway: Gateway, stop_accepting: CancellationToken, serving: JoinHandle<io::Result<()>> },
    /// Under `cargo lambda watch`, and `consume` as it is invoked there.
    Watched { watch: Box<LambdaWatch>, kafka: KafkaSettings, consume: Arc<dyn Function> },
}

impl Functions {
    pub(super) fn in_process(gateway: Gateway, listener: TcpListener) -> Self {
        let stop_accepting = CancellationToken::new();
        let server =
            axum::serve(listener, gateway.service()).with_graceful_shutdown(stop_accepting.clone().cancelled_owned());
        Self::InProcess { gateway, stop_accepting, serving: tokio::spawn(server.into_future()) }
    }

    pub(super) fn watched(watch: LambdaWatch, kafka: KafkaSettings) -> Result<Self, CommandError> {
        let consume = Arc::new(OverHttp::new(watch.url(), "consume")?);
        Ok(Self::Watched { watch: Box::new(watch), kafka, consume })
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

    /// Answers when they serve no more although nobody stopped them.
    pub(super) async fn ended(&mut self) -> CommandError {
        match self {
            Self::InProcess { serving, .. } => {
                let ended = serving.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                CommandError::Serve(ended.err().unwrap_or_else(|| io::Error::other("it ended")))
            }
            Self::Watched { watch, .. } => watch.died().await.into(),
        }
    }

    /// Accepts no further request, and lets those that run finish. `cargo lambda watch` knows no such thing: it is
    /// stopped at the end.
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
                tracing::warn!("requests that still ran were cut off");
            }
        }
        abort.abort();
    }

    /// Lets go of the database, or ends the functions' processes, once nothing uses them any more.
    pub(super) async fn close(self) {
        match self {
            Self::InProcess { gateway, .. } => gateway.close().await,
            Self::Watched { watch, .. } => watch.stop().await,
        }
    }
}

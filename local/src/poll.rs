//! `cargo local poll`: runs only the event source mappings.

use std::sync::Arc;

use clap::Args;
use futures::future::join_all;
use operator::environment::Environment;
use operator::interrupts::Interrupts;
use operator::terminal::say;
use reqwest::Url;
use shared::aws::Aws;
use shared::contract::Registry;

use crate::CommandError;
use crate::event_source_mapping::function::{Function, OverHttp};
use crate::event_source_mapping::{EventSourceMapping, configuration};
use crate::template;

/// Reads Kafka and invokes `consume` over HTTP. Follows Lambda's rules and the mappings in template.yaml.
#[derive(Debug, Args)]
pub(crate) struct Poll {
    /// Base address of the function, such as the address of `cargo lambda watch`.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    endpoint: Url,
}

impl Poll {
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let mut interrupts = Interrupts::listen().map_err(CommandError::Signals)?;
        let environment = Environment::default();
        let kafka = environment.kafka()?.look_up(&Aws::default()).await?;
        if let Some(servers) = kafka.unresolved_servers().await {
            return Err(CommandError::UnresolvedBrokers(servers.to_owned()));
        }
        let registry = Registry::load(environment.contracts_dir().as_deref())?;
        let configurations = configuration::for_registry(&template::own_path(), &registry)?;
        let function: Arc<dyn Function> = Arc::new(OverHttp::new(&self.endpoint, "consume")?);
        let mut mappings = Vec::with_capacity(configurations.len());
        for configuration in configurations {
            say(format_args!(
                "reading {} as consumer group {}, in batches of up to {} records or {} ms",
                configuration.topics.join(", "),
                configuration.group,
                configuration.batch_size,
                configuration.window.as_millis()
            ));
            mappings.push(EventSourceMapping::start(configuration, &kafka, Arc::clone(&function))?);
        }
        interrupts.next().await;
        stop(mappings, &mut interrupts).await;
        Ok(())
    }
}

/// Drains the mappings concurrently. If another signal arrives meanwhile, no longer waits for
/// running invocations.
pub(crate) async fn stop(mappings: Vec<EventSourceMapping>, interrupts: &mut Interrupts) {
    let hurriers: Vec<_> = mappings.iter().map(EventSourceMapping::hurrier).collect();
    let stopping = join_all(mappings.into_iter().map(EventSourceMapping::stop));
    tokio::pin!(stopping);
    tokio::select! {
        _ = &mut stopping => return,
        () = interrupts.next() => {}
    }
    hurriers.iter().for_each(tokio_util::sync::CancellationToken::cancel);
    stopping.await;
}

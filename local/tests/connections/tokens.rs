//! Tests an Apache Kafka that requires tokens, with signers that hang, fail or recover. The broker accepts unsigned
//! tokens; the tests of the signer cover the contents of Amazon MSK's tokens.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::servers::{DataFolder, Kafka, ListenerAccess};
use serde_json::json;
use shared::aws::{BearerToken, Sign, TokenError};
use shared::contract::Registry;
use shared::kafka::{Access, IamTokens, KafkaSettings, Outgoing, Producer, ProducerError, topics};
use shared::network::pem::{Kind, Pem};
use shared::process::clock::Clock;

use crate::authority::Authority;
use crate::support::recorder::Recorder;

/// The signer's behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// The signer signs tokens that are valid for this long.
    Well(Duration),
    Failing,
    Hanging,
}

/// A signer whose behaviour tests can change.
pub(crate) struct StubSigner {
    mood: Mutex<Mood>,
    asked: Mutex<Vec<Instant>>,
}

impl StubSigner {
    pub(crate) fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(mood), asked: Mutex::default() })
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Sign for StubSigner {
    fn sign(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        self.asked.lock().unwrap().push(Instant::now());
        let mood = *self.mood.lock().unwrap();
        Box::pin(async move {
            match mood {
                Mood::Well(life) => Ok(unsecured(life)),
                Mood::Failing => Err(TokenError::Unsigned("the credential source is unavailable".to_owned())),
                Mood::Hanging => std::future::pending().await,
            }
        })
    }
}

/// Returns a token that Kafka accepts in tests: RFC 7519's unsecured form.
fn unsecured(life: Duration) -> BearerToken {
    let now_ms = Clock::system().now_ms();
    let expires_ms = now_ms + i64::try_from(life.as_millis()).unwrap();
    let part = |part: serde_json::Value| base64_simd::URL_SAFE_NO_PAD.encode_to_string(part.to_string());
    let claims = json!({"sub": "sluice", "iat": now_ms / 1_000 - 60, "exp": expires_ms / 1_000 + 60});
    BearerToken { text: format!("{}.{}.", part(json!({"alg": "none"})), part(claims)), expires_ms }
}

/// A cluster that requires tokens.
pub(crate) struct World {
    pub(crate) kafka: Kafka,
    pub(crate) brokers: String,
    pub(crate) ca: Pem,
    _data: DataFolder,
}

impl World {
    pub(crate) async fn start() -> Self {
        let authority = Authority::new();
        let data = DataFolder::temporary().unwrap();
        let access = ListenerAccess::UnsecuredTokens { new_one_within_ms: 60_000 };
        let listener = (access, authority.for_server(&["localhost"]));
        let kafka = Kafka::start_with(&data, vec![listener]).await.unwrap();
        let brokers = kafka.secure_bootstrap_servers().remove(0);
        let ca = Pem::read("KAFKA_SSL_CA", &authority.certificate, Kind::Certificates).unwrap();
        Self { kafka, brokers, ca, _data: data }
    }

    fn settings(&self, signer: &Arc<StubSigner>) -> KafkaSettings {
        let tokens = IamTokens::new(Arc::clone(signer) as _, Clock::system());
        KafkaSettings {
            bootstrap_servers: self.brokers.clone(),
            access: Access::Iam { ca: Some(self.ca.clone()), tokens },
        }
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn topic_creation_and_producer_and_mapping_authenticate_with_tokens_that_are_renewed_before_they_expire() {
    let mut world = World::start().await;
    let registry = Registry::load(None).unwrap();
    let signer = StubSigner::new(Mood::Well(HOUR));
    let created = topics::ensure(&world.settings(&signer), &registry).await.unwrap();
    assert!(created.iter().all(|topic| topic.created && topic.partitions == topic.wanted_partitions), "{created:?}");

    // A token is valid for five seconds, and the next token is requested after four fifths of that time. The connection
    // presents the next token when the broker asks for it.
    let short = StubSigner::new(Mood::Well(Duration::from_secs(5)));
    let settings = world.settings(&short);
    let producer = Producer::new(&settings).unwrap();
    let recorder = Recorder::new();
    let mapping = MappingConfiguration::for_topic("routes");
    let mapping = EventSourceMapping::start(mapping, &settings, Arc::clone(&recorder) as _).unwrap();
    let mut sent = 0;
    while short.asked() < 6 {
        let record = Outgoing { topic: "routes", key: None, value: Some(b"{}"), headers: &[] };
        let answer = producer.send(&[record]).await.remove(0);
        assert!(answer.is_ok(), "after {sent} records: {answer:?}");
        sent += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    recorder.has_seen(sent).await;
    mapping.stop().await;
    world.kafka.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_or_hanging_signer_is_reported_within_seconds_and_a_send_succeeds_after_the_signer_has_recovered() {
    let mut world = World::start().await;
    let healthy = StubSigner::new(Mood::Well(HOUR));
    topics::ensure(&world.settings(&healthy), &Registry::load(None).unwrap()).await.unwrap();

    tokio::join!(
        a_producer_recovers_with_its_signer(&world, Mood::Failing, "the credential source is unavailable"),
        a_producer_recovers_with_its_signer(&world, Mood::Hanging, "no AWS credentials within 5 s"),
    );
    world.kafka.stop().await;
}

async fn a_producer_recovers_with_its_signer(world: &World, mood: Mood, why: &str) {
    const PATIENCE: Duration = Duration::from_secs(7);
    let signer = StubSigner::new(mood);
    let producer = Producer::new(&world.settings(&signer)).unwrap();
    let started = Instant::now();
    let refused = producer.connect(PATIENCE).await.unwrap_err();
    assert!(matches!(&refused, ProducerError::Refused(reason) if reason.contains(why)), "{refused}");
    assert!(started.elapsed() < PATIENCE, "{mood:?}: {:?}", started.elapsed());

    // While the signer fails or hangs, a send fails within ten seconds. The next send uses a new client, which requests
    // a token.
    let send = async || {
        let record = Outgoing { topic: "routes", key: None, value: Some(b"{}"), headers: &[] };
        producer.send(&[record]).await.remove(0)
    };
    let started = Instant::now();
    assert!(send().await.is_err());
    assert!(started.elapsed() < Duration::from_secs(10), "{mood:?}: {:?}", started.elapsed());
    signer.becomes(Mood::Well(HOUR));
    let mut answer = send().await;
    if answer.is_err() {
        // The new client had requested its token before the signer recovered, so only the next client succeeds.
        answer = send().await;
    }
    assert!(answer.is_ok(), "{mood:?}: {answer:?}");
}

//! Tests what happens when Amazon MSK refuses connections because too many new connections arrive. A proxy in front of
//! Apache Kafka refuses the first connections with MSK's error message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shared::kafka::{Access, IamTokens, KafkaSettings, Outgoing, Producer, ProducerError};
use shared::network::pem::{Kind, Pem};
use shared::process::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::task::AbortOnDropHandle;

use crate::authority::Authority;
use crate::support::kafka::{create_topic, topic_name};
use crate::tokens::{Mood, StubSigner, World};

/// A proxy that refuses the credentials of the first connections.
struct Proxy {
    address: String,
    /// The certificates of the authorities that signed the proxy's and the broker's certificates.
    ca: Pem,
    /// The number of connections that the proxy will still refuse.
    refusals: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn start(world: &World, refusals: usize) -> Self {
        let authority = Authority::named("a proxy's own authority");
        let (certificate, key) = authority.sign(&["localhost"]);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificates = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(world.ca.text().as_bytes()).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let (refusals, accepted) = (Arc::new(AtomicUsize::new(refusals)), Arc::new(AtomicUsize::new(0)));
        let (left, seen, broker) = (Arc::clone(&refusals), Arc::clone(&accepted), world.brokers.clone());
        let (acceptor, connector) = (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((incoming, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let refuses = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                tokio::spawn(serve(incoming, acceptor.clone(), connector.clone(), broker.clone(), refuses));
            }
        }));
        let ca = format!("{}{}", authority.certificate, world.ca.text());
        let ca = Pem::read("KAFKA_SSL_CA", &ca, Kind::Certificates).unwrap();
        Self { address, ca, refusals, accepted, _serving: serving }
    }

    fn settings(&self, signer: &Arc<StubSigner>) -> KafkaSettings {
        let tokens = IamTokens::new(Arc::clone(signer) as _, Clock::system());
        KafkaSettings {
            bootstrap_servers: self.address.clone(),
            access: Access::Iam { ca: Some(self.ca.clone()), tokens },
        }
    }
}

/// Passes a connection on to the broker, or refuses its credentials.
async fn serve(
    incoming: TcpStream,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    broker: String,
    refuses: bool,
) -> std::io::Result<()> {
    const SASL_AUTHENTICATE: i16 = 36;
    let mut client = acceptor.accept(incoming).await?;
    let server = TcpStream::connect(&broker).await?;
    let mut server = connector.connect(ServerName::try_from("localhost").unwrap(), server).await?;
    if !refuses {
        return copy_bidirectional(&mut client, &mut server).await.map(drop);
    }
    loop {
        let request = frame(&mut client).await?;
        if i16::from_be_bytes([request[0], request[1]]) == SASL_AUTHENTICATE {
            let (version, correlation_id) = (i16::from_be_bytes([request[2], request[3]]), &request[4..8]);
            client.write_all(&too_many_connects(version, correlation_id)).await?;
            return client.shutdown().await;
        }
        server.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).await?;
        server.write_all(&request).await?;
        let response = frame(&mut server).await?;
        client.write_all(&u32::try_from(response.len()).unwrap().to_be_bytes()).await?;
        client.write_all(&response).await?;
    }
}

/// Reads a message of Kafka's protocol. Returns the message without its length.
async fn frame(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message = vec![0; usize::try_from(length).unwrap()];
    from.read_exact(&mut message).await?;
    Ok(message)
}

/// Returns MSK's answer to `SaslAuthenticate`. <https://kafka.apache.org/protocol.html#The_Messages_SaslAuthenticate>
fn too_many_connects(version: i16, correlation_id: &[u8]) -> Vec<u8> {
    const SASL_AUTHENTICATION_FAILED: i16 = 58;
    const SAID: &[u8] = b"[5d2f62a1]: Too many connects";
    assert!(version < 2, "version 2 encodes lengths differently");
    let mut body = correlation_id.to_vec();
    body.extend(SASL_AUTHENTICATION_FAILED.to_be_bytes());
    body.extend(i16::try_from(SAID.len()).unwrap().to_be_bytes());
    body.extend(SAID);
    body.extend(0_i32.to_be_bytes());
    if version > 0 {
        body.extend(0_i64.to_be_bytes());
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[..], &body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_tries_again_after_one_second_if_the_broker_has_too_many_new_connections() {
    let mut world = World::start().await;
    let signer = StubSigner::new(Mood::Well(Duration::from_secs(3_600)));
    let topic = topic_name("throttled");
    create_topic(&KafkaSettings::plaintext(world.kafka.bootstrap_servers()), &topic, 1).await;

    // One refusal: the start tries again after about a second, and succeeds.
    let proxy = Proxy::start(&world, 1).await;
    let producer = Producer::new(&proxy.settings(&signer)).unwrap();
    let begun = Instant::now();
    producer.connect(Duration::from_secs(60)).await.unwrap();
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(700), "{took:?}: the pause is a second, or up to a quarter less");
    assert_eq!(proxy.refusals.load(Ordering::SeqCst), 0);
    let record = Outgoing { topic: &topic, key: None, value: Some(b"{}"), headers: &[] };
    assert_eq!(producer.send(&[record]).await.remove(0).unwrap().offset, 0);

    // If the refusals last longer than a start may take, the error counts as a temporary outage and names the cause.
    let proxy = Proxy::start(&world, usize::MAX).await;
    let error = Producer::new(&proxy.settings(&signer)).unwrap().connect(Duration::from_secs(3)).await.unwrap_err();
    assert!(error.is_temporary() && matches!(error, ProducerError::Silent { .. }), "{error}");
    assert!(error.to_string().contains("Too many connects"), "{error}");
    let connections = proxy.accepted.load(Ordering::SeqCst);
    assert!((1..=6).contains(&connections), "{connections} connections in three seconds");
    world.kafka.stop().await;
}

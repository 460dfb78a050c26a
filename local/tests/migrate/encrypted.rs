//! Tests that `migrate` can send its answer over https, which CloudFormation's addresses (in S3) require.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::authority::Authority;
use crate::stack::Stack;

const DELETE: &str = include_str!("../../../functions/migrate/events/delete.json");

/// Puts TLS in front of the server that receives a stack's answers.
async fn encrypt(stack: &mut Stack, authority: &Authority) -> AbortOnDropHandle<()> {
    let (certificate, key) = authority.sign(&["localhost"]);
    let certificates = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let encrypted = format!("https://localhost:{}/?signature", listener.local_addr().unwrap().port());
    let plain = std::mem::replace(&mut stack.receiver, encrypted);
    let plain = plain.trim_start_matches("http://").trim_end_matches("/?signature").to_owned();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((incoming, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let mut client = acceptor.accept(incoming).await?;
                copy_bidirectional(&mut client, &mut TcpStream::connect(plain).await?).await
            });
        }
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_goes_only_to_a_server_whose_authority_the_machine_trusts() {
    let (mut stack, authority) = (Stack::new().await, Authority::new());
    let _serving = encrypt(&mut stack, &authority).await;
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trusted.path(), &authority.certificate).unwrap();
    let function = stack.start(&[("SSL_CERT_FILE", trusted.path().to_str().unwrap())]).await;
    let (_, answer) = stack.deploy(&function, DELETE).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");

    let stranger = Authority::named("another authority");
    std::fs::write(trusted.path(), &stranger.certificate).unwrap();
    let function = stack.start(&[("SSL_CERT_FILE", trusted.path().to_str().unwrap())]).await;
    assert_eq!(function.error_type(&stack.addressed(DELETE)).await, "Sluice.Delivery");
    let log = function.lambda.sandboxes()[0].log();
    assert!(log.contains("UnknownIssuer") && !log.contains("?signature"), "{log}");
    assert_eq!(stack.received().len(), 1, "only the first answer was received");
    stack.remove().await;
}

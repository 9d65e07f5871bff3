//! Clients that present a certificate whose key they do not hold, or sign out of the rules.

use std::fmt;
use std::sync::Arc;

use lamassu_crypto::{
    Curve, HashAlgorithm, KeySpec, Message, PrivateKey, SignatureScheme as Scheme,
};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, Error, RootCertStore, SignatureAlgorithm, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{PATIENCE, Running, client_certificate, start};

/// A client key that signs as it is told to, whatever the server offers.
#[derive(Clone)]
struct Told {
    key: Arc<PrivateKey>,
    wire: SignatureScheme,
    scheme: Scheme,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Told({:?})", self.wire)
    }
}

impl SigningKey for Told {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Told {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.key
            .sign(self.scheme, Message::Raw(message))
            .map_err(|e| Error::General(e.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.wire
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _names: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What the server answers to a client with the certificate `name` that signs with `key`.
async fn ask(
    gateway: &Running,
    name: &str,
    key: Told,
    version: &'static SupportedProtocolVersion,
) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(gateway.trust_anchor()).unwrap())
        .unwrap();
    let pem = gateway.dir.path().join(format!("{name}.pem"));
    let chain = vec![CertificateDer::from_pem_file(pem).unwrap()];
    let certified = Arc::new(CertifiedKey::new(chain, Arc::new(key)));
    let provider = lamassu_gateway::tls::server_config::provider();
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(Always(certified)));
    let stream = TcpStream::connect(gateway.https).await?;
    let server = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await?;
    stream
        .write_all(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut reply = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut reply)).await;
    read.expect("the server closes").map(|_| reply)
}

fn key_of(gateway: &Running, name: &str) -> Arc<PrivateKey> {
    let pem = std::fs::read(gateway.dir.path().join(format!("{name}.key"))).unwrap();
    Arc::new(PrivateKey::from_pem(&pem).unwrap())
}

fn told(key: Arc<PrivateKey>, wire: SignatureScheme, hash: HashAlgorithm) -> Told {
    Told {
        key,
        wire,
        scheme: Scheme::Ecdsa(hash),
    }
}

const P224: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"];
const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const P384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"];

#[tokio::test]
async fn a_stolen_certificate_without_its_key_does_not_connect() {
    let gateway = start().await;
    client_certificate(gateway.dir.path(), "victim", P256);
    let own = Arc::new(PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap());
    for version in [&TLS12, &TLS13] {
        let thief = told(
            Arc::clone(&own),
            SignatureScheme::ECDSA_NISTP256_SHA256,
            HashAlgorithm::Sha256,
        );
        let error = ask(&gateway, "victim", thief, version).await.unwrap_err();
        assert!(error.to_string().contains("DecryptError"), "{error}");
        let owner = told(
            key_of(&gateway, "victim"),
            SignatureScheme::ECDSA_NISTP256_SHA256,
            HashAlgorithm::Sha256,
        );
        let reply = ask(&gateway, "victim", owner, version).await.unwrap();
        assert!(reply.contains("client=Some(\"victim\")"), "{reply}");
    }
}

#[tokio::test]
async fn scheme_and_curve_belong_together_under_tls_1_3_only() {
    let gateway = start().await;
    client_certificate(gateway.dir.path(), "p224", P224);
    client_certificate(gateway.dir.path(), "p384", P384);
    for name in ["p224", "p384"] {
        let key = told(
            key_of(&gateway, name),
            SignatureScheme::ECDSA_NISTP256_SHA256,
            HashAlgorithm::Sha256,
        );
        let reply = ask(&gateway, name, key.clone(), &TLS12).await.unwrap();
        assert!(reply.contains(&format!("client=Some({name:?})")), "{reply}");
        let error = ask(&gateway, name, key, &TLS13).await.unwrap_err();
        assert!(error.to_string().contains("IllegalParameter"), "{error}");
    }
}

#[tokio::test]
async fn a_scheme_that_was_not_offered_is_refused() {
    let gateway = start().await;
    client_certificate(gateway.dir.path(), "p256", P256);
    let key = key_of(&gateway, "p256");
    // ecdsa_sha1 and ecdsa_sha224 of RFC 5246.
    for (wire, hash) in [
        (0x0203, HashAlgorithm::Sha256),
        (0x0303, HashAlgorithm::Sha224),
    ] {
        for version in [&TLS12, &TLS13] {
            let told = told(Arc::clone(&key), SignatureScheme::from(wire), hash);
            let error = ask(&gateway, "p256", told, version).await.unwrap_err();
            assert!(error.to_string().contains("IllegalParameter"), "{error}");
        }
    }
}

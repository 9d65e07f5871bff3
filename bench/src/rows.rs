//! The rows of the table, and the plant that they work on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, Message, PrivateKey};
use lamassu_x509::ocsp::{CertId, issuer_keys, request_to_der};
use lamassu_x509::pem::{self, PemLabel};
use lamassu_x509::{Certificate, RequestTemplate, SubjectFields};
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::client::{self, Connection, Target};
use crate::load::Worker;
use crate::server::Server;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// A CSR signed over REST: HTTPS kept alive, bearer token, P-256, durable.
    Sign,
    /// EST enrollment, a new mutual-TLS connection each, no resumption.
    EnrollFresh,
    /// EST enrollment over a kept mutual-TLS connection.
    EnrollKept,
    /// OCSP by POST over plain HTTP kept alive, P-256 CA, without nonce.
    Ocsp,
    /// The same with a nonce.
    OcspNonce,
}

impl Row {
    pub(crate) const ALL: [Self; 5] = [
        Self::Sign,
        Self::EnrollFresh,
        Self::EnrollKept,
        Self::Ocsp,
        Self::OcspNonce,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::EnrollFresh => "enroll-fresh",
            Self::EnrollKept => "enroll-kept",
            Self::Ocsp => "ocsp",
            Self::OcspNonce => "ocsp-nonce",
        }
    }

    /// One client of this row.
    pub(crate) fn worker(self, plant: &Plant) -> Client {
        let target = match self {
            Self::Sign => Target {
                port: plant.https_port,
                tls: Some(Arc::clone(&plant.tls)),
            },
            Self::EnrollFresh | Self::EnrollKept => Target {
                port: plant.https_port,
                tls: Some(Arc::clone(&plant.mutual_tls)),
            },
            Self::Ocsp | Self::OcspNonce => Target {
                port: plant.http_port,
                tls: None,
            },
        };
        Client {
            row: self,
            connection: Connection::to(target),
            plant: plant.clone(),
        }
    }
}

/// What the rows work on: a CA, a DMS, a bootstrap certificate.
#[derive(Clone)]
pub(crate) struct Plant {
    https_port: u16,
    http_port: u16,
    tls: Arc<ClientConfig>,
    mutual_tls: Arc<ClientConfig>,
    authorization: Arc<str>,
    device_key: Arc<PrivateKey>,
    cert_id: CertId,
    next_device: Arc<AtomicU64>,
}

impl Plant {
    /// Sets the plant up over the API.
    pub(crate) async fn set_up(server: &Server) -> Result<Self> {
        let tls = client::tls(&server.anchor()?, None)?;
        let authorization = format!("Bearer {}", server.token()?);
        let target = Target {
            port: server.https_port,
            tls: Some(Arc::clone(&tls)),
        };
        let mut api = Api {
            connection: Connection::to(target),
            authorization: &authorization,
        };

        let profile = json!({"name": "Devices", "validity": {"type": "Duration", "duration": "90d"},
            "honor_subject": true, "key_usage": ["DigitalSignature"], "extended_key_usages": ["ClientAuth"]});
        let profile = api.post("/api/ca/v1/profiles", &profile).await?;
        let ca = json!({"id": "bench", "subject": {"common_name": "Bench CA"}, "profile_id": profile.get("id"),
            "key_metadata": {"type": "ECDSA", "bits": 256},
            "ca_expiration": {"type": "Duration", "duration": "10y"}});
        let ca = api.post("/api/ca/v1/cas", &ca).await?;
        let ca = certificate(ca.get("certificate").context("a CA has a certificate")?)?;
        let auth = json!({"auth_mode": "CLIENT_CERTIFICATE",
            "client_certificate_settings": {"validation_cas": ["bench"]}});
        let dms = json!({"id": "bench", "name": "Bench", "settings": {"enrollment_settings": {
            "protocol": "EST_RFC7030", "registration_mode": "JITP", "enrollment_ca": "bench",
            "verify_csr_signature": true, "est_rfc7030_settings": auth}}});
        api.post("/api/dmsmanager/v1/dms", &dms).await?;

        let device_key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
        let body = sign_body(&csr(&device_key, "bootstrap")?);
        let bootstrap = certificate(
            &api.post("/api/ca/v1/cas/bench/certificates/sign", &body)
                .await?,
        )?;
        let identity = (
            bootstrap.as_der().to_vec(),
            device_key.to_pkcs8_der()?.to_vec(),
        );
        let issuer = issuer_keys(&ca)?
            .into_iter()
            .find(|issuer| issuer.hash_algorithm == HashAlgorithm::Sha1)
            .context("SHA-1 is one of the hashes of a CertID")?;
        Ok(Self {
            https_port: server.https_port,
            http_port: server.http_port,
            tls,
            mutual_tls: client::tls(&server.anchor()?, Some(identity))?,
            authorization: authorization.into(),
            device_key: Arc::new(device_key),
            cert_id: CertId::new(&issuer, bootstrap.serial()),
            next_device: Arc::new(AtomicU64::new(0)),
        })
    }

    fn request(&self, row: Row) -> Result<Request<Full<Bytes>>> {
        let device = || {
            format!(
                "device-{}",
                self.next_device.fetch_add(1, Ordering::Relaxed)
            )
        };
        let (path, content_type, body) = match row {
            Row::Sign => {
                let body = sign_body(&csr(&self.device_key, &device())?).to_string();
                (
                    "/api/ca/v1/cas/bench/certificates/sign",
                    "application/json",
                    body.into_bytes(),
                )
            }
            Row::EnrollFresh | Row::EnrollKept => {
                let body = STANDARD.encode(csr(&self.device_key, &device())?);
                (
                    "/.well-known/est/bench/simpleenroll",
                    "application/pkcs10",
                    body.into_bytes(),
                )
            }
            Row::Ocsp => (
                "/api/va/ocsp",
                "application/ocsp-request",
                self.ocsp_request(None),
            ),
            Row::OcspNonce => {
                let nonce = self
                    .next_device
                    .fetch_add(1, Ordering::Relaxed)
                    .to_be_bytes();
                (
                    "/api/va/ocsp",
                    "application/ocsp-request",
                    self.ocsp_request(Some(&nonce)),
                )
            }
        };
        let mut request = Request::post(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, content_type);
        if row == Row::Sign {
            request = request.header(header::AUTHORIZATION, &*self.authorization);
        }
        Ok(request.body(Full::from(body))?)
    }

    fn ocsp_request(&self, nonce: Option<&[u8]>) -> Vec<u8> {
        request_to_der(std::slice::from_ref(&self.cert_id), nonce).to_vec()
    }
}

/// The management API over one connection.
struct Api<'a> {
    connection: Connection,
    authorization: &'a str,
}

impl Api<'_> {
    async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::post(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))?;
        let (status, answer) = self.connection.send(request).await?;
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// A request for a certificate, DER.
fn csr(key: &PrivateKey, common_name: &str) -> Result<Vec<u8>> {
    let subject = SubjectFields::with_common_name(common_name).to_name();
    let template = RequestTemplate::new(subject, key.public_key());
    let to_be_signed = template.to_be_signed(key.default_scheme())?;
    let signature = key.sign(to_be_signed.scheme(), Message::Raw(to_be_signed.as_bytes()))?;
    Ok(to_be_signed.assemble(&signature).to_vec())
}

fn sign_body(csr: &[u8]) -> Value {
    json!({"csr": STANDARD.encode(pem::der_to_pem(PemLabel::CertificateRequest, csr))})
}

fn certificate(answer: &Value) -> Result<Certificate> {
    let text = answer["certificate"]
        .as_str()
        .context("no certificate in the answer")?;
    Ok(Certificate::from_der(pem::base64_pem_to_der(text)?)?)
}

/// One client of a row.
pub(crate) struct Client {
    row: Row,
    connection: Connection,
    plant: Plant,
}

impl Worker for Client {
    fn ask(&mut self) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        Box::pin(async move {
            let request = self.plant.request(self.row)?;
            let (status, body) = self.connection.send(request).await?;
            if self.row == Row::EnrollFresh {
                self.connection.close();
            }
            let wanted = if self.row == Row::Sign {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            ensure!(
                status == wanted,
                "{status} {}",
                String::from_utf8_lossy(&body)
            );
            Ok(())
        })
    }
}

//! What the rows work on: a CA, a DMS, a device's certificate, made over the API.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, Message, PrivateKey};
use lamassu_x509::ocsp::{CertId, IssuerKey, issuer_keys, request_to_der};
use lamassu_x509::pem::{self, PemLabel};
use lamassu_x509::{Certificate, RequestTemplate, Serial, SubjectFields};
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::client::{self, Connection, Target, encode};
use crate::limits::Party;
use crate::server::{Installation, Server};

/// The plant of one installation.
#[derive(Clone)]
pub(crate) struct Plant {
    pub(crate) https: Target,
    pub(crate) mutual: Target,
    pub(crate) http: Target,
    authorization: Arc<str>,
    /// The id of the CA that signs over REST.
    signer: &'static str,
    profile: Arc<str>,
    pub(crate) ca: Arc<Certificate>,
    issuer: IssuerKey,
    pub(crate) device: Party,
    /// Serial number of the device's certificate, as the API writes it.
    pub(crate) device_serial: Arc<str>,
}

impl Plant {
    /// Sets the plant up in an empty installation.
    pub(crate) async fn set_up(installation: &Installation, server: &Server) -> Result<Self> {
        let anchor = installation.anchor()?;
        let https = Target {
            port: server.https_port,
            tls: Some(client::tls(&anchor, None)?),
        };
        let authorization: Arc<str> = format!("Bearer {}", installation.token()?).into();
        let mut api = Api {
            connection: Connection::to(https.clone()),
            authorization: Arc::clone(&authorization),
        };

        let profile = json!({"name": "Devices", "validity": {"type": "Duration", "duration": "90d"},
            "honor_subject": true, "key_usage": ["DigitalSignature"],
            "extended_key_usages": ["ClientAuth"]});
        let profile = api.post("/api/ca/v1/profiles", &profile).await?;
        let profile = profile.get("id").and_then(Value::as_str);
        let profile: Arc<str> = profile.context("a profile has an id")?.into();
        let ca = new_ca("bench", Some(&json!(*profile)));
        let ca = api.post("/api/ca/v1/cas", &ca).await?;
        let ca = certificate(ca.get("certificate").context("a CA has a certificate")?)?;
        let auth = json!({"auth_mode": "CLIENT_CERTIFICATE",
            "client_certificate_settings": {"validation_cas": ["bench"]}});
        let dms = json!({"id": "bench", "name": "Bench", "settings": {"enrollment_settings": {
            "protocol": "EST_RFC7030", "registration_mode": "JITP", "enrollment_ca": "bench",
            "verify_csr_signature": true, "est_rfc7030_settings": auth}}});
        api.post("/api/dmsmanager/v1/dms", &dms).await?;

        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
        let body = sign_body(&csr(&key, "bootstrap")?);
        let device = api
            .post("/api/ca/v1/cas/bench/certificates/sign", &body)
            .await?;
        let device_serial: Arc<str> = device
            .get("serial_number")
            .and_then(Value::as_str)
            .context("a certificate has a serial number")?
            .into();
        let device = Party {
            certificate: certificate(&device)?.as_der().to_vec(),
            pkcs8: key.to_pkcs8_der()?.to_vec(),
            issuer: ca.as_der().to_vec(),
        };
        let identity = (device.certificate.clone(), device.pkcs8.clone());
        let issuer = issuer_keys(&ca)?
            .into_iter()
            .find(|issuer| issuer.hash_algorithm == HashAlgorithm::Sha1)
            .context("an issuer has a SHA-1 key hash")?;
        Ok(Self {
            mutual: Target {
                port: server.https_port,
                tls: Some(client::tls(&anchor, Some(identity))?),
            },
            http: Target {
                port: server.http_port,
                tls: None,
            },
            https,
            authorization,
            signer: "bench",
            profile,
            ca: Arc::new(ca),
            issuer,
            device,
            device_serial,
        })
    }

    /// The same plant with a new CA that signs over REST.
    pub(crate) async fn with_ca(&self, id: &'static str) -> Result<Self> {
        let mut api = self.api();
        let bench = api.get("/api/ca/v1/cas/bench").await?;
        api.post("/api/ca/v1/cas", &new_ca(id, bench.get("profile_id")))
            .await?;
        Ok(Self {
            signer: id,
            ..self.clone()
        })
    }

    /// The same plant on a server that was started anew.
    pub(crate) fn moved_to(&self, server: &Server) -> Self {
        let at = |port: u16, tls: &Option<Arc<ClientConfig>>| Target {
            port,
            tls: tls.clone(),
        };
        Self {
            https: at(server.https_port, &self.https.tls),
            mutual: at(server.https_port, &self.mutual.tls),
            http: at(server.http_port, &None),
            ..self.clone()
        }
    }

    /// Makes more CAs, named by number.
    pub(crate) async fn add_authorities(&self, count: u32) -> Result<()> {
        let mut api = Api {
            connection: Connection::to(self.https.clone()),
            authorization: Arc::clone(&self.authorization),
        };
        for number in 0..count {
            let ca = json!({"id": format!("ca-{number}"),
                "subject": {"common_name": format!("CA {number}")}, "profile_id": *self.profile,
                "key_metadata": {"type": "ECDSA", "bits": 256},
                "ca_expiration": {"type": "Duration", "duration": "10y"}});
            api.post("/api/ca/v1/cas", &ca).await?;
        }
        Ok(())
    }

    /// A request for something of the management API.
    pub(crate) fn get_request(&self, path: &str) -> Result<Bytes> {
        self.api_request(&Method::GET, path, String::new())
    }

    /// A request for a signature over REST, with a key and a name of its own.
    pub(crate) fn sign_request(&self, name: &str) -> Result<Bytes> {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
        let body = sign_body(&csr(&key, name)?).to_string();
        let path = format!("/api/ca/v1/cas/{}/certificates/sign", self.signer);
        self.api_request(&Method::POST, &path, body)
    }

    /// The management API.
    pub(crate) fn api(&self) -> Api {
        Api {
            connection: Connection::to(self.https.clone()),
            authorization: Arc::clone(&self.authorization),
        }
    }

    /// A request for the revocation of a certificate.
    pub(crate) fn revoke_request(&self, serial: &str) -> Result<Bytes> {
        let path = format!("/api/ca/v1/certificates/{serial}/status");
        let body = json!({"status": "REVOKED", "revocation_reason": "KeyCompromise"});
        self.api_request(&Method::PUT, &path, body.to_string())
    }

    /// A request that sets how the CRLs of the CA are made.
    pub(crate) fn role_request(&self, delta_validity: Option<&str>) -> Result<Bytes> {
        let path = format!("/api/va/v1/roles/{}", hex(&self.ca.key_identifier()));
        let body = json!({"validity": "1w", "refresh_interval": "6d23h",
            "regenerate_on_revoke": true, "delta_validity": delta_validity});
        self.api_request(&Method::PUT, &path, body.to_string())
    }

    fn api_request(&self, method: &Method, path: &str, body: String) -> Result<Bytes> {
        request(
            Request::builder()
                .method(method)
                .uri(path)
                .header(header::AUTHORIZATION, &*self.authorization)
                .header(header::CONTENT_TYPE, "application/json"),
            body,
        )
    }

    /// An enrollment of a new device.
    #[expect(clippy::unused_self, reason = "beside the other requests of the plant")]
    pub(crate) fn enroll_request(&self, device: &str) -> Result<Bytes> {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
        request(
            Request::post("/.well-known/est/bench/simpleenroll")
                .header(header::CONTENT_TYPE, "application/pkcs10"),
            STANDARD.encode(csr(&key, device)?),
        )
    }

    /// An OCSP request for a certificate of the plant's CA.
    pub(crate) fn ocsp_request(&self, serial: &str, nonce: Option<&[u8]>) -> Result<Bytes> {
        let serial = Serial::from_hex(serial).context("a serial number is hexadecimal")?;
        let cert_id = CertId::new(&self.issuer, &serial);
        request(
            Request::post("/api/va/ocsp").header(header::CONTENT_TYPE, "application/ocsp-request"),
            request_to_der(std::slice::from_ref(&cert_id), nonce),
        )
    }

    /// A request for the CA's CRL, unless it is still the one with this tag.
    pub(crate) fn crl_request(&self, known: Option<&str>) -> Result<Bytes> {
        self.crl_request_at("", known)
    }

    /// A request for the CRL with this behind the address of the complete one.
    pub(crate) fn crl_request_at(&self, place: &str, known: Option<&str>) -> Result<Bytes> {
        let path = format!("/api/va/crl/{}{place}", hex(&self.ca.key_identifier()));
        let mut builder = Request::get(path);
        if let Some(tag) = known {
            builder = builder.header(header::IF_NONE_MATCH, tag);
        }
        request(builder, Bytes::new())
    }
}

fn new_ca(id: &str, profile: Option<&Value>) -> Value {
    json!({"id": id, "subject": {"common_name": "Bench CA"}, "profile_id": profile,
        "key_metadata": {"type": "ECDSA", "bits": 256},
        "ca_expiration": {"type": "Duration", "duration": "10y"}})
}

fn request(builder: http::request::Builder, body: impl Into<Bytes>) -> Result<Bytes> {
    let request = builder
        .header(header::HOST, "localhost")
        .body(body.into())?;
    Ok(encode(&request))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The management API over one connection.
pub(crate) struct Api {
    connection: Connection,
    authorization: Arc<str>,
}

impl Api {
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::post(path);
        self.ask(request, body.to_string(), StatusCode::CREATED)
            .await
    }

    /// Begins to revoke many certificates; gives the job.
    pub(crate) async fn revoke_many(&mut self, body: &Value) -> Result<Value> {
        let request = Request::post("/api/ca/v1/certificates/revocations");
        self.ask(request, body.to_string(), StatusCode::ACCEPTED)
            .await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Value> {
        self.ask(Request::get(path), String::new(), StatusCode::OK)
            .await
    }

    async fn ask(
        &mut self,
        builder: http::request::Builder,
        body: String,
        success: StatusCode,
    ) -> Result<Value> {
        let wire = request(
            builder
                .header(header::AUTHORIZATION, &*self.authorization)
                .header(header::CONTENT_TYPE, "application/json"),
            body,
        )?;
        let answer = self.connection.send(&wire).await?;
        Ok(serde_json::from_slice(&answer.expect(success)?)?)
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

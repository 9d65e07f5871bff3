//! A client that is fast enough to load a server: raw TLS, one connection per request.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_x509::{Certificate, RequestTemplate, SubjectFields, pkcs7};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;

use crate::support::api::Answer;
use crate::support::socket::{Identity, connect, exchange};

/// A server and a token for its API.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Port of HTTPS.
    pub(crate) port: u16,
    /// Bearer token.
    pub(crate) token: String,
}

impl Client {
    /// One call of the management API.
    ///
    /// # Errors
    /// There is no whole answer: nobody knows what became of it.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let head = format!(
            "{method} /api/{path} HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
            self.token
        );
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(&head, &body, None)
    }

    /// One EST request at DMS `line`; gives the certificate, or the refusal.
    ///
    /// # Errors
    /// As [`call`](Self::call), or what came is no certificate.
    pub(crate) fn est(
        &self,
        operation: &str,
        csr: &[u8],
        identity: Identity,
    ) -> Result<std::result::Result<Certificate, Answer>> {
        let head = format!(
            "POST /.well-known/est/line/{operation} HTTP/1.1\r\nContent-Type: application/pkcs10\r\n"
        );
        let answer = self.send(&head, &STANDARD.encode(csr), Some(identity))?;
        if answer.status != 200 {
            return Ok(Err(answer));
        }
        let der = STANDARD.decode(answer.body.replace(['\r', '\n'], ""))?;
        let certificate = pkcs7::certificates(der)?.into_iter().next();
        Ok(Ok(certificate.context("an answer without certificate")?))
    }

    fn send(&self, head: &str, body: &str, identity: Option<Identity>) -> Result<Answer> {
        let request = format!(
            "{head}Host: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(&mut connect(self.port, identity)?, request.as_bytes())?;
        let text = String::from_utf8(answer)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        ensure!(length.is_none_or(|n| n == body.len()), "half an answer");
        Ok(Answer {
            status: head.split(' ').nth(1).context("no status")?.parse()?,
            body: body.to_owned(),
        })
    }
}

/// A P-256 key and what it signs.
#[derive(Debug)]
pub(crate) struct ClientKey(PrivateKey);

impl ClientKey {
    /// A new one.
    ///
    /// # Errors
    /// No randomness.
    pub(crate) fn generate() -> Result<Self> {
        Ok(Self(PrivateKey::generate(KeySpec::Ec(Curve::P256))?))
    }

    /// A request for a certificate with this common name, DER.
    ///
    /// # Errors
    /// The name cannot be one.
    pub(crate) fn csr(&self, common_name: &str) -> Result<Vec<u8>> {
        let subject = SubjectFields::with_common_name(common_name).to_name();
        let template = RequestTemplate::new(subject, self.0.public_key());
        let request = template.to_be_signed(self.0.default_scheme())?;
        let signature = self
            .0
            .sign(request.scheme(), Message::Raw(request.as_bytes()))?;
        Ok(request.assemble(&signature).to_vec())
    }

    /// What a client shows in TLS with this certificate.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub(crate) fn identity(&self, certificate: &Certificate) -> Result<Identity> {
        let key = self.0.to_pkcs8_der()?;
        Ok((
            vec![CertificateDer::from(certificate.as_der().to_vec())],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec())),
        ))
    }
}

//! Bodies of the DMS manager's internal routes: EST as a gateway hands it on, without the text
//! encodings of RFC 7030, and with the client's certificates, which only the TLS layer knows.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Base64;
use crate::caller::ClientCertificateChain;
use crate::dms::{DeliveredKey, EstOrigin, EstRequest, GeneratedKey, Outcome, SweepScope};
use crate::ids::DmsId;
use crate::kms::PrivateKeyBytes;
use crate::pem::CertificateDer;

/// What the query parameter `token` says of a bearer token that is not valid.
pub const INVALID_TOKEN: &str = "invalid";

/// An EST request that carries a certification request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WireEstRequest {
    /// The EST label.
    pub label: Option<DmsId>,
    /// DER of the certification request.
    pub csr: Base64,
    /// The certificates that the client presented, DER, end entity first.
    pub client_chain: Option<Vec<Base64>>,
    /// The HTTP request.
    #[serde(default)]
    pub origin: EstOrigin,
    /// The channel binding of the client's connection.
    pub exporter: Option<Base64>,
}

impl From<EstRequest> for WireEstRequest {
    fn from(request: EstRequest) -> Self {
        let chain = |ClientCertificateChain(chain): ClientCertificateChain| {
            chain.iter().cloned().map(Base64).collect()
        };
        Self {
            label: request.label,
            csr: Base64(request.csr),
            client_chain: request.client_chain.map(chain),
            origin: request.origin,
            exporter: request.exporter.map(Base64),
        }
    }
}

impl From<WireEstRequest> for EstRequest {
    fn from(wire: WireEstRequest) -> Self {
        let chain = |chain: Vec<Base64>| {
            ClientCertificateChain(chain.into_iter().map(|Base64(der)| der).collect())
        };
        Self {
            label: wire.label,
            csr: wire.csr.0,
            client_chain: wire.client_chain.map(chain),
            origin: wire.origin,
            exporter: wire.exporter.map(|Base64(octets)| octets),
        }
    }
}

/// What an operation that issues came to: a certificate, perhaps with one of the two forms of its
/// key, or when to come again.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EstAnswer {
    /// The certificate.
    pub certificate: Option<CertificateDer>,
    /// Its key, clear.
    pub key: Option<PrivateKeyBytes>,
    /// Its key, for a key of the device's.
    pub enveloped_key: Option<Base64>,
    /// Seconds until the request may come again: it waits for approval.
    pub retry_after: Option<u64>,
}

impl EstAnswer {
    fn pending(after: Duration) -> Self {
        Self {
            retry_after: Some(after.as_secs()),
            ..Self::default()
        }
    }

    /// What an enrollment came to; `None` if this says nothing of it.
    pub fn into_certificate(self) -> Option<Outcome<CertificateDer>> {
        match self.retry_after {
            Some(seconds) => Some(Outcome::Pending(Duration::from_secs(seconds))),
            None => self.certificate.map(Outcome::Issued),
        }
    }

    /// What making a key came to; `None` if this says nothing of it.
    pub fn into_generated_key(mut self) -> Option<Outcome<GeneratedKey>> {
        let key = match (self.key.take(), self.enveloped_key.take()) {
            (_, Some(Base64(enveloped))) => Some(DeliveredKey::Enveloped(enveloped)),
            (clear, None) => clear.map(DeliveredKey::Clear),
        };
        match self.into_certificate()? {
            Outcome::Pending(after) => Some(Outcome::Pending(after)),
            Outcome::Issued(certificate) => {
                key.map(|key| Outcome::Issued(GeneratedKey { certificate, key }))
            }
        }
    }
}

impl From<Outcome<CertificateDer>> for EstAnswer {
    fn from(outcome: Outcome<CertificateDer>) -> Self {
        match outcome {
            Outcome::Pending(after) => Self::pending(after),
            Outcome::Issued(certificate) => Self {
                certificate: Some(certificate),
                ..Self::default()
            },
        }
    }
}

impl From<Outcome<GeneratedKey>> for EstAnswer {
    fn from(outcome: Outcome<GeneratedKey>) -> Self {
        let GeneratedKey { certificate, key } = match outcome {
            Outcome::Pending(after) => return Self::pending(after),
            Outcome::Issued(generated) => generated,
        };
        let (key, enveloped_key) = match key {
            DeliveredKey::Clear(key) => (Some(key), None),
            DeliveredKey::Enveloped(enveloped) => (None, Some(Base64(enveloped))),
        };
        Self {
            certificate: Some(certificate),
            key,
            enveloped_key,
            retry_after: None,
        }
    }
}

/// A decision on an approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Decide")]
pub struct DecisionBody {
    /// Why, for the record.
    #[schemars(example = &"serial number is on the delivery note")]
    pub reason: String,
}

/// What `csrattrs` gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CsrAttributes {
    /// DER of CsrAttrs.
    pub der: Base64,
}

/// A sweep to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// Which intents.
    pub scope: SweepScope,
}

/// A sweep done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Swept {
    /// How many intents it handled.
    pub handled: u32,
}

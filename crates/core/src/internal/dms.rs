//! Bodies of the DMS manager's internal routes: EST as a gateway hands it on, without the text
//! encodings of RFC 7030, and with the client's certificates, which only the TLS layer knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Base64;
use crate::caller::ClientCertificateChain;
use crate::dms::{EstOrigin, EstRequest, SweepScope};
use crate::ids::DmsId;
use crate::pem::CertificateDer;

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
        }
    }
}

/// The certificate issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrolled {
    /// The certificate.
    pub certificate: CertificateDer,
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

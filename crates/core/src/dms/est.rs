//! What EST operations are given and give.

use std::time::Duration;

use bytes::Bytes;

use super::origin::EstOrigin;
use crate::caller::ClientCertificateChain;
use crate::ids::DmsId;
use crate::kms::PrivateKeyBytes;
use crate::pem::CertificateDer;

/// An EST request that carries a certification request.
#[derive(Clone, Debug)]
pub struct EstRequest {
    /// The EST label, RFC 7030 3.2.2; none when the path has none.
    pub label: Option<DmsId>,
    /// The certification request, DER.
    pub csr: Bytes,
    /// What the TLS layer saw.
    pub client_chain: Option<ClientCertificateChain>,
    /// The channel binding `tls-exporter` (RFC 9266) of the client's own connection; none where
    /// the connection has none, or is a proxy's.
    pub exporter: Option<Bytes>,
    /// The HTTP request that it came in.
    pub origin: EstOrigin,
}

/// What an EST operation that issues came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Done.
    Issued(T),
    /// Somebody has to approve it; to be asked for again, with the same request, after this long.
    Pending(Duration),
}

impl<T> Outcome<T> {
    /// The same with what was issued turned into something else.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Issued(issued) => Outcome::Issued(make(issued)),
            Self::Pending(after) => Outcome::Pending(after),
        }
    }
}

/// A certificate and the key that was made for it.
#[derive(Clone, Debug)]
pub struct GeneratedKey {
    /// The certificate.
    pub certificate: CertificateDer,
    /// The key.
    pub key: DeliveredKey,
}

/// A private key on its way to the device.
#[derive(Clone, Debug)]
pub enum DeliveredKey {
    /// PKCS#8, DER; protected by the connection only.
    Clear(PrivateKeyBytes),
    /// CMS EnvelopedData for a key of the device's, DER (RFC 7030 4.4.2).
    Enveloped(Bytes),
}

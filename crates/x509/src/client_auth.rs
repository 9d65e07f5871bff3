//! Client certificates under a set of trust anchors: that a path leads to one of them, and that the
//! certificate is one for clients.
//!
//! For listeners and management calls, where a configured file says whom to believe. What devices
//! enroll with is judged by the DMS manager, whose rules its settings loosen; these have no settings.
//! Whether a certificate was revoked is not known here.

use time::{Duration, OffsetDateTime};

use crate::certificate::Certificate;
use crate::extensions::KeyUsageBit;
use crate::oids;
use crate::path::{self, Expiry, PathError, PathRules};

/// How far ahead of ours an issuer's clock may be.
const CLOCK_SKEW: Duration = Duration::MINUTE;

/// Most certificates in a path.
const MAX_CERTIFICATES: usize = 10;

/// Why a client certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientCertificateError {
    /// No path leads to an anchor.
    #[error(transparent)]
    Path(PathError),
    /// Its usages leave out the authentication of clients.
    #[error("certificate is not for the authentication of clients")]
    Usage,
    /// A CA's certificate is no credential of anybody.
    #[error("certificate is that of a certificate authority")]
    Authority,
}

/// Trust anchors of client certificates; at least one.
#[derive(Debug, Clone)]
pub struct ClientAnchors(Vec<Certificate>);

impl ClientAnchors {
    /// `None` without any certificate: nobody could ever be believed, so that is a mistake.
    pub fn new(anchors: Vec<Certificate>) -> Option<Self> {
        (!anchors.is_empty()).then_some(Self(anchors))
    }

    /// Whether the owner of `end_entity`, over `intermediates` in any order, is to be believed at
    /// `now`. Costs a signature check per certificate of a path.
    ///
    /// # Errors
    ///
    /// [`ClientCertificateError`]; where several anchors refuse, the reason that says most.
    pub fn verify(
        &self,
        end_entity: &Certificate,
        intermediates: &[Certificate],
        now: OffsetDateTime,
    ) -> Result<(), ClientCertificateError> {
        let rules = PathRules {
            now,
            clock_skew: CLOCK_SKEW,
            expiry: Expiry::Considered,
            max_certificates: MAX_CERTIFICATES,
        };
        let mut refusal = PathError::NoIssuer;
        for anchor in &self.0 {
            match path::validate(end_entity, intermediates, anchor, &rules) {
                Ok(_) => return is_a_client(end_entity),
                Err(PathError::NoIssuer) => {}
                Err(error) => refusal = error,
            }
        }
        Err(ClientCertificateError::Path(refusal))
    }
}

fn is_a_client(certificate: &Certificate) -> Result<(), ClientCertificateError> {
    // An extension that does not decode may say so.
    let is_authority = match certificate.extensions().basic_constraints() {
        Ok(constraints) => constraints.is_some_and(|constraints| constraints.ca),
        Err(_) => true,
    };
    if is_authority {
        return Err(ClientCertificateError::Authority);
    }
    is_for_clients(certificate)
        .then_some(())
        .ok_or(ClientCertificateError::Usage)
}

/// Whether the usages, where there are any, include authentication of TLS clients (RFC 5280
/// §4.2.1.3 and §4.2.1.12).
pub fn is_for_clients(certificate: &Certificate) -> bool {
    let extensions = certificate.extensions();
    let purposes = match extensions.extended_key_usage() {
        Ok(None) => true,
        Ok(Some(purposes)) => purposes
            .iter()
            .any(|oid| *oid == oids::KP_CLIENT_AUTH || *oid == oids::KP_ANY),
        Err(_) => false,
    };
    let usages = match extensions.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.contains(KeyUsageBit::DigitalSignature)),
        Err(_) => false,
    };
    purposes && usages
}

#[cfg(test)]
mod tests {
    use super::ClientAnchors;

    #[test]
    fn nobody_is_no_set_of_anchors() {
        assert!(ClientAnchors::new(Vec::new()).is_none());
    }
}

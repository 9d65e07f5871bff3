//! Whether a presented certificate, or a CA above it, is revoked, by what the CA service knows.
//!
//! A certificate is its issuer and its serial number (RFC 5280 §4.1.2.2), never its bytes: who
//! holds it can write the same signature otherwise (ECDSA takes `s` and `-s`), and it stays good.

use lamassu_core::ca::{CaError, CaService, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::dms::{CertificateRefusal, DmsError};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_x509::Certificate;
use lamassu_x509::path::PathIssuer;

use crate::credential::Presented;
use crate::directory::Directory;

/// Reads the status of certificates in a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RevocationCheck<'a> {
    pub(crate) ca: &'a dyn CaService,
    pub(crate) directory: &'a Directory,
    pub(crate) caller: &'a Caller,
}

impl RevocationCheck<'_> {
    /// Refuses a revoked certificate, and one whose path goes over a revoked CA. The anchor was
    /// looked at when it was chosen. What the CA service does not know counts as not revoked, with
    /// a warning.
    pub(crate) async fn check(self, presented: &Presented) -> Result<(), DmsError> {
        let anchor = &presented.anchor.authority;
        let mut current = &presented.certificate;
        let mut when_revoked = DmsError::PresentedRevoked;
        for issuer in presented.issuer.intermediates() {
            let authorities = self.directory.authorities_of(self.caller, issuer).await?;
            let ids = authorities.iter().map(|known| &known.authority.id);
            self.refuse_revoked(current, ids, when_revoked).await?;
            when_revoked = DmsError::InvalidCertificate(CertificateRefusal::Untrusted);
            let is_revoked = authorities
                .iter()
                .any(|known| known.authority.certificate.status == CertificateStatus::Revoked);
            if is_revoked {
                tracing::info!(serial_number = %issuer.serial(), "intermediate CA is revoked");
                return Err(when_revoked);
            }
            current = issuer;
        }
        let issued_by = match presented.issuer {
            PathIssuer::Itself => &anchor.certificate.issuer_metadata.id,
            PathIssuer::Anchor | PathIssuer::Intermediates(_) => &anchor.id,
        };
        let issued_by = std::iter::once(issued_by);
        self.refuse_revoked(current, issued_by, when_revoked).await
    }

    /// Answers `when_revoked` for a certificate that is revoked below one of the CAs that issued
    /// it, or that is known otherwise.
    async fn refuse_revoked(
        self,
        certificate: &Certificate,
        issuers: impl Iterator<Item = &CaId> + Send,
        when_revoked: DmsError,
    ) -> Result<(), DmsError> {
        let Some(serial) = SerialNumber::parse(&certificate.serial().to_hex()) else {
            return Ok(());
        };
        let mut is_known = false;
        for id in issuers {
            let known = self.ca.certificate_status(self.caller, id, &serial).await?;
            is_known |= known.is_some();
            if known.is_some_and(|known| known.status == CertificateStatus::Revoked) {
                return Err(when_revoked);
            }
        }
        if is_known {
            return Ok(());
        }
        match self.status_by_name(certificate, &serial).await? {
            Some(CertificateStatus::Revoked) => Err(when_revoked),
            Some(
                CertificateStatus::Active
                | CertificateStatus::Expired
                | CertificateStatus::Inactive,
            ) => Ok(()),
            None => {
                tracing::warn!(
                    serial_number = %certificate.serial(),
                    "revocation status of certificate in a client's path unknown"
                );
                Ok(())
            }
        }
    }

    /// The status of a certificate that was imported apart from its issuer. Where several fit the
    /// serial number, it cannot be told whether this one is revoked, and it is refused.
    async fn status_by_name(
        self,
        certificate: &Certificate,
        serial: &SerialNumber,
    ) -> Result<Option<CertificateStatus>, DmsError> {
        let known = match self.ca.certificate(self.caller, serial).await {
            Ok(known) => known,
            Err(CaError::CertificateNotFound) => return Ok(None),
            Err(CaError::AmbiguousSerial(issuers)) => {
                tracing::warn!(serial_number = %serial, issuers, "client certificate is ambiguous");
                return Err(DmsError::InvalidCertificate(CertificateRefusal::Untrusted));
            }
            Err(error) => return Err(error.into()),
        };
        let parsed = Certificate::from_der(known.certificate.der().clone())
            .map_err(|error| StorageFailure::Internal(Box::new(error)))?;
        let is_same = parsed.issuer().matches(certificate.issuer());
        Ok(is_same.then_some(known.status))
    }
}

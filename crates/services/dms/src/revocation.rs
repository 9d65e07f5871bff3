//! Whether a presented certificate, or a CA above it, is revoked, by what the CA service knows, or
//! else by what its issuer says.
//!
//! A certificate is its issuer and its serial number (RFC 5280 §4.1.2.2), never its bytes: who
//! holds it can write the same signature otherwise (ECDSA takes `s` and `-s`), and it stays good.

use lamassu_core::ca::{CaError, CaService, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::dms::settings::ForeignRevocation;
use lamassu_core::dms::{CertificateRefusal, CredentialRefusal, DmsError};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_x509::Certificate;
use lamassu_x509::path::PathIssuer;
use time::OffsetDateTime;

use crate::credential::Presented;
use crate::directory::Directory;
use crate::foreign_revocation::{ForeignIssuers, Standing};

/// Reads the status of certificates in a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RevocationCheck<'a> {
    pub(crate) ca: &'a dyn CaService,
    pub(crate) directory: &'a Directory,
    pub(crate) foreign: &'a ForeignIssuers,
    pub(crate) caller: &'a Caller,
    pub(crate) now: OffsetDateTime,
}

/// Whether the CA service knows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Yes,
    No,
}

impl RevocationCheck<'_> {
    /// Refuses a revoked certificate, and one whose path goes over a revoked CA. The anchor was
    /// looked at when it was chosen. Of what the CA service does not know its issuer is asked, as the
    /// DMS says.
    pub(crate) async fn check(
        self,
        presented: &Presented,
        foreign: ForeignRevocation,
    ) -> Result<(), DmsError> {
        let anchor = &presented.anchor.authority;
        let mut current = &presented.certificate;
        let mut when_revoked = DmsError::PresentedRevoked;
        for issuer in presented.issuer.intermediates() {
            let authorities = self.directory.authorities_of(self.caller, issuer).await?;
            let ids = authorities.iter().map(|known| &known.authority.id);
            if self.refuse_revoked(current, ids, &when_revoked).await? == Known::No {
                self.ask_issuer((current, issuer), foreign, when_revoked)
                    .await?;
            }
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
        let (issued_by, issuer) = match presented.issuer {
            PathIssuer::Itself => (&anchor.certificate.issuer_metadata.id, None),
            PathIssuer::Anchor | PathIssuer::Intermediates(_) => {
                (&anchor.id, Some(&presented.anchor.certificate))
            }
        };
        let issued_by = std::iter::once(issued_by);
        let known = self
            .refuse_revoked(current, issued_by, &when_revoked)
            .await?;
        match issuer.filter(|_| known == Known::No) {
            Some(issuer) => {
                self.ask_issuer((current, issuer), foreign, when_revoked)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Asks the issuer of a certificate that the CA service does not know.
    async fn ask_issuer(
        self,
        (certificate, issuer): (&Certificate, &Certificate),
        foreign: ForeignRevocation,
        when_revoked: DmsError,
    ) -> Result<(), DmsError> {
        if foreign == ForeignRevocation::Off {
            return Ok(());
        }
        let standing = self.foreign.standing(certificate, issuer, self.now).await;
        match (standing, foreign) {
            (Standing::Good, _) => Ok(()),
            (Standing::Revoked, _) => Err(when_revoked),
            (Standing::Unknown, ForeignRevocation::Required) => {
                Err(CredentialRefusal::RevocationUnknown.into())
            }
            (Standing::Unknown, ForeignRevocation::IfPossible | ForeignRevocation::Off) => {
                tracing::warn!(
                    serial_number = %certificate.serial(),
                    "revocation status of certificate in a client's path unknown"
                );
                Ok(())
            }
        }
    }

    /// Answers `when_revoked` for a certificate that is revoked below one of the CAs that issued
    /// it, or that is known otherwise; tells whether it is known at all.
    async fn refuse_revoked(
        self,
        certificate: &Certificate,
        issuers: impl Iterator<Item = &CaId> + Send,
        when_revoked: &DmsError,
    ) -> Result<Known, DmsError> {
        let refused = || match when_revoked {
            DmsError::InvalidCertificate(refusal) => DmsError::InvalidCertificate(*refusal),
            _ => DmsError::PresentedRevoked,
        };
        let Some(serial) = SerialNumber::parse(&certificate.serial().to_hex()) else {
            return Ok(Known::No);
        };
        let mut is_known = false;
        for id in issuers {
            let known = self.ca.certificate_status(self.caller, id, &serial).await?;
            is_known |= known.is_some();
            if known.is_some_and(|known| known.status == CertificateStatus::Revoked) {
                return Err(refused());
            }
        }
        if is_known {
            return Ok(Known::Yes);
        }
        match self.status_by_name(certificate, &serial).await? {
            Some(CertificateStatus::Revoked) => Err(refused()),
            Some(
                CertificateStatus::Active
                | CertificateStatus::Expired
                | CertificateStatus::Inactive,
            ) => Ok(Known::Yes),
            None => Ok(Known::No),
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

//! Changing the status of a certificate: revoke, hold, release, expire.

use lamassu_core::ca::{CaError, Certificate, CertificateRef, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Attempt, WriteSet, retry_races};

use crate::ca_status::add_cascades;
use crate::events::{Change, Teller, certificate_subject};
use crate::metrics;
use crate::service::CaService;
use crate::store::authority;
use crate::store::certificate::StoredCertificate;

impl CaService {
    /// Gives the certificate that is named another status. What follows below a CA whose
    /// certificate it is is the same as by the CA's own endpoint.
    pub(crate) async fn change_status(
        &self,
        caller: &Caller,
        named: &CertificateRef,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<Certificate, CaError> {
        let (updated, cascades) =
            retry_races(|| self.try_change_status(caller, named, status, reason)).await?;
        if status == CertificateStatus::Revoked {
            metrics::revoked();
        }
        tracing::info!(serial_number = %named, %status, "certificate status changed");
        self.begin_cascades(caller, cascades).await;
        Ok(updated)
    }

    async fn try_change_status(
        &self,
        caller: &Caller,
        named: &CertificateRef,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<(Certificate, Vec<String>), Attempt<CaError>> {
        let stored = self.certificate_named(named).await?;
        let now = self.db.now();
        let mut set = WriteSet::new();
        let updated = self
            .add_status(caller, &mut set, &stored, status, reason)
            .await?;
        let teller = Teller { caller, now };
        let sharing = match updated.is_ca {
            true => authority::by_certificate(&self.db, &stored.id).await?,
            false => Vec::new(),
        };
        if !sharing.is_empty() {
            // It is told as of the CA by now; readers of this endpoint's event expect that, too.
            let change = Change {
                previous: &stored.certificate,
                updated: &updated,
            };
            teller.certificate_status(&mut set, &change);
        }
        let cascades = add_cascades(&mut set, &sharing, &stored, (status, reason), now);
        teller.audit(
            &mut set,
            "certificate.status.update",
            certificate_subject(&updated),
        );
        self.db.commit(set).await?;
        Ok((updated, cascades))
    }
}

/// Adds the event of a new status to a write set and, for a CA's certificate, makes every copy of
/// the CA in a cache outdated.
pub(crate) fn tell_status(
    set: &mut WriteSet,
    teller: Teller<'_>,
    stored: &StoredCertificate,
    updated: &Certificate,
) {
    teller.certificate_status(
        set,
        &Change {
            previous: &stored.certificate,
            updated,
        },
    );
    if updated.is_ca {
        authority::touch_by_certificate(set, &stored.id);
    }
}

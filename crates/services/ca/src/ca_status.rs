//! Changing the status of a CA, with what follows below it, and its default profile.

use lamassu_core::ca::{CaError, CertificateAuthority, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, ProfileId};
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Attempt, WriteSet, retry_races};
use time::OffsetDateTime;

use crate::cascade;
use crate::events::{Change, Teller};
use crate::metrics;
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::cascade::{self as stored_cascade, Kind, StoredCascade};
use crate::store::certificate::StoredCertificate;
use crate::store::profile;

impl CaService {
    /// The CA of this id as it is stored.
    pub(crate) async fn stored_authority(&self, id: &CaId) -> Result<StoredAuthority, CaError> {
        let stored = authority::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        stored.ok_or(CaError::CaNotFound)
    }

    /// Gives a CA another status.
    pub(crate) async fn change_ca_status(
        &self,
        caller: &Caller,
        id: &CaId,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<CertificateAuthority, CaError> {
        let (updated, cascades) =
            retry_races(|| self.try_change_ca_status(caller, id, status, reason)).await?;
        if status == CertificateStatus::Revoked {
            metrics::revoked();
        }
        tracing::info!(ca_id = %id, %status, "ca status changed");
        self.begin_cascades(caller, cascades).await;
        Ok(updated)
    }

    async fn try_change_ca_status(
        &self,
        caller: &Caller,
        id: &CaId,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<(CertificateAuthority, Vec<String>), Attempt<CaError>> {
        let stored = self.stored_authority(id).await?;
        let now = self.db.now();
        let mut set = WriteSet::new();
        let certificate = StoredCertificate::from(&stored);
        // CAs that share the certificate share its status, and so what follows.
        let sharing = authority::by_certificate(&self.db, &stored.certificate_id).await?;
        let updated = self
            .add_status(caller, &mut set, &certificate, status, reason)
            .await?;
        let cascades = add_cascades(&mut set, &sharing, &certificate, (status, reason), now);
        Teller { caller, now }.audit(&mut set, "ca.status.update", format!("ca/{id}"));
        self.db.commit(set).await?;
        let ca = CertificateAuthority {
            certificate: updated,
            ..stored.authority
        };
        Ok((ca, cascades))
    }

    /// Gives a CA another default profile.
    pub(crate) async fn change_ca_profile(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: &ProfileId,
    ) -> Result<CertificateAuthority, CaError> {
        if profile.is_empty() {
            return Err(CaError::Validation);
        }
        let updated = retry_races(|| self.try_change_ca_profile(caller, id, profile)).await?;
        tracing::info!(ca_id = %id, profile_id = %profile, "ca profile changed");
        Ok(updated)
    }

    async fn try_change_ca_profile(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: &ProfileId,
    ) -> Result<CertificateAuthority, Attempt<CaError>> {
        let stored = self.stored_authority(id).await?;
        self.stored_profile(profile).await?;
        let updated = CertificateAuthority {
            profile_id: profile.clone(),
            ..stored.authority.clone()
        };
        let mut set = WriteSet::new();
        profile::guard_existence(&mut set, profile);
        authority::update(&mut set, &stored, &updated, &stored.certificate_id);
        let teller = Teller {
            caller,
            now: self.db.now(),
        };
        let change = Change {
            previous: &stored.authority,
            updated: &updated,
        };
        teller.ca_changed(&mut set, "ca.profile.update", &change);
        match self.db.commit(set).await {
            Ok(_) => Ok(updated),
            Err(error) if error.failed(profile::EXISTS) => Err(CaError::ProfileNotFound.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Adds what follows below these CAs, which share a certificate, from its new status; gives the ids of
/// the cascades.
pub(crate) fn add_cascades(
    set: &mut WriteSet,
    sharing: &[StoredAuthority],
    before: &StoredCertificate,
    now_is: (CertificateStatus, RevocationReason),
    now: OffsetDateTime,
) -> Vec<String> {
    let kind = match now_is {
        (CertificateStatus::Revoked, RevocationReason::CertificateHold) => Kind::Hold,
        (CertificateStatus::Revoked, _) => Kind::Revoke,
        _ if is_held(before) => Kind::Release,
        _ => return Vec::new(),
    };
    let mut cascades = Vec::new();
    for ca in sharing {
        stored_cascade::supersede(set, &ca.authority.id, now);
        let cascade = StoredCascade::of(kind, ca, now);
        stored_cascade::insert(set, &cascade);
        cascades.push(cascade);
    }
    cascade::ids(&cascades)
}

fn is_held(stored: &StoredCertificate) -> bool {
    let certificate = &stored.certificate;
    certificate.status == CertificateStatus::Revoked
        && certificate.revocation_reason == RevocationReason::CertificateHold
}

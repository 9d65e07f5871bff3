//! What follows from the deletion of a CA: what it issued is revoked, its last CRL is made, its key is
//! destroyed.
//!
//! The validation authority makes the CRL, and settles it; where it does not within [`PATIENCE`], perhaps
//! because there is none, the key goes without. Nobody waits for a CRL of a CA whose certificates have all
//! ended, that has no key here, or whose key another CA has: that one's CRLs go on.

use lamassu_core::ca::{CaError, Certificate, CertificateStatus, RetiredCa};
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError as _, StorageFailure};
use lamassu_core::ids::{JobId, KeyRef};
use lamassu_core::kms::KmsError;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::FINAL_CRL_JOB;
use lamassu_db::{Attempt, WriteSet, retry_races};
use time::{Duration, OffsetDateTime};

use crate::cascade::Step;
use crate::jobs::Cascades;
use crate::service::CaService;
use crate::store::authority;
use crate::store::cascade::{self, FinalCrl, Sort, StoredCascade};
use crate::store::certificate::{self, StoredCertificate};

/// How long a key waits for the last CRL that it signs.
const PATIENCE: Duration = Duration::HOUR;

impl CaService {
    /// As a revocation, the CA's own certificate included; then the last CRL, then the key.
    pub(crate) async fn retire_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        let reason = RevocationReason::CessationOfOperation;
        if let Some(own) = self.retired_certificate(cascade).await? {
            let mut set = WriteSet::new();
            let revoked = CertificateStatus::Revoked;
            self.add_status(caller, &mut set, &own, revoked, reason)
                .await?;
            return self.commit_step(set, cascade, 1, "").await;
        }
        let sorts = [Sort::Authorities, Sort::InUse, Sort::OnHold];
        let next = self.next_below(cascade, &sorts).await?;
        if !next.is_empty() {
            return self.set_below(caller, cascade, &next, reason, None).await;
        }
        let now = self.db.now();
        match FinalCrl::of(cascade) {
            FinalCrl::NotAsked => {
                if let Some(last_end) = self.ends_unlisted(caller, cascade, now).await? {
                    return self.ask_for_crl(cascade, last_end, now).await;
                }
            }
            FinalCrl::Asked { since, .. } => {
                let until = since + PATIENCE;
                if now < until {
                    return Ok(Step::Waits(until));
                }
                tracing::warn!(ca_id = %cascade.ca, "key of a deleted ca goes without a last crl");
            }
            FinalCrl::Settled => {}
        }
        self.destroy_key(caller, cascade).await?;
        self.finish(cascade).await
    }

    /// When the last certificate of a deleted CA ends, if a last CRL has to say until then that it is
    /// revoked, and can be signed.
    async fn ends_unlisted(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, Attempt<CaError>> {
        let last_end = cascade::last_end(&self.db, cascade).await?;
        let Some(last_end) = last_end.filter(|end| *end > now) else {
            return Ok(None);
        };
        let Some((key, _)) = self.own_key_of(cascade).await? else {
            return Ok(None);
        };
        match self.kms.key(caller, &key).await {
            Ok(key) => Ok(key.has_private_key.then_some(last_end)),
            Err(KmsError::KeyNotFound) => Ok(None),
            Err(error) => {
                later_or_never(error, cascade)?;
                Ok(None)
            }
        }
    }

    async fn ask_for_crl(
        &self,
        cascade: &StoredCascade,
        last_end: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Step, Attempt<CaError>> {
        let asked = FinalCrl::Asked {
            since: now,
            last_end,
        };
        let mut set = WriteSet::new();
        set.wake(FINAL_CRL_JOB);
        self.commit_step(set, cascade, 0, &asked.position()).await?;
        Ok(Step::Waits(now + PATIENCE))
    }

    /// Deleted CAs whose last CRL is asked for.
    pub(crate) async fn waiting_for_crl(&self) -> Result<Vec<RetiredCa>, CaError> {
        let asked = cascade::waiting_for_crl(&self.db).await;
        let mut retired = Vec::new();
        for cascade in asked.map_err(StorageFailure::from)? {
            let own = certificate::by_id(&self.db, &cascade.certificate).await;
            // Its certificate may be deleted by itself meanwhile.
            let own = own.map_err(StorageFailure::from)?;
            if let (Some(own), FinalCrl::Asked { last_end, .. }) = (own, FinalCrl::of(&cascade)) {
                retired.push(RetiredCa {
                    job: JobId::from(cascade.id),
                    ca: cascade.ca,
                    certificate: own.certificate,
                    last_end: Timestamp(last_end),
                });
            }
        }
        Ok(retired)
    }

    /// Notes that the last CRL of a deleted CA is made, or never will be.
    pub(crate) async fn settle_crl(&self, job: &JobId) -> Result<(), CaError> {
        retry_races(|| async {
            let Some(cascade) = cascade::open_by_id(&self.db, job.as_str()).await? else {
                return Ok(());
            };
            if !matches!(FinalCrl::of(&cascade), FinalCrl::Asked { .. }) {
                return Ok(());
            }
            let mut set = WriteSet::new();
            set.wake(Cascades::NAME);
            let settled = FinalCrl::Settled.position();
            self.commit_step(set, &cascade, 0, &settled).await.map(drop)
        })
        .await
    }

    /// The certificate of a deleted CA, while it is in use and no other CA has it.
    async fn retired_certificate(
        &self,
        cascade: &StoredCascade,
    ) -> Result<Option<StoredCertificate>, Attempt<CaError>> {
        let own = certificate::by_id(&self.db, &cascade.certificate).await?;
        let Some(own) = own.filter(|own| own.certificate.status == CertificateStatus::Active)
        else {
            return Ok(None);
        };
        let users = authority::by_certificate(&self.db, &own.id).await?;
        Ok(users.is_empty().then_some(own))
    }

    /// The key of a deleted CA and the certificates for it, unless another CA has that key.
    async fn own_key_of(
        &self,
        cascade: &StoredCascade,
    ) -> Result<Option<(KeyRef, Vec<StoredCertificate>)>, CaError> {
        let sharing = authority::by_subject_key(&self.db, &cascade.subject_key_id)
            .await
            .map_err(StorageFailure::from)?;
        if !sharing.is_empty() {
            return Ok(None);
        }
        let own = certificate::of_authority_key(&self.db, &cascade.subject_key_id)
            .await
            .map_err(StorageFailure::from)?;
        let key = own.first().and_then(|own| key_of(&own.certificate));
        Ok(key.map(|key| (key, own)))
    }

    /// Lets the KMS destroy the key of a deleted CA, unless somebody else uses it. Only what may
    /// work later is an error.
    async fn destroy_key(&self, caller: &Caller, cascade: &StoredCascade) -> Result<(), CaError> {
        let Some((key, own)) = self.own_key_of(cascade).await? else {
            return Ok(());
        };
        for stored in &own {
            let serial = &stored.certificate.serial_number;
            match self.kms.unbind_certificate(caller, &key, serial).await {
                Ok(()) => {}
                Err(KmsError::KeyNotFound) => return Ok(()),
                Err(error) => return later_or_never(error, cascade),
            }
        }
        match self.kms.delete_key(caller, &key).await {
            Ok(()) | Err(KmsError::KeyNotFound) => Ok(()),
            Err(error) => later_or_never(error, cascade),
        }
    }
}

/// The id of a certificate's key in the KMS.
fn key_of(certificate: &Certificate) -> Option<KeyRef> {
    let parsed = lamassu_x509::Certificate::from_der(certificate.certificate.der().clone()).ok()?;
    let key = parsed.public_key().ok()?;
    Some(KeyRef::from(key.key_id_sha256_hex()))
}

/// A key that is used elsewhere, or that its engine keeps, stays; one whose engine does not answer
/// is destroyed later.
fn later_or_never(error: KmsError, cascade: &StoredCascade) -> Result<(), CaError> {
    if error.kind() == ErrorKind::Unavailable {
        return Err(CaError::KmsRefused(error));
    }
    tracing::warn!(ca_id = %cascade.ca, error = &error as &(dyn std::error::Error + 'static), "key of a deleted ca stays");
    Ok(())
}

//! What follows from the deletion of a CA: what it issued is revoked, its last CRL is made, its key is
//! destroyed.
//!
//! The validation authority makes the CRL, and settles it; where it does not within `final_crl_wait`, perhaps
//! because there is none, the key goes without. Nobody waits for a CRL of a CA whose certificates have all
//! ended, that has no key here, or whose name and key another CA has: that one's CRLs go on. Which key goes at last, and
//! whether it does, is in `retired_key.rs`.

use lamassu_core::ca::{CaError, CertificateStatus, RetiredCa};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::JobId;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::FINAL_CRL_JOB;
use lamassu_db::{Attempt, WriteSet, readable, retry_races};
use time::{Duration, OffsetDateTime};

use crate::cascade::Step;
use crate::jobs::Cascades;
use crate::lifecycle::may_follow;
use crate::retired_key::{issuer_in, later_or_never};
use crate::service::CaService;
use crate::store::authority;
use crate::store::cascade::{self, FinalCrl, Sort, StoredCascade};
use crate::store::certificate::{self, StoredCertificate};

impl CaService {
    /// As a revocation, the CA's own certificate included; then the last CRL, then the key.
    pub(crate) async fn retire_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        let reason = RevocationReason::CessationOfOperation;
        let own = self.retired_certificates(cascade).await;
        if let Ok(own) = &own
            && !own.is_empty()
        {
            return self.set_below(caller, cascade, own, reason, None).await;
        }
        let sorts = [Sort::Authorities, Sort::InUse, Sort::OnHold];
        let next = self.next_below(cascade, &sorts).await?;
        if !next.is_empty() {
            return self.set_below(caller, cascade, &next, reason, None).await;
        }
        // One that could not be read has not kept what is below waiting.
        own?;
        let now = self.db.now();
        match FinalCrl::of(cascade) {
            FinalCrl::NotAsked => {
                if let Some(last_end) = self.ends_unlisted(caller, cascade, now).await? {
                    return self.ask_for_crl(cascade, last_end, now).await;
                }
            }
            FinalCrl::Asked { since, .. } => {
                let until = self.waits_until(since);
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
        let Some(own) = self.retired_issuer(cascade).await? else {
            return Ok(None);
        };
        // What goes on with its lists is a CA with its name and key, that calls the key the same.
        let named = authority::by_subject_key(&self.db, &cascade.subject_key_id).await?;
        let issuers = named
            .iter()
            .filter_map(|named| issuer_in(&named.authority.certificate));
        if issuers.into_iter().any(|issuer| issuer == own) {
            return Ok(None);
        }
        let (_, public_key) = own;
        match self.key_in_kms(caller, &public_key).await {
            Ok(key) => Ok(key.filter(|key| key.has_private_key).map(|_| last_end)),
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
        Ok(Step::Waits(self.waits_until(now)))
    }

    /// When the key of a CA whose last CRL was asked for then goes without.
    fn waits_until(&self, asked: OffsetDateTime) -> OffsetDateTime {
        let wait = Duration::nanoseconds(self.config.final_crl_wait.as_nanos());
        asked.saturating_add(wait)
    }

    /// Deleted CAs whose last CRL is asked for.
    pub(crate) async fn waiting_for_crl(&self) -> Result<Vec<RetiredCa>, CaError> {
        let asked = cascade::waiting_for_crl(&self.db).await;
        let mut retired = Vec::new();
        for cascade in asked.map_err(StorageFailure::from)? {
            let own = certificate::by_id(&self.db, &cascade.certificate).await;
            // Its certificate may be deleted by itself meanwhile.
            let own = readable(own).flatten();
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

    /// The certificate of a deleted CA and those that it had before, unless they are ended for good; those that can be read
    /// come first. None where another CA has the certificate.
    async fn retired_certificates(
        &self,
        cascade: &StoredCascade,
    ) -> Result<Vec<StoredCertificate>, Attempt<CaError>> {
        let own = certificate::by_id(&self.db, &cascade.certificate).await?;
        let Some(own) = own else {
            return Ok(Vec::new());
        };
        if !authority::by_certificate(&self.db, &own.id)
            .await?
            .is_empty()
        {
            return Ok(Vec::new());
        }
        let former = self.former_certificates(cascade, &own).await;
        let mut retired = match may_follow(&own.certificate, CertificateStatus::Revoked) {
            true => vec![own],
            false => Vec::new(),
        };
        match former {
            Ok(former) => retired.extend(former),
            // One that cannot be read does not keep the CA's own from its revocation.
            Err(_) if !retired.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(retired)
    }
}

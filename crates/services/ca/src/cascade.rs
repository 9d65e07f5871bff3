//! What goes from a CA to everything below it.
//!
//! The cause (a new status, a deletion, an import) and a row that says what follows from it are one
//! write set, so a cascade is never lost. What follows is done in steps, each a write set that also
//! says how far it came: the first ones before the cause is answered, the rest by a job. The cause
//! binds at once: nothing is issued under a CA that is revoked or gone, whatever is still to do
//! below it. CAs come before what they issued, so nothing new appears below while a cascade is
//! under way.
//!
//! A hold remembers whose it is; its release takes back what came by it and leaves what somebody
//! held himself, or what is still on hold because of another CA.

use std::collections::BTreeSet;

use lamassu_core::ca::{CaError, Certificate, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError as _, StorageFailure};
use lamassu_core::ids::{CaId, KeyRef};
use lamassu_core::kms::KmsError;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Attempt, WriteSet, retry_races};

use crate::events::{Change, Teller};
use crate::jobs::Cascades;
use crate::lifecycle::with_status;
use crate::metrics;
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::cascade::{self, HeldIssuer, Kind, Sort, StoredCascade};
use crate::store::certificate::{self, ChangedBy, StoredCertificate, update};

/// Certificates per step.
const STEP: u32 = 200;

/// How many certificates are changed before the cause is answered.
const AT_ONCE: i64 = 1000;

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So many certificates are done, and there may be more.
    Changed(i64),
    /// Nothing is left.
    Finished,
}

impl StoredCascade {
    /// What follows from a change of this CA, at the beginning.
    pub(crate) fn of(kind: Kind, ca: &StoredAuthority, now: time::OffsetDateTime) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            created_at: now,
            kind,
            ca: ca.authority.id.clone(),
            certificate: ca.certificate_id.clone(),
            subject_key_id: ca.authority.certificate.subject_key_id.clone(),
            position: String::new(),
            done: 0,
        }
    }
}

impl CaService {
    /// Does the first part of cascades whose cause has just been stored. What is not done, or fails,
    /// is left to the job: the cause stands.
    pub(crate) async fn begin_cascades(&self, caller: &Caller, ids: Vec<String>) {
        let mut left = AT_ONCE;
        for id in ids {
            match self.run_cascade(caller, &id, left).await {
                Ok(done) => {
                    left = left.saturating_sub(done);
                    if left <= 0 {
                        self.count_cascade(&id).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &(dyn std::error::Error + 'static),
                        "cascade is left to the job"
                    );
                    self.db.wake(Cascades::NAME);
                }
            }
        }
    }

    /// Notes how much a cascade that the job goes on with is about. Without that it is only not said.
    async fn count_cascade(&self, id: &str) {
        let counted = async {
            let Some(cascade) = cascade::open_by_id(&self.db, id).await? else {
                return Ok(());
            };
            let n_left = cascade::count_left(&self.db, &cascade).await?;
            let mut set = WriteSet::new();
            cascade::set_total(&mut set, id, cascade.done.saturating_add(n_left));
            self.db.commit(set).await.map(drop)
        };
        if let Err(error) = counted.await {
            tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "cascade not counted"
            );
        }
    }

    /// Goes on with a cascade until it is finished or so many certificates are done; gives how many
    /// were. Wakes the job for the rest.
    pub(crate) async fn run_cascade(
        &self,
        caller: &Caller,
        id: &str,
        at_most: i64,
    ) -> Result<i64, CaError> {
        let mut done: i64 = 0;
        loop {
            match retry_races(|| self.try_step(caller, id)).await? {
                Step::Finished => return Ok(done),
                Step::Changed(n) => done = done.saturating_add(n),
            }
            if done >= at_most {
                self.db.wake(Cascades::NAME);
                return Ok(done);
            }
        }
    }

    async fn try_step(&self, caller: &Caller, id: &str) -> Result<Step, Attempt<CaError>> {
        let Some(cascade) = cascade::open_by_id(&self.db, id).await? else {
            return Ok(Step::Finished);
        };
        match cascade.kind {
            Kind::Revoke => self.revoke_step(caller, &cascade).await,
            Kind::Hold => self.hold_step(caller, &cascade).await,
            Kind::Release => self.release_step(caller, &cascade).await,
            Kind::Retire => self.retire_step(caller, &cascade).await,
            Kind::Adopt => self.adopt_step(caller, &cascade).await,
        }
    }

    async fn revoke_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        let sorts = [Sort::Authorities, Sort::InUse, Sort::OnHold];
        let next = self.next_below(cascade, &sorts).await?;
        if next.is_empty() {
            return self.finish(cascade).await;
        }
        let reason = RevocationReason::CessationOfOperation;
        self.set_below(caller, cascade, &next, reason, None).await
    }

    async fn hold_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        let sorts = [Sort::Authorities, Sort::InUse];
        let next = self.next_below(cascade, &sorts).await?;
        if next.is_empty() {
            return self.finish(cascade).await;
        }
        let reason = RevocationReason::CertificateHold;
        let cause = Some(&cascade.ca);
        self.set_below(caller, cascade, &next, reason, cause).await
    }

    /// Takes back holds, from above: what is below another CA on hold is passed on to that one.
    async fn release_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        let mut next = cascade::held_by(&self.db, &cascade.ca, STEP).await?;
        let Some(first) = next.first() else {
            return self.finish(cascade).await;
        };
        if first.certificate.is_ca {
            // Those on the next level follow what becomes of these.
            let level = first.certificate.issuer_metadata.level;
            next.retain(|stored| stored.certificate.issuer_metadata.level == level);
        }
        let held = cascade::held_issuers(&self.db, &cascade.ca).await?;
        let mut set = WriteSet::new();
        for stored in &next {
            let issuer = &stored.certificate.issuer_metadata.id;
            match held.iter().find(|held| held.ca == *issuer) {
                Some(HeldIssuer { cause, .. }) => {
                    certificate::guard(&mut set, stored);
                    cascade::set_held_by(&mut set, &stored.id, Some(cause));
                }
                None => {
                    let active = CertificateStatus::Active;
                    let reason = RevocationReason::Unspecified;
                    self.add_status(caller, &mut set, stored, active, reason)
                        .await?;
                }
            }
        }
        self.commit_step(set, cascade, next.len(), "").await
    }

    /// As a revocation, the CA's own certificate included, and then its key.
    async fn retire_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        if let Some(own) = self.retired_certificate(cascade).await? {
            let mut set = WriteSet::new();
            let reason = RevocationReason::CessationOfOperation;
            let revoked = CertificateStatus::Revoked;
            self.add_status(caller, &mut set, &own, revoked, reason)
                .await?;
            return self.commit_step(set, cascade, 1, "").await;
        }
        let sorts = [Sort::Authorities, Sort::InUse, Sort::OnHold];
        let next = self.next_below(cascade, &sorts).await?;
        if next.is_empty() {
            self.destroy_key(caller, cascade).await?;
            return self.finish(cascade).await;
        }
        let reason = RevocationReason::CessationOfOperation;
        self.set_below(caller, cascade, &next, reason, None).await
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

    /// Lets the KMS destroy the key of a deleted CA, unless somebody else uses it. Only what may
    /// work later is an error.
    async fn destroy_key(&self, caller: &Caller, cascade: &StoredCascade) -> Result<(), CaError> {
        let sharing = authority::by_subject_key(&self.db, &cascade.subject_key_id)
            .await
            .map_err(StorageFailure::from)?;
        if !sharing.is_empty() {
            return Ok(());
        }
        let own = certificate::of_authority_key(&self.db, &cascade.subject_key_id)
            .await
            .map_err(StorageFailure::from)?;
        let Some(key) = own.first().and_then(|own| key_of(&own.certificate)) else {
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

    async fn next_below(
        &self,
        cascade: &StoredCascade,
        sorts: &[Sort],
    ) -> Result<Vec<StoredCertificate>, Attempt<CaError>> {
        for sort in sorts {
            let next = cascade::below(&self.db, cascade, *sort, STEP).await?;
            if !next.is_empty() {
                return Ok(next);
            }
        }
        Ok(Vec::new())
    }

    /// One step of a revocation or a hold.
    async fn set_below(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
        next: &[StoredCertificate],
        reason: RevocationReason,
        cause: Option<&CaId>,
    ) -> Result<Step, Attempt<CaError>> {
        let mut set = WriteSet::new();
        let revoked = CertificateStatus::Revoked;
        for stored in next {
            self.add_status(caller, &mut set, stored, revoked, reason)
                .await?;
            if cause.is_some() {
                cascade::set_held_by(&mut set, &stored.id, cause);
            }
        }
        let step = self.commit_step(set, cascade, next.len(), "").await?;
        next.iter().for_each(|_| metrics::revoked());
        Ok(step)
    }

    /// Adds the new status of a certificate to a write set, and tells of it: as of the CAs whose
    /// current one it is, or as of a certificate.
    pub(crate) async fn add_status(
        &self,
        caller: &Caller,
        set: &mut WriteSet,
        stored: &StoredCertificate,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<Certificate, Attempt<CaError>> {
        let now = self.db.now();
        let updated = with_status(&stored.certificate, status, reason, now)?;
        let next_window = self.next_window(&updated, now);
        update(set, stored, &updated, next_window, ChangedBy::Request);
        cascade::set_held_by(set, &stored.id, None);
        let teller = Teller { caller, now };
        let users = if updated.is_ca {
            authority::touch_by_certificate(set, &stored.id);
            authority::by_certificate(&self.db, &stored.id).await?
        } else {
            Vec::new()
        };
        if users.is_empty() {
            let previous = &stored.certificate;
            let change = Change {
                previous,
                updated: &updated,
            };
            teller.certificate_status(set, &change);
        }
        for user in &users {
            teller.ca_has_status(set, &user.authority, &updated);
        }
        self.wake_if_due_soon(set, &updated, now);
        Ok(updated)
    }

    /// Stores one step of an adoption.
    pub(crate) async fn commit_adoption(
        &self,
        set: WriteSet,
        cascade: &StoredCascade,
        n_changed: usize,
        position: &str,
    ) -> Result<(), Attempt<CaError>> {
        self.commit_step(set, cascade, n_changed, position)
            .await
            .map(drop)
    }

    async fn commit_step(
        &self,
        mut set: WriteSet,
        cascade: &StoredCascade,
        n_changed: usize,
        position: &str,
    ) -> Result<Step, Attempt<CaError>> {
        let n_changed = i64::try_from(n_changed).unwrap_or(i64::MAX);
        cascade::advance(&mut set, cascade, n_changed, position);
        self.db.commit(set).await?;
        Ok(Step::Changed(n_changed))
    }

    async fn finish(&self, cascade: &StoredCascade) -> Result<Step, Attempt<CaError>> {
        let mut set = WriteSet::new();
        cascade::finish(&mut set, cascade, self.db.now());
        self.db.commit(set).await?;
        tracing::info!(ca_id = %cascade.ca, kind = cascade.kind.name(), n_changed = cascade.done, "cascade finished");
        Ok(Step::Finished)
    }

    /// Gives the next certificates without known issuer to a new CA, if it issued them.
    async fn adopt_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        match self.adopt_next(caller, cascade, STEP).await? {
            Some(n_changed) => Ok(Step::Changed(n_changed)),
            None => self.finish(cascade).await,
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

/// The ids of cascades, to begin them with.
pub(crate) fn ids(cascades: &[StoredCascade]) -> Vec<String> {
    let distinct: BTreeSet<&str> = cascades.iter().map(|cascade| cascade.id.as_str()).collect();
    distinct.into_iter().map(str::to_owned).collect()
}

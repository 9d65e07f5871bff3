//! What goes from a CA to everything below it.
//!
//! The cause (a new status, a deletion, an import) and a row that says what follows from it are one
//! write set, so a cascade is never lost. What follows is done in steps, each a write set that also
//! says how far it came: the first ones before the cause is answered, the rest by a job. The cause
//! binds at once: nothing is issued under a CA that is revoked or gone, whatever is still to do
//! below it. CAs come before what they issued, so nothing new appears below while a cascade is
//! under way.
//!
//! What ends a CA for good, ends the certificates that it had before its last reissue as well. They are no CA's
//! any more, and a hold leaves them alone.
//!
//! A hold remembers whose it is; its release takes back what came by it and leaves what somebody
//! held himself, or what is still on hold because of another CA.

use std::collections::BTreeSet;

use lamassu_core::ca::{CaError, Certificate, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::ids::CaId;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::RECONCILE_JOB;
use lamassu_db::{Attempt, DbError, WriteSet, readable, retry_races};
use time::{Duration, OffsetDateTime};

use crate::events::{Change, Teller};
use crate::jobs::Cascades;
use crate::lifecycle::{may_follow, with_status};
use crate::metrics;
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::cascade::{self, HeldIssuer, Kind, Sort, StoredCascade};
use crate::store::certificate::{self, ChangedBy, StoredCertificate, public_key_of, update};

/// Certificates per step.
const STEP: u32 = 200;

/// Certificates per step whose issuer is renamed: nothing is told of those.
const RENAMED_PER_STEP: u32 = 512;

/// How often a deletion is looked at that a new CA of the same id waits for.
const DELETION_PAUSE: Duration = Duration::minutes(1);

/// How many certificates are changed before the cause is answered.
const AT_ONCE: i64 = 1000;

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many certificates are done, and there may be more.
    Changed(i64),
    /// Nothing can be done before this time, unless somebody wakes the job.
    Waits(OffsetDateTime),
    /// Nothing is left.
    Finished,
}

/// How far a cascade came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// How many certificates were changed.
    pub(crate) n_done: i64,
    /// What it waits for comes until then; `None` where it does not wait.
    pub(crate) waits_until: Option<OffsetDateTime>,
}

impl StoredCascade {
    /// What follows from a change of this CA, at the beginning.
    pub(crate) fn of(kind: Kind, ca: &StoredAuthority, now: OffsetDateTime) -> Self {
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
                Ok(ran) => {
                    left = left.saturating_sub(ran.n_done);
                    if left <= 0 {
                        self.count_cascade(&id).await;
                    }
                    if ran.waits_until.is_some() {
                        self.db.wake(Cascades::NAME);
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

    /// Goes on with a cascade until it is finished, waits for something, or so many certificates are
    /// done. Wakes the job for the rest of those.
    pub(crate) async fn run_cascade(
        &self,
        caller: &Caller,
        id: &str,
        at_most: i64,
    ) -> Result<Ran, CaError> {
        let mut ran = Ran {
            n_done: 0,
            waits_until: None,
        };
        loop {
            match retry_races(|| self.try_step(caller, id)).await? {
                Step::Finished => return Ok(ran),
                Step::Waits(until) => {
                    ran.waits_until = Some(until);
                    return Ok(ran);
                }
                Step::Changed(n) => ran.n_done = ran.n_done.saturating_add(n),
            }
            if ran.n_done >= at_most {
                self.db.wake(Cascades::NAME);
                return Ok(ran);
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
        let own = certificate::by_id(&self.db, &cascade.certificate).await?;
        let former = match &own {
            Some(own) => self.former_certificates(cascade, own).await,
            None => Ok(Vec::new()),
        };
        if let (Some(own), Ok(former)) = (&own, &former)
            && !former.is_empty()
        {
            let reason = own.certificate.revocation_reason;
            return self.set_below(caller, cascade, former, reason, None).await;
        }
        let sorts = [Sort::Authorities, Sort::InUse, Sort::OnHold];
        let next = self.next_below(cascade, &sorts).await?;
        if next.is_empty() {
            // One that could not be read has not kept what is below waiting.
            former?;
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

    /// The certificates that a CA had before this one for its key, from the same issuer, unless they are ended
    /// for good: for whoever has one of them, the CA would go on. Those of a root are below it, too. Those that can be
    /// read come first.
    pub(crate) async fn former_certificates(
        &self,
        cascade: &StoredCascade,
        own: &StoredCertificate,
    ) -> Result<Vec<StoredCertificate>, DbError> {
        let Some(key) = public_key_of(&own.certificate) else {
            return Ok(Vec::new());
        };
        cascade::former(&self.db, cascade, own, |former| {
            former.certificate.issuer == own.certificate.issuer
                && may_follow(&former.certificate, CertificateStatus::Revoked)
                && public_key_of(&former.certificate).as_ref() == Some(&key)
        })
        .await
    }

    pub(crate) async fn next_below(
        &self,
        cascade: &StoredCascade,
        sorts: &[Sort],
    ) -> Result<Vec<StoredCertificate>, Attempt<CaError>> {
        let mut unread = None;
        for sort in sorts {
            match cascade::below(&self.db, cascade, *sort, STEP).await {
                Ok(next) if next.is_empty() => {}
                Ok(next) => return Ok(next),
                Err(error) => unread = Some(error),
            }
        }
        unread.map_or(Ok(Vec::new()), |error| Err(error.into()))
    }

    /// One step of a revocation or a hold.
    pub(crate) async fn set_below(
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
            match authority::by_certificate(&self.db, &stored.id).await {
                // It ends all the same, and is told of as a certificate.
                Err(error @ DbError::Corrupt { .. }) => readable(Err(error)).unwrap_or_default(),
                users => users?,
            }
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

    pub(crate) async fn commit_step(
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

    pub(crate) async fn finish(&self, cascade: &StoredCascade) -> Result<Step, Attempt<CaError>> {
        let mut set = WriteSet::new();
        cascade::finish(&mut set, cascade, self.db.now());
        if cascade.kind == Kind::Adopt && cascade.done > 0 {
            // Other lists name what is revoked of these certificates, and no event has told of it.
            set.wake(RECONCILE_JOB);
        }
        self.db.commit(set).await?;
        tracing::info!(ca_id = %cascade.ca, kind = cascade.kind.name(), n_changed = cascade.done, "cascade finished");
        Ok(Step::Finished)
    }

    /// Gives the next certificates without known issuer to a new CA, if it issued them. At first, it is told
    /// from a deleted CA that had its id.
    async fn adopt_step(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<Step, Attempt<CaError>> {
        if cascade.position.is_empty()
            && let Some(step) = self.predecessor_step(cascade).await?
        {
            return Ok(step);
        }
        match self.adopt_next(caller, cascade, STEP).await? {
            Some(n_changed) => Ok(Step::Changed(n_changed)),
            None => self.finish(cascade).await,
        }
    }

    /// Renames the issuer of the next certificates of a deleted CA whose id a new one has; `None` when there are
    /// none. Nothing else tells the two apart, but by then the deletion is done with, which goes by the id: the
    /// last CRL has its entries.
    async fn predecessor_step(
        &self,
        cascade: &StoredCascade,
    ) -> Result<Option<Step>, Attempt<CaError>> {
        let Some(own) = certificate::by_id(&self.db, &cascade.certificate).await? else {
            return Ok(None);
        };
        if cascade::is_retiring(&self.db, &cascade.ca).await? {
            let now = self.db.now();
            return Ok(Some(Step::Waits(now.saturating_add(DELETION_PAUSE))));
        }
        let next = cascade::of_predecessor(&self.db, cascade, &own, RENAMED_PER_STEP).await?;
        if next.is_empty() {
            return Ok(None);
        }
        let mut set = WriteSet::new();
        let name = predecessor(&cascade.ca, cascade.created_at);
        certificate::rename_issuer(&mut set, &next, &name);
        self.commit_step(set, cascade, next.len(), "")
            .await
            .map(Some)
    }
}

/// What the issuer of certificates is called whose id another CA took at this time.
fn predecessor(ca: &CaId, until: OffsetDateTime) -> CaId {
    CaId::from(format!("{ca}@{}", Timestamp(until)))
}

/// The id that an issuer had until another CA took it, if it is called so since then.
pub(crate) fn former_id(issuer: &str) -> Option<&str> {
    let (id, until) = issuer.rsplit_once('@')?;
    until.parse::<Timestamp>().is_ok().then_some(id)
}

/// The ids of cascades, to begin them with.
pub(crate) fn ids(cascades: &[StoredCascade]) -> Vec<String> {
    let distinct: BTreeSet<&str> = cascades.iter().map(|cascade| cascade.id.as_str()).collect();
    distinct.into_iter().map(str::to_owned).collect()
}

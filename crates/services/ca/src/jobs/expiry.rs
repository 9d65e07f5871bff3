//! Tells when certificates are about to end, and sets them to `EXPIRED` when they do.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::ca::{Certificate, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::duration::WireDuration;
use lamassu_core::error::ErrorKind;
use lamassu_db::{CommitError, Db, DbError, Job, JobError, NextRun, WriteSet};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::events::{Change, Teller, certificate_subject};
use crate::metrics;
use crate::own_windows;
use crate::service::CaService;
use crate::status::tell_status;
use crate::store::authority::{self, StoredAuthority};
use crate::store::certificate::{
    ChangedBy, StoredCertificate, due, expired_early, expiring, next_due, set_next_window, update,
};
use crate::windows::{entered, next_window, own_windows};

/// Certificates of one query and one write set.
const BATCH: u32 = 256;

/// When what could not be done is tried again, where nothing else is due.
const RETRY: Duration = Duration::minutes(1);

/// Longest sleep. Whoever stores a certificate that ends sooner wakes the job.
const LONGEST_SLEEP: Duration = Duration::hours(1);

/// The job that follows certificates in time. It acts within a second of the end of a certificate,
/// which is valid up to and including `notAfter` (RFC 5280 4.1.2.5).
#[derive(Debug)]
pub(crate) struct CertificateExpiry {
    service: Arc<CaService>,
}

impl CertificateExpiry {
    pub(crate) const NAME: &'static str = "ca-certificate-expiry";

    /// The job for this service.
    pub(crate) const fn new(service: Arc<CaService>) -> Self {
        Self { service }
    }

    /// Gives one certificate the status that the time calls for.
    async fn follow(
        &self,
        caller: &Caller,
        stored: &StoredCertificate,
        status: CertificateStatus,
        now: OffsetDateTime,
    ) -> Result<WriteSet, DbError> {
        let updated = Certificate {
            status,
            ..stored.certificate.clone()
        };
        let teller = Teller { caller, now };
        let mut set = WriteSet::new();
        let next_window = self.service.next_window(&updated, now);
        update(
            &mut set,
            stored,
            &updated,
            next_window,
            ChangedBy::ExpiryJob,
        );
        for previous in self.authorities_of(stored).await? {
            let mut ca = previous.authority.clone();
            ca.certificate = updated.clone();
            teller.ca_status(
                &mut set,
                &Change {
                    previous: &previous.authority,
                    updated: &ca,
                },
            );
        }
        tell_status(&mut set, teller, stored, &updated);
        teller.audit(
            &mut set,
            "certificate.status.update",
            certificate_subject(&updated),
        );
        Ok(set)
    }

    /// The CAs whose current certificate it is.
    async fn authorities_of(
        &self,
        stored: &StoredCertificate,
    ) -> Result<Vec<StoredAuthority>, DbError> {
        match stored.certificate.is_ca {
            true => authority::by_certificate(&self.service.db, &stored.id).await,
            false => Ok(Vec::new()),
        }
    }

    /// Tells that a certificate has entered one of the default windows.
    async fn tell_expiring(
        &self,
        caller: &Caller,
        stored: &StoredCertificate,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<WriteSet, DbError> {
        let windows = &self.service.config.expiration_windows;
        let (begun, next) = entered(windows, &stored.certificate, since, now);
        let authorities = self.authorities_of(stored).await?;
        let teller = Teller { caller, now };
        let mut set = WriteSet::new();
        set_next_window(&mut set, stored, next);
        for window in begun {
            if authorities.is_empty() {
                teller.certificate_expiring(&mut set, &stored.certificate, window);
            }
            for ca in &authorities {
                teller.ca_expiring(&mut set, &ca.authority, window);
            }
        }
        Ok(set)
    }
}

/// Marks the windows of a certificate's own that have begun, and tells of its new metadata.
fn mark_entered(
    teller: Teller<'_>,
    stored: &StoredCertificate,
    own: &Map<String, Value>,
) -> WriteSet {
    let certificate = &stored.certificate;
    let mut updated = certificate.clone();
    let mut set = WriteSet::new();
    if let Some(metadata) = own_windows::entered(own, certificate.valid_to.0, teller.now) {
        updated.metadata = Some(metadata);
        let change = Change {
            previous: certificate,
            updated: &updated,
        };
        teller.certificate_metadata(&mut set, &change);
        let subject = certificate_subject(&updated);
        teller.audit(&mut set, "certificate.metadata.update", subject);
    }
    update(&mut set, stored, &updated, None, ChangedBy::ExpiryJob);
    set
}

/// The same for the metadata of a CA.
fn mark_entered_by_ca(teller: Teller<'_>, stored: &StoredAuthority) -> WriteSet {
    let previous = &stored.authority;
    let mut updated = previous.clone();
    let not_after = previous.certificate.valid_to.0;
    let mut set = WriteSet::new();
    if let Some(metadata) = own_windows::entered(&previous.metadata, not_after, teller.now) {
        updated.metadata = metadata;
        let change = Change {
            previous,
            updated: &updated,
        };
        teller.ca_metadata(&mut set, &change);
        teller.audit(&mut set, "ca.metadata.update", format!("ca/{}", updated.id));
    }
    authority::set_metadata(&mut set, stored, &updated);
    set
}

/// What a run came to.
#[derive(Debug)]
struct Progress<'a> {
    db: &'a Db,
    n_done: u64,
    n_failed: u64,
}

impl Progress<'_> {
    /// What there is, unless it cannot be read or made: that must not hold up the rest.
    fn pass<T>(&mut self, outcome: Result<T, DbError>) -> Result<Option<T>, JobError> {
        match outcome {
            Ok(passed) => Ok(Some(passed)),
            Err(error) if error.kind() == ErrorKind::Unavailable => Err(error.into()),
            Err(error) => {
                self.failed(&error);
                Ok(None)
            }
        }
    }

    /// Commits the changes of single certificates as one, since many may end at the same instant, and
    /// in halves where that fails. Somebody who changed one of them meanwhile wins, and the next round
    /// looks again. Gives how many were committed.
    async fn commit(&mut self, changes: Vec<WriteSet>) -> Result<u64, JobError> {
        let mut n_committed = 0;
        let mut waiting = vec![changes];
        while let Some(mut changes) = waiting.pop() {
            let mut whole = WriteSet::new();
            changes
                .iter()
                .cloned()
                .for_each(|change| whole.append(change));
            if whole.is_empty() {
                continue;
            }
            match self.db.commit(whole).await {
                Ok(_) => n_committed += u64::try_from(changes.len()).unwrap_or(u64::MAX),
                Err(error) if is_of_no_change(&error) => return Err(error.into()),
                Err(_) if changes.len() > 1 => {
                    let behind = changes.split_off(changes.len() / 2);
                    waiting.extend([behind, changes]);
                }
                Err(error) if error.is_race() => {}
                Err(error) => self.failed(&error),
            }
        }
        self.n_done += n_committed;
        Ok(n_committed)
    }

    fn failed(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.n_failed += 1;
        tracing::warn!(error, "certificate not followed in time");
    }
}

/// Whether a commit failed for a reason that no single change of it has.
fn is_of_no_change(error: &CommitError) -> bool {
    match error {
        CommitError::Unmet { .. } | CommitError::Conflict { .. } => false,
        CommitError::OutcomeUnknown(_) => true,
        CommitError::Db(error) => error.kind() == ErrorKind::Unavailable,
    }
}

#[async_trait]
impl Job for CertificateExpiry {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        let teller = Teller { caller, now };
        let mut progress = Progress {
            db,
            n_done: 0,
            n_failed: 0,
        };
        for (status, rows) in [
            (CertificateStatus::Expired, due(db, now, BATCH).await?),
            (
                CertificateStatus::Active,
                expired_early(db, now, BATCH).await?,
            ),
        ] {
            let mut changes = Vec::new();
            for stored in rows {
                let change = match stored {
                    Ok(stored) => self.follow(caller, &stored, status, now).await,
                    Err(error) => Err(error),
                };
                changes.extend(progress.pass(change)?);
            }
            let n_committed = progress.commit(changes).await?;
            if status == CertificateStatus::Expired {
                metrics::expired(n_committed);
            }
        }
        let mut changes = Vec::new();
        for row in expiring(db, now, BATCH).await? {
            let change = match row {
                Ok((stored, since)) => match own_windows(&stored.certificate) {
                    Some(own) => Ok(mark_entered(teller, &stored, own)),
                    None => self.tell_expiring(caller, &stored, since, now).await,
                },
                Err(error) => Err(error),
            };
            changes.extend(progress.pass(change)?);
        }
        progress.commit(changes).await?;
        let mut changes = Vec::new();
        for stored in authority::expiring(db, now, BATCH).await? {
            let change = stored.map(|stored| mark_entered_by_ca(teller, &stored));
            changes.extend(progress.pass(change)?);
        }
        progress.commit(changes).await?;
        // A full batch has left some behind, whose time is past: the next run is at once.
        let latest = now + LONGEST_SLEEP;
        let due = [next_due(db).await?, authority::next_window(db).await?];
        let next = due.into_iter().flatten().fold(latest, OffsetDateTime::min);
        if progress.n_failed > 0 && progress.n_done == 0 {
            return Ok(NextRun::At(next.max(now + RETRY)));
        }
        Ok(NextRun::At(next))
    }
}

/// Whether the expiry job must be woken for a certificate: it is due before the job looks again.
pub(crate) fn is_due_soon(
    certificate: &Certificate,
    windows: &[WireDuration],
    now: OffsetDateTime,
) -> bool {
    let horizon = now + LONGEST_SLEEP;
    let is_near = |at: OffsetDateTime| at <= horizon;
    certificate.status == CertificateStatus::Active
        && (is_near(certificate.valid_to.0)
            || next_window(windows, certificate, now).is_some_and(is_near))
}

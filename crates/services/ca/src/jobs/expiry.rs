//! Tells when certificates are about to end, and sets them to `EXPIRED` when they do.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::ca::{Certificate, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::duration::WireDuration;
use lamassu_db::{Job, JobError, NextRun, WriteSet};
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

/// Certificates handled per round.
const BATCH: u32 = 256;

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

    /// Gives one certificate the status that the time calls for. Somebody who changed it
    /// meanwhile wins: the next round looks again.
    async fn follow(
        &self,
        caller: &Caller,
        stored: &StoredCertificate,
        status: CertificateStatus,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        let db = &self.service.db;
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
        if updated.is_ca {
            for previous in authority::by_certificate(db, &stored.id).await? {
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
        }
        tell_status(&mut set, teller, stored, &updated);
        teller.audit(
            &mut set,
            "certificate.status.update",
            certificate_subject(&updated),
        );
        match db.commit(set).await {
            Ok(_) if status == CertificateStatus::Expired => metrics::expired(),
            Ok(_) => {}
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl CertificateExpiry {
    /// Marks the windows of a certificate's own that have begun, and tells of its new metadata.
    async fn mark_entered(
        &self,
        caller: &Caller,
        stored: &StoredCertificate,
        own: &Map<String, Value>,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        let certificate = &stored.certificate;
        let mut updated = certificate.clone();
        let mut set = WriteSet::new();
        if let Some(metadata) = own_windows::entered(own, certificate.valid_to.0, now) {
            updated.metadata = Some(metadata);
            let teller = Teller { caller, now };
            let change = Change {
                previous: certificate,
                updated: &updated,
            };
            teller.certificate_metadata(&mut set, &change);
            let subject = certificate_subject(&updated);
            teller.audit(&mut set, "certificate.metadata.update", subject);
        }
        update(&mut set, stored, &updated, None, ChangedBy::ExpiryJob);
        self.commit_unless_changed(set).await
    }

    /// The same for the metadata of a CA.
    async fn mark_entered_by_ca(
        &self,
        caller: &Caller,
        stored: &StoredAuthority,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        let previous = &stored.authority;
        let mut updated = previous.clone();
        let not_after = previous.certificate.valid_to.0;
        let mut set = WriteSet::new();
        if let Some(metadata) = own_windows::entered(&previous.metadata, not_after, now) {
            updated.metadata = metadata;
            let teller = Teller { caller, now };
            let change = Change {
                previous,
                updated: &updated,
            };
            teller.ca_metadata(&mut set, &change);
            teller.audit(&mut set, "ca.metadata.update", format!("ca/{}", updated.id));
        }
        authority::set_metadata(&mut set, stored, &updated);
        self.commit_unless_changed(set).await
    }

    /// Commits; somebody who changed the rows meanwhile wins, and the next round looks again.
    async fn commit_unless_changed(&self, set: WriteSet) -> Result<(), JobError> {
        match self.service.db.commit(set).await {
            Err(error) if !error.is_race() => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Tells that a certificate has entered one of the default windows.
    async fn tell_expiring(
        &self,
        caller: &Caller,
        stored: &StoredCertificate,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        let db = &self.service.db;
        let windows = &self.service.config.expiration_windows;
        let (begun, next) = entered(windows, &stored.certificate, since, now);
        let authorities = if stored.certificate.is_ca {
            authority::by_certificate(db, &stored.id).await?
        } else {
            Vec::new()
        };
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
        self.commit_unless_changed(set).await
    }
}

#[async_trait]
impl Job for CertificateExpiry {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        for stored in due(db, now, BATCH).await? {
            self.follow(caller, &stored, CertificateStatus::Expired, now)
                .await?;
        }
        for stored in expired_early(db, now, BATCH).await? {
            self.follow(caller, &stored, CertificateStatus::Active, now)
                .await?;
        }
        for (stored, since) in expiring(db, now, BATCH).await? {
            match own_windows(&stored.certificate) {
                Some(own) => self.mark_entered(caller, &stored, own, now).await?,
                None => self.tell_expiring(caller, &stored, since, now).await?,
            }
        }
        for stored in authority::expiring(db, now, BATCH).await? {
            self.mark_entered_by_ca(caller, &stored, now).await?;
        }
        // A full batch has left some behind, whose time is past: the next run is at once.
        let latest = now + LONGEST_SLEEP;
        let due = [next_due(db).await?, authority::next_window(db).await?];
        let next = due.into_iter().flatten().fold(latest, OffsetDateTime::min);
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

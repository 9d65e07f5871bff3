//! Enrollments that somebody has to approve (RFC 7030 §4.2.3: 202 with `Retry-After`).
//!
//! 1. A device that may enroll asks. Its request goes into the queue, and it is told to come back.
//! 2. Somebody approves or denies.
//! 3. The device asks again with the same request, by the same credentials as before, and all checks
//!    are made again: only then is the certificate issued, so that none lies about undelivered.
//!
//! A request is known by what it asks for, whatever its signature. One that was bound to its connection
//! (RFC 7030 §3.5) is repeated over another: bound to that, or, by devices that send what they have
//! (§4.2.3), as it is; then by the same credential. Between binding and closing a crash leaves the approval open;
//! what the device may do with it then is what a lost answer would have it do.

use std::time::Duration;

use lamassu_core::caller::Caller;
use lamassu_core::dms::approval::{ApprovalMode, ApprovalOperation, ApprovalStatus, Verdict};
use lamassu_core::dms::{
    Approval, ApprovalRefusal, ChannelBindingRefusal, Decision, Dms, DmsError,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{ApprovalId, SerialNumber};
use lamassu_core::page::Page;
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{ListError, list};
use lamassu_db::{Attempt as Race, AuditRecord, WriteSet, readable, retry_races};
use time::OffsetDateTime;

use crate::authenticate::Attempt;
use crate::channel_binding::{self, Binding};
use crate::request::DeviceRequest;
use crate::service::DmsManager;
use crate::store::approval::{self as store, StoredApproval};
use crate::{events, metrics};

/// How long closed approvals are kept.
const KEPT_FOR: time::Duration = time::Duration::days(90);

/// How many are read at once to be closed.
const BATCH: u32 = 200;

/// How many requests of one device wait at most: one that makes a new key each time that it asks
/// must not fill the queue.
const PER_DEVICE: i64 = 8;

/// The credential, as a keyed digest, of a request that is bound to its connection.
#[derive(Debug, Default)]
pub(crate) struct BoundBy(Option<String>);

/// Whether an enrollment may go on.
#[derive(Debug)]
pub(crate) enum Clearance {
    /// It may: nobody has to approve it, or somebody did.
    Given(Option<Box<StoredApproval>>),
    /// Not yet; to be asked for again after this long.
    Pending(Duration),
}

impl DmsManager {
    /// Refuses a request that is bound to another connection than its own, or to none where it has to
    /// be; but not one that waits for approval and was bound to the connection that it first came over.
    pub(crate) async fn check_binding(
        &self,
        attempt: Attempt<'_>,
        operation: ApprovalOperation,
    ) -> Result<BoundBy, DmsError> {
        let Attempt {
            dms, request, est, ..
        } = attempt;
        let binding = channel_binding::check(dms, request, est);
        if !is_approved_by_hand(dms) {
            return Ok(binding.map(|_| BoundBy::default())?);
        }
        match binding {
            Ok(Binding::Unsaid) => Ok(BoundBy::default()),
            Ok(Binding::Verified) => {
                let credential = self.credential_digest(attempt).await?;
                Ok(BoundBy(Some(credential)))
            }
            Err(ChannelBindingRefusal::Mismatch) if attempt.auth_mode()?.names_somebody() => {
                let waiting = store::open(&self.db, &dms.id, operation, &request.info_digest())
                    .await
                    .map_err(StorageFailure::from)?
                    .filter(|known| known.approval.expiration_ts.0 > self.db.now());
                let credential = self.credential_digest(attempt).await?;
                let is_known = waiting.is_some_and(|known| {
                    known.approval.csr.der() == request.csr.as_der() && known.bound_by == credential
                });
                if is_known {
                    Ok(BoundBy(Some(credential)))
                } else {
                    Err(ChannelBindingRefusal::Mismatch.into())
                }
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Whether this request may be issued for now. One that is seen for the first time goes into the
    /// queue.
    pub(crate) async fn clearance(
        &self,
        caller: &Caller,
        dms: &Dms,
        request: &DeviceRequest,
        (operation, bound_by): (ApprovalOperation, BoundBy),
    ) -> Result<Clearance, DmsError> {
        if !is_approved_by_hand(dms) {
            return Ok(Clearance::Given(None));
        }
        let known = store::open(&self.db, &dms.id, operation, &request.info_digest())
            .await
            .map_err(StorageFailure::from)?;
        let now = self.db.now();
        let (live, over) = match known {
            Some(known) if known.approval.expiration_ts.0 > now => (Some(known), None),
            over => (None, over),
        };
        let Some(known) = live else {
            let place = (operation, over, bound_by);
            self.queue(caller, dms, request, place).await?;
            return Ok(Clearance::Pending(self.approval_pause()));
        };
        match known.approval.status {
            ApprovalStatus::Approved => Ok(Clearance::Given(Some(Box::new(known)))),
            ApprovalStatus::Denied => Err(ApprovalRefusal::Denied.into()),
            ApprovalStatus::Pending | ApprovalStatus::Issued | ApprovalStatus::Expired => {
                Ok(Clearance::Pending(self.approval_pause()))
            }
        }
    }

    fn approval_pause(&self) -> Duration {
        Duration::try_from(time::Duration::from(self.config.approval_retry_after))
            .unwrap_or_default()
    }

    /// Puts a request into the queue, in the place of one that is over.
    async fn queue(
        &self,
        caller: &Caller,
        dms: &Dms,
        request: &DeviceRequest,
        (operation, over, BoundBy(bound_by)): (ApprovalOperation, Option<StoredApproval>, BoundBy),
    ) -> Result<(), DmsError> {
        self.check_room(dms, request).await?;
        let now = self.db.now();
        let approval = Approval {
            id: ApprovalId::fresh(),
            dms_id: dms.id.clone(),
            device_id: request.device_id.clone(),
            operation,
            status: ApprovalStatus::Pending,
            csr: CsrDer::from_der(request.csr.as_der().clone()),
            requested_by: caller.principal.auth_id().unwrap_or_default().to_owned(),
            creation_ts: now.into(),
            expiration_ts: self.approval_end(now),
            decision_ts: Timestamp::ZERO,
            decided_by: String::new(),
            reason: String::new(),
            certificate_serial_number: String::new(),
        };
        let mut set = WriteSet::new();
        if let Some(over) = &over {
            expire(&mut set, caller, over, now);
        }
        let bound_by = bound_by.unwrap_or_default();
        let insert = store::insert(&approval, &request.info_digest(), &bound_by);
        set.expect_one(insert, store::NEW);
        set.event(events::approval_created(caller, &approval, now));
        set.audit(AuditRecord::done(
            caller,
            "dms.approval.create",
            events::approval_subject(&approval),
            now,
        ));
        match self.db.commit(set).await {
            Ok(_) => {
                tracing::info!(dms_id = %dms.id, device_id = %request.device_id, "enrollment waits for approval");
                Ok(())
            }
            // Somebody else put it there, or closed the old one, in this moment.
            Err(error) if error.failed(store::NEW) || error.failed(store::UNCHANGED) => Ok(()),
            Err(error) => Err(StorageFailure::from(error).into()),
        }
    }

    async fn check_room(&self, dms: &Dms, request: &DeviceRequest) -> Result<(), DmsError> {
        let waiting = store::pending(&self.db)
            .await
            .map_err(StorageFailure::from)?;
        let (of_dms, of_device) = store::pending_of(&self.db, &dms.id, &request.device_id)
            .await
            .map_err(StorageFailure::from)?;
        let free = i64::from(self.config.max_pending_approvals).saturating_sub(waiting);
        // However many ask under one DMS, it leaves as many places as it takes: with n such DMSs, one
        // place of n + 1 is left.
        if of_dms >= free || of_device >= PER_DEVICE {
            return Err(ApprovalRefusal::QueueFull.into());
        }
        Ok(())
    }

    fn approval_end(&self, now: OffsetDateTime) -> Timestamp {
        let lifetime = time::Duration::from(self.config.approval_lifetime);
        now.saturating_add(lifetime).into()
    }

    /// Closes the approval that a certificate was issued by. The device has its certificate
    /// whatever comes of this.
    pub(crate) async fn close_approval(
        &self,
        caller: &Caller,
        approved: Option<Box<StoredApproval>>,
        certificate: &CertificateDer,
    ) {
        let Some(before) = approved else { return };
        let serial = lamassu_x509::Certificate::from_der(certificate.der().clone())
            .ok()
            .and_then(|certificate| SerialNumber::parse(&certificate.serial().to_hex()));
        let now = self.db.now();
        let after = Approval {
            status: ApprovalStatus::Issued,
            certificate_serial_number: serial
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            ..before.approval.clone()
        };
        let mut set = WriteSet::new();
        let close = store::close(&after.id, before.revision, after.status, serial.as_ref());
        set.expect_one(close, store::UNCHANGED);
        told(
            &mut set,
            caller,
            "dms.approval.issue",
            (&before.approval, &after),
            now,
        );
        if let Err(error) = self.db.commit(set).await {
            tracing::warn!(approval_id = %after.id, error = &error as &(dyn std::error::Error + 'static), "approval not closed");
        }
    }

    /// The approval of this id.
    pub(crate) async fn approval_by_id(&self, id: &ApprovalId) -> Result<StoredApproval, DmsError> {
        let stored = store::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        stored.ok_or_else(|| ApprovalRefusal::NotFound.into())
    }

    /// One page of approvals.
    pub(crate) async fn list_approvals(
        &self,
        request: &ListRequest,
    ) -> Result<Page<Approval>, DmsError> {
        let page = list(&self.db, &store::APPROVALS, "dms-approvals", request, &[])
            .await
            .map_err(ListError::into_error::<DmsError>)?;
        let page = page.try_map(|row| StoredApproval::try_from(&row).map(|stored| stored.approval));
        Ok(page.map_err(StorageFailure::from)?)
    }

    /// Approves or denies.
    pub(crate) async fn decide(
        &self,
        caller: &Caller,
        id: &ApprovalId,
        decision: Decision,
    ) -> Result<Approval, DmsError> {
        retry_races(|| self.try_to_decide(caller, id, &decision)).await
    }

    async fn try_to_decide(
        &self,
        caller: &Caller,
        id: &ApprovalId,
        Decision { verdict, reason }: &Decision,
    ) -> Result<Approval, Race<DmsError>> {
        let StoredApproval {
            approval: before,
            revision,
            bound_by: _,
        } = self.approval_by_id(id).await?;
        let now = self.db.now();
        if before.status != ApprovalStatus::Pending || before.expiration_ts.0 <= now {
            return Err(DmsError::from(ApprovalRefusal::NotPending).into());
        }
        let (status, operation) = match verdict {
            Verdict::Approve => (ApprovalStatus::Approved, "dms.approval.approve"),
            Verdict::Deny => (ApprovalStatus::Denied, "dms.approval.deny"),
        };
        let after = Approval {
            status,
            expiration_ts: self.approval_end(now),
            decision_ts: now.into(),
            decided_by: caller.principal.auth_id().unwrap_or_default().to_owned(),
            reason: reason.clone(),
            ..before.clone()
        };
        let mut set = WriteSet::new();
        set.expect_one(store::decide(&after, revision), store::UNCHANGED);
        told(&mut set, caller, operation, (&before, &after), now);
        self.db.commit(set).await?;
        Ok(after)
    }

    /// Gives up what was not decided or not fetched in time, and forgets what is long over.
    pub(crate) async fn tidy_approvals(&self, caller: &Caller) -> Result<(), DmsError> {
        let now = self.db.now();
        let mut place = (OffsetDateTime::UNIX_EPOCH, String::new());
        loop {
            let due = store::due(&self.db, now, place, BATCH).await;
            let (due, next) = due.map_err(StorageFailure::from)?;
            let Some(next) = next else { break };
            place = next;
            for over in due.into_iter().filter_map(readable) {
                let mut set = WriteSet::new();
                expire(&mut set, caller, &over, now);
                match self.db.commit(set).await {
                    Ok(_) => {}
                    // Decided or issued in this moment.
                    Err(error) if error.failed(store::UNCHANGED) => {}
                    Err(error) => return Err(StorageFailure::from(error).into()),
                }
            }
        }
        let pending = store::pending(&self.db)
            .await
            .map_err(StorageFailure::from)?;
        metrics::approvals_pending(pending);
        let mut set = WriteSet::new();
        set.execute(store::forget(now.saturating_sub(KEPT_FOR)));
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        Ok(())
    }
}

fn is_approved_by_hand(dms: &Dms) -> bool {
    let mode = dms.settings.enrollment_settings.approval.value();
    mode == Some(&ApprovalMode::Manual)
}

fn expire(set: &mut WriteSet, caller: &Caller, over: &StoredApproval, now: OffsetDateTime) {
    let before = &over.approval;
    let after = Approval {
        status: ApprovalStatus::Expired,
        ..before.clone()
    };
    let close = store::close(&after.id, over.revision, after.status, None);
    set.expect_one(close, store::UNCHANGED);
    told(set, caller, "dms.approval.expire", (before, &after), now);
}

/// Event and audit record of a change.
fn told(
    set: &mut WriteSet,
    caller: &Caller,
    operation: &'static str,
    (before, after): (&Approval, &Approval),
    now: OffsetDateTime,
) {
    set.event(events::approval_updated(caller, before, after, now));
    let resource = events::approval_subject(after);
    set.audit(AuditRecord::done(caller, operation, resource, now));
}

//! What certificates of devices still have to follow: a device that is retired takes its certificates
//! with it, and what leaves a slot loses its attachment.
//!
//! A change commits together with the tasks that follow from it, and the job asks the CA service until
//! each is done: a service that is away delays nobody and nothing is forgotten. Of what is said of whose a
//! certificate is, the last word counts: a newer task takes the place of those that wait. A task that names a
//! certificate by a serial number which several have is given up: time does not tell which one is meant.

use async_trait::async_trait;
use lamassu_core::ca::certificate::{ATTACHED_TO, EXPIRATION_DELTAS};
use lamassu_core::ca::enrollment::Attachment;
use lamassu_core::ca::{CaError, Certificate, CertificateRef, CertificateStatus, RenewalWindows};
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::IDENTITY;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::patch::PatchOperation;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Job, JobError, NextRun, WriteSet, readable};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::metrics;
use crate::service::DevicesService;
use crate::store::{DueTask, due_tasks, follow_up_delete, follow_up_postpone, next_task};

/// The job that has certificates follow their devices; also its lease and its signal.
pub const CERTIFICATES_JOB: &str = "device-certificates";

/// Tasks of one look.
const BATCH: u32 = 64;

/// Pause after a failure; doubled with each one.
const FIRST_RETRY: Duration = Duration::seconds(1);

/// The longest pause.
const LAST_RETRY: Duration = Duration::minutes(10);

/// One certificate that has to follow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Task {
    pub(crate) slot: String,
    pub(crate) certificate: CertificateRef,
    pub(crate) what: What,
}

/// What happens to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// It is revoked.
    Revoke(RevocationReason),
    /// Its metadata say which device it belongs to, and when that must renew it.
    Attach {
        dms_id: DmsId,
        windows: RenewalWindows,
    },
    /// Its metadata lose that.
    Detach,
}

impl What {
    /// As stored.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Revoke(_) => "revoke",
            Self::Attach { .. } => "attach",
            Self::Detach => "detach",
        }
    }
}

impl Task {
    pub(crate) fn revoke(
        slot: &str,
        certificate: CertificateRef,
        reason: RevocationReason,
    ) -> Self {
        Self {
            slot: slot.to_owned(),
            certificate,
            what: What::Revoke(reason),
        }
    }

    pub(crate) fn detach(slot: &str, certificate: CertificateRef) -> Self {
        Self {
            slot: slot.to_owned(),
            certificate,
            what: What::Detach,
        }
    }
}

/// See [`CERTIFICATES_JOB`].
#[derive(Debug)]
pub(crate) struct CertificatesJob {
    service: DevicesService,
}

impl CertificatesJob {
    pub(crate) const fn new(service: DevicesService) -> Self {
        Self { service }
    }

    /// Does what is due; gives how many tasks there were.
    async fn advance(&self, caller: &Caller, now: OffsetDateTime) -> Result<usize, JobError> {
        let due = due_tasks(&self.service.db, now, BATCH).await?;
        let n_due = due.len();
        let mut set = WriteSet::new();
        for (id, task) in due {
            let Some(task) = readable(task) else {
                set.execute(follow_up_postpone(&id, now + LAST_RETRY));
                continue;
            };
            match self.perform(caller, &task).await {
                Ok(()) => {
                    metrics::followed(task.task.what.name());
                    set.execute(follow_up_delete(&task.id));
                }
                Err(CaError::AmbiguousSerial(issuers)) => {
                    tracing::error!(
                        device_id = %task.device_id,
                        serial_number = %task.task.certificate,
                        task = task.task.what.name(),
                        issuers,
                        "several certificates have the serial number that a device's is known by, none followed the device"
                    );
                    set.execute(follow_up_delete(&task.id));
                }
                Err(error) => {
                    let error = &error as &(dyn std::error::Error + 'static);
                    tracing::warn!(
                        device_id = %task.device_id,
                        serial_number = %task.task.certificate,
                        task = task.task.what.name(),
                        attempt = task.attempts,
                        error,
                        "certificate did not follow its device"
                    );
                    set.execute(follow_up_postpone(&task.id, now + pause(task.attempts)));
                }
            }
        }
        if !set.is_empty() {
            self.service.db.commit(set).await?;
        }
        Ok(n_due)
    }

    async fn perform(&self, caller: &Caller, due: &DueTask) -> Result<(), CaError> {
        let ca = &self.service.ca;
        let certificate = &due.task.certificate;
        let done = match &due.task.what {
            What::Revoke(reason) => {
                let status = CertificateStatus::Revoked;
                ca.set_certificate_status(caller, certificate, status, *reason)
                    .await
            }
            What::Attach { dms_id, windows } => {
                let attachment = attachment(&due.device_id, dms_id, &due.task.slot);
                ca.attach_certificate(caller, certificate, attachment, *windows)
                    .await
            }
            What::Detach => {
                // What belongs to another device, or goes on in another slot, stays where it is.
                let found = ca.certificate_named(caller, certificate).await;
                if found
                    .as_ref()
                    .is_ok_and(|found| !is_in(found, &due.device_id, &due.task.slot))
                {
                    return Ok(());
                }
                let patches = [ATTACHED_TO, EXPIRATION_DELTAS].map(removal).to_vec();
                ca.patch_certificate_metadata(caller, certificate, patches)
                    .await
            }
        };
        match done {
            // Who is gone needs nothing, and what is revoked for good stays so.
            Ok(_) | Err(CaError::CertificateNotFound | CaError::StatusTransition) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a certificate is attached to this slot of the device.
fn is_in(certificate: &Certificate, device: &DeviceId, slot: &str) -> bool {
    let metadata = certificate.metadata.as_ref();
    let Some(place) = metadata.and_then(|metadata| metadata.get(ATTACHED_TO)) else {
        return false;
    };
    let text = |member: &str| place.get(member).and_then(Value::as_str);
    text("device_id") == Some(device.as_str()) && text("slot").unwrap_or(IDENTITY) == slot
}

/// What metadata of a certificate in this slot say.
pub(crate) fn attachment(device: &DeviceId, dms: &DmsId, slot: &str) -> Attachment {
    Attachment {
        device_id: device.clone(),
        dms_id: dms.clone(),
        slot: (slot != IDENTITY).then(|| slot.to_owned()),
    }
}

/// Takes out a member; where it is not there, nothing.
fn removal(member: &str) -> PatchOperation {
    PatchOperation {
        op: "remove".to_owned(),
        path: Some(format!("/{}", member.replace('/', "~1"))),
        ..PatchOperation::default()
    }
}

fn pause(attempts: u32) -> Duration {
    let factor = 1_i32.checked_shl(attempts.min(20)).unwrap_or(i32::MAX);
    FIRST_RETRY.saturating_mul(factor).min(LAST_RETRY)
}

#[async_trait]
impl Job for CertificatesJob {
    fn name(&self) -> &'static str {
        CERTIFICATES_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let caller = caller.from_source("service/devmanager");
        while self.advance(&caller, now).await? > 0 {}
        let next = next_task(&self.service.db).await?;
        Ok(next.map_or(NextRun::WhenWoken, NextRun::At))
    }
}

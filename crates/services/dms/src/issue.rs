//! The two commits of an enrollment: the CA issues with an open intent, the device manager binds.
//!
//! Whoever calls has checked everything that can refuse. Between the commits the certificate is
//! known to nobody but us; when binding is refused it is revoked at once, and when we do not learn
//! how binding ended, the sweep finds the open intent and asks.

use std::time::Duration;

use lamassu_core::ca::enrollment::{Attachment, Revoke};
use lamassu_core::ca::{
    Certificate, Enrollment, EnrollmentMode, ProfileChoice, RenewalWindows, Superseded,
};
use lamassu_core::caller::Caller;
use lamassu_core::device::{BindIdentity, CreateDevice, DeviceError, EnrollmentEvent, SlotState};
use lamassu_core::dms::{Dms, DmsError};
use lamassu_core::error::StorageFailure;
use lamassu_core::pem::CertificateDer;
use lamassu_x509::VerifiedCsr;

use crate::request::DeviceRequest;
use crate::service::DmsManager;

/// How long binding may take. After it the certificate is left to the sweep, which waits longer
/// than this before it takes an open intent for abandoned.
pub(crate) const BIND_DEADLINE: Duration = Duration::from_secs(60);

/// An enrollment that nothing speaks against.
#[derive(Debug)]
pub(crate) struct Approved<'a> {
    pub(crate) dms: &'a Dms,
    pub(crate) request: &'a DeviceRequest,
    /// The request, possession of its key decided.
    pub(crate) csr: VerifiedCsr,
    pub(crate) mode: EnrollmentMode,
    /// The event that tells of it beside that of the binding.
    pub(crate) announce: Option<EnrollmentEvent>,
    pub(crate) profile: ProfileChoice,
    /// The certificate that the new one takes the place of.
    pub(crate) superseded: Option<Superseded>,
    /// What the slot held when it was looked at.
    pub(crate) slot: SlotState,
    /// The device to register, where there is none.
    pub(crate) create: Option<CreateDevice>,
    /// When the new certificate must be renewed.
    pub(crate) windows: RenewalWindows,
}

impl Approved<'_> {
    fn intent(&self) -> Enrollment {
        Enrollment {
            mode: self.mode,
            attachment: Attachment {
                device_id: self.request.device_id.clone(),
                dms_id: self.dms.id.clone(),
                slot: None,
            },
            csr_digest: self.request.digest(),
            superseded: self.superseded.clone(),
            windows: self.windows,
        }
    }

    fn binding(&self, certificate: &Certificate) -> BindIdentity {
        let holds_identity = matches!(self.slot, SlotState::Holding { .. });
        let mode = match self.mode {
            EnrollmentMode::Enroll if holds_identity => "RE-PROVISIONED",
            EnrollmentMode::Enroll => "PROVISIONED",
            EnrollmentMode::Reenroll => "RENEWED",
        };
        BindIdentity {
            device_id: self.request.device_id.clone(),
            certificate: Box::new(certificate.clone()),
            dms: Box::new(self.dms.clone()),
            mode: mode.to_owned(),
            expected: self.slot.clone(),
            create: self.create.clone(),
            windows: self.windows,
            announce: self.announce,
            revoke_superseded: self
                .superseded
                .as_ref()
                .map_or(Revoke::No, |superseded| superseded.revoke),
        }
    }
}

impl DmsManager {
    /// Issues and binds; gives the certificate that the device may have.
    pub(crate) async fn issue(
        &self,
        caller: &Caller,
        approved: Approved<'_>,
    ) -> Result<CertificateDer, DmsError> {
        let (dms_id, device_id) = (&approved.dms.id, &approved.request.device_id);
        tracing::debug!(%dms_id, %device_id, mode = approved.mode.name(), "enrollment approved");
        // 1. The certificate and the open intent, in one commit.
        let certificate = self.sign(caller, &approved).await?;
        let serial = &certificate.serial_number;
        tracing::info!(
            %dms_id,
            %device_id,
            serial_number = %serial,
            "certificate issued for enrollment"
        );
        // 2. The device's slot, by compare-and-set.
        let binding = approved.binding(&certificate);
        self.bind_issued(caller, binding).await?;
        // 3. The superseded certificate goes before the device gets the new one. The device holds
        //    the new one already, so a failure here must not cost it its answer: the sweep repeats.
        if approved.superseded.is_some()
            && let Err(error) = self.ca.complete_enrollment(caller, serial).await
        {
            tracing::warn!(serial_number = %serial, error = &error as &(dyn std::error::Error + 'static), "superseded certificate not retired yet");
        }
        Ok(certificate.certificate)
    }

    async fn sign(
        &self,
        caller: &Caller,
        approved: &Approved<'_>,
    ) -> Result<Certificate, DmsError> {
        let ca = &approved.dms.settings.enrollment_settings.enrollment_ca;
        let (csr, profile) = (approved.csr.clone(), approved.profile.clone());
        let signed = self
            .ca
            .sign_for_enrollment(caller, ca, csr, profile, approved.intent());
        Ok(signed.await?)
    }

    /// Binds, or takes back what was issued.
    async fn bind_issued(&self, caller: &Caller, binding: BindIdentity) -> Result<(), DmsError> {
        let serial = binding.certificate.serial_number.clone();
        let binding = self.devices.bind_identity(caller, binding);
        let refused = match tokio::time::timeout(BIND_DEADLINE, binding).await {
            Ok(Ok(_device)) => return Ok(()),
            Ok(Err(refused)) => refused,
            Err(elapsed) => {
                return Err(StorageFailure::OutcomeUnknown(Box::new(elapsed)).into());
            }
        };
        // Perhaps it is bound: only the sweep can tell.
        if !matches!(
            refused,
            DeviceError::Storage(StorageFailure::OutcomeUnknown(_))
        ) && let Err(error) = self.ca.abandon_enrollment(caller, &serial).await
        {
            tracing::warn!(
                serial_number = %serial,
                error = &error as &(dyn std::error::Error + 'static),
                "certificate that was not bound is not revoked yet"
            );
        }
        Err(refused.into())
    }
}

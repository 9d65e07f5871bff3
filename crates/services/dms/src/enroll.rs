//! `simpleenroll` (RFC 7030 §4.2.1): a device's first certificate, or a replacement.

use lamassu_core::ca::enrollment::{Detach, Revoke};
use lamassu_core::ca::{EnrollmentMode, ProfileChoice, RenewalWindows, Superseded};
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::SupersededPolicy;
use lamassu_core::device::{CreateDevice, Device, DeviceStatus, EnrollmentEvent, SlotState};
use lamassu_core::dms::approval::ApprovalOperation;
use lamassu_core::dms::settings::REGISTRATION_JITP;
use lamassu_core::dms::{Dms, DmsError, EstRequest, Outcome};
use lamassu_core::ids::DeviceId;
use lamassu_core::pem::CertificateDer;

use crate::approval::Clearance;
use crate::authenticate::{Asker, Attempt};
use crate::issue::Approved;
use crate::limits::Place;
use crate::password::PasswordUse;
use crate::profile;
use crate::request::{DeviceRequest, Possession};
use crate::service::DmsManager;

/// A device that may enroll.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) profile: ProfileChoice,
    /// The certificate that the new one takes the place of.
    pub(crate) superseded: Option<Superseded>,
    /// What its slot held when it was looked at.
    pub(crate) slot: SlotState,
    /// The highest version that it had had by then.
    pub(crate) version_before: Option<u32>,
    /// The device to register, where there is none.
    pub(crate) create: Option<CreateDevice>,
    /// When it must renew.
    pub(crate) windows: RenewalWindows,
    /// Its place among the devices of the DMS, where those are limited.
    pub(crate) place: Option<Place>,
}

impl DmsManager {
    /// Enrolls a device.
    pub(crate) async fn enroll_device(
        &self,
        caller: &Caller,
        est: EstRequest,
    ) -> Result<Outcome<CertificateDer>, DmsError> {
        let request = DeviceRequest::parse(est.csr.clone())?;
        let dms = self.est_dms(est.label.as_ref()).await?;
        let settings = &dms.settings.enrollment_settings;
        // 1. Who asks.
        let attempt = Attempt {
            caller,
            dms: &dms,
            est: &est,
            request: &request,
            mode: EnrollmentMode::Enroll,
        };
        let asker = self.admit_enrollment(attempt).await;
        if let Some(certificate) = self.repeated(attempt, &asker).await? {
            return Ok(Outcome::Issued(certificate));
        }
        let Asker {
            caller, password, ..
        } = asker?;
        let operation = ApprovalOperation::Enroll;
        let bound_by = self.check_binding(attempt, operation).await?;
        let csr = request.decide_possession(Possession::of(settings.verify_csr_signature))?;
        // 2. For which device, under which rules, with whose approval.
        let admitted = self.admit(&caller, &dms, &request.device_id).await?;
        let wanted = (operation, bound_by);
        let approval = match self.clearance(&caller, &dms, &request, wanted).await? {
            Clearance::Given(approval) => approval,
            Clearance::Pending(after) => return Ok(Outcome::Pending(after)),
        };
        // 3. The certificate.
        self.remember(attempt, admitted.version_before).await;
        let approved = Approved {
            dms: &dms,
            request: &request,
            csr,
            mode: EnrollmentMode::Enroll,
            announce: Some(EnrollmentEvent::Enroll),
            profile: admitted.profile,
            superseded: admitted.superseded,
            create: admitted.create,
            slot: admitted.slot,
            windows: admitted.windows,
        };
        let certificate = self.issue_once(&caller, approved, password).await?;
        if let Some(place) = admitted.place {
            place.keep();
        }
        self.close_approval(&caller, approval, &certificate).await;
        Ok(Outcome::Issued(certificate))
    }

    /// What to do for a device that may enroll.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        dms: &Dms,
        id: &DeviceId,
    ) -> Result<Admitted, DmsError> {
        self.limits.check_allowed(dms, id)?;
        let registered = registered(dms, id);
        let found = self
            .devices
            .enrolling_device(caller, id, registered.as_ref())
            .await?;
        let device = found.device;
        check_device(dms, device.as_ref())?;
        let place = match device {
            Some(_) => None,
            None => self.limits.place(caller, dms, &*self.devices).await?,
        };
        let slot = SlotState::of(device.as_ref());
        let identity = device.as_ref().and_then(|device| device.identity.as_ref());
        let highest = identity.and_then(|identity| identity.versions.last_key_value());
        let create = registered.filter(|_| device.is_none());
        create.as_ref().map_or(Ok(()), CreateDevice::check)?;
        Ok(Admitted {
            profile: profile::choose(&self.directory, caller, &dms.settings).await?,
            superseded: superseded(&slot, found.superseded),
            create,
            version_before: highest.map(|(version, _)| *version),
            windows: found
                .renewal
                .over(dms.settings.reenrollment_settings.renewal_windows()),
            slot,
            place,
        })
    }

    /// Issues and binds, and uses up the password that was presented.
    pub(crate) async fn issue_once(
        &self,
        caller: &Caller,
        approved: Approved<'_>,
        password: Option<PasswordUse>,
    ) -> Result<CertificateDer, DmsError> {
        let Some(password) = password else {
            return self.issue(caller, approved).await;
        };
        self.use_password(&password).await?;
        let issued = self.issue(caller, approved).await;
        if let Err(error) = &issued {
            self.give_password_back(&password, error).await;
        }
        issued
    }

    /// The device of this id, if it is registered.
    pub(crate) async fn device_if_any(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<Option<Device>, DmsError> {
        match self
            .devices
            .device(caller, id)
            .await
            .map_err(DmsError::from)
        {
            Ok(device) => Ok(Some(device)),
            Err(DmsError::DeviceNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether this device may enroll under this DMS. A device that has no identity yet may always.
fn check_device(dms: &Dms, device: Option<&Device>) -> Result<(), DmsError> {
    let settings = &dms.settings.enrollment_settings;
    let Some(device) = device else {
        let may_register = settings.registration_mode == REGISTRATION_JITP;
        return if may_register {
            Ok(())
        } else {
            Err(DmsError::NotPreregistered)
        };
    };
    check_owner(dms, device)?;
    if device.identity.is_some() && !settings.enable_replaceable_enrollment {
        return Err(DmsError::ForbiddenNewEnrollment);
    }
    Ok(())
}

/// Refuses devices of other DMSs and retired ones.
pub(crate) fn check_owner(dms: &Dms, device: &Device) -> Result<(), DmsError> {
    if device.dms_owner != dms.id {
        return Err(DmsError::OtherDms);
    }
    if device.status == DeviceStatus::Decommissioned {
        return Err(DmsError::Decommissioned);
    }
    Ok(())
}

/// A replaced certificate keeps its attachment, so that its revocation shows where it belonged.
fn superseded(slot: &SlotState, policy: SupersededPolicy) -> Option<Superseded> {
    match slot {
        SlotState::NoDevice | SlotState::Empty => None,
        SlotState::Holding { serial_number, .. } => Some(Superseded {
            serial_number: serial_number.clone(),
            detach: Detach::No,
            revoke: policy.revoke_at_once(Revoke::Yes),
        }),
    }
}

/// The device that just-in-time provisioning registers, where that is allowed and there is none yet.
fn registered(dms: &Dms, id: &DeviceId) -> Option<CreateDevice> {
    let settings = &dms.settings.enrollment_settings;
    let provisioning = &settings.device_provisioning_profile;
    (settings.registration_mode == REGISTRATION_JITP).then(|| CreateDevice {
        id: id.clone(),
        tags: provisioning.tags.clone(),
        metadata: provisioning.metadata.clone(),
        dms_id: dms.id.clone(),
        icon: provisioning.icon.clone(),
        icon_color: provisioning.icon_color.clone(),
        ..CreateDevice::default()
    })
}

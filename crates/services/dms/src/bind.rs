//! Binding a certificate to a device by hand.

use lamassu_core::ca::enrollment::{Attachment, Revoke};
use lamassu_core::ca::{CaError, Certificate, RenewalWindows};
use lamassu_core::caller::Caller;
use lamassu_core::device::{BindIdentity, Device, DeviceStatus, SlotState};
use lamassu_core::dms::{BindDevice, Binding, Dms, DmsError};
use lamassu_core::ids::{DeviceId, SerialNumber};
use lamassu_db::{Attempt, retry_races};

use crate::service::DmsManager;

impl DmsManager {
    /// Binds; the DMS is the one that owns the device, the certificate may come from any CA.
    pub(crate) async fn bind_by_hand(
        &self,
        caller: &Caller,
        request: BindDevice,
    ) -> Result<Binding, DmsError> {
        let serial = SerialNumber::parse(&request.certificate_serial_number)
            .ok_or_else(|| DmsError::from(CaError::CertificateNotFound))?;
        let certificate = self.ca.certificate(caller, &serial).await?;
        if certificate.subject.common_name != request.device_id.as_str() {
            return Err(DmsError::CommonNameMismatch);
        }
        let owned = self.device_and_owner(caller, &request.device_id).await?;
        let (device, dms, windows) = owned;
        // First, so that the event of the binding shows the certificate attached; nobody acts on
        // the attachment of a certificate that no slot holds.
        let attachment = Attachment {
            device_id: device.id.clone(),
            dms_id: dms.id.clone(),
            slot: None,
        };
        let certificate = self
            .ca
            .attach_certificate(caller, &(&certificate).into(), attachment, windows)
            .await?;
        let mode = if request.bind_mode.is_empty() {
            "PROVISIONED"
        } else {
            &request.bind_mode
        };
        let bind = || self.try_bind(caller, &device.id, &certificate, (&dms, mode, windows));
        let device = retry_races(bind).await?;
        Ok(Binding {
            certificate,
            dms,
            device,
        })
    }

    async fn device_and_owner(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<(Device, Dms, RenewalWindows), DmsError> {
        let found = self.devices.enrolling_device(caller, id, None).await?;
        let device = found.device.ok_or(DmsError::DeviceNotFound)?;
        let dms = self.dms_by_id(&device.dms_owner).await?;
        if device.status == DeviceStatus::Decommissioned {
            return Err(DmsError::Decommissioned);
        }
        let windows = found
            .renewal
            .over(dms.settings.reenrollment_settings.renewal_windows());
        Ok((device, dms, windows))
    }

    /// Compare-and-set on the slot, from its read.
    async fn try_bind(
        &self,
        caller: &Caller,
        device: &DeviceId,
        certificate: &Certificate,
        (dms, mode, windows): (&Dms, &str, RenewalWindows),
    ) -> Result<Device, Attempt<DmsError>> {
        let device = self.devices.device(caller, device).await;
        let device = device.map_err(DmsError::from)?;
        let binding = BindIdentity {
            device_id: device.id.clone(),
            certificate: Box::new(certificate.clone()),
            dms: Box::new(dms.clone()),
            mode: mode.to_owned(),
            expected: SlotState::of(Some(&device)),
            create: None,
            windows,
            announce: None,
            revoke_superseded: Revoke::No,
        };
        let bound = self.devices.bind_identity(caller, binding).await;
        bound.map_err(|error| match DmsError::from(error) {
            overtaken @ DmsError::SlotChanged => Attempt::Overtaken(overtaken),
            refused => Attempt::Refused(refused),
        })
    }
}

//! Binding a certificate to a device: the second commit of an enrollment.
//!
//! 1. Read the device.
//! 2. Refuse what must not be bound: another owner, a decommissioned device, a slot that holds
//!    something else than the caller has seen. The slot is compared by active version and serial
//!    number, not by revision, so that a status change in between costs nobody an enrollment.
//! 3. Register the device first where just-in-time provisioning asks for it.
//!    Whoever asks for that has looked a moment ago, so the insert itself tells whether the device is
//!    there by now; only then it is read.
//! 4. Commit device, version, history, events and audit at the revision that was read; a lost race
//!    starts again at 1, where a real conflict shows.

use lamassu_core::caller::Caller;
use lamassu_core::device::{
    BindIdentity, CreateDevice, Device, DeviceError, DeviceStatus, SlotState,
};
use lamassu_db::{Attempt, WriteSet, retry_races};

use crate::change::Change;
use crate::context::ChangeContext;
use crate::create::NewDevice;
use crate::group_renewal::keep_of_dms;
use crate::renewal_windows::present;
use crate::service::DevicesService;
use crate::store::StoredDevice;
use crate::{events, metrics};

/// Whether the device is read before something is decided about it.
#[derive(Clone, Copy, Debug)]
enum Look {
    First,
    /// It is presumed not to be there.
    Later,
}

/// What a binding does to a device as it was read.
#[derive(Debug)]
enum Plan {
    /// Nothing: the certificate is the active version already.
    Bound(Device),
    /// The binding applies to this device.
    Bind(StoredDevice),
    /// The device is registered, then bound.
    Register(NewDevice),
}

impl DevicesService {
    pub(crate) async fn bind(
        &self,
        caller: &Caller,
        request: &BindIdentity,
    ) -> Result<Device, DeviceError> {
        let mut look = match (&request.expected, &request.create) {
            (SlotState::NoDevice, Some(_)) => Look::Later,
            _ => Look::First,
        };
        let attempt = || {
            let look = std::mem::replace(&mut look, Look::First);
            self.try_bind(caller, request, look)
        };
        retry_races(attempt).await
    }

    async fn try_bind(
        &self,
        caller: &Caller,
        request: &BindIdentity,
        look: Look,
    ) -> Result<Device, Attempt<DeviceError>> {
        let stored = match look {
            Look::First => self.store.device(&request.device_id).await?,
            Look::Later => None,
        };
        let context = self.change_by(caller);
        let (registration, before) = match plan(stored, request)? {
            Plan::Bound(device) => return Ok(device),
            Plan::Bind(before) => (None, before),
            Plan::Register(new) => {
                let (set, before) = new.into_write_set(context);
                (Some(set), before)
            }
        };
        let registered = registration.is_some();
        let mut set = registration.unwrap_or_default();
        let mut change = Change::of(&before, context);
        let windows = change.bind(request);
        let windows_before = before.identity().and_then(present);
        let (binding, after) = change.into_write_set("device.bind");
        set.append(binding);
        let announced = announced(before.device, after.device);
        keep_of_dms(
            &mut set,
            &context.groups.get(),
            &request.device_id,
            (windows_before, windows),
            &request.dms,
        );
        announce(&mut set, context, request, &announced);
        self.db.commit(set).await?;
        if registered {
            metrics::created();
        }
        metrics::bound();
        tracing::info!(
            device_id = %request.device_id,
            dms_id = %request.dms.id,
            serial_number = %request.certificate.serial_number,
            "identity bound"
        );
        Ok(announced)
    }
}

/// Decides what the request does to the device.
fn plan(stored: Option<StoredDevice>, request: &BindIdentity) -> Result<Plan, DeviceError> {
    let Some(stored) = stored else {
        let (SlotState::NoDevice, Some(create)) = (&request.expected, &request.create) else {
            return Err(DeviceError::NotFound);
        };
        return register(create, request);
    };
    if stored.device.dms_owner != request.dms.id {
        return Err(DeviceError::SlotChanged);
    }
    if stored.device.status == DeviceStatus::Decommissioned {
        return Err(DeviceError::Decommissioned);
    }
    let found = SlotState::of(Some(&stored.device));
    let serial = &request.certificate.serial_number;
    if matches!(&found, SlotState::Holding { serial_number, .. } if serial_number == serial) {
        return Ok(Plan::Bound(stored.device));
    }
    if found != request.expected {
        return Err(DeviceError::SlotChanged);
    }
    Ok(Plan::Bind(stored))
}

/// Registers the device that the request addresses, owned by the request's DMS.
fn register(create: &CreateDevice, request: &BindIdentity) -> Result<Plan, DeviceError> {
    let create = CreateDevice {
        id: request.device_id.clone(),
        dms_id: request.dms.id.clone(),
        ..create.clone()
    };
    NewDevice::try_new(create).map(Plan::Register)
}

/// The device as events and answers about a binding show it: as it was before, except that an
/// identity which was there already shows the new version. Clients know it so.
fn announced(before: Device, after: Device) -> Device {
    let identity = before
        .identity
        .is_some()
        .then_some(after.identity)
        .flatten();
    Device { identity, ..before }
}

fn announce(
    set: &mut WriteSet,
    context: ChangeContext<'_>,
    request: &BindIdentity,
    device: &Device,
) {
    let ChangeContext { caller, now, .. } = context;
    let (certificate, dms) = (&request.certificate, &request.dms);
    set.event(events::identity_bound(
        caller,
        certificate,
        dms,
        device,
        now,
    ));
    if let Some(operation) = request.announce {
        let enrolled = events::enrolled(caller, operation, &certificate.certificate, &dms.id, now);
        set.event(enrolled);
    }
}
